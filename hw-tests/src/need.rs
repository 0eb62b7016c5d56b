//! What a case needs of the machine, found out by trying.

use std::fmt;
use std::path::Path;

use crate::command::Program;
use crate::node::Node;
use crate::trouble::{Outcome, Trouble};

/// Something a case cannot run without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Links of this kind, as `ip link add … type` calls it.
    Link(&'static str),
    /// A network adapter that offers SR-IOV virtual functions.
    SriovAdapter,
    /// The kernel's simulated adapter, netdevsim.
    Simulator,
    /// This program of the distribution's.
    Program(&'static str),
    /// This program of the reference plugins.
    Plugin(&'static str),
}

impl Need {
    /// Tries whether the machine has it.
    ///
    /// # Errors
    /// It has not, and why.
    pub(crate) fn probe(self) -> Outcome<()> {
        match self {
            Self::Link(kind) => probe_link(kind),
            Self::SriovAdapter => sriov_adapters().map(|_| ()),
            Self::Simulator => probe_simulator(),
            Self::Program(name) => Program::new([name, "--version"]).output().map(|_| ()),
            Self::Plugin(name) => probe_plugin(name),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(kind) => write!(f, "links of type {kind}"),
            Self::SriovAdapter => f.write_str("an SR-IOV adapter"),
            Self::Simulator => f.write_str("the module netdevsim"),
            Self::Program(name) => write!(f, "the program {name}"),
            Self::Plugin(name) => write!(f, "the plugin {name}"),
        }
    }
}

/// Makes such a link in a namespace that is thrown away.
fn probe_link(kind: &str) -> Outcome<()> {
    let node = Node::new()?;
    // Dropped last: a wire ends with either of its ends.
    let far = node.netns("far")?;
    let on = match kind {
        "vlan" | "macvlan" | "ipvlan" => {
            node.wire(&far)?;
            "link eth-a name probe"
        }
        _ => "name probe",
    };
    let id = if kind == "vlan" { "id 2" } else { "" };
    node.own.ip(&format!("link add {on} type {kind} {id}")).map(|_| ())
}

/// The names of the network adapters that offer virtual functions.
///
/// # Errors
/// There is none.
pub(crate) fn sriov_adapters() -> Outcome<Vec<String>> {
    let folder = std::fs::read_dir("/sys/class/net").map_err(Trouble::doing("cannot list the adapters"))?;
    let names =
        folder.filter_map(Result::ok).filter(|entry| entry.path().join("device/sriov_numvfs").exists());
    let names: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    if names.is_empty() { Err(Trouble::new("no adapter offers virtual functions")) } else { Ok(names) }
}

/// Looks for the bus that the module makes.
fn probe_simulator() -> Outcome<()> {
    let bus = Path::new("/sys/bus/netdevsim");
    if bus.exists() { Ok(()) } else { Err(Trouble::new(format!("there is no {bus:?}"))) }
}

/// Looks for a plugin where the distribution puts them.
fn probe_plugin(name: &str) -> Outcome<()> {
    let path = Path::new(crate::plugin::REFERENCE).join(name);
    if path.is_file() { Ok(()) } else { Err(Trouble::new(format!("there is no {path:?}"))) }
}
