//! A runtime that attaches its pods to two networks, each of which calls Manifold.

use std::process::Stdio;

use serde_json::json;

use crate::pods::address;
use crate::runtime::Runtime;
use crate::scene::{self, Scene};

#[test]
fn a_pod_is_in_both_networks_and_leaves_either_by_itself() {
    let scene = Scene::new();
    let first = scene.conf(&json!([scene.macvlan("first", 0)]));
    let second = scene.conf(&json!([scene.macvlan("second", 1)]));
    let runtime = Runtime::start_with_two(scene, first, second.clone());

    let id = runtime.run(runtime.pod("web", "")).unwrap();
    let kept = runtime.run(runtime.pod("kept", "")).unwrap();

    let called = |id: &str, ifname| runtime.scene.record(id, ifname)[0]["attachment"]["called"].clone();
    assert_eq!(called(&id, "eth0"), json!({"network": "cluster", "ifname": "eth0"}));
    assert_eq!(called(&id, "eth1"), json!({"network": "second", "ifname": "eth1"}));
    // This runtime does not collect, others do.
    let mut gc = second;
    gc["name"] = json!("second");
    gc["cni.dev/valid-attachments"] = json!([{"containerID": kept, "ifname": "eth1"}]);
    let mut collect = runtime.manifold(&[]);
    collect.env("CNI_COMMAND", "GC").env("CNI_PATH", scene::PLUGINS).stdin(Stdio::piped());
    let collected = scene::feed(collect, gc.to_string().as_bytes());
    assert!(collected.status.success(), "{collected:?}");
    let links = runtime.seen(&id, "addr");
    assert!(address(&links, "eth0").starts_with("10.77.0."));
    assert!(links.as_array().unwrap().iter().all(|link| link["ifname"] != "eth1"), "{links}");
    assert!(address(&runtime.seen(&kept, "addr"), "eth1").starts_with("10.77.1."));

    for id in [id, kept] {
        runtime.stop(&id).unwrap();
        runtime.remove(&id).unwrap();
    }
    runtime.assert_empty();
}
