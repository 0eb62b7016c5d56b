//! What is to be deployed is what the API server reads and what the program does: each manifest is decoded as the type that
//! it says it is, the dashboard shows the metrics that exist, and the pages tell of the same rights.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test may panic"
)]

use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn text(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn documents(name: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(name)).unwrap()
}

fn manifest(kind: &str) -> Value {
    let all = documents("deployments/manifold-daemon.yaml");
    all.into_iter().find(|document| document["kind"] == kind).unwrap()
}

/// The document as a type has it, which knows no misspelt key.
fn known<T: DeserializeOwned + Serialize>(document: &Value) -> Value {
    serde_json::to_value(serde_json::from_value::<T>(document.clone()).unwrap()).unwrap()
}

/// Where something is written that is not read.
fn lost(place: &str, written: &Value, read: &Value) -> Vec<String> {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            let each = |(key, value): (&String, &Value)| match read.get(key) {
                Some(other) => lost(&format!("{place}.{key}"), value, other),
                None => vec![format!("{place}.{key}")],
            };
            written.iter().flat_map(each).collect()
        }
        (Value::Array(written), Value::Array(read)) if written.len() == read.len() => {
            let pairs = written.iter().zip(read).enumerate();
            pairs.flat_map(|(n, (one, other))| lost(&format!("{place}[{n}]"), one, other)).collect()
        }
        (written, read) if written == read => Vec::new(),
        _ => vec![place.to_owned()],
    }
}

#[test]
fn every_key_of_the_manifests_is_one_that_the_api_server_reads() {
    let files = [
        "deployments/manifold-daemon.yaml",
        "deployments/per-node-certificate.yaml",
        "deployments/network-attachment-definition.yaml",
    ];
    let mut kinds = Vec::new();
    for document in files.into_iter().flat_map(documents) {
        let kind = document["kind"].as_str().unwrap().to_owned();
        let read = match kind.as_str() {
            "ServiceAccount" => known::<ServiceAccount>(&document),
            "ClusterRole" => known::<ClusterRole>(&document),
            "ClusterRoleBinding" => known::<ClusterRoleBinding>(&document),
            "ConfigMap" => known::<ConfigMap>(&document),
            "DaemonSet" => known::<DaemonSet>(&document),
            "CustomResourceDefinition" => known::<CustomResourceDefinition>(&document),
            other => panic!("{other}"),
        };
        assert_eq!(lost(&kind, &document, &read), [""; 0]);
        kinds.push(kind);
    }

    assert_eq!(kinds.len(), 9, "{kinds:?}");
    let misspelt =
        json!({"kind": "ServiceAccount", "apiVersion": "v1", "metdata": {}, "secrets": [{"nam": "x"}]});
    let read = known::<ServiceAccount>(&misspelt);
    assert_eq!(lost("it", &misspelt, &read), ["it.metdata", "it.secrets[0].nam"]);
}

/// The rules of a role, each resource with its verbs.
fn rules(role: &Value) -> Vec<(String, Vec<String>)> {
    let list = |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).unwrap() };
    let each = |rule: &Value| -> Vec<(String, Vec<String>)> {
        let (group, verbs) = (list(&rule["apiGroups"]).concat(), list(&rule["verbs"]));
        list(&rule["resources"]).iter().map(|one| (format!("{group}/{one}"), verbs.clone())).collect()
    };
    let mut rules: Vec<_> = role["rules"].as_array().unwrap().iter().flat_map(each).collect();
    rules.sort();
    rules
}

/// That requests stay within them is held by the API server of the tests, which refuses all others.
#[test]
fn the_page_asks_for_the_rights_that_the_manifest_gives() {
    let page = text("docs/configuration.md");
    let role = page.split("```yaml\n").find(|block| block.contains("kind: ClusterRole")).unwrap();
    let told: Value = serde_saphyr::from_str(role.split("```").next().unwrap()).unwrap();

    let mut given = rules(&manifest("ClusterRole"));
    for (resource, verbs) in &mut given {
        if ["/pods", "k8s.cni.cncf.io/network-attachment-definitions"].contains(&resource.as_str()) {
            assert_eq!(verbs, &["get", "list", "watch"]);
            verbs.truncate(1);
        }
    }

    assert_eq!(rules(&told), given);
}

#[test]
fn the_ports_of_the_manifest_are_the_one_that_metrics_are_served_at() {
    let text = manifest("ConfigMap")["data"]["daemon.json"].as_str().unwrap().to_owned();
    let config: Value = serde_json::from_str(&text).unwrap();
    let container = manifest("DaemonSet")["spec"]["template"]["spec"]["containers"][0].clone();

    let port = &config["metricsPort"];
    assert!(port.is_u64());
    assert_eq!(&container["ports"][0]["containerPort"], port);
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        assert_eq!(&container[probe]["httpGet"]["port"], port);
    }
}

/// The metrics that the daemon's sources register, as Prometheus has them without what it adds to their names.
fn registered() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/front/daemon");
    let files: [PathBuf; 2] = [folder.join("metrics.rs"), folder.join("metrics/api.rs")];
    let sources: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let mut names: Vec<String> = sources.split(".register(").skip(1).filter_map(first_quoted).collect();
    names.sort();
    names
}

fn first_quoted(text: &str) -> Option<String> {
    text.trim_start().strip_prefix('"')?.split('"').next().map(str::to_owned)
}

/// The names of metrics in a text, without what Prometheus adds to them.
fn named(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("manifold_") || word.starts_with("multus_server"));
    let plain = |word: &str| word.trim_end_matches("_bucket").trim_end_matches("_total").to_owned();
    let mut names: Vec<String> = ours.map(plain).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn the_dashboard_and_the_page_have_the_metrics_that_exist() {
    let dashboard: Value = serde_json::from_str(&text("deployments/grafana/manifold.json")).unwrap();
    let targets =
        dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let shown: String = targets.map(|target| format!("{} ", target["expr"].as_str().unwrap())).collect();
    let page = text("docs/thick.md");
    let table = page.split("## Looking at it").nth(1).unwrap();
    let registered = registered();

    assert!(registered.len() > 15, "the metrics were not found: {registered:?}");
    assert_eq!(named(table), registered);
    // A number that says nothing by itself.
    let of_no_use = |name: &String| name == "manifold_tidy_rounds";
    assert_eq!(named(&shown), registered.into_iter().filter(|name| !of_no_use(name)).collect::<Vec<_>>());
}

#[test]
fn the_panels_of_the_dashboard_have_their_own_place() {
    let dashboard: Value = serde_json::from_str(&text("deployments/grafana/manifold.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let place = |panel: &Value| ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());

    for (n, one) in panels.iter().enumerate() {
        let [x, y, w, h] = place(one);
        assert!(x + w <= 24 && w > 0 && h > 0, "{}", one["title"]);
        for other in &panels[n + 1..] {
            let [left, top, width, height] = place(other);
            let apart = x + w <= left || left + width <= x || y + h <= top || top + height <= y;
            assert!(apart && one["id"] != other["id"], "{} and {}", one["title"], other["title"]);
        }
    }
}
