//! What is known of a Kubernetes pod.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::args::CniArgs;
use super::fault::{Fault, FaultKind, Outcome};
use super::object::Object;

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

/// Annotations to write, each with its value; without one, it is removed.
pub type Annotations = BTreeMap<String, Option<String>>;

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

/// The capability through which containerd hands over a pod's annotations.
const ANNOTATIONS_CAPABILITY: &str = "io.kubernetes.cri.pod-annotations";

impl Pod {
    /// The pod's annotations, if the runtime handed them over in `runtimeConfig`.
    ///
    /// # Errors
    /// Annotations that are no map of texts.
    pub fn annotations_given(runtime_config: &Object) -> Outcome<Option<BTreeMap<String, String>>> {
        let Some(raw) = runtime_config.find(ANNOTATIONS_CAPABILITY) else { return Ok(None) };
        let annotations = serde_json::from_str(raw.get()).map_err(|cause| {
            Fault::new(FaultKind::Decode, "cannot read the pod's annotations").because(cause)
        })?;
        Ok(Some(annotations))
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_come_with_the_call_if_the_runtime_gives_them() {
        let text =
            r#"{"io.kubernetes.cri.pod-annotations":{"a":"b","k8s.v1.cni.cncf.io/networks":"x, y@net7"}}"#;
        let runtime = Object::parse(text.as_bytes(), "the test").unwrap();

        let annotations = Pod::annotations_given(&runtime).unwrap().unwrap();

        assert_eq!(annotations[NETWORKS], "x, y@net7");
        assert_eq!(Pod::annotations_given(&Object::default()).unwrap(), None);
    }

    #[test]
    fn a_pod_is_named_by_the_runtime() {
        let name =
            PodName::of(&"K8S_POD_NAMESPACE=ns;K8S_POD_NAME=p;K8S_POD_UID=u".parse().unwrap()).unwrap();
        assert_eq!((name.to_string().as_str(), name.uid.as_deref()), ("ns/p", Some("u")));
        assert_eq!(PodName::of(&"K8S_POD_NAME=p".parse().unwrap()), None);
    }

    #[test]
    fn only_the_kubelets_own_pods_are_static() {
        let pod = |source: &str| Pod {
            name: PodName { namespace: "n".into(), name: "p".into(), uid: None },
            annotations: BTreeMap::from([(CONFIG_SOURCE.to_owned(), source.to_owned())]),
        };
        assert!(pod("file").is_static() && !pod("api").is_static());
    }
}
