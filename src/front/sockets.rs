//! What the node offers attachments whose interfaces are sockets: its switches, the rules of its operator, and the pod's
//! own volumes.

use std::path::{Path, PathBuf};

use crate::model::pod::PodName;
use crate::model::settings::{Places, Rules, Switches};
use crate::model::sockets::{Volume, VolumeSource};
use crate::model::{Attachment, SocketGround};
use crate::plan::kinds;

/// What is offered to the attachments of one pod.
pub(super) struct Offer<'a> {
    pub(super) switches: &'a Switches,
    pub(super) rules: &'a Rules,
    pub(super) places: &'a Places,
    /// The namespace of networks that are no definition of the cluster.
    pub(super) namespace: &'a str,
    pub(super) pod: Option<PodName>,
}

impl Offer<'_> {
    /// Lays the ground of those attachments that need one.
    pub(super) fn lay(&self, attachments: &mut [Attachment]) {
        for attachment in attachments {
            let plugins = &attachment.network.plugins;
            let wanted: Vec<String> = plugins.iter().flat_map(|conf| kinds::of(conf).volumes(conf)).collect();
            if !wanted.is_empty() {
                attachment.sockets = Some(Box::new(self.ground(&attachment.label, &wanted)));
            }
        }
    }

    fn ground(&self, label: &str, wanted: &[String]) -> SocketGround {
        let namespace = label.split_once('/').map_or(self.namespace, |(namespace, _)| namespace);
        SocketGround {
            switches: self.switches.clone(),
            state_dir: self.places.state_dir.clone(),
            pod: self.pod.clone(),
            volumes: wanted.iter().filter_map(|name| self.volume(name)).collect(),
            rules: self.rules.of(namespace),
        }
    }

    /// The volume of this name, if it is an `emptyDir`: the kubelet has made its directory before it calls.
    fn volume(&self, name: &str) -> Option<Volume> {
        let uid = self.pod.as_ref()?.uid.as_deref()?;
        let path = empty_dir(&self.places.kubelet_dir, uid, name)?;
        let source = VolumeSource::EmptyDir(path);
        Some(Volume { name: name.to_owned(), source, mounts: Vec::new() })
    }
}

/// Where the kubelet has the `emptyDir` of a pod, if it is there.
fn empty_dir(kubelet: &Path, uid: &str, name: &str) -> Option<PathBuf> {
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let path = kubelet.join("pods").join(uid).join("volumes/kubernetes.io~empty-dir").join(name);
    (plain(uid) && plain(name) && path.is_dir()).then_some(path)
}
