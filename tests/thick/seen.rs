//! What a daemon shows to the outside.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use http::Method;
use serde_json::json;

use crate::api_server::{ApiServer, Mishap};
use crate::stage::{Stage, answer};

pub(crate) fn metrics() -> String {
    let (code, body) = get("/metrics");
    assert_eq!(code, 200);
    body
}

fn get(path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect("127.0.0.1:9091").unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    answer(&mut stream)
}

fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.daemon_conf["metricsPort"] = json!(9091);
    stage
}

#[test]
fn calls_and_their_parts_are_counted() {
    let stage = stage();
    let _daemon = stage.daemon();
    let pod = stage.pod();
    stage.call("ADD", "pod-1", &pod).result();
    stage.call("ADD", "pod-1", &pod).error();

    let text = metrics();

    for line in [
        "multus_server_request_total{handler=\"/cni\",code=\"200\",method=\"post\"} 1",
        "multus_server_request_total{handler=\"/cni\",code=\"400\",method=\"post\"} 1",
        "manifold_calls_total{command=\"ADD\",code=\"0\"} 1",
        "manifold_calls_total{command=\"ADD\",code=\"101\"} 1",
        "manifold_call_duration_seconds_count{command=\"ADD\"} 2",
        "manifold_step_duration_seconds_count{phase=\"apply\",kind=\"macvlan\"} 1",
        "manifold_step_duration_seconds_count{phase=\"apply\",kind=\"plugin bridge\"} 1",
        "manifold_sandboxes 1",
        "manifold_spool 0",
        "manifold_configuration_missing 0",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
}

#[test]
fn nobody_but_root_of_this_node_is_served_unless_told_otherwise() {
    let mut stage = stage();
    // The address of the node's uplink.
    let is_reached = || TcpStream::connect("192.0.2.1:9091").is_ok();
    let first = stage.daemon();
    assert!(TcpStream::connect("127.0.0.1:9091").is_ok() && !is_reached());
    let mode = |name: &str| fs::metadata(stage.scene.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("run"), mode("run/multus.sock")), (0o700, 0o600));
    drop(first);

    stage.daemon_conf["metricsAddress"] = json!("192.0.2.1");
    let _daemon = stage.daemon();

    stage.await_that("it is told otherwise", is_reached);
}

#[test]
fn who_stays_at_the_port_of_the_metrics_keeps_nobody_out() {
    let stage = stage();
    let daemon = stage.daemon();

    let all: Vec<_> = (0..200).map(|_| TcpStream::connect("127.0.0.1:9091").unwrap()).collect();

    assert_eq!(get("/healthz").0, 200);
    assert!(metrics().contains("manifold_sandboxes 0"));
    let open = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    assert!(open < all.len() / 2, "{open} are open");
}

/// A cluster in which the pod is, to which the first connection breaks off.
fn cluster(stage: &mut Stage) -> ApiServer {
    let server = ApiServer::start();
    server.put_pod("ns/p", "u", &json!({}));
    server.let_go_wrong(Method::GET, "/pods/p", Mishap::Reset);
    stage.conf["kubeconfig"] = json!(server.kubeconfig());
    server
}

#[test]
fn requests_to_the_api_server_are_counted() {
    let mut stage = stage();
    let server = cluster(&mut stage);
    server.let_go_wrong(Method::POST, "/events", Mishap::Code(403));
    let daemon = stage.daemon();

    stage.call("ADD", "pod-1", &stage.pod()).result();

    let text = metrics();
    for line in [
        "manifold_api_requests_total{verb=\"get\",resource=\"pods\",code=\"200\"} 1",
        "manifold_api_requests_total{verb=\"patch\",resource=\"pods/status\",code=\"200\"} 1",
        "manifold_api_requests_total{verb=\"create\",resource=\"events\",code=\"201\"} 1",
        "manifold_api_requests_total{verb=\"create\",resource=\"events\",code=\"403\"} 1",
        "manifold_api_errors_total{verb=\"get\",resource=\"pods\",reason=\"connection\"} 1",
        "manifold_api_request_duration_seconds_count{verb=\"get\",resource=\"pods\"} 2",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    assert!(daemon.log().contains("ask get pods "), "{}", daemon.log());
}

#[test]
fn a_probe_hears_over_the_address_of_the_metrics_what_is_missing() {
    let mut stage = stage();
    let first = stage.daemon();
    assert_eq!((get("/readyz").0, get("/healthz").0, get("/other").0), (200, 200, 404));
    drop(first);
    fs::create_dir(stage.scene.path("net.d")).unwrap();
    for key in ["cniConfigDir", "multusAutoconfigDir"] {
        stage.daemon_conf[key] = json!(stage.scene.path("net.d"));
    }
    stage.daemon_conf["cniBinDir"] = json!("");
    let _daemon = stage.daemon();

    stage.await_that("it waits for a default network", || {
        let (code, text) = get("/readyz");
        code == 503 && text.contains("no configuration of a default network")
    });

    assert_eq!(get("/healthz").0, 200);
    assert!(metrics().contains("manifold_configuration_missing 1"));
    fs::write(stage.scene.path("net.d/10-x.conf"), r#"{"cniVersion":"1.0.0","name":"x","type":"bridge"}"#)
        .unwrap();
    stage.await_that("it is written", || get("/readyz").0 == 200);
    for line in ["manifold_configuration_missing 0", "manifold_configuration_writes_total 1"] {
        stage.await_that(line, || metrics().contains(line));
    }
}

#[test]
fn a_metrics_address_that_another_has_is_an_error_before_anybody_is_served() {
    let stage = stage();
    let _another = TcpListener::bind("127.0.0.1:9091").unwrap();

    assert!(!stage.start().ended());

    let log = fs::read_to_string(stage.scene.path("daemon.log")).unwrap();
    assert!(log.contains("cannot serve metrics at 127.0.0.1:9091"), "{log}");
    assert!(!log.contains("serving") && !stage.socket().exists(), "{log}");
}

#[test]
fn a_call_is_one_line_with_all_its_durations() {
    let stage = stage();
    let daemon = stage.daemon();
    stage.call("ADD", "pod-1", &stage.pod()).result();

    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("command=\"ADD\"")).unwrap();

    for word in ["container=\"pod-1\"", "network=\"meta\"", "apply macvlan", "apply plugin bridge", "ms="] {
        assert!(line.contains(word), "no {word} in {line}");
    }
}
