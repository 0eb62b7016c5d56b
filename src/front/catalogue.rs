//! Networks by name: from the cluster where there is one, from files on the node where there is none or the definition
//! says so.

use std::path::Path;

use crate::engine::ports::{Cluster, Networks};
use crate::host::directory::Directory;
use crate::model::fault::{Fault, Outcome};
use crate::model::pod::{Definition, RESOURCE_NAME};
use crate::model::settings::Settings;
use crate::model::{FaultKind, Network};
use crate::plan::resolve::Named;

/// The networks of a call.
pub(super) struct Catalogue<'a> {
    /// The cluster they are of, if there is one.
    pub(super) cluster: Option<&'a dyn Cluster>,
    files: Directory,
    /// The configuration they are for.
    pub(super) settings: &'a Settings,
}

impl<'a> Catalogue<'a> {
    pub(super) fn new(settings: &'a Settings, cluster: Option<&'a dyn Cluster>) -> Self {
        Self { cluster, files: Directory::new(&settings.places.networks_dir, settings.version), settings }
    }

    /// The network that a value of `clusterNetwork` or `defaultNetworks` stands for: a definition of that name, else a
    /// file of that name; with a `/` in it, the file at that path, or the first file in that folder.
    ///
    /// # Errors
    /// There is none, or what is there is no network.
    pub(super) fn configured(&self, value: &str) -> Outcome<Named> {
        if value.contains('/') {
            let path = Path::new(value);
            let version = self.settings.version;
            return if path.is_dir() {
                Directory::first(path, version)
            } else {
                Directory::file(path, version)
            };
        }
        match self
            .cluster
            .map(|cluster| cluster.definition(&self.settings.policy.own, value))
            .transpose()?
            .flatten()
        {
            Some(definition) => self.defined(&definition),
            None => self.files.network(None, value),
        }
    }

    /// The network of a definition: written in it, or in the file of its name.
    fn defined(&self, definition: &Definition) -> Outcome<Named> {
        let label = format!("{}/{}", definition.namespace, definition.name);
        let network = if definition.config.trim().is_empty() {
            self.files.network(None, &definition.name).map(|named| named.network)
        } else {
            Network::parse_within(definition.config.as_bytes(), Some(&definition.name), self.settings.version)
        };
        let network = network.map_err(|fault| fault.while_doing(format!("network {label:?}")))?;
        let resource =
            definition.annotations.get(RESOURCE_NAME).map(|name| name.trim()).filter(|n| !n.is_empty());
        let resource = resource.map(str::parse).transpose().map_err(|fault: Fault| {
            fault.while_doing(format!("network {label:?}: annotation {RESOURCE_NAME:?}"))
        })?;
        Ok(Named { resource, ..Named::new(label, network) })
    }
}

impl Networks for Catalogue<'_> {
    fn network(&self, namespace: Option<&str>, name: &str) -> Outcome<Named> {
        let (Some(cluster), Some(namespace)) = (self.cluster, namespace) else {
            return self.files.network(namespace, name);
        };
        match cluster.definition(namespace, name)? {
            Some(definition) => self.defined(&definition),
            None => Err(Fault::new(
                FaultKind::Absent,
                format!("there is no NetworkAttachmentDefinition \"{namespace}/{name}\""),
            )
            .remedy("create it, or correct the pod's annotation \"k8s.v1.cni.cncf.io/networks\"")),
        }
    }
}
