//! Pods of a cluster: the runtime runs them, and an API server, which is slow and fails now and then, knows what they
//! select and is told what they got.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::api_server::{ApiServer, Mishap};
use crate::killed::Gate;
use crate::pods::address;
use crate::runtime::Runtime;
use crate::scene::Scene;

/// A runtime, and the API server of its cluster, which has the networks "data", "lab" and "gate".
fn cluster() -> (Runtime, ApiServer) {
    let scene = Scene::new();
    let server = ApiServer::start();
    let lab = json!({"cniVersion": "1.0.0", "type": "bridge", "bridge": "lab0", "ipam": scene.ipam(2)});
    let gate = json!({"cniVersion": "1.0.0", "type": "gate"});
    for (name, conf) in [("data", &scene.macvlan("data", 1)), ("lab", &lab), ("gate", &gate)] {
        server.put_definition(&format!("default/{name}"), &conf.to_string(), &json!({}));
    }
    let mut default = scene.macvlan("default", 0);
    default["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}]);
    let mut conf = scene.conf(&json!([default]));
    conf["kubeconfig"] = json!(server.kubeconfig());
    // The runtime keeps the pod's annotations to itself: they are asked for.
    conf["capabilities"] = json!({"portMappings": true});
    (Runtime::start(scene, conf), server)
}

/// Lets the cluster know a pod.
fn put_pod(server: &ApiServer, name: &str, networks: &str) {
    let annotations = json!({"k8s.v1.cni.cncf.io/networks": networks});
    server.put_pod(&format!("default/{name}"), &format!("uid-of-{name}"), &annotations);
}

/// What the pod is told it has: network, interface and address of each.
fn told(server: &ApiServer, name: &str) -> Vec<[String; 3]> {
    let pod = server.pod(&format!("default/{name}")).unwrap();
    let text = pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"].as_str().unwrap_or("[]");
    let entries: Vec<Value> = serde_json::from_str(text).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    entries.iter().map(|entry| [&entry["name"], &entry["interface"], &entry["ips"][0]].map(text)).collect()
}

fn reasons(server: &ApiServer) -> Vec<String> {
    let events = server.events("default");
    events.iter().map(|event| event["reason"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_pod_of_a_cluster_that_fails_now_and_then_gets_its_networks_and_is_told() {
    let (runtime, server) = cluster();
    put_pod(
        &server,
        "web",
        r#"[{"name":"data","default-route":["10.77.1.1"]},{"name":"lab","interface":"lab"}]"#,
    );
    server.let_go_wrong(Method::GET, "/pods/web", Mishap::Late(Duration::from_secs(1)));
    server.let_go_wrong(Method::GET, "/network-attachment-definitions/data", Mishap::Code(500));
    server.let_go_wrong(Method::GET, "/network-attachment-definitions/lab", Mishap::Reset);
    server.let_go_wrong(Method::PATCH, "/status", Mishap::Code(409));

    let id = runtime.run(runtime.pod("web", "")).unwrap();

    let links = runtime.seen(&id, "addr");
    let ips = ["eth0", "net1", "lab"].map(|ifname| address(&links, ifname));
    assert_eq!(ips, ["10.77.0.2", "10.77.1.2", "10.77.2.2"]);
    let routes = runtime.seen(&id, "route");
    let defaults: Vec<_> =
        routes.as_array().unwrap().iter().filter(|route| route["dst"] == "default").collect();
    assert_eq!(defaults.len(), 1, "{routes}");
    assert_eq!((&defaults[0]["gateway"], &defaults[0]["dev"]), (&json!("10.77.1.1"), &json!("net1")));
    let expected = [
        ("default", "eth0", "10.77.0.2"),
        ("default/data", "net1", "10.77.1.2"),
        ("default/lab", "lab", "10.77.2.2"),
    ];
    assert_eq!(told(&server, "web"), expected.map(|(a, b, c)| [a, b, c].map(str::to_owned)));
    assert_eq!(reasons(&server), ["AddedInterface"; 3]);

    runtime.stop(&id).unwrap();
    runtime.remove(&id).unwrap();
    runtime.assert_empty();
}

#[test]
fn a_network_that_the_cluster_does_not_have_is_told_to_the_pod_and_leaves_nothing() {
    let (runtime, server) = cluster();
    put_pod(&server, "web", "data,nowhere");

    let refused = runtime.run(runtime.pod("web", "")).unwrap_err();

    assert!(refused.message().contains("default/nowhere"), "{}", refused.message());
    assert_eq!(reasons(&server), ["NoNetworkFound"]);
    assert_eq!(told(&server, "web"), [[""; 3]; 0]);
    runtime.assert_empty();
}

#[test]
fn a_runtime_that_is_killed_midway_leaves_nothing_and_the_next_try_is_told() {
    let (mut runtime, server) = cluster();
    let gate = Gate::before("ADD", &runtime);
    put_pod(&server, "web", "data,lab@lab,gate");
    runtime.kill_while_running(runtime.pod("web", ""), move || gate.await_arrival());
    runtime.kill_plugins();
    assert_ne!(runtime.scene.kept(), Default::default());

    runtime.restart();
    let id = runtime.pods().pop().expect("the pod that was begun");
    runtime.stop(&id).unwrap();
    runtime.remove(&id).unwrap();

    runtime.assert_empty();
    assert_eq!(told(&server, "web"), [[""; 3]; 0], "nobody was told of what was not done");
    let mut again = runtime.pod("web", "");
    again.metadata.as_mut().unwrap().attempt = 1;
    let id = runtime.run(again).unwrap();
    let names: Vec<String> = told(&server, "web").into_iter().map(|[name, ..]| name).collect();
    assert_eq!(
        names,
        ["default", "default/data", "default/lab"],
        "a network without an interface is no entry"
    );
    runtime.stop(&id).unwrap();
    runtime.remove(&id).unwrap();
    runtime.assert_empty();
}
