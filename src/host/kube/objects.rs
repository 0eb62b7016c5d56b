//! What is read of the API server's objects, and what is written: only what Manifold needs of them.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::model::pod::{Definition, Event, NETWORK_STATUS, Pod, PodName};

/// Longest message of an event, in bytes: what the events API allows.
const MESSAGE: usize = 1024;
/// Longest name of an object, in bytes.
const NAME: usize = 253;

/// A pod, or its metadata alone.
#[derive(Deserialize)]
pub(super) struct PodObject {
    metadata: Metadata,
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

/// A merge patch (RFC 7386) of a pod's annotation, which only fits the pod of this UID.
pub(super) fn status_patch(uid: Option<&str>, status: &str) -> Value {
    let mut metadata = json!({"annotations": {NETWORK_STATUS: status}});
    if let (Some(uid), Some(metadata)) = (uid, metadata.as_object_mut()) {
        metadata.insert("uid".into(), uid.into());
    }
    json!({"metadata": metadata})
}

/// Sets the annotation in a whole pod, and nothing else.
pub(super) fn set_status(pod: &mut Value, status: &str) {
    let metadata = pod.get_mut("metadata").and_then(Value::as_object_mut);
    let annotations = metadata.map(|metadata| metadata.entry("annotations").or_insert_with(|| json!({})));
    if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
        annotations.insert(NETWORK_STATUS.into(), status.into());
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
        let patch = status_patch(None, "[]");

        assert_eq!(patch, json!({"metadata": {"annotations": {NETWORK_STATUS: "[]"}}}));
    }

    #[test]
    fn a_whole_pod_keeps_what_it_has() {
        let mut pod = json!({"metadata": {"name": "p", "resourceVersion": "7"}, "spec": {"x": 1}});

        set_status(&mut pod, "[]");

        let metadata = json!({"name": "p", "resourceVersion": "7", "annotations": {NETWORK_STATUS: "[]"}});
        assert_eq!(pod, json!({"metadata": metadata, "spec": {"x": 1}}));
    }
}
