//! `userspace`: a socket between an application in the pod and a virtual switch, with the keys of userspace-cni.

use std::path::PathBuf;

use serde::Deserialize;

use crate::model::device_info::MemifMode;
use crate::model::fault::{Fault, Outcome};
use crate::model::path::plain;
use crate::model::vhost_user::{Engine, InterfaceType, PodEnd, PortVlans, SocketFile, vlan_id};
use crate::model::{Attachment, FaultKind, Owner, PluginConf};
use crate::plan::keys::{self, Known};
use crate::plan::kind::{Ask, Kind, Wanted};
use crate::plan::mark;
use crate::plan::socket_place::PlaceAsked;
use crate::plan::step::Step;
use crate::plan::vhost_user::{self, Asked, SocketInterface};
use crate::plan::virtual_link;

/// The plugin type `userspace`.
pub(super) struct Userspace;

/// The pod's volume.
const VOLUME: &str = "shared-dir";
/// The bridge of Open vSwitch, where none is named.
const BRIDGE: &str = "br0";

const KNOWN: Known = Known {
    plain: &["createBridge", "kubeconfig", "logFile", "logLevel", "sharedDir"],
    objects: &[("container", &END), ("host", &END)],
};
const END: Known = Known {
    plain: &["engine", "iftype", "netType"],
    objects: &[("bridge", &BRIDGE_KEYS), ("memif", &SOCKET_KEYS), ("vhost", &SOCKET_KEYS)],
};
const SOCKET_KEYS: Known = Known { plain: &["group", "mode", "role", "socketfile"], objects: &[] };
const BRIDGE_KEYS: Known = Known { plain: &["bridgeId", "bridgeName", "vlanId"], objects: &[] };

#[derive(Deserialize)]
struct Keys {
    #[serde(default)]
    host: End,
    #[serde(default)]
    container: End,
    shareddir: Option<PathBuf>,
    #[serde(default)]
    createbridge: bool,
    kubeconfig: Option<String>,
    logfile: Option<String>,
    loglevel: Option<String>,
}

/// One end.
#[derive(Default, Deserialize)]
struct End {
    engine: Option<String>,
    iftype: Option<String>,
    nettype: Option<String>,
    #[serde(default)]
    memif: SocketKeys,
    #[serde(default)]
    vhost: SocketKeys,
    #[serde(default)]
    bridge: BridgeKeys,
}

#[derive(Default, Deserialize)]
struct SocketKeys {
    role: Option<String>,
    mode: Option<String>,
    group: Option<String>,
    socketfile: Option<String>,
}

#[derive(Default, Deserialize)]
struct BridgeKeys {
    bridgename: Option<String>,
    bridgeid: Option<i64>,
    vlanid: Option<i64>,
}

impl Kind for Userspace {
    fn plugin_type(&self) -> &'static str {
        "userspace"
    }

    fn keys(&self) -> &'static [&'static Known] {
        &[&KNOWN, &virtual_link::KNOWN, &keys::EVERYWHERE]
    }

    fn volumes(&self, _conf: &PluginConf) -> Vec<String> {
        vec![VOLUME.to_owned()]
    }

    fn read(&self, ask: Ask<'_>) -> Outcome<Box<dyn Wanted>> {
        let keys: Keys = ask.conf.object().decode("the configuration")?;
        let Keys { host, container, .. } = &keys;
        let mut warnings = ignored(&keys);
        let engine = engine(host.engine.as_deref())?;
        let interface = interface(host.iftype.as_deref())?;
        let end = match interface {
            InterfaceType::VhostUser => vhost_end(host, container, &mut warnings)?,
            InterfaceType::Memif => memif_end(host, container)?,
        };
        net_type(host, engine)?;
        let asked = Asked {
            engine,
            interface,
            end,
            memif_mode: memif_mode(host)?,
            bridge: bridge(host, engine, &mut warnings),
            create_bridge: keys.createbridge,
            vlans: vlans(host)?,
            mtu: None,
            mac: ask.mac(None)?,
            queues: 1,
            ofport_request: None,
            ingress: None,
            egress: None,
            place: PlaceAsked {
                volume: VOLUME.parse()?,
                base: keys.shareddir.clone().map(|path| plain("sharedDir", path)).transpose()?,
                base_key: "sharedDir",
                file: Some(socket_file(host, container, interface, &ask.attachment.owner)?),
            },
            // Readers of the annotations join the socket's name to a directory.
            abstract_socket: false,
            group: vhost_user::group("host.vhost.group", host.vhost.group.clone())?,
            label: None,
            dummy: false,
            warnings,
        };
        Ok(Box::new(SocketInterface::read(ask, asked)?))
    }

    fn remains(&self, attachment: &Attachment) -> Vec<Step> {
        vhost_user::remains(attachment)
    }
}

fn wrong(what: impl Into<String>, remedy: &'static str) -> Fault {
    Fault::new(FaultKind::Config, what).remedy(remedy)
}

fn engine(text: Option<&str>) -> Outcome<Engine> {
    match text.unwrap_or_default() {
        "ovs-dpdk" => Ok(Engine::OvsDpdk),
        "vpp" => Ok(Engine::Vpp),
        "" => Err(wrong("\"host.engine\" is absent", "use \"ovs-dpdk\" or \"vpp\"")),
        other => Err(wrong(format!("\"host.engine\" is {other:?}"), "use \"ovs-dpdk\" or \"vpp\"")),
    }
}

fn interface(text: Option<&str>) -> Outcome<InterfaceType> {
    match text.unwrap_or_default() {
        "vhostuser" => Ok(InterfaceType::VhostUser),
        "memif" => Ok(InterfaceType::Memif),
        other => Err(wrong(format!("\"host.iftype\" is {other:?}"), "use \"vhostuser\" or \"memif\"")),
    }
}

fn net_type(host: &End, engine: Engine) -> Outcome<()> {
    match (host.nettype.as_deref().unwrap_or_default(), engine) {
        ("bridge", _) | ("", Engine::OvsDpdk) => Ok(()),
        ("interface", _) => {
            Err(Fault::new(FaultKind::Unsupported, "\"host.netType\" is \"interface\"")
                .remedy("use \"bridge\""))
        }
        (other, _) => Err(wrong(format!("\"host.netType\" is {other:?}"), "use \"bridge\"")),
    }
}

/// Which end the application is: the one that the host is not.
fn vhost_end(host: &End, container: &End, warnings: &mut Vec<String>) -> Outcome<PodEnd> {
    let end = match host.vhost.mode.as_deref().unwrap_or_default() {
        "client" => PodEnd::Listens,
        "server" => PodEnd::Connects,
        "" => {
            warnings.push(
                "\"host.vhost.mode\" is absent: taken for \"client\", so the application makes the socket"
                    .to_owned(),
            );
            PodEnd::Listens
        }
        other => {
            return Err(wrong(format!("\"host.vhost.mode\" is {other:?}"), "use \"client\" or \"server\""));
        }
    };
    let other = match container.vhost.mode.as_deref().unwrap_or_default() {
        "" => end,
        "server" => PodEnd::Listens,
        "client" => PodEnd::Connects,
        other => {
            return Err(wrong(
                format!("\"container.vhost.mode\" is {other:?}"),
                "use \"client\" or \"server\"",
            ));
        }
    };
    if other != end {
        return Err(wrong(
            "\"vhost.mode\" of \"host\" and \"container\" make both ends the same",
            "let one be \"client\" and the other \"server\"",
        ));
    }
    Ok(end)
}

fn memif_end(host: &End, container: &End) -> Outcome<PodEnd> {
    let read = |key: &str, text: Option<&str>| match text.unwrap_or_default() {
        "" => Ok(None),
        "master" => Ok(Some(PodEnd::Listens)),
        "slave" => Ok(Some(PodEnd::Connects)),
        other => Err(wrong(format!("{key:?} is {other:?}"), "use \"master\" or \"slave\"")),
    };
    let host = read("host.memif.role", host.memif.role.as_deref())?
        .ok_or_else(|| wrong("\"host.memif.role\" is absent", "use \"master\" or \"slave\""))?;
    let end = if host == PodEnd::Listens { PodEnd::Connects } else { PodEnd::Listens };
    match read("container.memif.role", container.memif.role.as_deref())? {
        Some(other) if other != end => Err(wrong(
            "\"memif.role\" of \"host\" and \"container\" make both ends the same",
            "let one be \"master\" and the other \"slave\"",
        )),
        Some(_) | None => Ok(end),
    }
}

fn memif_mode(host: &End) -> Outcome<MemifMode> {
    match host.memif.mode.as_deref().unwrap_or_default() {
        "" | "ethernet" => Ok(MemifMode::Ethernet),
        "ip" => Ok(MemifMode::Ip),
        "inject-punt" => Ok(MemifMode::Punt),
        other => Err(wrong(
            format!("\"host.memif.mode\" is {other:?}"),
            "use \"ethernet\", \"ip\" or \"inject-punt\"",
        )),
    }
}

fn bridge(host: &End, engine: Engine, warnings: &mut Vec<String>) -> Option<String> {
    let name = host.bridge.bridgename.clone().filter(|name| !name.is_empty());
    match (engine, name, host.bridge.bridgeid) {
        (_, Some(name), _) => Some(name),
        (Engine::Vpp, None, number) => number.map(|number| number.to_string()),
        (Engine::OvsDpdk, None, number) => {
            if number.is_some_and(|number| number != 0) {
                warnings.push("\"host.bridge.bridgeId\" has no effect on Open vSwitch".to_owned());
            }
            Some(BRIDGE.to_owned())
        }
    }
}

/// The VLAN. 0 is what an absent number reads as elsewhere.
fn vlans(host: &End) -> Outcome<PortVlans> {
    match host.bridge.vlanid {
        None | Some(0) => Ok(PortVlans::All),
        Some(id) => vlan_id("host.bridge.vlanId", id).map(PortVlans::Access),
    }
}

fn socket_file(host: &End, container: &End, interface: InterfaceType, owner: &Owner) -> Outcome<SocketFile> {
    let named = |end: &End| {
        let keys = match interface {
            InterfaceType::VhostUser => &end.vhost,
            InterfaceType::Memif => &end.memif,
        };
        keys.socketfile.clone().filter(|file| !file.is_empty())
    };
    let standard = format!("{}-{}", mark::short_id(&owner.container), owner.ifname);
    let file = named(host).or_else(|| named(container)).unwrap_or(match interface {
        InterfaceType::VhostUser => standard,
        InterfaceType::Memif => format!("memif-{standard}.sock"),
    });
    file.parse()
}

/// What userspace-cni reads and Manifold does not.
fn ignored(keys: &Keys) -> Vec<String> {
    let all = [
        ("kubeconfig", keys.kubeconfig.is_some(), "the pod is asked for with Manifold's own"),
        ("logFile", keys.logfile.is_some(), "lines go to Manifold's log"),
        ("logLevel", keys.loglevel.is_some(), "lines go to Manifold's log"),
        ("container.bridge", keys.container.bridge.bridgename.is_some(), "the bridge is the host's"),
        ("container.vhost.group", keys.container.vhost.group.is_some(), "the group is the host's"),
    ];
    let set = all.into_iter().filter(|(_, set, _)| *set);
    set.map(|(key, _, why)| format!("{key:?} has no effect: {why}")).collect()
}

#[cfg(test)]
mod tests;
