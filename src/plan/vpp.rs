//! Interfaces of VPP, as steps. Each holds what its undoing needs; no index of VPP's is kept, for VPP gives an index to
//! another interface as soon as one is gone.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::mark;
use super::port::Endpoint;
use crate::model::Owner;
use crate::model::settings::Switches;

/// An interface of VPP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VppStep {
    /// This one.
    Make(Box<VppPort>),
    /// Nobody knows any more which; it is found by its owner's tag. There may be none, and no VPP either.
    Lost(VppApi),
}

/// Where VPP takes requests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VppApi {
    /// The socket of its API.
    pub socket: PathBuf,
    /// How long it may take over an interface, in seconds.
    pub patience: u32,
}

impl VppApi {
    /// That of these switches.
    pub fn of(switches: &Switches) -> Self {
        Self { socket: switches.vpp.clone(), patience: switches.patience }
    }
}

/// An interface to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VppPort {
    /// The VPP to make it in.
    pub api: VppApi,
    /// What it is.
    pub interface: VppInterface,
    /// Which end of the socket VPP is.
    pub end: VppEnd,
    /// The bridge domain it is put into.
    pub bridge: BridgeDomain,
    /// The VLAN whose frames it carries, without a tag; `None` carries all as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// Its MTU in bytes; `None` leaves it to VPP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// What Manifold makes it: its directory of records.
    pub state_dir: PathBuf,
    /// How the interface looks to the pod.
    pub endpoint: Endpoint,
}

impl VppPort {
    /// The tag it is known by.
    pub fn tag(&self, owner: &Owner) -> String {
        mark::vpp_tag(&self.state_dir, owner)
    }
}

/// What an interface of VPP is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VppInterface {
    /// vhost-user, over the socket at this path.
    VhostUser(PathBuf),
    /// memif, for Ethernet frames.
    Memif {
        /// Its socket.
        socket: MemifSocket,
        /// How many queues in each direction.
        queues: u8,
    },
}

/// The socket of a memif.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemifSocket {
    /// A file.
    File(PathBuf),
    /// One without a file, of this name in the network namespace at this path.
    Abstract {
        /// The name.
        name: String,
        /// The network namespace.
        netns: PathBuf,
    },
}

impl MemifSocket {
    /// As VPP spells it.
    pub fn spelled(&self) -> String {
        match self {
            Self::File(path) => path.to_string_lossy().into_owned(),
            Self::Abstract { name, netns } => format!("abstract:{name},netns_name={}", netns.display()),
        }
    }
}

/// Which end of a socket VPP is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VppEnd {
    /// It connects, and again whenever the application starts anew.
    Connects,
    /// It makes the socket.
    Listens {
        /// The group that may connect to it, if it is a file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<u32>,
    },
}

/// A bridge domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeDomain {
    /// Its number.
    pub number: u32,
    /// Whether it is made if it is not there, and removed once it is empty.
    #[serde(default)]
    pub create: bool,
}

impl VppStep {
    /// The VPP it is about.
    pub fn api(&self) -> &VppApi {
        match self {
            Self::Make(port) => &port.api,
            Self::Lost(api) => api,
        }
    }
}

/// What was seen of VPP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VppFacts {
    /// Its version, as it tells it.
    pub version: String,
    /// What it has.
    pub has: Abilities,
    /// Whether the bridge domain asked for is there.
    pub bridge: bool,
}

/// What a VPP can do: which messages it knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abilities {
    /// vhost-user interfaces.
    pub vhost_user: bool,
    /// memif interfaces.
    pub memif: bool,
    /// Sockets of memif interfaces that are no files.
    pub abstract_sockets: bool,
    /// Keeping VLANs of a bridge domain apart.
    pub vlans: bool,
}
