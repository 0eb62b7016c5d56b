//! `vhost-user`: a socket between an application in the pod and a virtual switch, with Manifold's own keys.

use std::path::PathBuf;

use serde::Deserialize;

use crate::model::device_info::MemifMode;
use crate::model::fault::{Fault, Outcome};
use crate::model::path::plain;
use crate::model::vhost_user::{Engine, InterfaceType, PodEnd, PortVlans, RateLimit, vlan_id};
use crate::model::{Attachment, FaultKind, PluginConf};
use crate::plan::keys::{self, Known};
use crate::plan::kind::{Ask, Kind, Wanted};
use crate::plan::socket_place::PlaceAsked;
use crate::plan::step::Step;
use crate::plan::vhost_user::{self, Asked, SocketInterface};
use crate::plan::virtual_link;

/// The plugin type `vhost-user`.
pub(super) struct VhostUser;

/// Its name. No other program has it.
pub(super) const TYPE: &str = "vhost-user";

/// The pod's volume, unless the network names another: short, so that paths in it fit a socket.
const VOLUME: &str = "vhost";
/// Most pairs of queues: what virtio allows (`VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX`).
const MAX_QUEUES: i64 = 32_768;
/// Longest SELinux context, in bytes.
const MAX_LABEL: usize = 255;
/// Most ranges of a trunk.
const MAX_TRUNK: usize = 4094;

const KNOWN: Known = Known {
    plain: &[
        "abstract",
        "bridge",
        "createBridge",
        "dummy",
        "egress_policing_burst",
        "egress_policing_rate",
        "engine",
        "group",
        "ingress_policing_burst",
        "ingress_policing_rate",
        "interfaceType",
        "mac",
        "memifMode",
        "mode",
        "mtu",
        "ofport_request",
        "queues",
        "selinuxLabel",
        "socketDir",
        "socketFile",
        "vlan",
        "volume",
    ],
    objects: &[("trunk", &TRUNK)],
};

const TRUNK: Known = Known { plain: &["id", "maxID", "minID"], objects: &[] };

#[derive(Deserialize)]
struct Keys {
    engine: Option<String>,
    interfacetype: Option<String>,
    mode: Option<String>,
    memifmode: Option<String>,
    bridge: Option<Text>,
    #[serde(default)]
    createbridge: bool,
    vlan: Option<i64>,
    trunk: Option<Vec<TrunkKeys>>,
    mtu: Option<i64>,
    mac: Option<String>,
    queues: Option<i64>,
    ofport_request: Option<i64>,
    ingress_policing_rate: Option<i64>,
    ingress_policing_burst: Option<i64>,
    egress_policing_rate: Option<i64>,
    egress_policing_burst: Option<i64>,
    volume: Option<String>,
    socketdir: Option<PathBuf>,
    socketfile: Option<String>,
    #[serde(rename = "abstract")]
    abstract_socket: Option<bool>,
    group: Option<Text>,
    selinuxlabel: Option<String>,
    #[serde(default)]
    dummy: bool,
}

/// A text, or a number that stands for one.
#[derive(Deserialize)]
#[serde(untagged, expecting = "it is neither a text nor a number")]
enum Text {
    Text(String),
    Number(u32),
}

/// A VLAN of a trunk, or a range of them, as ovs-cni spells them.
#[derive(Deserialize)]
struct TrunkKeys {
    id: Option<i64>,
    minid: Option<i64>,
    maxid: Option<i64>,
}

impl Kind for VhostUser {
    fn plugin_type(&self) -> &'static str {
        TYPE
    }

    fn keys(&self) -> &'static [&'static Known] {
        &[&KNOWN, &virtual_link::KNOWN, &keys::EVERYWHERE]
    }

    fn volumes(&self, conf: &PluginConf) -> Vec<String> {
        let named: Option<String> =
            conf.object().find("volume").and_then(|raw| serde_json::from_str(raw.get()).ok());
        vec![named.filter(|name| !name.is_empty()).unwrap_or_else(|| VOLUME.to_owned())]
    }

    fn read(&self, ask: Ask<'_>) -> Outcome<Box<dyn Wanted>> {
        let keys: Keys = ask.conf.object().decode("the configuration")?;
        let interface = interface(keys.interfacetype.as_deref())?;
        let asked = Asked {
            engine: engine(keys.engine.as_deref())?,
            interface,
            end: end(keys.mode.as_deref(), interface)?,
            memif_mode: memif_mode(keys.memifmode.as_deref())?,
            bridge: keys.bridge.map(Text::into_string).filter(|name| !name.is_empty()),
            create_bridge: keys.createbridge,
            vlans: vlans(keys.vlan, keys.trunk.as_deref())?,
            mtu: virtual_link::mtu(keys.mtu)?,
            mac: ask.mac(keys.mac.as_deref())?,
            queues: queues(keys.queues)?,
            ofport_request: ofport(keys.ofport_request)?,
            ingress: limit("ingress_policing_rate", keys.ingress_policing_rate, keys.ingress_policing_burst)?,
            egress: limit("egress_policing_rate", keys.egress_policing_rate, keys.egress_policing_burst)?,
            place: PlaceAsked {
                volume: keys.volume.as_deref().filter(|v| !v.is_empty()).unwrap_or(VOLUME).parse()?,
                base: keys.socketdir.map(|path| plain("socketDir", path)).transpose()?,
                base_key: "socketDir",
                file: keys.socketfile.filter(|f| !f.is_empty()).map(|file| file.parse()).transpose()?,
            },
            abstract_socket: keys.abstract_socket.unwrap_or(true),
            group: vhost_user::group("group", keys.group.map(Text::into_string))?,
            label: label(keys.selinuxlabel)?,
            dummy: keys.dummy,
            warnings: Vec::new(),
        };
        Ok(Box::new(SocketInterface::read(ask, asked)?))
    }

    fn remains(&self, attachment: &Attachment) -> Vec<Step> {
        vhost_user::remains(attachment)
    }
}

impl Text {
    fn into_string(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

fn wrong(what: impl Into<String>, remedy: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::new(FaultKind::Config, what).remedy(remedy)
}

fn engine(text: Option<&str>) -> Outcome<Engine> {
    match text.unwrap_or_default() {
        "" | "ovs-dpdk" => Ok(Engine::OvsDpdk),
        "vpp" => Ok(Engine::Vpp),
        other => Err(wrong(format!("\"engine\" is {other:?}"), "use \"ovs-dpdk\" or \"vpp\"")),
    }
}

fn interface(text: Option<&str>) -> Outcome<InterfaceType> {
    match text.unwrap_or_default() {
        "" | "vhostuser" => Ok(InterfaceType::VhostUser),
        "memif" => Ok(InterfaceType::Memif),
        other => Err(wrong(format!("\"interfaceType\" is {other:?}"), "use \"vhostuser\" or \"memif\"")),
    }
}

/// Which end the application is. Of a memif, the one that connects: the other shares its memory.
fn end(text: Option<&str>, interface: InterfaceType) -> Outcome<PodEnd> {
    match (text.unwrap_or_default(), interface) {
        ("", InterfaceType::VhostUser) | ("server", _) | ("master", InterfaceType::Memif) => {
            Ok(PodEnd::Listens)
        }
        ("", InterfaceType::Memif) | ("client", _) | ("slave", InterfaceType::Memif) => Ok(PodEnd::Connects),
        (other, _) => Err(wrong(
            format!("\"mode\" is {other:?}"),
            "use \"server\" if the application makes the socket, \"client\" if the switch does",
        )),
    }
}

fn memif_mode(text: Option<&str>) -> Outcome<MemifMode> {
    match text.unwrap_or_default() {
        "" | "ethernet" => Ok(MemifMode::Ethernet),
        "ip" => Ok(MemifMode::Ip),
        "inject-punt" | "punt" => Ok(MemifMode::Punt),
        other => {
            Err(wrong(format!("\"memifMode\" is {other:?}"), "use \"ethernet\", \"ip\" or \"inject-punt\""))
        }
    }
}

fn vlans(vlan: Option<i64>, trunk: Option<&[TrunkKeys]>) -> Outcome<PortVlans> {
    let native = vlan.map(|id| vlan_id("vlan", id)).transpose()?;
    let Some(trunk) = trunk.filter(|trunk| !trunk.is_empty()) else {
        return Ok(native.map_or(PortVlans::All, PortVlans::Access));
    };
    if trunk.len() > MAX_TRUNK {
        return Err(wrong(
            format!("\"trunk\" has {} entries", trunk.len()),
            format!("list at most {MAX_TRUNK}"),
        ));
    }
    let mut ids = Vec::new();
    for entry in trunk {
        let (first, last) = entry.range()?;
        ids.extend(first..=last);
        ids.sort_unstable();
        ids.dedup();
    }
    Ok(PortVlans::Trunk { native, ids })
}

impl TrunkKeys {
    fn range(&self) -> Outcome<(u16, u16)> {
        let id = |value: i64| vlan_id("trunk", value);
        match (self.id, self.minid, self.maxid) {
            (Some(one), None, None) => Ok((id(one)?, id(one)?)),
            (None, Some(min), Some(max)) if min <= max => Ok((id(min)?, id(max)?)),
            _ => Err(wrong(
                "an entry of \"trunk\" is neither a VLAN nor a range",
                "write {\"id\": 100}, or {\"minID\": 100, \"maxID\": 199}",
            )),
        }
    }
}

fn queues(value: Option<i64>) -> Outcome<u16> {
    let value = value.unwrap_or(1);
    let queues = u16::try_from(value).ok().filter(|_| (1..=MAX_QUEUES).contains(&value));
    queues.ok_or_else(|| wrong(format!("\"queues\" is {value}"), format!("give 1 to {MAX_QUEUES} pairs")))
}

/// A port's number in OpenFlow (`vswitchd/vswitch.xml`: 1 to 65279).
fn ofport(value: Option<i64>) -> Outcome<Option<u16>> {
    let Some(value) = value else { return Ok(None) };
    let port = u16::try_from(value).ok().filter(|port| (1..=65_279).contains(port));
    port.map(Some).ok_or_else(|| wrong(format!("\"ofport_request\" is {value}"), "give 1 to 65279"))
}

fn limit(key: &str, rate: Option<i64>, burst: Option<i64>) -> Outcome<Option<RateLimit>> {
    let number = |key: &str, value: i64| {
        u32::try_from(value)
            .map_err(|_| wrong(format!("{key:?} is {value}"), "give kbit/s, or 0 for no bound"))
    };
    let rate = number(key, rate.unwrap_or_default())?;
    let burst_key = key.replace("rate", "burst");
    let burst = number(&burst_key, burst.unwrap_or_default())?;
    if rate == 0 && burst != 0 {
        return Err(wrong(format!("{burst_key:?} is set without {key:?}"), format!("add {key:?}")));
    }
    Ok((rate != 0).then_some(RateLimit { rate, burst }))
}

/// An SELinux context: `user:role:type[:range]`.
fn label(text: Option<String>) -> Outcome<Option<String>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':' | b',');
    if text.len() <= MAX_LABEL && text.bytes().all(plain) && text.split(':').count() >= 3 {
        return Ok(Some(text));
    }
    let shown: String = text.chars().take(MAX_LABEL).collect();
    Err(wrong(
        format!("\"selinuxLabel\" is {shown:?}"),
        "give a whole context, such as \"system_u:object_r:container_file_t:s0\"",
    ))
}

#[cfg(test)]
mod tests;
