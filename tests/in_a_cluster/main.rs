//! A pod of a cluster, from the runtime's call to its status and events: the program, the kernel, and an API server that
//! speaks real HTTPS.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test may panic, and starts programs"
)]

#[path = "../common/api_server/mod.rs"]
mod api_server;
#[path = "../common/mod.rs"]
mod common;
mod devices;
mod doctor;
#[path = "../common/kubelet/mod.rs"]
mod kubelet;
#[path = "../common/scene.rs"]
mod scene;

use std::time::Duration;

use api_server::{ApiServer, Mishap, TOKEN};
use common::Pod;
use http::Method;
use scene::{Answer, Call, Scene};
use serde_json::{Value, json};

/// A pod named ns/p with UID u, on a node of a cluster with two networks.
struct Stage {
    scene: Scene,
    server: ApiServer,
    pod: Pod,
    conf: Value,
}

impl Stage {
    fn new(annotations: &Value) -> Self {
        let scene = Scene::new();
        let server = ApiServer::start();
        server.put_pod("ns/p", "u", annotations);
        server.put_definition("ns/red", &scene.macvlan("red", 1).to_string(), &json!({}));
        server.put_definition("other/blue", &scene.macvlan("blue", 2).to_string(), &json!({}));
        server.put_definition("kube-system/base", &scene.macvlan("base", 3).to_string(), &json!({}));
        let mut conf = scene.conf(&json!([scene.macvlan("default", 0)]));
        conf["kubeconfig"] = json!(server.kubeconfig());
        let pod = scene.node.pod().unwrap();
        Self { scene, server, pod, conf }
    }

    fn selecting(networks: &str) -> Self {
        Self::new(&json!({"k8s.v1.cni.cncf.io/networks": networks}))
    }

    fn call(&self, verb: &str) -> Answer {
        self.call_as(verb, "u")
    }

    fn call_as(&self, verb: &str, uid: &str) -> Answer {
        self.call_in(verb, uid, &[])
    }

    /// The same, with variables of the environment.
    fn call_in(&self, verb: &str, uid: &str, variables: &[(&str, &str)]) -> Answer {
        let netns = self.pod.path().as_str();
        let call = Call { verb, container: "pod-1", ifname: "eth0", netns };
        let mut command = self.scene.command(env!("CARGO_BIN_EXE_manifold"), &call);
        let args = format!("K8S_POD_UID={uid};IgnoreUnknown=1;K8S_POD_NAME=p;K8S_POD_NAMESPACE=ns");
        command.env("CNI_ARGS", args).envs(variables.iter().copied());
        scene::finish(scene::start(command, self.conf.to_string().as_bytes()))
    }

    fn status(&self) -> Value {
        let pod = self.server.pod("ns/p").unwrap();
        let text =
            pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"].as_str().unwrap_or("null");
        serde_json::from_str(text).unwrap()
    }

    fn reasons(&self) -> Vec<String> {
        self.server.events("ns").iter().map(|event| event["reason"].as_str().unwrap().to_owned()).collect()
    }

    fn assert_empty(&self) {
        assert_eq!(self.pod.interfaces(), ["lo"]);
        assert_eq!(self.scene.kept(), Default::default());
    }
}

#[test]
fn a_pod_gets_its_networks_and_is_told_of_them() {
    let stage = Stage::selecting("red,other/blue@data0");

    stage.call("ADD").result();

    assert_eq!(stage.pod.interfaces(), ["data0", "eth0", "lo", "net1"]);
    let status = stage.status();
    let told: Vec<_> =
        status.as_array().unwrap().iter().map(|s| (&s["name"], &s["interface"], &s["ips"][0])).collect();
    assert_eq!(told[0], (&json!("default"), &json!("eth0"), &json!("10.77.0.2")));
    assert_eq!(told[1], (&json!("ns/red"), &json!("net1"), &json!("10.77.1.2")));
    assert_eq!(told[2], (&json!("other/blue"), &json!("data0"), &json!("10.77.2.2")));
    assert_eq!(status[0]["default"], true);
    assert_eq!(stage.reasons(), ["AddedInterface"; 3]);
    stage.call("CHECK").result();
    stage.call("DEL").result();
    stage.assert_empty();
}

#[test]
fn an_add_asks_as_little_as_it_can() {
    let stage = Stage::selecting("red,red@again,other/blue");

    stage.call("ADD").result();

    let asked = stage.server.asked();
    let count = |words: &str| asked.iter().filter(|line| line.contains(words)).count();
    assert_eq!(count("GET"), 3, "the pod, and each of two networks once: {asked:?}");
    assert_eq!((count("PATCH"), count("POST")), (1, 4), "{asked:?}");
    let before = asked.len();
    stage.call("DEL").result();
    assert_eq!(stage.server.asked().len(), before, "a DEL asks nobody");
}

#[test]
fn annotations_that_come_with_the_call_save_the_question() {
    let mut stage = Stage::selecting("");
    stage.conf["runtimeConfig"] =
        json!({"io.kubernetes.cri.pod-annotations": {"k8s.v1.cni.cncf.io/networks": "red"}});

    stage.call("ADD").result();

    assert!(!stage.server.asked().iter().any(|line| line.contains("GET") && line.contains("/pods/")));
    assert_eq!(stage.status()[1]["name"], "ns/red");
}

#[test]
fn a_network_that_is_not_there_is_told_to_the_pod() {
    let stage = Stage::selecting("red,missing");

    let (code, message, _) = stage.call("ADD").error();

    assert_eq!(code, 100);
    assert!(message.contains("ns/missing"), "{message}");
    assert_eq!(stage.reasons(), ["NoNetworkFound"]);
    stage.assert_empty();
}

#[test]
fn a_failure_is_told_to_the_pod_once_with_its_remedy() {
    let stage = Stage::selecting("red");
    let lost = json!({"cniVersion": "1.0.0", "name": "red", "type": "macvlan", "master": "nowhere0"});
    stage.server.put_definition("ns/red", &lost.to_string(), &json!({}));

    stage.call("ADD").error();

    let events = stage.server.events("ns");
    assert_eq!(events.len(), 1);
    let message = events[0]["message"].as_str().unwrap();
    assert!(message.contains("nowhere0") && message.contains("correct the network's"), "{message}");
    stage.assert_empty();
}

#[test]
fn isolation_keeps_a_pod_to_its_own_namespace() {
    let mut stage = Stage::selecting("red,other/blue");
    stage.conf["namespaceIsolation"] = json!(true);
    let (_, message, _) = stage.call("ADD").error();
    assert!(message.contains("namespace isolation enabled"), "{message}");
    stage.assert_empty();

    stage.conf["globalNamespaces"] = json!("other");
    stage.call("ADD").result();
}

#[test]
fn the_default_network_may_come_from_the_cluster_and_be_replaced_by_the_pod() {
    let annotation = json!({"v1.multus-cni.io/default-network": "ns/red"});
    let mut stage = Stage::new(&annotation);
    stage.conf["clusterNetwork"] = json!("base");
    stage.conf["defaultNetworks"] = json!(["base"]);

    let result = stage.call("ADD").result();

    assert_eq!(result["ips"][0]["address"], "10.77.1.2/24");
    let status = stage.status();
    assert_eq!((&status[0]["name"], &status[1]["name"]), (&json!("ns/red"), &json!("kube-system/base")));
}

#[test]
fn a_pod_that_is_gone_is_answered_and_given_nothing() {
    for (version, gateway) in
        [("1.0.0", "/ips/0/gateway"), ("0.3.1", "/ips/0/gateway"), ("0.2.0", "/ip4/gateway")]
    {
        let mut stage = Stage::selecting("red");
        stage.server.remove_pod("ns/p");
        stage.conf["cniVersion"] = json!(version);

        let result = stage.call("ADD").result();

        assert_eq!(result.pointer(gateway), Some(&json!("0.0.0.0")), "{result}");
        stage.assert_empty();
    }
}

#[test]
fn another_pod_of_the_same_name_is_not_mistaken_for_it() {
    let stage = Stage::selecting("red");
    let (code, message, _) = stage.call_as("ADD", "another").error();
    assert_eq!(code, 11, "{message}");
    stage.assert_empty();

    let fixed = json!({"kubernetes.io/config.source": "file", "k8s.v1.cni.cncf.io/networks": "red"});
    stage.server.put_pod("ns/p", "mirror", &fixed);
    stage.call_as("ADD", "another").result();
}

#[test]
fn a_busy_api_server_is_survived() {
    let stage = Stage::selecting("red");
    stage.server.let_go_wrong(Method::GET, "/pods/p", Mishap::Late(Duration::from_secs(1)));
    stage.server.let_go_wrong(Method::GET, "/network-attachment-definitions/red", Mishap::Code(503));
    stage.server.let_go_wrong(Method::PATCH, "/status", Mishap::Reset);

    stage.call("ADD").result();

    assert_eq!(stage.status()[1]["name"], "ns/red");
}

#[test]
fn a_status_that_cannot_be_written_leaves_nothing() {
    let stage = Stage::selecting("red");
    stage.server.let_go_wrong(Method::PATCH, "/status", Mishap::Code(422));
    for _ in 0..8 {
        stage.server.let_go_wrong(Method::PATCH, "/status", Mishap::Code(422));
    }

    stage.call("ADD").error();

    stage.assert_empty();
}

#[test]
fn a_definition_without_a_configuration_is_a_file_on_the_node() {
    let stage = Stage::selecting("filed");
    stage.server.put_definition("ns/filed", "", &json!({}));
    stage.scene.network("filed.conf", &stage.scene.macvlan("filed", 5).to_string());

    stage.call("ADD").result();

    assert_eq!(stage.status()[1]["name"], "ns/filed");
    assert_eq!(stage.status()[1]["ips"][0], "10.77.5.2");
}

#[test]
fn on_a_node_without_authorities_one_is_needed_unless_none_is_asked_for() {
    let mut stage = Stage::selecting("red");
    let bare = [("SSL_CERT_FILE", "/nowhere"), ("SSL_CERT_DIR", "/nowhere")];
    let mut cluster = json!({"server": stage.server.url()});
    let user = json!({"token": TOKEN});
    stage.conf["kubeconfig"] = json!(stage.server.kubeconfig_with(&cluster, &user));

    let (_, message, remedy) = stage.call_in("ADD", "u", &bare).error();
    assert!(
        message.ends_with("no certificate authorities are found on this node (/etc/ssl/certs)"),
        "{message}"
    );
    assert!(remedy.contains("name the API server's authority in"), "{remedy}");
    stage.assert_empty();

    cluster["insecure-skip-tls-verify"] = json!(true);
    stage.conf["kubeconfig"] = json!(stage.server.kubeconfig_with(&cluster, &user));
    stage.call_in("ADD", "u", &bare).result();
    stage.call_in("DEL", "u", &bare).result();
    stage.assert_empty();
}

#[test]
fn a_kubeconfig_that_cannot_be_used_is_named_and_a_del_needs_none() {
    let mut stage = Stage::selecting("red");
    stage.call("ADD").result();
    stage.conf["kubeconfig"] = json!(stage.scene.path("nowhere"));

    stage.call("DEL").result();

    stage.assert_empty();
    let (_, message, _) = stage.call("ADD").error();
    assert!(message.contains("nowhere"), "{message}");
}
