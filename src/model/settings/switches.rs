//! The node's virtual switches: where they are. Key `vhostUser`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::rules::Rules;
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::object::{self, Object};
use crate::model::path::plain;

/// Where Open vSwitch's database listens.
pub const OVSDB_SOCKET: &str = "/var/run/openvswitch/db.sock";
/// Where VPP takes requests.
pub const VPP_SOCKET: &str = "/run/vpp/api.sock";
/// Where short links to sockets' directories are.
pub const LINK_DIR: &str = "/run/manifold/v";
/// How long a switch may take, in seconds.
const PATIENCE: u32 = 10;

/// Where the node's switches are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switches {
    /// The socket of Open vSwitch's database; key `ovsdbSocket`.
    pub ovsdb: PathBuf,
    /// The socket of VPP's API; key `vppSocket`.
    #[serde(default = "vpp_socket")]
    pub vpp: PathBuf,
    /// The directory of short links; key `linkDir`.
    pub link_dir: PathBuf,
    /// How long a switch may take to make or take down a port, in seconds; key `timeoutSeconds`.
    pub patience: u32,
}

impl Default for Switches {
    fn default() -> Self {
        Self { ovsdb: OVSDB_SOCKET.into(), vpp: vpp_socket(), link_dir: LINK_DIR.into(), patience: PATIENCE }
    }
}

/// Of records that were written before there was the key.
fn vpp_socket() -> PathBuf {
    VPP_SOCKET.into()
}

#[derive(Deserialize)]
struct Keys {
    ovsdbsocket: Option<String>,
    vppsocket: Option<String>,
    linkdir: Option<PathBuf>,
    timeoutseconds: Option<u32>,
}

/// The key of all this.
pub(super) const KEY: &str = "vhostUser";

impl Switches {
    /// Reads where the switches are, and the rules.
    ///
    /// # Errors
    /// A value of the wrong type; a socket or a directory that is no absolute path; a remote that is no socket of this
    /// node; a rule that says nothing that can be.
    pub fn read(object: &Object) -> Outcome<(Self, Rules)> {
        let Some(raw) = object.find(KEY) else { return Ok(Default::default()) };
        let object: Object = object::decode(raw, KEY)?;
        let keys: Keys = object.decode(KEY)?;
        let standard = Self::default();
        let patience = keys.timeoutseconds.unwrap_or(standard.patience);
        if !(1..=120).contains(&patience) {
            return Err(wrong("timeoutSeconds", &patience).remedy("give 1 to 120 seconds"));
        }
        let switches = Self {
            ovsdb: socket("ovsdbSocket", keys.ovsdbsocket, standard.ovsdb)?,
            vpp: socket("vppSocket", keys.vppsocket, standard.vpp)?,
            link_dir: plain("linkDir", keys.linkdir.unwrap_or(standard.link_dir))?,
            patience,
        };
        Ok((switches, Rules::read(&object)?))
    }

    /// As [`Switches::read`], for a DEL that must succeed whatever the configuration says.
    pub fn read_forgiving(object: &Object) -> (Self, Rules) {
        Self::read(object).unwrap_or_default()
    }
}

/// A socket of this node; `unix:` before its path is as the switch's tools spell it.
fn socket(key: &str, given: Option<String>, standard: PathBuf) -> Outcome<PathBuf> {
    let Some(text) = given.filter(|text| !text.is_empty()) else { return Ok(standard) };
    let path = text.strip_prefix("unix:").unwrap_or(&text);
    if ["tcp:", "ssl:", "ptcp:", "pssl:"].iter().any(|scheme| text.starts_with(scheme)) {
        return Err(Fault::new(FaultKind::Unsupported, format!("{key:?} is {:?}", cut(&text)))
            .remedy("name a socket of this node by its path"));
    }
    plain(key, path.into())
}

/// The beginning of what was written, to show.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(120).collect()
}

/// A value that can never be right.
pub(super) fn wrong(key: &str, value: &dyn std::fmt::Display) -> Fault {
    Fault::new(FaultKind::Config, format!("{key:?} of {KEY:?} is {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Outcome<(Switches, Rules)> {
        Switches::read(&Object::parse(text.as_bytes(), "the test")?)
    }

    #[test]
    fn keys_have_defaults_and_sockets_are_of_this_node() {
        assert_eq!(read("{}").unwrap(), Default::default());
        let text = r#"{"VhostUser":{"ovsdbSocket":"unix:/run/ovs/db.sock","vppSocket":"/run/v.sock","linkDir":"/run/x","timeoutSeconds":3}}"#;
        let (switches, _) = read(text).unwrap();
        assert_eq!((switches.ovsdb, switches.patience), (PathBuf::from("/run/ovs/db.sock"), 3));
        assert_eq!(switches.vpp, PathBuf::from("/run/v.sock"));
        for (text, kind) in [
            (r#"{"ovsdbSocket":"tcp:127.0.0.1:6640"}"#, FaultKind::Unsupported),
            (r#"{"ovsdbSocket":"db.sock"}"#, FaultKind::Config),
            (r#"{"vppSocket":"api.sock"}"#, FaultKind::Config),
            (r#"{"linkDir":"/run/../etc"}"#, FaultKind::Config),
            (r#"{"timeoutSeconds":0}"#, FaultKind::Config),
            (r#"{"rules":{}}"#, FaultKind::Decode),
            (r#"{"rules":[{"vlans":["200-100"]}]}"#, FaultKind::Config),
            (r#"{"rules":[{"vlans":["x"]}]}"#, FaultKind::Config),
            (r#"{"rules":[{"vlans":[4095]}]}"#, FaultKind::Config),
            (r#"{"rules":[{"engines":["ovs"]}]}"#, FaultKind::Decode),
            (r#"{"rules":[{"paths":["run"]}]}"#, FaultKind::Config),
        ] {
            let fault = read(&format!(r#"{{"vhostUser":{text}}}"#)).unwrap_err();
            assert_eq!(fault.kind(), kind, "{text}: {fault}");
        }
    }
}
