//! What an application learns of its interface: a note beside the socket, and the annotations that libraries for
//! userspace-cni read (`userspace/configuration-data`, `userspace/mapped-dir`).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::mark;
use super::port::{Note, NoteStep};
use crate::model::vhost_user::{Engine, InterfaceType, PodEnd, PortVlans};
use crate::model::{Attachment, CniResult};

/// The annotation with a list of a pod's interfaces.
pub const CONFIGURATION: &str = "userspace/configuration-data";
/// The annotation with the directory of sockets as the pod's containers have it.
pub const MAPPED_DIR: &str = "userspace/mapped-dir";
/// What readers take for the directory where no volume is mounted.
const NO_MOUNT: &str = "/var/lib/cni/usrspcni/";

/// The text of the note: what the plan knows, and the addresses that came out.
pub fn text(attachment: &Attachment, note: &Note, result: &CniResult) -> Value {
    let Note { engine, interface, end, socket, is_abstract, bridge, vlans, mac, mtu, queues, .. } = note;
    let (vlan, trunk) = match vlans {
        PortVlans::All => (None, None),
        PortVlans::Access(id) => (Some(*id), None),
        PortVlans::Trunk { native, ids } => (*native, Some(ids)),
    };
    let mode = match end {
        PodEnd::Listens => "server",
        PodEnd::Connects => "client",
    };
    let mut text = json!({
        "interface": attachment.owner.ifname, "network": attachment.label, "engine": engine, "type": interface,
        "mode": mode, "socket": socket, "mac": mac, "queues": queues,
    });
    let more = json!({
        "bridge": bridge, "mtu": mtu, "vlan": vlan, "trunk": trunk, "abstract": is_abstract.then_some(true),
        "ips": result.ips, "routes": result.routes, "dns": result.dns,
    });
    if let (Some(text), Value::Object(more)) = (text.as_object_mut(), more) {
        let told = |value: &Value| match value {
            Value::Null => false,
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        };
        text.extend(more.into_iter().filter(|(_, value)| told(value)));
    }
    text
}

/// The annotations that tell of all interfaces of a pod that are sockets; none if there are none. They take the place of
/// what an earlier sandbox of the pod left.
pub fn annotations<'a>(
    all: impl IntoIterator<Item = (&'a Attachment, &'a CniResult, &'a NoteStep)>,
) -> BTreeMap<String, String> {
    let mut entries = Vec::new();
    let mut mapped = None;
    for (attachment, result, step) in all {
        entries.push(entry(attachment, result, &step.note));
        let mount = step.mount.as_ref().map(|mount| mount.to_string_lossy().into_owned());
        mapped = mapped.or(mount);
    }
    if entries.is_empty() {
        return BTreeMap::new();
    }
    // Readers join it to a file's name as it is.
    let mapped = mapped.map_or_else(|| NO_MOUNT.to_owned(), |dir| format!("{}/", dir.trim_end_matches('/')));
    let list = serde_json::to_string(&entries).unwrap_or_default();
    BTreeMap::from([(CONFIGURATION.to_owned(), list), (MAPPED_DIR.to_owned(), mapped)])
}

/// One interface, as userspace-cni describes it. Its readers expect every object to be there.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    container_id: &'a str,
    if_name: &'a str,
    name: &'a str,
    config: Config,
    ip_result: &'a CniResult,
}

#[derive(Serialize)]
struct Config {
    engine: Engine,
    iftype: InterfaceType,
    #[serde(rename = "netType")]
    net_type: &'static str,
    memif: Value,
    vhost: Value,
    bridge: Value,
}

fn entry<'a>(attachment: &'a Attachment, result: &'a CniResult, note: &Note) -> Entry<'a> {
    let none = || json!({});
    let socket = if note.is_abstract { format!("@{}", note.socket) } else { note.socket.to_string() };
    let (memif, vhost) = match note.interface {
        InterfaceType::Memif => {
            let role = if note.end == PodEnd::Listens { "master" } else { "slave" };
            (json!({"role": role, "mode": "ethernet", "socketfile": socket}), none())
        }
        InterfaceType::VhostUser => {
            let mode = if note.end == PodEnd::Listens { "server" } else { "client" };
            let mut vhost = json!({"mode": mode, "socketfile": socket});
            if let (Some(vhost), Some(group)) = (vhost.as_object_mut(), &note.group) {
                vhost.insert("group".into(), group.as_str().into());
            }
            (none(), vhost)
        }
    };
    let mut bridge = none();
    if let (Some(bridge), Some(name)) = (bridge.as_object_mut(), &note.bridge) {
        bridge.insert("bridgeName".into(), name.as_str().into());
        if let PortVlans::Access(id) = note.vlans {
            bridge.insert("vlanId".into(), id.into());
        }
    }
    Entry {
        container_id: attachment.owner.container.as_str(),
        if_name: attachment.owner.ifname.as_str(),
        name: attachment.network.name.as_str(),
        config: Config {
            engine: note.engine,
            iftype: note.interface,
            net_type: "bridge",
            memif,
            vhost,
            bridge,
        },
        ip_result: result,
    }
}

/// The name of the note of an attachment.
pub fn file_name(attachment: &Attachment, shared: bool) -> String {
    let owner = &attachment.owner;
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let ifname: String = owner.ifname.as_str().chars().map(plain).collect();
    match shared {
        true => format!("netinfo-{}-{ifname}.json", mark::short_id(&owner.container)),
        false => format!("netinfo-{ifname}.json"),
    }
}
