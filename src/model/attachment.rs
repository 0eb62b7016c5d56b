//! An attachment: one interface to make for a pod. Made by resolving, never changed afterwards.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::args::CniArgs;
use super::aside::Aside;
use super::device::Device;
use super::fault::Outcome;
use super::ids::{ContainerId, IfName, NetnsPath, NetworkName};
use super::network::Network;
use super::object::Object;
use super::result::Route;
use super::selection::Selection;
use super::sockets::SocketGround;

/// Who an attachment belongs to; what every mark in the kernel and in the stores is made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The sandbox.
    pub container: ContainerId,
    /// The interface in it.
    pub ifname: IfName,
}

impl Owner {
    /// The owner of these names.
    ///
    /// # Errors
    /// One of them is none.
    pub fn parse(container: &str, ifname: &str) -> Outcome<Self> {
        Ok(Self { container: container.parse()?, ifname: ifname.parse()? })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.container, self.ifname)
    }
}

/// What a runtime calls a pod's attachment, for which Manifold may make several: the network's name in the configuration
/// that it called with, and the interface that it named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Called {
    /// The network.
    pub network: NetworkName,
    /// The interface.
    pub ifname: IfName,
}

/// Whether the runtime's answer is made of this attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The pod's default network: its result is the answer.
    Default,
    /// One more.
    Additional,
}

/// What becomes of the default routes of an attachment, where any attachment of its pod asked for them
/// (`default-route` of the networks annotation).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Routing {
    /// Gateways of the default routes that go through this interface: at most one of each family.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub take_default: Vec<IpAddr>,
    /// Whether another interface has the IPv4 default route, and this one none.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub yield_ipv4: bool,
    /// Whether another interface has the IPv6 default route, and this one none.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub yield_ipv6: bool,
}

impl Routing {
    /// Whether nobody asked for anything: every plugin's routes stay as they are.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// The gateway taken for a family.
    pub fn taken(&self, ipv4: bool) -> Option<IpAddr> {
        self.take_default.iter().copied().find(|gateway| gateway.is_ipv4() == ipv4)
    }

    /// Whether the interface loses the default routes its plugins made for a family: to another interface, or to the
    /// one route that was asked for.
    pub fn displaces(&self, ipv4: bool) -> bool {
        let yields = if ipv4 { self.yield_ipv4 } else { self.yield_ipv6 };
        yields || self.taken(ipv4).is_some()
    }

    /// Whether a route is lost, by [`Routing::displaces`]. Only the main table decides where a pod's traffic goes by
    /// itself; others are for whoever made the rules that lead to them.
    pub fn displaces_route(&self, route: &Route) -> bool {
        route.is_default() && self.displaces(route.dst.is_ipv4())
    }
}

/// One interface to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Sandbox and interface.
    pub owner: Owner,
    /// The pod's network namespace; on DEL the runtime may not know it any more.
    pub netns: Option<NetnsPath>,
    /// Default or additional.
    pub role: Role,
    /// Where Manifold was called as a single plugin, the network the runtime called it for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standalone: Option<NetworkName>,
    /// Where Manifold was called as itself, what for. Nothing where no runtime called it, and in records of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called: Option<Called>,
    /// Whether Manifold was called under the name of the program it stands in for (a configuration of type `multus`):
    /// then it leaves the files by which that program can take the attachment down.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_place: bool,
    /// The name a person knows the network by: `namespace/name` of its definition, else the network's own name.
    pub label: String,
    /// The network.
    pub network: Network,
    /// `CNI_ARGS` for its plugins.
    pub args: CniArgs,
    /// Values of all capabilities given: `mac`, `ips`, `portMappings` …, by the runtime or the pod's selection.
    pub capabilities: Object,
    /// What becomes of its default routes.
    #[serde(default, skip_serializing_if = "Routing::is_usual")]
    pub routing: Routing,
    /// The device it is made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// Where its plugins find and leave what is known of their device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_file: Option<PathBuf>,
    /// The node's switches and the pod's volumes, where its interface is a socket; `None` where it is one of the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sockets: Option<Box<SocketGround>>,
    /// What of the pod's own selection it was made for; nothing where the node gives it to the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<Box<Selection>>,
    /// What the pod asks for in vain.
    #[serde(skip)]
    pub in_vain: Aside<Vec<String>>,
}

impl Attachment {
    /// An additional interface, known by the network's own name, of which nothing was said but whose it is and of which
    /// network.
    pub fn new(owner: Owner, network: Network) -> Self {
        Self {
            owner,
            netns: None,
            role: Role::Additional,
            standalone: None,
            called: None,
            in_place: false,
            label: network.name.to_string(),
            network,
            args: CniArgs::default(),
            capabilities: Object::default(),
            routing: Routing::default(),
            device: None,
            device_file: None,
            sockets: None,
            selection: None,
            in_vain: Aside::default(),
        }
    }

    /// The network that the runtime called Manifold for, in whatever role, where that is known.
    pub fn called_for(&self) -> Option<&NetworkName> {
        self.standalone.as_ref().or(self.called.as_ref().map(|called| &called.network))
    }
}
