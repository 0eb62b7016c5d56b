//! Interfaces that are sockets (vhost-user, memif) between an application and a virtual switch: the words.

use serde::{Deserialize, Serialize};

use super::fault::{Fault, FaultKind, Outcome};
use super::ids::{MAX_LABEL, checked_text, is_label, is_plain, is_plain_byte};

/// Longest path that a socket can have, in bytes: `sun_path` of `unix(7)` without its final NUL. Open vSwitch and VPP
/// silently cut longer ones.
pub const MAX_SOCKET_PATH: usize = 107;

/// Longest name of a socket's file, in bytes.
pub const MAX_SOCKET_FILE: usize = 64;

/// The switch that has the other end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Engine {
    /// Open vSwitch with DPDK, by way of its database.
    #[default]
    #[serde(rename = "ovs-dpdk")]
    OvsDpdk,
    /// VPP, by way of its binary API.
    #[serde(rename = "vpp")]
    Vpp,
}

impl Engine {
    /// As configurations spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OvsDpdk => "ovs-dpdk",
            Self::Vpp => "vpp",
        }
    }
}

/// What the two ends speak through the socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InterfaceType {
    /// The vhost-user protocol.
    #[default]
    VhostUser,
    /// memif.
    Memif,
}

impl InterfaceType {
    /// As configurations spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VhostUser => "vhostuser",
            Self::Memif => "memif",
        }
    }
}

/// Which end of the socket the application is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PodEnd {
    /// It makes the socket and listens: "server" of vhost-user, "master" of memif.
    #[default]
    Listens,
    /// It connects to a socket that the switch made: "client", "slave".
    Connects,
}

/// Which VLANs a port of a switch carries (`vswitchd/vswitch.xml`, column `vlan_mode` of table Port).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortVlans {
    /// All, with their tags; frames without a tag are of the VLAN 0.
    #[default]
    All,
    /// One, without its tag.
    Access(u16),
    /// Those listed, with their tags; the native one, if there is one, without.
    Trunk {
        /// The VLAN of frames without a tag.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        native: Option<u16>,
        /// All VLANs carried, ascending; none means all.
        ids: Vec<u16>,
    },
}

/// A bound on a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// In kbit/s.
    pub rate: u32,
    /// How much may come at once beyond it, in kbit. 0 leaves it to the switch.
    pub burst: u32,
}

checked_text!(
    /// The name of a switch's bridge, which is also the name of its own interface:
    /// `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most 15 bytes.
    BridgeName,
    check_bridge
);

checked_text!(
    /// The name of a socket's file: letters, digits, `.`, `_` and `-`, no leading `.`, at most
    /// [`MAX_SOCKET_FILE`] bytes. It is joined to paths.
    SocketFile,
    check_socket_file
);

checked_text!(
    /// The name of a pod's volume (Kubernetes: a DNS label of RFC 1123).
    VolumeName,
    check_volume
);

fn check_bridge(text: &str) -> Result<(), Fault> {
    if is_plain(text, 15) {
        return Ok(());
    }
    Err(Fault::new(FaultKind::Config, format!("{:?} is no name of a bridge", shown(text)))
        .remedy("give 1 to 15 letters, digits, \"_\", \".\" or \"-\", the first a letter or a digit"))
}

fn check_socket_file(text: &str) -> Result<(), Fault> {
    let fits = (1..=MAX_SOCKET_FILE).contains(&text.len());
    if fits && !text.starts_with('.') && text.bytes().all(is_plain_byte) {
        return Ok(());
    }
    Err(Fault::new(FaultKind::Config, format!("{:?} is no name of a socket", shown(text))).remedy(format!(
        "give 1 to {MAX_SOCKET_FILE} letters, digits, \".\", \"_\" or \"-\", the first no \".\""
    )))
}

fn check_volume(text: &str) -> Result<(), Fault> {
    if is_label(text) && text.len() <= MAX_LABEL {
        return Ok(());
    }
    Err(Fault::new(FaultKind::Config, format!("{:?} is no name of a volume", shown(text)))
        .remedy("give the name of one of the pod's volumes"))
}

/// The beginning of a text that may be of any length.
fn shown(text: &str) -> String {
    text.chars().take(MAX_SOCKET_FILE).collect()
}

/// A VLAN id that frames can have: 1 to 4094 (IEEE 802.1Q; 0 and 4095 are reserved).
///
/// # Errors
/// Another number; `key` names where it stands.
pub fn vlan_id(key: &str, value: i64) -> Outcome<u16> {
    u16::try_from(value).ok().filter(|id| (1..=4094).contains(id)).ok_or_else(|| {
        Fault::new(FaultKind::Config, format!("{key:?} is {value}")).remedy("give a VLAN id from 1 to 4094")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_follow_what_they_become() {
        for good in ["br0", "br-dpdk0", "0.x_y", "fifteen-bytes-x"] {
            assert!(good.parse::<BridgeName>().is_ok(), "{good}");
        }
        for bad in ["", "-br", "br 0", "br/0", "sixteen-bytes-xx", "br\"0", "brü"] {
            assert_eq!(bad.parse::<BridgeName>().unwrap_err().kind(), FaultKind::Config, "{bad}");
        }
        for good in ["net1", "0958c8871b32-net1", "a.sock", "-x"] {
            assert!(good.parse::<SocketFile>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".x", "a/b", "../a", "a b", "a\0b", &"x".repeat(MAX_SOCKET_FILE + 1)] {
            assert_eq!(bad.parse::<SocketFile>().unwrap_err().kind(), FaultKind::Config, "{bad}");
        }
        for bad in ["", "Shared", "a_b", "a/b", "..", "-a", "a-"] {
            assert_eq!(bad.parse::<VolumeName>().unwrap_err().kind(), FaultKind::Config, "{bad}");
        }
        assert!("shared-dir".parse::<VolumeName>().is_ok());
    }

    #[test]
    fn vlan_ids_are_those_a_frame_can_have() {
        assert_eq!(vlan_id("vlan", 4094).unwrap(), 4094);
        for bad in [-1, 0, 4095, i64::MAX] {
            let fault = vlan_id("vlan", bad).unwrap_err();
            assert_eq!(fault.to_string(), format!("\"vlan\" is {bad}"));
        }
    }

    proptest! {
        #[test]
        fn a_socket_stays_in_its_directory(text in ".{0,80}") {
            if let Ok(file) = text.parse::<SocketFile>() {
                let path = std::path::Path::new("/d").join(file.as_str());
                prop_assert_eq!(path.parent(), Some(std::path::Path::new("/d")));
            }
        }
    }
}
