//! Interfaces that are sockets, as steps: the directory of the socket, the port of the switch, the note for the
//! application. Each holds what its undoing needs.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::settings::Switches;
use crate::model::vhost_user::{BridgeName, Engine, InterfaceType, PodEnd, PortVlans, RateLimit, SocketFile};
use crate::model::{DeviceInfo, MacAddr};

/// The directory that a socket is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SocketHome {
    /// A volume of the pod. It is there already, and stays.
    Volume(PathBuf),
    /// A directory of that name for the sandbox, made beneath this one.
    Own(PathBuf, String),
}

impl SocketHome {
    /// The directory's path.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Volume(path) => path.clone(),
            Self::Own(base, name) => base.join(name),
        }
    }
}

/// The directory of a socket, made ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketStep {
    /// The directory.
    pub home: SocketHome,
    /// The socket's name in it. One that an earlier application left is removed.
    pub file: SocketFile,
    /// Whether the network named it in a directory that others may have too: what has the name may be another's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub named: bool,
    /// The group that may make sockets in it, and connect to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
    /// Its SELinux context (`security.selinux`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// A symbolic link to it, by which the switch finds the socket where the path itself is too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<PathBuf>,
}

/// A port of Open vSwitch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortStep {
    /// This one.
    Make(Box<Port>),
    /// Nobody knows any more which; it is found by its owner's mark. There may be none, and no switch either.
    Lost(OvsDatabase),
}

/// Open vSwitch's database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OvsDatabase {
    /// Its socket.
    pub socket: PathBuf,
    /// How long a change may take until it is acknowledged, in seconds.
    pub patience: u32,
}

impl OvsDatabase {
    /// That of these switches.
    pub fn of(switches: &Switches) -> Self {
        Self { socket: switches.ovsdb.clone(), patience: switches.patience }
    }
}

/// A port to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The database to make it in.
    pub database: OvsDatabase,
    /// Its name, see [`super::mark::port_name`].
    pub name: String,
    /// The bridge.
    pub bridge: BridgeName,
    /// Whether the bridge is made if it is not there, and removed once it is empty.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create_bridge: bool,
    /// What the switch does with the socket.
    pub end: SwitchEnd,
    /// Which VLANs it carries.
    #[serde(default)]
    pub vlans: PortVlans,
    /// Its MTU in bytes; `None` leaves it to the switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The number it is to have in OpenFlow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ofport_request: Option<u16>,
    /// Bound on what comes from the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<RateLimit>,
    /// Bound on what goes to the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<RateLimit>,
    /// What Manifold makes it: its directory of records.
    pub state_dir: PathBuf,
    /// The pod, `namespace/name`, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// How the interface looks to the pod.
    pub endpoint: Endpoint,
}

impl PortStep {
    /// The database it is about.
    pub fn database(&self) -> &OvsDatabase {
        match self {
            Self::Make(port) => &port.database,
            Self::Lost(database) => database,
        }
    }
}

/// What a switch does with a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SwitchEnd {
    /// It connects to the one at this path, and again whenever the application starts anew (`dpdkvhostuserclient`).
    Connects(PathBuf),
    /// It makes one of the port's name in this directory, which the pod is then given (`dpdkvhostuser`).
    Listens {
        /// The directory.
        directory: PathBuf,
        /// The group that may connect to it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<u32>,
    },
}

/// How an interface that is a socket looks to the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The Ethernet address that the application is to have.
    pub mac: MacAddr,
    /// The MTU in bytes, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The socket's path on the node.
    pub socket: PathBuf,
    /// What the pod is told of it as a device.
    pub device: DeviceInfo,
}

/// A note for the application, left beside the socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteStep {
    /// The directory; without one, only the pod's annotations tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<SocketHome>,
    /// Its name in it.
    pub file: String,
    /// The directory as the pod's containers have it, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<PathBuf>,
    /// What it says.
    pub note: Note,
}

/// What an application must know of its interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The switch.
    pub engine: Engine,
    /// What is spoken.
    pub interface: InterfaceType,
    /// Which end the application is.
    pub end: PodEnd,
    /// The socket's name, in the directory of the note if it is a file.
    pub socket: SocketFile,
    /// Whether it is none, but a name in the pod's network namespace.
    #[serde(default, rename = "abstract", skip_serializing_if = "std::ops::Not::not")]
    pub is_abstract: bool,
    /// The bridge, or the number of a bridge domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// Which VLANs it carries.
    #[serde(default)]
    pub vlans: PortVlans,
    /// The Ethernet address it is to have.
    pub mac: MacAddr,
    /// The MTU in bytes, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// How many pairs of queues it is to have.
    pub queues: u16,
    /// The group of the directory, as the network names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// What was seen of Open vSwitch and one of its bridges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchFacts {
    /// Whether ovs-vswitchd runs with DPDK.
    pub dpdk: bool,
    /// The types of interfaces it can make.
    pub interface_types: Vec<String>,
    /// The directory beneath its own in which it makes sockets (`other_config:vhost-sock-dir`).
    pub socket_dir: Option<PathBuf>,
    /// The datapath type of the bridge; `None` if there is no such bridge.
    pub datapath: Option<String>,
}

impl SwitchFacts {
    /// Where the switch makes sockets: beneath the directory its database listens in.
    pub fn sockets_of(&self, database: &Path) -> PathBuf {
        let run = database.parent().unwrap_or(Path::new("/"));
        self.socket_dir.as_ref().map_or_else(|| run.to_owned(), |dir| run.join(dir))
    }
}
