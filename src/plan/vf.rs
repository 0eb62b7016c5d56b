//! Virtual functions: what is seen of one, and the step that gives one to a pod (PCI Express, "Single Root I/O
//! Virtualization"; kernel `if_link.h`, `IFLA_VF_*`).

use serde::{Deserialize, Serialize};

use super::step::VlanProtocol;
use crate::model::{IfName, MacAddr, PciAddress};

/// What was seen of a PCI function that may be a VF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VfFacts {
    /// Its place among PCI functions.
    pub function: Function,
    /// Whether it is a network controller.
    pub is_network: bool,
    /// The driver bound to it.
    pub driver: Option<String>,
    /// The driver that alone may be bound to it, if one is set.
    pub driver_override: Option<String>,
    /// Its network interface.
    pub port: PortFacts,
    /// The network namespace for which the peer has it taken, if that is there.
    pub held_for: Option<String>,
    /// The interface of the host that stands for it on the adapter's switch.
    pub representor: Option<String>,
    /// Its RDMA device.
    pub rdma_device: Option<String>,
}

/// The place of a PCI function among others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Function {
    /// A virtual function.
    Virtual {
        /// The address of its PF.
        pf: PciAddress,
        /// Its number at the PF (`virtfn<number>`).
        number: u32,
        /// The PF's network interface, if it is in the host's network namespace.
        pf_port: Option<PfPort>,
    },
    /// A physical function with virtual ones.
    Physical,
    /// Any other, such as a VF that was handed to this machine by the one that emulates it.
    Alone,
}

/// The network interface of a PF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PfPort {
    /// Its name.
    pub name: IfName,
    /// Its index.
    pub index: u32,
    /// Whether it is Ethernet.
    pub ethernet: bool,
    /// The settings of the VF that was asked about; `None` if the PF does not tell them.
    pub settings: Option<VfSettings>,
}

/// The network interface of a VF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortFacts {
    /// In the host's network namespace.
    Here(VfPort, PortUse),
    /// In another network namespace.
    Elsewhere,
    /// There is none: no driver that makes network interfaces is bound.
    None,
}

/// Whether the host needs the interface of a VF for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortUse {
    /// It does not.
    Free,
    /// It does, for this: `has address 10.0.0.1/24`.
    Needed(String),
}

/// The network interface of a VF, as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VfPort {
    /// Name.
    pub name: IfName,
    /// Index.
    pub index: u32,
    /// Ethernet address.
    pub mac: Option<MacAddr>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Whether it receives all multicast frames (`IFF_ALLMULTI`).
    #[serde(default)]
    pub allmulti: bool,
    /// Its other names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub altnames: Vec<String>,
}

/// What a PF holds of one VF. `None` stands for what the driver does not tell, or nobody asked for; never for a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VfSettings {
    /// The administrative Ethernet address; none is set where the PF reports zeros.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// The VLAN its frames are put into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VfVlan>,
    /// Whether frames with a foreign source address are dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spoofchk: Option<bool>,
    /// Whether it may change its Ethernet address and receive what is not addressed to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<bool>,
    /// Whether it has a carrier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_state: Option<VfLinkState>,
    /// How much it may send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<VfRate>,
}

/// The VLAN of a VF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VfVlan {
    /// VLAN id; 0 is none.
    pub id: u16,
    /// Priority, 0 to 7.
    pub qos: u8,
    /// Ethertype of the tag.
    pub protocol: VlanProtocol,
}

/// The carrier of a VF (kernel `IFLA_VF_LINK_STATE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VfLinkState {
    /// As the PF's.
    Auto,
    /// Always.
    Enable,
    /// Never.
    Disable,
}

/// What a VF may send, in Mbit/s; 0 is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VfRate {
    /// What it is promised.
    pub min: u32,
    /// What it cannot exceed.
    pub max: u32,
}

impl VfSettings {
    /// Of these settings, those that are not so in `there`.
    #[must_use]
    pub fn other_than(&self, there: &Self) -> Self {
        Self {
            mac: differing(self.mac, there.mac),
            vlan: differing(self.vlan, there.vlan),
            spoofchk: differing(self.spoofchk, there.spoofchk),
            trust: differing(self.trust, there.trust),
            link_state: differing(self.link_state, there.link_state),
            rate: differing(self.rate, there.rate),
        }
    }

    /// Of these settings, those of which `changed` has one too.
    #[must_use]
    pub fn where_asked(&self, changed: &Self) -> Self {
        Self {
            mac: self.mac.filter(|_| changed.mac.is_some()),
            vlan: self.vlan.filter(|_| changed.vlan.is_some()),
            spoofchk: self.spoofchk.filter(|_| changed.spoofchk.is_some()),
            trust: self.trust.filter(|_| changed.trust.is_some()),
            link_state: self.link_state.filter(|_| changed.link_state.is_some()),
            rate: self.rate.filter(|_| changed.rate.is_some()),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn differing<T: PartialEq>(wanted: Option<T>, there: Option<T>) -> Option<T> {
    wanted.filter(|value| there.as_ref() != Some(value))
}

/// A VF is given to a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VfStep {
    /// This one.
    Take(Box<VfTake>),
    /// Which one is not known, for the record is lost: it is found by the file the peer left, or by its alias. Only
    /// ever undone.
    Lost,
}

/// A VF, what it was and what it will be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VfTake {
    /// Its address.
    pub vf: PciAddress,
    /// Its PF; none where this machine does not see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pf: Option<Pf>,
    /// What the PF held before.
    #[serde(default, skip_serializing_if = "VfSettings::is_empty")]
    pub was: VfSettings,
    /// What was asked for.
    #[serde(default, skip_serializing_if = "VfSettings::is_empty")]
    pub to: VfSettings,
    /// Who drives it in the pod.
    pub driven: Driven,
    /// The interface of the host that stands for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub representor: Option<String>,
    /// Its RDMA device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rdma_device: Option<String>,
}

/// The PF of a VF.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pf {
    /// Its address.
    pub pci: PciAddress,
    /// The name of its network interface when the plan was made.
    pub name: IfName,
    /// The index of that interface.
    pub index: u32,
    /// The VF's number at it.
    pub number: u32,
}

/// Who drives a VF in the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driven {
    /// The kernel: its network interface moves into the pod.
    Kernel(KernelVf),
    /// An application, through VFIO or UIO.
    Application(AppVf),
}

/// A VF whose network interface moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelVf {
    /// The interface as it was.
    pub was: VfPort,
    /// Its MTU in the pod, in bytes; `None` leaves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Whether it shall receive all multicast frames; `None` leaves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allmulti: Option<bool>,
    /// Whether the VF could not choose its address, noted when that was tried.
    #[serde(default, skip_serializing_if = "AddressLock::is_unknown")]
    pub lock: AddressLock,
}

/// Whether the PF had an administrative address that the VF could not change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressLock {
    /// Nobody tried.
    #[default]
    Unknown,
    /// It had none.
    Open,
    /// It had one.
    Locked,
}

impl AddressLock {
    fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}

/// A VF that an application drives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppVf {
    /// The driver it is bound to for the application; `None` leaves the one it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind: Option<Binding>,
}

/// A change of driver (`driver_override`, kernel `Documentation/ABI/testing/sysfs-bus-pci`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The driver it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// The override it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was_override: Option<String>,
    /// Its network interface, which goes with that driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<VfPort>,
    /// The driver it gets.
    pub to: String,
}

impl VfTake {
    /// The Ethernet address the pod's interface will have, as far as that is known: what was asked for, else the
    /// interface's own, else the administrative one.
    pub fn mac(&self) -> Option<MacAddr> {
        let own = match &self.driven {
            Driven::Kernel(kernel) => kernel.was.mac,
            Driven::Application(_) => None,
        };
        self.to.mac.or(own).or(self.was.mac)
    }
}
