//! The steps a plan is made of. Each holds what its undoing needs; none knows how it is done.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::facts::Place;
use super::mark;
use super::port::{NoteStep, PortStep, SocketStep};
use super::vf::{Driven, VfStep};
use super::vpp::VppStep;
use crate::model::attachment::Routing;
use crate::model::device::DeviceId;
use crate::model::{CniResult, DeviceInfo, IfName, MacAddr, NetworkName, PluginConf, PluginType};

/// One change to the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Take addresses out of a `host-local` store.
    Lease(LeaseStep),
    /// Make a virtual link in the pod's network namespace.
    Link(LinkStep),
    /// Give a virtual function to the pod.
    Vf(VfStep),
    /// Make the directory of a socket ready.
    Socket(SocketStep),
    /// Make a port of Open vSwitch.
    Port(PortStep),
    /// Make an interface of VPP.
    Vpp(VppStep),
    /// Leave the application a note beside its socket.
    Note(NoteStep),
    /// Give the link its addresses and routes, and bring it up.
    Configure(ConfigureStep),
    /// Run a plugin.
    Exec(ExecStep),
    /// Hand on the result so far, or an empty one.
    Pass,
    /// Give the interface the default routes that were asked for, and take those away that were not.
    #[serde(rename = "default-route")]
    DefaultRoute(DefaultRouteStep),
    /// Keep the result where the reference library keeps it.
    Cache(CacheStep),
    /// Give the plugins that are run a file that tells of their device.
    #[serde(rename = "device-file")]
    DeviceFile(DeviceInfoStep),
    /// Learn from that file, or from the kernel, what there is to tell of the device.
    #[serde(rename = "device-info")]
    DeviceInfo(DeviceInfoStep),
}

/// What a step learned when it was applied, without what was known before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Learned<'a> {
    /// The addresses taken, see [`LeaseStep::held`].
    Held(Cow<'a, [IpAddr]>),
    /// The virtual function, as it was found.
    Vf(Cow<'a, VfStep>),
}

/// When a step is undone, across all attachments of a pod; within one rank the last made goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UndoRank {
    /// Plugins first: they may need the interface to be there still (DHCP releases its lease through it).
    Plugin,
    /// Then links, all together: the kernel deletes many in the time of one.
    Link,
    /// What is kept in files last: an address is free when nobody carries it any more.
    Files,
}

impl Step {
    /// What applying it has noted in it.
    pub fn learned(&self) -> Option<Learned<'_>> {
        match self {
            Self::Lease(LeaseStep { held, .. }) => held.as_deref().map(|held| Learned::Held(held.into())),
            Self::Vf(step) => Some(Learned::Vf(Cow::Borrowed(step))),
            Self::Link(_)
            | Self::Socket(_)
            | Self::Port(_)
            | Self::Vpp(_)
            | Self::Note(_)
            | Self::Configure(_)
            | Self::Exec(_)
            | Self::Pass
            | Self::DefaultRoute(_)
            | Self::Cache(_)
            | Self::DeviceFile(_)
            | Self::DeviceInfo(_) => None,
        }
    }

    /// Notes in it what applying it noted; what is of another step is passed over.
    pub fn learn(&mut self, learned: Learned<'_>) {
        match (self, learned) {
            (Self::Lease(step), Learned::Held(held)) => step.held = Some(held.into_owned()),
            (Self::Vf(step), Learned::Vf(noted)) => *step = noted.into_owned(),
            (_, Learned::Held(_) | Learned::Vf(_)) => {}
        }
    }

    /// The step for a link that another program made: it has no mark, and is known by its name and kind.
    pub fn unmarked(&self) -> Option<Self> {
        let Self::Link(link) = self else { return None };
        Some(Self::Link(LinkStep { group: mark::UNMARKED, ..link.clone() }))
    }

    /// Whether a link of the attachment's name is in the pod once it is done, and none may be there before.
    pub fn makes_a_link(&self) -> bool {
        match self {
            Self::Link(_) => true,
            Self::Vf(VfStep::Take(take)) => matches!(take.driven, Driven::Kernel(_)),
            Self::Vf(VfStep::Lost)
            | Self::Lease(_)
            | Self::Socket(_)
            | Self::Port(_)
            | Self::Vpp(_)
            | Self::Note(_)
            | Self::Configure(_)
            | Self::Exec(_)
            | Self::Pass
            | Self::DefaultRoute(_)
            | Self::Cache(_)
            | Self::DeviceFile(_)
            | Self::DeviceInfo(_) => false,
        }
    }

    /// When the step is undone.
    pub fn undo_rank(&self) -> UndoRank {
        match self {
            Self::Exec(_) => UndoRank::Plugin,
            // Routes die with their link.
            Self::Link(_)
            | Self::Vf(_)
            | Self::Port(_)
            | Self::Vpp(_)
            | Self::Configure(_)
            | Self::DefaultRoute(_)
            | Self::Pass => UndoRank::Link,
            Self::Lease(_)
            | Self::Socket(_)
            | Self::Note(_)
            | Self::Cache(_)
            | Self::DeviceFile(_)
            | Self::DeviceInfo(_) => UndoRank::Files,
        }
    }
}

/// Addresses out of a store that the reference plugin `host-local` shares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseStep {
    /// The store: `<dataDir>/<network name>`.
    pub store: PathBuf,
    /// One address is taken out of each set.
    pub sets: Vec<Vec<AddressRange>>,
    /// Addresses asked for; each must be in one of the sets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requested: Vec<IpAddr>,
    /// The addresses taken, noted when the step has been applied; empty if it was refused. `None` means unknown, as
    /// after a crash: then the store is searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Vec<IpAddr>>,
}

/// A range of addresses, ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRange {
    /// The subnet; its prefix length goes into the result.
    pub subnet: IpNetwork,
    /// First address.
    pub start: IpAddr,
    /// Last address.
    pub end: IpAddr,
    /// The gateway, which is never given away.
    pub gateway: IpAddr,
}

/// A virtual link, born in the pod's network namespace under its final name, with its group set at birth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStep {
    /// What kind of link.
    pub kind: LinkKind,
    /// The link it sits on; a dummy sits on none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<Master>,
    /// Its Ethernet address; `None` takes the master's, and without a master a random one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// Its MTU in bytes; `None` takes the master's, and without a master 1500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Its link group, see [`super::mark::link_group`].
    pub group: u32,
}

/// The link a virtual link sits on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Master {
    /// On which side.
    pub place: Place,
    /// Its name.
    pub name: IfName,
    /// Its index when the plan was made.
    pub index: u32,
}

/// The kinds of virtual link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// `macvlan`.
    Macvlan {
        /// How it shares its master.
        mode: MacvlanMode,
        /// Length of its broadcast queue (`IFLA_MACVLAN_BC_QUEUE_LEN`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bc_queue_len: Option<u32>,
    },
    /// `vlan`.
    Vlan {
        /// VLAN id, 0 to 4094.
        id: u16,
        /// Ethertype of the tag.
        protocol: VlanProtocol,
    },
    /// `dummy`: a link that leads nowhere. It carries name, addresses and Ethernet address of a device that the kernel
    /// does not drive, for applications that ask the kernel for them.
    Dummy,
}

impl LinkKind {
    /// Whether both are of one kind, whatever their settings.
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// How a macvlan link shares its master (kernel `if_link.h`, `MACVLAN_MODE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    /// Links of one master reach each other inside the master.
    Bridge,
    /// Links of one master never reach each other.
    Private,
    /// Links of one master reach each other through the switch outside.
    Vepa,
    /// The link has the master for itself.
    Passthru,
    /// Only frames from listed source addresses are received.
    Source,
}

/// Ethertype of a VLAN tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum VlanProtocol {
    /// 802.1Q, 0x8100.
    #[serde(rename = "802.1Q")]
    Dot1Q,
    /// 802.1ad, 0x88a8: the outer tag of QinQ.
    #[serde(rename = "802.1ad")]
    Dot1Ad,
}

/// Addresses, routes and the way up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigureStep {
    /// What is known when planning: fixed addresses, routes, name service. Leased addresses are added to it.
    pub given: CniResult,
    /// Whether the name service is the one that came with leased addresses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leased_dns: bool,
    /// Whether having no address at all is an error.
    pub needs_address: bool,
    /// How IPv6 duplicate address detection is done.
    #[serde(default, skip_serializing_if = "Dad::is_wait")]
    pub dad: Dad,
    /// Whether the kernel announces the addresses (gratuitous ARP, unsolicited neighbour advertisement).
    pub announce: bool,
    /// Who has the addresses.
    #[serde(default, skip_serializing_if = "Bearer::is_link")]
    pub bearer: Bearer,
}

/// Who has the addresses of an attachment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bearer {
    /// A link of the kernel's.
    #[default]
    Link,
    /// An application that drives a device itself. It is told of them in the result; the kernel does not know them.
    Application,
}

impl Bearer {
    fn is_link(&self) -> bool {
        *self == Self::Link
    }
}

/// IPv6 duplicate address detection (RFC 4862 section 5.4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dad {
    /// Wait for it, if the address has a gateway: as the reference plugins do.
    #[default]
    Wait,
    /// Use the address while it runs (RFC 4429).
    Optimistic,
    /// Do without.
    Off,
}

impl Dad {
    fn is_wait(&self) -> bool {
        *self == Self::Wait
    }
}

/// A plugin to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecStep {
    /// The name of its executable.
    pub program: PluginType,
    /// The configuration it is given.
    pub conf: PluginConf,
    /// What its answer is.
    pub yields: Yields,
}

/// What becomes of the default routes of an interface whose plugins have all been run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRouteStep {
    /// Which routes are taken and which given up.
    pub routing: Routing,
}

/// A result to keep, for programs that read the reference library's cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStep {
    /// The network, under whose name it is kept.
    pub network: NetworkName,
    /// Whether the sandbox's own file, which names all its networks, is kept too.
    pub sandbox_file: bool,
}

/// The file that tells of an attachment's device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfoStep {
    /// The attachment's own file.
    pub file: PathBuf,
    /// What the device plugin wrote, to be copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<PathBuf>,
    /// The device, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
}

/// What a plugin's answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Yields {
    /// The result of the chain so far.
    Result,
    /// Addresses for the link that called it (an IPAM plugin).
    Lease,
}

/// What applying steps has yielded so far, threaded from step to step as CNI threads `prevResult`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The result of the chain so far; none before the first plugin.
    pub result: Option<CniResult>,
    /// Addresses leased for the link being made.
    pub leased: CniResult,
    /// What is known of the device behind the interface.
    pub device_info: Option<DeviceInfo>,
}
