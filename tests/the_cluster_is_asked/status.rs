//! The status annotation: one conditional write, to the pod that was attached and to no other.

use http::Method;
use manifold::engine::ports::Cluster as _;
use manifold::model::FaultKind;
use manifold::model::pod::{NETWORK_STATUS, PodName};
use serde_json::{Value, json};

use crate::api_server::Mishap;
use crate::{Cluster, anonymous, status_of, web};

const STATUS: &str = "[{\n    \"name\": \"default/data\"\n}]";
const WRITE: &str = "PATCH /api/v1/namespaces/default/pods/web/status";
const READ: &str = "GET /api/v1/namespaces/default/pods/web";
const PUT: &str = "PUT /api/v1/namespaces/default/pods/web/status";

fn published(cluster: &Cluster) -> Value {
    cluster.api.pod("default/web").unwrap()["metadata"]["annotations"][NETWORK_STATUS].clone()
}

#[test]
fn the_status_is_one_write() {
    let cluster = Cluster::new();

    cluster.asked().publish(&web("uid-1"), &status_of(STATUS)).unwrap();

    let pod = cluster.api.pod("default/web").unwrap();
    assert_eq!(published(&cluster), STATUS);
    assert_eq!(pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"], "data");
    assert_eq!(pod["status"]["phase"], "Pending");
    assert_eq!(cluster.api.asked(), [WRITE]);
    let patch = json!({"metadata": {"uid": "uid-1", "annotations": {NETWORK_STATUS: STATUS}}});
    assert_eq!(cluster.api.log()[0].body, patch);
}

#[test]
fn a_pod_that_was_read_is_written_by_its_uid() {
    let cluster = Cluster::new();
    let asked = cluster.asked();
    asked.pod(&anonymous()).unwrap();
    cluster.api.put_pod("default/web", "uid-2", &json!({}));

    asked.publish(&anonymous(), &status_of(STATUS)).unwrap();

    // The runtime named no UID, so the newer pod may be meant: it is looked at once more, and written.
    assert_eq!(cluster.api.asked(), [READ, WRITE, READ, WRITE]);
    assert_eq!(published(&cluster), STATUS);
}

#[test]
fn a_pod_that_is_gone_or_replaced_is_no_error() {
    let cluster = Cluster::new();
    cluster.api.put_pod("default/web", "uid-2", &json!({}));

    cluster.asked().publish(&web("uid-1"), &status_of(STATUS)).unwrap();
    assert_eq!(published(&cluster), Value::Null);
    assert_eq!(cluster.api.asked(), [WRITE, READ]);

    cluster.api.remove_pod("default/web");
    cluster.asked().publish(&web("uid-1"), &status_of(STATUS)).unwrap();
    assert_eq!(cluster.api.asked(), [WRITE, READ, WRITE]);
}

#[test]
fn a_uid_refused_as_an_immutable_field_is_a_replaced_pod_too() {
    let cluster = Cluster::new();
    cluster.api.put_pod("default/web", "uid-2", &json!({}));
    cluster.api.let_go_wrong(Method::PATCH, "/status", Mishap::Code(422));

    cluster.asked().publish(&web("uid-1"), &status_of(STATUS)).unwrap();

    assert_eq!(published(&cluster), Value::Null);
}

#[test]
fn a_refused_status_is_an_error() {
    let cluster = Cluster::new();
    cluster.api.let_go_wrong(Method::PATCH, "/status", Mishap::Code(422));

    let fault = cluster.asked().publish(&web("uid-1"), &status_of(STATUS)).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::Cluster);
    assert!(
        fault.to_string().starts_with("cannot write the network status of pod \"default/web\""),
        "{fault}"
    );
    assert!(fault.to_string().contains("it answers 422"), "{fault}");
}

#[test]
fn a_write_that_meets_another_is_made_again() {
    let cluster = Cluster::new();
    cluster.api.let_go_wrong(Method::PATCH, "/status", Mishap::Code(409));

    cluster.asked().publish(&web("uid-1"), &status_of(STATUS)).unwrap();

    assert_eq!(published(&cluster), STATUS);
    assert_eq!(cluster.api.asked(), [WRITE, READ, WRITE]);
}

#[test]
fn writes_that_never_end_to_meet_are_given_up() {
    let cluster = Cluster::new();
    for _ in 0..100 {
        cluster.api.let_go_wrong(Method::PATCH, "/status", Mishap::Code(409));
    }

    let fault = cluster.asked().publish(&web("uid-1"), &status_of(STATUS)).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::TryLater);
    assert_eq!(cluster.api.asked().iter().filter(|asked| *asked == WRITE).count(), 6);
}

#[test]
fn a_write_whose_answer_is_lost_is_made_again() {
    let cluster = Cluster::new();
    cluster.api.let_go_wrong(Method::PATCH, "/status", Mishap::Lost);

    cluster.asked().publish(&web("uid-1"), &status_of(STATUS)).unwrap();

    assert_eq!(published(&cluster), STATUS);
}

#[test]
fn a_static_pod_is_written_by_the_uid_it_has_at_the_server() {
    let cluster = Cluster::new();
    cluster.api.put_pod("default/web", "uid-1", &json!({"kubernetes.io/config.source": "file"}));

    cluster.asked().publish(&web("the kubelet's"), &status_of(STATUS)).unwrap();

    assert_eq!(published(&cluster), STATUS);
}

#[test]
fn an_account_that_may_only_update_puts_the_whole_pod_back() {
    let cluster = Cluster::new();
    cluster.api.let_go_wrong(Method::PATCH, "/status", Mishap::Code(403));
    cluster.api.let_go_wrong(Method::PUT, "/status", Mishap::Code(409));

    cluster.asked().publish(&web("uid-1"), &status_of(STATUS)).unwrap();

    let put = cluster.api.log().pop().unwrap().body;
    assert_eq!(published(&cluster), STATUS);
    assert_eq!(put["spec"]["nodeName"], "node");
    assert_eq!(put["metadata"]["uid"], "uid-1");
    assert_eq!(cluster.api.asked(), [WRITE, READ, PUT, READ, READ, PUT]);
}

#[test]
fn an_account_that_may_only_update_leaves_another_pod_alone() {
    let cluster = Cluster::new();
    cluster.api.put_pod("default/web", "uid-2", &json!({}));
    cluster.api.let_go_wrong(Method::PATCH, "/status", Mishap::Code(403));

    cluster.asked().publish(&web("uid-1"), &status_of(STATUS)).unwrap();

    assert_eq!(published(&cluster), Value::Null);
    assert_eq!(cluster.api.asked(), [WRITE, READ]);
}

#[test]
fn an_account_that_may_not_write_is_told_so() {
    let cluster = Cluster::new();
    cluster.api.let_go_wrong(Method::PATCH, "/status", Mishap::Code(403));
    cluster.api.let_go_wrong(Method::PUT, "/status", Mishap::Code(403));

    let fault = cluster.asked().publish(&web("uid-1"), &status_of(STATUS)).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::Cluster);
    assert_eq!(fault.advice(), Some("let the account do that (RBAC)"));
}

#[test]
fn a_pod_that_never_was_needs_no_status() {
    let cluster = Cluster::new();
    let gone = PodName { name: "gone".into(), ..anonymous() };

    cluster.asked().publish(&gone, &status_of(STATUS)).unwrap();

    assert_eq!(cluster.api.asked(), ["PATCH /api/v1/namespaces/default/pods/gone/status"]);
}
