//! Events about a pod.

use http::Method;
use manifold::engine::ports::Cluster as _;
use manifold::model::FaultKind;
use manifold::model::pod::Event;

use crate::api_server::Mishap;
use crate::{Cluster, anonymous, web};

fn added() -> Event {
    Event {
        warning: false,
        reason: "AddedInterface".into(),
        message: "Add net1 [10.0.0.2/24] from default/data".into(),
    }
}

#[test]
fn an_event_tells_of_its_pod() {
    let cluster = Cluster::new();

    cluster.asked().tell(&web("uid-1"), &added()).unwrap();

    let event = cluster.api.events("default").pop().unwrap();
    assert_eq!(event["involvedObject"]["kind"], "Pod");
    assert_eq!(event["involvedObject"]["name"], "web");
    assert_eq!(event["involvedObject"]["uid"], "uid-1");
    assert_eq!(event["type"], "Normal");
    assert_eq!(event["reason"], "AddedInterface");
    assert_eq!(event["message"], "Add net1 [10.0.0.2/24] from default/data");
    assert_eq!(event["source"]["component"], "manifold");
    assert_eq!(cluster.api.asked(), ["POST /api/v1/namespaces/default/events"]);
}

#[test]
fn an_event_names_the_uid_that_was_read() {
    let cluster = Cluster::new();
    let asked = cluster.asked();
    asked.pod(&anonymous()).unwrap();

    asked.tell(&anonymous(), &Event { warning: true, ..added() }).unwrap();

    let event = cluster.api.events("default").pop().unwrap();
    assert_eq!(event["involvedObject"]["uid"], "uid-1");
    assert_eq!(event["type"], "Warning");
}

#[test]
fn two_events_are_two() {
    let cluster = Cluster::new();
    let asked = cluster.asked();

    asked.tell(&web("uid-1"), &added()).unwrap();
    asked.tell(&web("uid-1"), &added()).unwrap();

    assert_eq!(cluster.api.events("default").len(), 2);
}

#[test]
fn an_event_whose_answer_is_lost_is_told_once() {
    let cluster = Cluster::new();
    cluster.api.let_go_wrong(Method::POST, "/events", Mishap::Lost);

    cluster.asked().tell(&web("uid-1"), &added()).unwrap();

    assert_eq!(cluster.api.events("default").len(), 1);
    assert_eq!(cluster.api.asked().len(), 2);
}

#[test]
fn an_account_that_may_not_tell_is_told_so() {
    let cluster = Cluster::new();
    cluster.api.let_go_wrong(Method::POST, "/events", Mishap::Code(403));

    let fault = cluster.asked().tell(&web("uid-1"), &added()).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::Cluster);
    assert!(
        fault.to_string().starts_with("cannot tell event \"AddedInterface\" of pod \"default/web\""),
        "{fault}"
    );
}
