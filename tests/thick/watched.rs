//! What the daemon hears of the cluster spares calls their questions, whatever becomes of the connection.

use http::Method;
use serde_json::json;

use crate::api_server::Mishap;
use crate::live::Cluster;

impl Cluster {
    /// What calls asked: reads of one object.
    pub(crate) fn reads(&self) -> Vec<String> {
        let asked = self.server.asked();
        asked.into_iter().filter(|line| line.starts_with("GET") && line.contains("/namespaces/")).collect()
    }

    /// The address of the pod's `net1`, attached anew.
    fn address(&self) -> String {
        self.call("ADD").result();
        let record = self.stage.scene.record("pod-1", "net1");
        self.call("DEL").result();
        record[0]["result"]["ips"][0]["address"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_call_asks_for_nothing_that_was_told() {
    let cluster = Cluster::selecting("red,other/blue");
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();

    cluster.call("ADD").result();

    assert_eq!(cluster.reads(), [""; 0]);
    let metadata = cluster.server.log().into_iter().filter(|asked| asked.path.starts_with("/api/v1/pods?"));
    for asked in metadata {
        assert!(asked.path.contains("fieldSelector=spec.nodeName%3Dnode"), "{asked:?}");
        assert!(asked.accept.contains("as=PartialObjectMetadata"), "{asked:?}");
    }
    cluster.call("DEL").result();
    cluster.stage.assert_empty();
}

#[test]
fn what_was_not_told_is_asked_for_once() {
    let mut cluster = Cluster::selecting("red");
    cluster.stage.daemon_conf["nodeName"] = json!("another");
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();

    cluster.call("ADD").result();

    assert_eq!(cluster.reads(), ["GET /api/v1/namespaces/ns/pods/p"]);
}

#[test]
fn changes_are_heard_through_ended_watches_expired_versions_and_refusals() {
    let cluster = Cluster::selecting("red");
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();
    assert_eq!(cluster.address(), "10.77.3.2/24");

    let networks = "/network-attachment-definitions";
    for (n, trouble) in (11..).zip(["ended", "expired", "refused", "garbled"]) {
        match trouble {
            "ended" => cluster.server.end_watches(),
            "expired" => {
                cluster.server.forget();
                cluster.server.end_watches();
            }
            "refused" => {
                cluster.server.let_go_wrong(Method::GET, networks, Mishap::Code(500));
                cluster.server.let_go_wrong(Method::GET, networks, Mishap::Reset);
                cluster.server.end_watches();
            }
            _ => {
                cluster.server.let_go_wrong(Method::GET, networks, Mishap::Garbage);
                cluster.server.end_watches();
            }
        }
        let network = cluster.stage.scene.macvlan("red", n);
        cluster.server.put_definition("ns/red", &network.to_string(), &json!({}));
        cluster.await_watches();

        let subnet = format!("10.77.{n}.");
        cluster.stage.await_that(trouble, || cluster.address().starts_with(&subnet));
    }
    assert_eq!(cluster.reads(), [""; 0]);
}

#[test]
fn while_nothing_is_heard_calls_ask_for_what_may_be_old() {
    let cluster = Cluster::selecting("red");
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();
    assert_eq!(cluster.address(), "10.77.3.2/24");
    // The account may not list and watch any more.
    for _ in 0..100 {
        cluster.server.let_go_wrong(Method::GET, "v1/network-attachment-definitions", Mishap::Code(403));
    }
    cluster.server.forget();
    cluster.server.end_watches();
    let network = cluster.stage.scene.macvlan("red", 9);
    cluster.server.put_definition("ns/red", &network.to_string(), &json!({}));

    cluster.stage.await_that("that the new network is attached", || cluster.address() == "10.77.9.2/24");

    let asked = "GET /apis/k8s.cni.cncf.io/v1/namespaces/ns/network-attachment-definitions/red";
    assert!(cluster.reads().iter().all(|read| read == asked) && !cluster.reads().is_empty());
}

#[test]
fn a_network_that_was_removed_is_not_attached_any_more() {
    let cluster = Cluster::selecting("red");
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();
    assert_eq!(cluster.address(), "10.77.3.2/24");

    cluster.server.remove_definition("ns/red");

    cluster.stage.await_that("that it is gone", || {
        let answer = cluster.call("ADD");
        let refused = !answer.succeeded();
        cluster.call("DEL").result();
        refused
    });
}

#[test]
fn a_pods_successor_of_the_same_name_is_not_taken_for_it() {
    let cluster = Cluster::selecting("red");
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();
    cluster.server.put_pod("ns/p", "its-successor", &json!({}));

    cluster.stage.await_that("that the other one is refused", || {
        let answer = cluster.call("ADD");
        let refused = !answer.succeeded();
        if refused {
            assert_eq!(answer.error().0, 11);
        }
        cluster.call("DEL").result();
        refused
    });
    cluster.stage.assert_empty();
}

#[test]
fn a_token_and_an_authority_that_were_replaced_are_taken_up() {
    let mut cluster = Cluster::selecting("red");
    let token = cluster.server.file("token", crate::api_server::TOKEN);
    cluster.stage.daemon_conf["kubeconfig"] =
        json!(cluster.server.kubeconfig_of(&json!({"tokenFile": token})));
    let _daemon = cluster.stage.daemon();
    cluster.await_watches();

    cluster.server.accept_only("another");
    cluster.server.file("token", "another");
    cluster.server.end_watches();

    cluster.await_watches();
    assert_eq!(cluster.address(), "10.77.3.2/24");
}
