//! An attachment: one interface to make for a pod. Made by resolving, never changed afterwards.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::args::CniArgs;
use super::ids::{ContainerId, IfName, NetnsPath, NetworkName};
use super::network::Network;
use super::object::Object;

/// Who an attachment belongs to; what every mark in the kernel and in the stores is made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The sandbox.
    pub container: ContainerId,
    /// The interface in it.
    pub ifname: IfName,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.container, self.ifname)
    }
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
    /// The name a person knows the network by: `namespace/name` of its definition, else the network's own name.
    pub label: String,
    /// The network.
    pub network: Network,
    /// `CNI_ARGS` for its plugins.
    pub args: CniArgs,
    /// Values of all capabilities given: `mac`, `ips`, `portMappings` …, by the runtime or the pod's selection.
    pub capabilities: Object,
}
