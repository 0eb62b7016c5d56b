//! Running pods get and lose interfaces when their annotation changes.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use http::Method;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::api_server::{ApiServer, Mishap};
use crate::common::Pod;
use crate::kubelet::{Get, Kubelet};
use crate::stage::Stage;

/// A pod named ns/p with UID u, on the node of a cluster with some networks.
pub(crate) struct Cluster {
    pub(crate) stage: Stage,
    pub(crate) server: ApiServer,
    pub(crate) pod: Pod,
}

impl Cluster {
    pub(crate) fn selecting(networks: &str) -> Self {
        let mut stage = Stage::new();
        let server = ApiServer::start();
        server.put_pod("ns/p", "u", &json!({"k8s.v1.cni.cncf.io/networks": networks}));
        for (name, n) in [("ns/red", 3), ("other/blue", 4)] {
            let network = name.split_once('/').unwrap().1;
            server.put_definition(name, &stage.scene.macvlan(network, n).to_string(), &json!({}));
        }
        // One interface, so that what comes later is all there is beside it.
        stage.conf["delegates"] = json!([stage.scene.macvlan("base", 0)]);
        stage.daemon_conf["kubeconfig"] = json!(server.kubeconfig());
        stage.daemon_conf["nodeName"] = json!("node");
        stage.daemon_conf["namespaceIsolation"] = json!(false);
        stage.args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=p;K8S_POD_UID=u".to_owned();
        let pod = stage.pod();
        Self { stage, server, pod }
    }

    pub(crate) fn call(&self, verb: &str) -> crate::scene::Answer {
        self.stage.call(verb, "pod-1", &self.pod)
    }

    /// What the pod is told: networks and interfaces.
    fn status(&self) -> Vec<(String, String)> {
        self.status_of("ns/p")
    }

    pub(crate) fn status_of(&self, pod: &str) -> Vec<(String, String)> {
        let pod = self.server.pod(pod).unwrap();
        let text =
            pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"].as_str().unwrap_or("[]");
        let list: Vec<Value> = serde_json::from_str(text).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        list.iter().map(|one| (text(&one["name"]), text(&one["interface"]))).collect()
    }

    fn reasons(&self) -> Vec<String> {
        self.server.events("ns").iter().map(|event| event["reason"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until the pod has these interfaces beside `lo`, and was told of them.
    pub(crate) fn await_interfaces(&self, names: &[&str]) {
        let mut all: Vec<String> = names.iter().chain(&["lo"]).map(ToString::to_string).collect();
        all.sort();
        self.stage.await_that(&format!("that the pod has {names:?}"), || {
            let mut told: Vec<String> = self.status().into_iter().map(|(_, interface)| interface).collect();
            told.push("lo".into());
            told.sort();
            self.pod.interfaces() == all && told == all
        });
    }

    pub(crate) fn await_watches(&self) {
        self.stage.await_that("that the daemon watches", || self.server.watches() == 2);
    }
}

#[test]
fn a_network_selected_later_is_attached_told_of_and_goes_with_the_pod() {
    let cluster = Cluster::selecting("red");
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();
    cluster.call("ADD").result();
    assert_eq!(cluster.pod.interfaces(), ["eth0", "lo", "net1"]);

    cluster.server.select("ns/p", "red,other/blue@data0");

    cluster.await_interfaces(&["data0", "eth0", "net1"]);
    let told = cluster.status();
    assert_eq!(told[2], ("other/blue".to_owned(), "data0".to_owned()));
    assert_eq!(cluster.reasons(), ["AddedInterface"; 3]);
    cluster.call("CHECK").result();
    cluster.call("DEL").result();
    assert_eq!(cluster.pod.interfaces(), ["lo"]);
    cluster.stage.assert_empty();
}

#[test]
fn what_is_selected_no_more_is_taken_away_with_its_address() {
    let cluster = Cluster::selecting("red,other/blue,red@again");
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();
    cluster.call("ADD").result();

    cluster.server.select("ns/p", "other/blue");

    cluster.await_interfaces(&["eth0", "net2"]);
    cluster.stage.await_that("that its people hear of it", || {
        cluster.reasons().iter().filter(|reason| *reason == "RemovedInterface").count() == 2
    });
    let leases = cluster.stage.scene.kept().into_keys().filter(|path| path.starts_with("ipam/red/")).count();
    assert_eq!(leases, 0, "both addresses are free again");
    cluster.server.select("ns/p", "");
    cluster.await_interfaces(&["eth0"]);
    cluster.call("DEL").result();
    cluster.stage.assert_empty();
}

#[test]
fn what_changed_while_no_daemon_ran_is_made_up_for() {
    let cluster = Cluster::selecting("red");
    let daemon = cluster.stage.daemon();
    cluster.await_watches();
    cluster.call("ADD").result();
    daemon.signal(Signal::SIGKILL);
    drop(daemon);

    cluster.server.select("ns/p", "other/blue@data0");
    let _daemon = cluster.stage.daemon();

    cluster.await_interfaces(&["data0", "eth0"]);
    cluster.call("DEL").result();
    cluster.stage.assert_empty();
}

#[test]
fn a_status_that_was_lost_is_written_again_by_the_next_daemon() {
    let cluster = Cluster::selecting("red");
    let daemon = cluster.stage.daemon();
    cluster.await_watches();
    cluster.call("ADD").result();
    drop(daemon);
    cluster.server.put_pod("ns/p", "u", &json!({"k8s.v1.cni.cncf.io/networks": "red"}));
    assert!(cluster.status().is_empty());

    let _daemon = cluster.stage.daemon();

    cluster.await_interfaces(&["eth0", "net1"]);
}

#[test]
fn a_network_that_comes_later_than_its_selection_is_attached_when_it_is_there() {
    let cluster = Cluster::selecting("");
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();
    cluster.call("ADD").result();

    cluster.server.select("ns/p", "late,red");

    cluster.await_interfaces(&["eth0", "net2"]);
    cluster.stage.await_that("that its people hear what is missing", || {
        cluster.server.events("ns").iter().any(|event| {
            let text = event["message"].as_str().unwrap();
            event["reason"] == "FailedChange" && text.contains(r#"no NetworkAttachmentDefinition "ns/late""#)
        })
    });
    let network = cluster.stage.scene.macvlan("late", 5);
    cluster.server.put_definition("ns/late", &network.to_string(), &json!({}));
    cluster.await_interfaces(&["eth0", "net1", "net2"]);
}

#[test]
fn default_routes_of_a_running_pod_stay() {
    let cluster = Cluster::selecting("");
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();
    cluster.call("ADD").result();

    cluster.server.select("ns/p", r#"[{"name":"red","default-route":["10.77.3.1"]}]"#);

    cluster.stage.await_that("that it is refused", || {
        cluster.server.events("ns").iter().any(|event| {
            event["message"].as_str().unwrap().starts_with("the default routes of a running pod stay")
        })
    });
    assert_eq!(cluster.pod.interfaces(), ["eth0", "lo"]);
}

#[test]
fn a_selection_that_cannot_be_read_changes_nothing() {
    let cluster = Cluster::selecting("red");
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();
    cluster.call("ADD").result();

    cluster.server.select("ns/p", "[{");

    cluster
        .stage
        .await_that("that its people hear of it", || cluster.reasons().contains(&"FailedChange".to_owned()));
    assert_eq!(cluster.pod.interfaces(), ["eth0", "lo", "net1"]);
}

#[test]
fn isolation_holds_for_running_pods_too() {
    let mut cluster = Cluster::selecting("");
    cluster.stage.daemon_conf["namespaceIsolation"] = json!(true);
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();
    cluster.call("ADD").result();

    cluster.server.select("ns/p", "other/blue,red");

    cluster.await_interfaces(&["eth0", "net2"]);
    let refused = cluster
        .server
        .events("ns")
        .iter()
        .any(|event| event["message"].as_str().unwrap().starts_with("namespace isolation enabled"));
    assert!(refused, "{:?}", cluster.server.events("ns"));
}

#[test]
fn where_nobody_says_whether_namespaces_are_kept_apart_they_are() {
    let mut cluster = Cluster::selecting("");
    cluster.stage.daemon_conf.as_object_mut().unwrap().remove("namespaceIsolation");
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();
    cluster.call("ADD").result();

    cluster.server.select("ns/p", "other/blue,red");

    cluster.await_interfaces(&["eth0", "net2"]);
    let told = cluster.server.events("ns");
    let refused = told.iter().any(|event| event["message"].as_str().unwrap().contains("namespaceIsolation"));
    assert!(refused, "{told:?}");
}

/// A plugin that cannot take down what it made, until it may.
const STUBBORN: &str = r#"#!/bin/sh
cat >/dev/null
if [ "$CNI_COMMAND" = DEL ] && [ ! -e "$0-may" ]; then
    echo '{"cniVersion":"1.0.0","code":999,"msg":"not yet"}'
    exit 1
fi
[ "$CNI_COMMAND" != ADD ] ||
    printf '{"cniVersion":"1.0.0","interfaces":[{"name":"%s","sandbox":"%s"}]}' "$CNI_IFNAME" "$CNI_NETNS"
"#;

#[test]
fn what_is_selected_again_while_it_cannot_be_detached_is_attached_anew() {
    let mut cluster = Cluster::selecting("slow");
    let bin = cluster.stage.scene.path("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("slow"), STUBBORN).unwrap();
    fs::set_permissions(bin.join("slow"), fs::Permissions::from_mode(0o755)).unwrap();
    cluster.server.put_definition("ns/slow", r#"{"cniVersion":"1.0.0","type":"slow"}"#, &json!({}));
    cluster.stage.daemon_conf["binDir"] = json!(bin);
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();
    cluster.call("ADD").result();
    // Between the two there is no record.
    let phase = || cluster.stage.scene.states("pod-1", "net1").first().map(|last| last["phase"].clone());

    cluster.server.select("ns/p", "");
    cluster.stage.await_that("that detaching fails", || phase() == Some(json!("detaching")));
    cluster.server.select("ns/p", "slow");
    fs::write(bin.join("slow-may"), "").unwrap();

    cluster.stage.await_that("that it is attached anew", || phase() == Some(json!("attached")));
    cluster.call("DEL").result();
    cluster.stage.assert_empty();
}

#[test]
fn where_it_is_switched_off_running_pods_stay_as_they_are() {
    let mut cluster = Cluster::selecting("red");
    cluster.stage.daemon_conf["liveNetworks"] = json!(false);
    let daemon = cluster.stage.daemon();
    cluster.await_watches();
    cluster.call("ADD").result();

    cluster.server.select("ns/p", "");
    // Who does not ask for a pod that came later has heard of the change before it: both come over one watch.
    cluster.server.put_pod("ns/q", "v", &json!({}));
    cluster.stage.args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=q;K8S_POD_UID=v".to_owned();
    let other = cluster.stage.pod();
    cluster.stage.await_that("that the change is heard", || {
        let before = cluster.reads().len();
        cluster.stage.call("ADD", "pod-2", &other).result();
        cluster.stage.call("DEL", "pod-2", &other).result();
        cluster.reads().len() == before
    });

    assert_eq!(cluster.pod.interfaces(), ["eth0", "lo", "net1"], "{}", daemon.log());
}

#[test]
fn a_server_that_fails_in_between_delays_and_loses_nothing() {
    let cluster = Cluster::selecting("");
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();
    cluster.call("ADD").result();
    for mishap in [Mishap::Code(500), Mishap::Reset, Mishap::Lost] {
        cluster.server.let_go_wrong(Method::PATCH, "pods/p", mishap);
    }

    cluster.server.select("ns/p", "red");

    cluster.await_interfaces(&["eth0", "net1"]);
    cluster.call("DEL").result();
    cluster.stage.assert_empty();
}

#[test]
fn a_daemon_killed_while_it_attaches_leaves_nothing_that_the_next_does_not_finish() {
    let cluster = Cluster::selecting("");
    let daemon = cluster.stage.daemon();
    cluster.await_watches();
    cluster.call("ADD").result();
    cluster.server.let_go_wrong(Method::PATCH, "pods/p", Mishap::Late(Duration::from_secs(20)));
    cluster.server.select("ns/p", "red,other/blue");
    cluster.stage.await_that("that it has attached something", || cluster.pod.interfaces().len() > 2);
    daemon.signal(Signal::SIGKILL);
    drop(daemon);

    let _daemon = cluster.stage.daemon();

    cluster.await_interfaces(&["eth0", "net1", "net2"]);
    cluster.call("DEL").result();
    cluster.stage.assert_empty();
}

#[test]
fn an_interface_whose_record_was_never_written_is_attached() {
    let cluster = Cluster::selecting("");
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();
    cluster.call("ADD").result();
    // So it is where a daemon is killed while it writes.
    let records = fs::File::options().append(true).open(cluster.stage.scene.records("pod-1"));
    records.unwrap().write_all(b"{\"ifname\":\"net1\",\"format\":1,\"pha").unwrap();

    cluster.server.select("ns/p", "red");

    cluster.await_interfaces(&["eth0", "net1"]);
    cluster.call("DEL").result();
    cluster.stage.assert_empty();
}

/// A plugin that makes nothing, answers with its interface, and keeps what it was told.
const SPY: &str = r#"#!/bin/sh
cat >"$0-$CNI_COMMAND-$CNI_IFNAME.json"
[ "$CNI_COMMAND" != ADD ] ||
    printf '{"cniVersion":"1.0.0","interfaces":[{"name":"%s","sandbox":"%s"}]}' "$CNI_IFNAME" "$CNI_NETNS"
"#;

#[test]
fn a_network_selected_later_gets_a_device_that_no_other_has() {
    let mut cluster = Cluster::selecting("fast,fast@data0");
    let kubelet = Kubelet::start(("ns", "p"), Get::Answers);
    let bin = cluster.stage.scene.path("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("spy"), SPY).unwrap();
    fs::set_permissions(bin.join("spy"), fs::Permissions::from_mode(0o755)).unwrap();
    let conf = json!({"cniVersion": "1.0.0", "type": "spy", "capabilities": {"deviceID": true}});
    let resource = json!({"k8s.v1.cni.cncf.io/resourceName": "intel.com/vf"});
    cluster.server.put_definition("ns/fast", &conf.to_string(), &resource);
    cluster.stage.daemon_conf["binDir"] = json!(bin);
    cluster.stage.daemon_conf["kubeletDir"] = json!(kubelet.root());
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();
    cluster.call("ADD").result();
    let device = |ifname: &str| {
        let text = fs::read_to_string(bin.join(format!("spy-ADD-{ifname}.json"))).unwrap_or_default();
        serde_json::from_str(&text).map_or(Value::Null, |told: Value| told["deviceID"].clone())
    };
    assert_eq!((device("net1"), device("data0")), (json!("0000:03:02.1"), json!("0000:03:02.5")));

    // The first goes; what stays keeps its device, and what comes gets the one that is free now.
    cluster.server.select("ns/p", "fast@data0,fast@data1");

    cluster.stage.await_that("that the new one is attached", || device("data1") != Value::Null);
    assert_eq!(device("data1"), json!("0000:03:02.1"));
    assert!(bin.join("spy-DEL-net1.json").exists() && !bin.join("spy-DEL-data0.json").exists());
}
