//! What passes by itself is waited for, within a limit; what does not is reported at once.

use std::time::{Duration, Instant};

use http::Method;
use manifold::engine::ports::Cluster as _;
use manifold::host::kube::Budget;
use manifold::model::FaultKind;

use crate::api_server::Mishap;
use crate::{AMPLE, Cluster, LITTLE, NEVER, anonymous, of, status_of, web};

#[test]
fn what_passes_by_itself_is_tried_again() {
    let cluster = Cluster::new();
    for mishap in [500, 502, 503, 504, 429].map(Mishap::Code).into_iter().chain([Mishap::Reset, Mishap::Lost])
    {
        let before = cluster.api.asked().len();
        cluster.api.let_go_wrong(Method::GET, "/pods/web", mishap.clone());

        let pod = cluster.asked().pod(&web("uid-1"));

        assert!(pod.is_ok_and(|pod| pod.is_some()), "{mishap:?}");
        assert_eq!(cluster.api.asked().len() - before, 2, "{mishap:?}");
    }
}

#[test]
fn what_does_not_pass_is_reported_at_once() {
    let cluster = Cluster::new();
    for (mishap, kind) in [
        (Mishap::Code(400), FaultKind::Cluster),
        (Mishap::Code(401), FaultKind::Cluster),
        (Mishap::Code(403), FaultKind::Cluster),
        (Mishap::Garbage, FaultKind::Decode),
    ] {
        let before = cluster.api.asked().len();
        cluster.api.let_go_wrong(Method::GET, "/pods/web", mishap.clone());

        let fault = cluster.asked().pod(&web("uid-1")).unwrap_err();

        assert_eq!(fault.kind(), kind, "{mishap:?}");
        assert!(fault.to_string().contains("pod \"default/web\""), "{fault}");
        assert!(fault.to_string().contains(&cluster.api.url()), "{fault}");
        assert!(!fault.to_string().contains("captive portal"), "{fault}");
        assert_eq!(cluster.api.asked().len() - before, 1, "{mishap:?}");
    }
}

#[test]
fn a_slow_server_is_waited_for() {
    let cluster = Cluster::new();
    cluster.api.put_definition("default/data", "{}", &serde_json::json!({}));
    let slow = Mishap::Late(Duration::from_secs(2));
    cluster.api.let_go_wrong(Method::GET, "/pods/web", slow.clone());
    cluster.api.let_go_wrong(Method::PATCH, "/pods/web", slow);
    let asked = cluster.asked();

    assert!(asked.pod(&web("uid-1")).unwrap().is_some());
    asked.publish(&web("uid-1"), &status_of("[]")).unwrap();

    assert_eq!(cluster.api.asked().len(), 2);
}

#[test]
fn a_try_that_takes_too_long_is_given_up_for_the_next() {
    let cluster = Cluster::new();
    cluster.api.let_go_wrong(Method::GET, "/pods/web", NEVER);

    let pod = cluster.asked_within(Budget { one_try: Duration::from_secs(5), ..AMPLE }).pod(&web("uid-1"));

    assert!(pod.unwrap().is_some());
    assert_eq!(cluster.api.asked().len(), 2);
}

#[test]
fn the_server_says_when_to_ask_again() {
    let cluster = Cluster::new();
    cluster.api.let_go_wrong(Method::GET, "/pods/web", Mishap::Busy(1));
    let start = Instant::now();

    assert!(cluster.asked().pod(&web("uid-1")).unwrap().is_some());

    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[test]
fn patience_ends_and_says_what_it_waited_for() {
    let cluster = Cluster::new();
    for _ in 0..100 {
        cluster.api.let_go_wrong(Method::GET, "/pods/web", Mishap::Code(503));
    }

    let fault = cluster.asked_within(LITTLE).pod(&web("uid-1")).unwrap_err();

    let text = fault.to_string();
    let said =
        format!("waiting to get pod \"default/web\" at API server {:?}: it answers 503", cluster.api.url());
    assert_eq!(fault.kind(), FaultKind::TimedOut);
    assert!(text.starts_with("gave up after ") && text.contains(&said), "{text}");
}

#[test]
fn a_silent_server_uses_up_the_budget_and_leaves_one_try_to_the_next_request() {
    let cluster = Cluster::new();
    for _ in 0..100 {
        cluster.api.let_go_wrong(Method::GET, "/pods/web", NEVER);
    }
    let asked = cluster.asked_within(LITTLE);

    let fault = asked.pod(&web("uid-1")).unwrap_err();
    let before = cluster.api.asked().len();
    asked.pod(&web("uid-1")).unwrap_err();
    asked.publish(&web("uid-1"), &status_of("[]")).unwrap();

    assert_eq!(fault.kind(), FaultKind::TimedOut);
    assert!(fault.to_string().contains("no answer within "), "{fault}");
    assert_eq!(cluster.api.asked().len() - before, 2);
}

#[test]
fn a_server_that_is_down_is_waited_for_within_the_budget() {
    let cluster = Cluster::new();
    let kubeconfig = std::fs::read_to_string(cluster.api.kubeconfig()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (copy, authority) = (folder.path().join("kubeconfig"), folder.path().join("ca.crt"));
    std::fs::copy(cluster.api.path("ca.crt"), &authority).unwrap();
    let here = cluster.api.path("ca.crt").display().to_string();
    std::fs::write(&copy, kubeconfig.replace(&here, "ca.crt")).unwrap();
    let Cluster { api, _node } = cluster;
    drop(api);

    let fault = of(&copy, LITTLE).unwrap().pod(&anonymous()).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::TimedOut);
    assert!(fault.to_string().contains("Connection refused"), "{fault}");
}
