//! What is known of a Kubernetes pod.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::args::CniArgs;

/// The annotation that selects additional networks.
pub const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
/// The annotation that replaces the default network.
pub const DEFAULT_NETWORK: &str = "v1.multus-cni.io/default-network";
/// The annotation in which the networks attached are published.
pub const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";
/// The annotation by which the kubelet marks pods that it made without the API server; then its UID is its own.
pub const CONFIG_SOURCE: &str = "kubernetes.io/config.source";
/// The annotation of a network definition that names the device plugin's resource.
pub const RESOURCE_NAME: &str = "k8s.v1.cni.cncf.io/resourceName";

/// A pod, as the runtime names it in `CNI_ARGS`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID, if the runtime gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

impl PodName {
    /// The pod that `CNI_ARGS` name, if they name one.
    pub fn of(args: &CniArgs) -> Option<Self> {
        let text = |key: &str| args.get(key).filter(|value| !value.is_empty()).map(str::to_owned);
        Some(Self {
            namespace: text("K8S_POD_NAMESPACE")?,
            name: text("K8S_POD_NAME")?,
            uid: text("K8S_POD_UID"),
        })
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What the API server says of a pod, as far as Manifold needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its name, with the UID the API server has.
    pub name: PodName,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Pod {
    /// Whether the kubelet made it from a file or an address: the UID it has there is not the API server's.
    pub fn is_static(&self) -> bool {
        self.annotations.get(CONFIG_SOURCE).is_some_and(|source| source != "api")
    }
}

/// A NetworkAttachmentDefinition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `spec.config`; empty where the configuration is a file on the node.
    pub config: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Something to tell the people who look at a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whether it is a warning.
    pub warning: bool,
    /// One word, such as `AddedInterface`.
    pub reason: String,
    /// What happened.
    pub message: String,
}
