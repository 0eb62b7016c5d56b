//! What the node offers attachments whose interfaces are sockets: its switches, the rules of its operator, and the pod's
//! own volumes.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use crate::engine::ports::Cluster;
use crate::model::path::plain;
use crate::model::pod::PodName;
use crate::model::settings::{Places, Rules, Switches};
use crate::model::sockets::{PodVolume, PodVolumeSource, Volume, VolumeSource};
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
    /// Who knows what the pod's volumes are.
    pub(super) cluster: Option<&'a dyn Cluster>,
}

impl Offer<'_> {
    /// Lays the ground of those attachments that need one.
    pub(super) fn lay(&self, attachments: &mut [Attachment]) {
        let told = OnceCell::new();
        for attachment in attachments {
            let plugins = &attachment.network.plugins;
            let wanted: Vec<String> = plugins.iter().flat_map(|conf| kinds::of(conf).volumes(conf)).collect();
            if !wanted.is_empty() {
                attachment.sockets =
                    Some(Box::new(self.ground(&attachment.label, self.volumes(&wanted, &told))));
            }
        }
    }

    fn ground(&self, label: &str, volumes: Vec<Volume>) -> SocketGround {
        let namespace = label.split_once('/').map_or(self.namespace, |(namespace, _)| namespace);
        SocketGround {
            switches: self.switches.clone(),
            state_dir: self.places.state_dir.clone(),
            pod: self.pod.clone(),
            volumes,
            rules: self.rules.of(namespace),
        }
    }

    /// The pod's volumes of these names. The cluster is asked once, and only where a network wants any; where it does not
    /// answer, what the kubelet has made tells as much as must be known.
    fn volumes(&self, wanted: &[String], told: &OnceCell<Vec<PodVolume>>) -> Vec<Volume> {
        let told = told.get_or_init(|| {
            let asked = self.cluster.zip(self.pod.as_ref());
            asked.and_then(|(cluster, pod)| cluster.volumes(pod).ok()).unwrap_or_default()
        });
        let volume = |name: &String| match told.iter().find(|volume| volume.name == *name) {
            Some(told) => Some(self.as_told(told)),
            None => self.empty_dir(name).map(|path| Volume {
                name: name.clone(),
                source: VolumeSource::EmptyDir(path),
                mounts: Vec::new(),
            }),
        };
        wanted.iter().filter_map(volume).collect()
    }

    fn as_told(&self, told: &PodVolume) -> Volume {
        let source = match &told.source {
            PodVolumeSource::EmptyDir => self.empty_dir(&told.name).map(VolumeSource::EmptyDir),
            PodVolumeSource::HostPath(path) => {
                let source = if told.writable { VolumeSource::HostPath } else { VolumeSource::ReadOnly };
                plain("hostPath", path.clone()).ok().map(source)
            }
            PodVolumeSource::Other => None,
        };
        let mounts = told.mounts.iter().filter_map(|mount| plain("mountPath", mount.clone()).ok());
        Volume {
            name: told.name.clone(),
            source: source.unwrap_or(VolumeSource::Other),
            mounts: mounts.collect(),
        }
    }

    /// The directory of the pod's `emptyDir` of this name, which the kubelet has made before it calls.
    fn empty_dir(&self, name: &str) -> Option<PathBuf> {
        let uid = self.pod.as_ref()?.uid.as_deref()?;
        empty_dir(&self.places.kubelet_dir, uid, name)
    }
}

/// Where the kubelet has the `emptyDir` of a pod, if it is there.
fn empty_dir(kubelet: &Path, uid: &str, name: &str) -> Option<PathBuf> {
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let path = kubelet.join("pods").join(uid).join("volumes/kubernetes.io~empty-dir").join(name);
    (plain(uid) && plain(name) && path.is_dir()).then_some(path)
}
