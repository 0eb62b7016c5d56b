//! PCI functions in sysfs (kernel `Documentation/ABI/testing/sysfs-bus-pci`, `sysfs-class-net`).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::model::fault::{Fault, Outcome};
use crate::model::{FaultKind, PciAddress};

/// Most entries of a directory that are looked at.
const MAX_ENTRIES: usize = 65_536;
/// Longest attribute read, in bytes: the kernel's are a page at most.
const MAX_TEXT: usize = 4096;

/// A tree of devices: the kernel's, or one recorded from it.
#[derive(Debug, Clone)]
pub struct Sysfs {
    root: PathBuf,
}

impl Default for Sysfs {
    fn default() -> Self {
        Self::at("/sys")
    }
}

/// What is in the directory of a function's network interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Netdevs {
    /// There is no such directory: no driver that makes network interfaces is bound.
    None,
    /// It is empty: they are in another network namespace.
    Elsewhere,
    /// Their names.
    Here(Vec<String>),
}

impl Sysfs {
    /// The tree whose root is here.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory of a function.
    pub fn path(&self, pci: PciAddress) -> PathBuf {
        self.root.join("bus/pci/devices").join(pci.to_string())
    }

    /// Whether there is such a function.
    pub fn exists(&self, pci: PciAddress) -> bool {
        self.path(pci).exists()
    }

    /// The PF of a VF.
    pub fn pf_of(&self, vf: PciAddress) -> Option<PciAddress> {
        last(&fs::read_link(self.path(vf).join("physfn")).ok()?)?.parse().ok()
    }

    /// Whether a function can have VFs.
    pub fn is_pf(&self, pci: PciAddress) -> bool {
        self.path(pci).join("sriov_totalvfs").exists()
    }

    /// The number of a VF at its PF: that of the link `virtfn<number>` which leads to it. Numbers and addresses may have
    /// gaps.
    pub fn number(&self, pf: PciAddress, vf: PciAddress) -> Option<u32> {
        let wanted = vf.to_string();
        names(&self.path(pf)).ok()?.iter().find_map(|name| {
            let number = name.strip_prefix("virtfn")?.parse().ok()?;
            let target = fs::read_link(self.path(pf).join(name)).ok()?;
            (last(&target)? == wanted).then_some(number)
        })
    }

    /// Whether a function is a network controller: of PCI class 2.
    pub fn is_network(&self, pci: PciAddress) -> bool {
        text(&self.path(pci).join("class")).is_some_and(|class| class.starts_with("0x02"))
    }

    /// The driver bound to a function.
    pub fn driver(&self, pci: PciAddress) -> Option<String> {
        last(&fs::read_link(self.path(pci).join("driver")).ok()?).map(str::to_owned)
    }

    /// The driver that alone may be bound to a function.
    pub fn driver_override(&self, pci: PciAddress) -> Option<String> {
        text(&self.path(pci).join("driver_override"))
            .filter(|driver| driver != "(null)" && !driver.is_empty())
    }

    /// The network interfaces of a function: its own, or those of a virtio device on it.
    pub fn netdevs(&self, pci: PciAddress) -> Netdevs {
        let folder = self.path(pci);
        let own = names(&folder.join("net")).ok();
        match own.or_else(|| virtio_netdevs(&folder)) {
            None => Netdevs::None,
            Some(names) if names.is_empty() => Netdevs::Elsewhere,
            Some(names) => Netdevs::Here(names),
        }
    }

    /// The network interface of a PF that leads outside. Those of its VFs' representors may stand beside it; they say so
    /// in their port's name (kernel `devlink_port_phys_port_name_get`).
    pub fn uplink(&self, pf: PciAddress) -> Option<String> {
        let Netdevs::Here(names) = self.netdevs(pf) else { return None };
        let represents =
            |name: &String| self.port_name(name).is_some_and(|port| represented(&port).is_some());
        let outward = names.iter().find(|name| !represents(name));
        match (outward, names.as_slice()) {
            (Some(name), _) => Some(name.clone()),
            // Alone it represents nobody, whatever its driver calls its port.
            (None, [only]) => Some(only.clone()),
            (None, _) => None,
        }
    }

    /// The network interface that stands for a VF on the adapter's switch, where that is in mode `switchdev`: of the same
    /// switch as the PF's, and named after PF and VF. Most adapters number PFs as their ports; of one that does not, the
    /// only one named after that VF is meant.
    pub fn representor(&self, pf: PciAddress, number: u32) -> Option<String> {
        let uplink = self.uplink(pf)?;
        let switch = self.net(&uplink, "phys_switch_id")?;
        let pf_number = self.port_name(&uplink).as_deref().and_then(uplink_number);
        let all = names(&self.root.join("class/net")).ok()?;
        let of_vf = all.into_iter().filter(|name| *name != uplink).filter_map(|name| {
            let (pf, vf) = represented(&self.port_name(&name)?)?;
            let same_switch = || self.net(&name, "phys_switch_id").as_ref() == Some(&switch);
            (vf == number && same_switch()).then_some((pf, name))
        });
        let mut of_vf: Vec<(Option<u32>, String)> = of_vf.collect();
        match of_vf.iter().position(|(pf, _)| pf.is_some() && *pf == pf_number) {
            Some(place) => Some(of_vf.swap_remove(place).1),
            None if of_vf.len() == 1 => of_vf.pop().map(|(_, name)| name),
            None => None,
        }
    }

    /// The RDMA device of a function.
    pub fn rdma_device(&self, pci: PciAddress) -> Option<String> {
        names(&self.path(pci).join("infiniband")).ok()?.into_iter().next()
    }

    /// The number of a function's IOMMU group, and whether the group does without an IOMMU.
    pub fn iommu_group(&self, pci: PciAddress) -> Option<(String, bool)> {
        let group = fs::read_link(self.path(pci).join("iommu_group")).ok()?;
        let number = last(&group)?.to_owned();
        let name = text(&self.root.join("kernel/iommu_groups").join(&number).join("name"));
        Some((number, name.is_some_and(|name| name == "vfio-noiommu")))
    }

    /// Whether an IOMMU group can be opened through VFIO: a driver of its kind is bound to a function in it.
    pub fn has_vfio_group(&self, name: &str) -> bool {
        self.root.join("class/vfio").join(name).exists()
    }

    /// The files by which a function alone can be opened through VFIO (kernels from 6.6 on).
    pub fn vfio_devices(&self, pci: PciAddress) -> Vec<String> {
        names(&self.path(pci).join("vfio-dev")).unwrap_or_default()
    }

    /// Opens the directory of a function, to lock it.
    ///
    /// # Errors
    /// It is not there.
    pub fn open(&self, pci: PciAddress) -> io::Result<File> {
        File::open(self.path(pci))
    }

    /// Names the driver that alone may be bound to a function; `None` names none.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn set_override(&self, pci: PciAddress, driver: Option<&str>) -> Outcome<()> {
        write(&self.path(pci).join("driver_override"), driver.unwrap_or("\n"))
    }

    /// Unbinds a function from its driver, if it has one. Waits for whoever uses it through that driver.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn unbind(&self, pci: PciAddress) -> Outcome<()> {
        match self.path(pci).join("driver/unbind") {
            path if path.exists() => write(&path, &pci.to_string()),
            _ => Ok(()),
        }
    }

    /// Lets the kernel bind a function to the driver that fits it.
    ///
    /// # Errors
    /// The kernel refused. That no driver fits is not told.
    pub fn probe(&self, pci: PciAddress) -> Outcome<()> {
        write(&self.root.join("bus/pci/drivers_probe"), &pci.to_string())
    }

    /// Whether the kernel has a driver of this name.
    pub fn has_driver(&self, driver: &str) -> bool {
        self.root.join("bus/pci/drivers").join(driver).exists()
    }

    fn port_name(&self, netdev: &str) -> Option<String> {
        self.net(netdev, "phys_port_name")
    }

    fn net(&self, netdev: &str, attribute: &str) -> Option<String> {
        text(&self.root.join("class/net").join(netdev).join(attribute)).filter(|text| !text.is_empty())
    }
}

/// The PF and VF that a port stands for: `pf0vf3`, with `c1` before it for one of another host of the adapter.
fn represented(port: &str) -> Option<(Option<u32>, u32)> {
    let port = match port.strip_prefix('c') {
        Some(rest) => rest.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => port,
    };
    match port.strip_prefix("pf").and_then(|rest| rest.split_once("vf")) {
        Some((pf, vf)) => Some((pf.parse().ok(), vf.parse().ok()?)),
        // Drivers before the common form write the VF's number alone, which an uplink's `p0` is not.
        None => Some((None, port.parse().ok()?)),
    }
}

/// The number of an uplink's port: `p0`, with `s0` behind it where one is split.
fn uplink_number(port: &str) -> Option<u32> {
    let digits = port.strip_prefix('p')?;
    digits.split('s').next()?.parse().ok()
}

fn last(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// The network interfaces of the virtio device on a function, if there is one that has any or had.
fn virtio_netdevs(folder: &Path) -> Option<Vec<String>> {
    let devices = names(folder).ok()?.into_iter().filter(|name| name.starts_with("virtio"));
    devices.filter_map(|device| names(&folder.join(device).join("net")).ok()).next()
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?.take(MAX_ENTRIES).filter_map(Result::ok);
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    Ok(names)
}

fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok().filter(|text| text.len() <= MAX_TEXT)?;
    Some(text.trim_end().to_owned())
}

fn write(path: &Path, value: &str) -> Outcome<()> {
    fs::write(path, value).map_err(|cause| {
        Fault::new(FaultKind::Kernel, format!("cannot write {:?} to {path:?}", value.trim_end()))
            .because(cause)
            .remedy("see the kernel's log on this node")
    })
}

#[cfg(test)]
#[path = "sysfs/tests.rs"]
mod tests;
