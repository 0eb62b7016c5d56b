//! What a node offers an attachment whose interface is a socket.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::pod::PodName;
use super::settings::{Rules, Switches};

/// What an attachment whose interface is a socket stands on: the node's switches, and where in the pod it can be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketGround {
    /// Where the node's switches are.
    pub switches: Switches,
    /// Which Manifold this is, of several that may share a switch: its directory of records.
    pub state_dir: PathBuf,
    /// The pod, if it is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodName>,
    /// Those of the pod's volumes that its networks name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// What the attachment may ask for. It is asked when the configuration is read, never afterwards.
    #[serde(skip)]
    pub rules: Rules,
}

/// A volume of a pod, as the pod's definition has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodVolume {
    /// Its name.
    pub name: String,
    /// What it is.
    pub source: PodVolumeSource,
    /// Where the pod's containers have it, those that are started first last.
    pub mounts: Vec<PathBuf>,
    /// Whether some container may write into it.
    pub writable: bool,
}

/// What a volume is, as the pod's definition has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodVolumeSource {
    /// A directory that the kubelet makes for the pod.
    EmptyDir,
    /// A directory of the node.
    HostPath(PathBuf),
    /// Anything else.
    Other,
}

/// A volume of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// What it is.
    pub source: VolumeSource,
    /// Where the pod's containers have it, those that are started first last; none where nobody could tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<PathBuf>,
}

/// What a volume is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeSource {
    /// A directory that the kubelet made for the pod, at this path.
    EmptyDir(PathBuf),
    /// A directory of the node, which other pods may have too.
    HostPath(PathBuf),
    /// One that no container of the pod may write into.
    ReadOnly(PathBuf),
    /// Something in which no socket can be shared with the node.
    Other,
}
