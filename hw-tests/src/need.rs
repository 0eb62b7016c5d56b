//! What a case needs of the machine, found out by trying.

use std::fmt;
use std::path::Path;

use crate::command::Program;
use crate::node::Node;
use crate::profile::Profile;
use crate::testpmd;
use crate::trouble::{Outcome, Trouble, holds};

/// Something a case cannot run without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Links of this kind, as `ip link add … type` calls it.
    Link(&'static str),
    /// The adapter that the profile names, which offers SR-IOV virtual functions.
    SriovAdapter,
    /// So many virtual functions of it.
    Vfs(usize),
    /// That it takes these settings.
    Settings(&'static [&'static str]),
    /// That it refuses this setting.
    Refusal(&'static str),
    /// This module of the kernel's.
    Module(&'static str),
    /// The driver vfio-pci, and an IOMMU beneath it.
    Vfio,
    /// An application of DPDK's, and huge pages for it.
    Dpdk,
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
            Self::SriovAdapter => sriov_adapter().map(|_| ()),
            Self::Vfs(count) => probe_vfs(count),
            Self::Settings(keys) => probe_settings(keys),
            Self::Refusal(key) => {
                holds(!Profile::current()?.takes(key), format!("the profile says that it takes {key}"))
            }
            Self::Module(name) => Program::new(["modprobe", name]).output().map(|_| ()),
            Self::Vfio => probe_vfio(),
            Self::Dpdk => testpmd::probe(),
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
            Self::Vfs(count) => write!(f, "{count} virtual functions"),
            Self::Settings(keys) => write!(f, "an adapter that takes {}", keys.join(", ")),
            Self::Refusal(key) => write!(f, "an adapter that refuses {key}"),
            Self::Module(name) => write!(f, "the module {name}"),
            Self::Vfio => f.write_str("vfio-pci with an IOMMU"),
            Self::Dpdk => f.write_str("dpdk-testpmd with huge pages"),
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

/// The interface of the adapter that the profile names, by its present name.
///
/// # Errors
/// There is no profile, or the adapter's interface is not here, or it offers no virtual functions.
pub(crate) fn sriov_adapter() -> Outcome<String> {
    let device = Profile::device()?;
    holds(device.join("sriov_numvfs").exists(), format!("{device:?} offers no virtual functions"))?;
    let names = std::fs::read_dir(device.join("net")).into_iter().flatten().filter_map(Result::ok);
    let name = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).next();
    name.ok_or_else(|| Trouble::new(format!("the interface of {device:?} is not here")))
}

fn probe_vfs(count: usize) -> Outcome<()> {
    let profile = Profile::current()?;
    holds(profile.vfs >= count, format!("the profile has {} made", profile.vfs))
}

fn probe_settings(keys: &[&str]) -> Outcome<()> {
    let profile = Profile::current()?;
    let lacking = keys.iter().find(|key| !profile.takes(key));
    lacking.map_or(Ok(()), |key| Err(Trouble::new(format!("the profile says that it lacks {key}"))))
}

/// Looks for the driver, and for groups that an IOMMU has made.
fn probe_vfio() -> Outcome<()> {
    let driver = Path::new("/sys/bus/pci/drivers/vfio-pci");
    holds(driver.exists(), format!("there is no {driver:?}"))?;
    let groups = std::fs::read_dir("/sys/kernel/iommu_groups").into_iter().flatten();
    holds(groups.count() > 0, "the kernel has no IOMMU groups")
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
