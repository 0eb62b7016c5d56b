//! Each try of a request is told, for those who count.

use std::sync::{Arc, Mutex};

use http::Method;
use manifold::engine::ports::Cluster as _;
use manifold::host::kube::{Ended, KubeCluster, Tried};
use serde_json::json;

use crate::api_server::Mishap;
use crate::{AMPLE, Cluster, LITTLE, NEVER, of, status_of, web};

type Heard = Arc<Mutex<Vec<Tried>>>;

fn listening(cluster: KubeCluster) -> (KubeCluster, Heard) {
    let heard = Heard::default();
    let ear = Arc::clone(&heard);
    (cluster.telling(Arc::new(move |tried| ear.lock().unwrap().push(tried))), heard)
}

fn words(heard: &Heard) -> Vec<String> {
    let heard = heard.lock().unwrap();
    heard.iter().map(|Tried { verb, resource, ended, .. }| format!("{verb} {resource} {ended:?}")).collect()
}

#[test]
fn tries_are_told_by_what_was_asked_and_how_they_ended() {
    let cluster = Cluster::new();
    let (asked, heard) = listening(cluster.asked());
    cluster.api.let_go_wrong(Method::GET, "/pods/web", Mishap::Code(503));
    cluster.api.let_go_wrong(Method::GET, "/pods/web", Mishap::Reset);

    asked.pod(&web("uid-1")).unwrap();
    asked.definition("default", "none").unwrap();
    asked.published(&web("uid-1"), "nic.example.com").unwrap();
    asked.publish(&web("uid-1"), &status_of("[]")).unwrap();

    let expected = [
        "get pods Answered(503)",
        "get pods Broken",
        "get pods Answered(200)",
        "get network-attachment-definitions Answered(404)",
        "get pods Answered(200)",
        "list resourceslices Answered(200)",
        "patch pods/status Answered(200)",
    ];
    assert_eq!(words(&heard), expected);
}

#[test]
fn a_try_without_an_answer_says_why() {
    let cluster = Cluster::new();
    cluster.api.let_go_wrong(Method::GET, "/pods/web", NEVER);
    let (late, heard) = listening(cluster.asked_within(LITTLE));
    late.pod(&web("uid-1")).unwrap();
    let first = heard.lock().unwrap()[0].clone();
    assert!(first.ended == Ended::Late && first.took >= LITTLE.one_try, "{first:?}");

    let user = json!({"tokenFile": cluster.api.path("no-token")});
    let (barred, heard) = listening(of(&cluster.api.kubeconfig_of(&user), AMPLE).unwrap());
    barred.pod(&web("uid-1")).unwrap_err();
    assert_eq!(words(&heard), ["get pods Impossible"]);
}
