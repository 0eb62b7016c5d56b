//! GC, and interfaces that no runtime asked for: those that running pods get when their annotation changes.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::live::Cluster;
use crate::scene;

#[test]
fn what_comes_later_is_of_the_network_that_the_pod_was_called_for() {
    let mut cluster = Cluster::selecting("");
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();
    cluster.call("ADD").result();
    cluster.server.select("ns/p", "red");
    cluster.await_interfaces(&["eth0", "net1"]);
    let own = cluster.stage.conf["name"].take();
    cluster.stage.conf["cni.dev/valid-attachments"] = json!([]);

    cluster.stage.conf["name"] = json!("other");
    cluster.call("GC").result();
    assert_eq!(cluster.pod.interfaces(), ["eth0", "lo", "net1"]);

    cluster.stage.conf["name"] = own;
    cluster.call("GC").result();
    assert_eq!(cluster.pod.interfaces(), ["lo"]);
    cluster.stage.assert_empty();
}

/// A plugin that frees in a GC what it is not told of, when it has waited a while for more to come.
const KEEPER: &str = r#"#!/bin/sh
told=$(cat)
mkdir -p "$0-holds"
case $CNI_COMMAND in
VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}' ;;
ADD) touch "$0-holds/$CNI_IFNAME"
    printf '{"cniVersion":"1.1.0","interfaces":[{"name":"%s","sandbox":"%s"}]}' "$CNI_IFNAME" "$CNI_NETNS" ;;
DEL) rm -f "$0-holds/$CNI_IFNAME" ;;
GC) touch "$0-collects"
    for n in 0 1 2 3 4 5 6 7 8 9; do [ -e "$0-holds/net2" ] || sleep 0.2; done
    for held in "$0-holds"/*; do
        case $told in *"\"${held##*/}\""*) ;; *) rm "$held" ;; esac
    done ;;
esac
"#;

#[test]
fn what_is_attached_beside_a_gc_is_not_freed_by_it() {
    let mut cluster = Cluster::selecting("");
    let bin = cluster.stage.scene.path("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("keeper"), KEEPER).unwrap();
    fs::set_permissions(bin.join("keeper"), fs::Permissions::from_mode(0o755)).unwrap();
    let kept = json!({"cniVersion": "1.1.0", "name": "kept", "type": "keeper"});
    cluster.server.put_definition("ns/kept", &kept.to_string(), &json!({}));
    cluster.stage.conf["delegates"].as_array_mut().unwrap().push(kept);
    cluster.stage.daemon_conf["binDir"] = json!(bin);
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();
    cluster.call("ADD").result();
    cluster.stage.conf["cni.dev/valid-attachments"] = json!([{"containerID": "pod-1", "ifname": "eth0"}]);

    let gc = cluster.stage.begin("GC", "", &cluster.pod);
    cluster.stage.await_that("the plugin collects", || bin.join("keeper-collects").exists());
    cluster.server.select("ns/p", "kept");
    scene::finish(gc).result();

    let phase = || cluster.stage.scene.states("pod-1", "net2").first().map(|last| last["phase"].clone());
    cluster.stage.await_that("it is attached", || phase() == Some(json!("attached")));
    for ifname in ["net1", "net2"] {
        assert!(bin.join("keeper-holds").join(ifname).exists(), "{ifname}");
    }
}
