//! The manifest of the daemon, held against the program: what it configures is taken up.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::common;
use crate::node::{Node, calico};

/// The object of this kind in the manifest.
fn object(kind: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deployments/manifold-daemon.yaml");
    let objects: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(path).unwrap()).unwrap();
    objects.into_iter().find(|object| object["kind"] == kind).expect(kind)
}

#[test]
fn a_daemon_of_the_manifest_sets_its_node_up_and_answers_the_kubelets_probes() {
    // The port is the manifest's: in a network of this test's own nobody else has it.
    let _network = common::Node::enter().unwrap();
    let mut node = Node::new();
    let map = object("ConfigMap");
    let mut conf: Value = serde_json::from_str(map["data"]["daemon.json"].as_str().unwrap()).unwrap();
    let container = &object("DaemonSet")["spec"]["template"]["spec"]["containers"][0];
    let mounted: Vec<&str> = container["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["mountPath"].as_str().unwrap())
        .collect();
    // Every directory that is named is the node's, at the same path; here they are all in one folder.
    for (key, name) in [
        ("cniConfigDir", "net.d"),
        ("multusAutoconfigDir", "net.d"),
        ("socketDir", "run"),
        ("daemonSocketDir", "run"),
        ("binDir", "bin"),
    ] {
        let named = conf[key].as_str().expect(key);
        assert!(
            mounted.iter().any(|mount| Path::new(named).starts_with(mount)),
            "{key}: {named} is not mounted"
        );
        conf[key] = json!(node.path(name));
    }
    assert!(mounted.contains(&"/var/lib/cni"), "records and caches are the node's");
    let port = u16::try_from(conf["metricsPort"].as_u64().unwrap()).unwrap();
    for key in ["stateDir", "cniDir"] {
        conf[key] = node.conf[key].clone();
    }
    node.conf = conf;
    node.primary(&calico());

    let _daemon = node.daemon();
    node.await_that("it is written", || node.is_ready());

    assert_eq!(node.plugin()["type"], "manifold-shim");
    assert!(node.path("bin/manifold-shim").exists() && node.path("bin/manifold").exists());
    for probe in ["readinessProbe", "livenessProbe"] {
        let get = &container[probe]["httpGet"];
        assert_eq!((&get["host"], &get["port"]), (&json!("127.0.0.1"), &json!(port)), "{probe}");
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let path = get["path"].as_str().unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{probe}: {answer}");
    }
}
