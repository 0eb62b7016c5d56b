//! What is read of the API server's objects, and what is written: only what Manifold needs of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::model::pod::{Annotations, Definition, Event, Pod, PodName};
use crate::model::sockets::{PodVolume, PodVolumeSource};

/// Longest message of an event, in bytes: what the events API allows.
const MESSAGE: usize = 1024;
/// Longest name of an object, in bytes.
const NAME: usize = 253;

/// A pod, or its metadata alone.
#[derive(Deserialize)]
pub(super) struct PodObject {
    metadata: Metadata,
}

/// The volumes of a pod, and where its containers have them.
#[derive(Deserialize)]
pub(super) struct VolumesObject {
    spec: VolumesSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VolumesSpec {
    #[serde(default)]
    volumes: Vec<VolumeObject>,
    #[serde(default)]
    containers: Vec<ContainerObject>,
    #[serde(default)]
    init_containers: Vec<ContainerObject>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VolumeObject {
    name: String,
    empty_dir: Option<Value>,
    host_path: Option<HostPathObject>,
}

#[derive(Deserialize)]
struct HostPathObject {
    path: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerObject {
    #[serde(default)]
    volume_mounts: Vec<MountObject>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MountObject {
    name: String,
    mount_path: PathBuf,
    #[serde(default)]
    read_only: bool,
    sub_path: Option<String>,
    sub_path_expr: Option<String>,
}

impl MountObject {
    /// Whether all of a volume is there, and not only something in it.
    fn is_whole(&self) -> bool {
        [&self.sub_path, &self.sub_path_expr].into_iter().flatten().all(String::is_empty)
    }
}

/// A NetworkAttachmentDefinition.
#[derive(Deserialize)]
pub(super) struct DefinitionObject {
    metadata: Metadata,
    spec: Option<DefinitionSpec>,
}

#[derive(Deserialize)]
struct DefinitionSpec {
    config: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: String,
    uid: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

/// What went wrong, in the API server's words.
#[derive(Deserialize)]
pub(super) struct Status {
    #[serde(default)]
    pub(super) message: String,
}

pub(super) fn pod(object: PodObject) -> Pod {
    let Metadata { name, namespace, uid, annotations } = object.metadata;
    Pod { name: PodName { namespace, name, uid }, annotations: annotations.unwrap_or_default() }
}

pub(super) fn definition(object: DefinitionObject, namespace: &str, name: &str) -> Definition {
    let config = object.spec.and_then(|spec| spec.config).unwrap_or_default();
    let annotations = object.metadata.annotations.unwrap_or_default();
    Definition { namespace: namespace.to_owned(), name: name.to_owned(), config, annotations }
}

pub(super) fn volumes(object: VolumesObject) -> Vec<PodVolume> {
    let VolumesSpec { volumes, containers, init_containers } = object.spec;
    let mounts: Vec<&MountObject> = containers
        .iter()
        .chain(&init_containers)
        .flat_map(|container| &container.volume_mounts)
        .filter(|mount| mount.is_whole())
        .collect();
    let volume = |VolumeObject { name, empty_dir, host_path }| {
        let source = match (empty_dir, host_path) {
            (Some(_), None) => PodVolumeSource::EmptyDir,
            (None, Some(host)) => PodVolumeSource::HostPath(host.path),
            (None, None) | (Some(_), Some(_)) => PodVolumeSource::Other,
        };
        let its = || mounts.iter().filter(|mount| mount.name == name);
        PodVolume {
            mounts: its().map(|mount| mount.mount_path.clone()).collect(),
            writable: its().any(|mount| !mount.read_only),
            name,
            source,
        }
    };
    volumes.into_iter().map(volume).collect()
}

/// A merge patch (RFC 7386) of a pod's annotations, which only fits the pod of this UID. What is null in it is removed.
pub(super) fn patch(uid: Option<&str>, annotations: &Annotations) -> Value {
    let mut metadata = json!({"annotations": annotations});
    if let (Some(uid), Some(metadata)) = (uid, metadata.as_object_mut()) {
        metadata.insert("uid".into(), uid.into());
    }
    json!({"metadata": metadata})
}

/// Sets the annotations in a whole pod, and nothing else.
pub(super) fn annotate(pod: &mut Value, wanted: &Annotations) {
    let metadata = pod.get_mut("metadata").and_then(Value::as_object_mut);
    let annotations = metadata.map(|metadata| metadata.entry("annotations").or_insert_with(|| json!({})));
    let Some(annotations) = annotations.and_then(Value::as_object_mut) else { return };
    for (key, value) in wanted {
        match value {
            Some(value) => drop(annotations.insert(key.clone(), value.as_str().into())),
            None => drop(annotations.remove(key)),
        }
    }
}

/// An Event of the core API, version 1. Its name comes from the time: the same event sent twice is one event.
pub(super) fn event(pod: &PodName, uid: Option<&str>, event: &Event, now: Timestamp) -> Value {
    let suffix = format!(".{:x}", now.as_nanosecond());
    let name = format!("{}{suffix}", cut(&pod.name, NAME - suffix.len()).trim_end_matches(['.', '-']));
    let second = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": pod.namespace, "name": name},
        "involvedObject": {
            "apiVersion": "v1", "kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": uid,
        },
        "type": if event.warning { "Warning" } else { "Normal" },
        "reason": event.reason,
        "message": cut(&event.message, MESSAGE),
        "source": {"component": "manifold"},
        "firstTimestamp": second,
        "lastTimestamp": second,
        "count": 1,
    })
}

/// The beginning of a text, at most so many bytes.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::pod::NETWORK_STATUS;

    fn wanted(status: &str) -> Annotations {
        Annotations::from([(NETWORK_STATUS.to_owned(), Some(status.to_owned())), ("old".to_owned(), None)])
    }

    fn told() -> Event {
        Event { warning: false, reason: "AddedInterface".into(), message: "ä".repeat(1000) }
    }

    #[test]
    fn an_event_fits_what_the_api_allows() {
        let pod = PodName { namespace: "default".into(), name: "p".repeat(253), uid: None };
        let now: Timestamp = "2026-11-21T04:00:00.5Z".parse().unwrap();

        let body = event(&pod, Some("u"), &told(), now);

        let name = body["metadata"]["name"].as_str().unwrap();
        assert_eq!(name.len(), NAME);
        assert!(name.ends_with(&format!(".{:x}", now.as_nanosecond())), "{name}");
        assert_eq!(body["message"].as_str().unwrap().len(), MESSAGE);
        assert_eq!(body["lastTimestamp"], "2026-11-21T04:00:00Z");
    }

    #[test]
    fn a_patch_without_a_uid_names_none() {
        let patch = patch(None, &wanted("[]"));

        assert_eq!(patch, json!({"metadata": {"annotations": {NETWORK_STATUS: "[]", "old": null}}}));
    }

    #[test]
    fn a_whole_pod_keeps_what_it_has() {
        let mut pod = json!({"metadata": {"name": "p", "resourceVersion": "7"}, "spec": {"x": 1}});
        pod["metadata"]["annotations"] = json!({"old": "x"});

        annotate(&mut pod, &wanted("[]"));

        let metadata = json!({"name": "p", "resourceVersion": "7", "annotations": {NETWORK_STATUS: "[]"}});
        assert_eq!(pod, json!({"metadata": metadata, "spec": {"x": 1}}));
    }

    #[test]
    fn volumes_are_told_with_where_containers_have_all_of_them() {
        let mount = |name: &str, path: &str| json!({"name": name, "mountPath": path});
        let only = json!({"name": "seen", "mountPath": "/run", "readOnly": true});
        let part = json!({"name": "vhost", "mountPath": "/part", "subPath": "x"});
        let object = json!({"spec": {
            "volumes": [
                {"name": "vhost", "emptyDir": {"medium": "Memory"}}, {"name": "host", "hostPath": {"path": "/srv"}},
                {"name": "other", "configMap": {"name": "c"}}, {"name": "seen", "hostPath": {"path": "/run"}},
            ],
            "initContainers": [{"volumeMounts": [mount("vhost", "/first")]}],
            "containers": [{}, {"volumeMounts": [part, mount("vhost", "/sockets"), mount("host", "/h"), only]}],
        }});

        let read = volumes(serde_json::from_value(object).unwrap());

        let told = |name: &str, source, mounts: &[&str], writable| PodVolume {
            name: name.to_owned(),
            source,
            writable,
            mounts: mounts.iter().map(PathBuf::from).collect(),
        };
        assert_eq!(
            read,
            [
                told("vhost", PodVolumeSource::EmptyDir, &["/sockets", "/first"], true),
                told("host", PodVolumeSource::HostPath("/srv".into()), &["/h"], true),
                told("other", PodVolumeSource::Other, &[], false),
                told("seen", PodVolumeSource::HostPath("/run".into()), &["/run"], false),
            ]
        );
        assert_eq!(volumes(serde_json::from_value(json!({"spec": {}})).unwrap()), []);
    }
}
