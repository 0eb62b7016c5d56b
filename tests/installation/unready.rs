//! While it cannot be told what the configuration should be, it stays as it is, and the daemon says what it waits for.

use std::fs;

use serde_json::json;

use crate::node::{Node, calico};

#[test]
fn nothing_is_written_until_there_is_a_primary() {
    let node = Node::new();
    let _daemon = node.daemon();

    node.await_trouble("there is no configuration of a default network");
    assert_eq!(node.names(), [""; 0]);
    node.write("10-calico.conflist", "{");
    node.await_trouble("10-calico.conflist");
    assert_eq!(node.names(), ["10-calico.conflist"]);

    node.primary(&calico());
    node.await_that("it is written", || node.is_ready());
    assert_eq!(node.capabilities(), ["portMappings"]);
}

#[test]
fn a_primary_that_is_emptied_or_half_written_changes_nothing() {
    let node = Node::new();
    node.primary(&calico());
    let _daemon = node.daemon();
    node.await_that("it is written", || node.is_ready());
    let text = node.text();

    let whole = calico().to_string();
    for wrong in ["", &whole[..whole.len() / 2], "[]", r#"{"name":"k8s"}"#] {
        node.write("10-calico.conflist", wrong);
        node.await_trouble("cannot take");
        assert_eq!(node.text(), text, "{wrong}");
        node.primary(&calico());
        node.await_that("all is well", || node.is_ready());
        assert_eq!(node.text(), text);
    }
}

#[test]
fn a_primary_that_goes_changes_nothing_until_another_comes() {
    let node = Node::new();
    node.primary(&calico());
    let _daemon = node.daemon();
    node.await_that("it is written", || node.is_ready());
    let text = node.text();

    fs::remove_file(node.file("10-calico.conflist")).unwrap();
    node.await_trouble("there is no configuration of a default network");
    assert_eq!(node.text(), text);

    node.write("20-bridge.conf", r#"{"cniVersion":"0.4.0","name":"other","type":"bridge"}"#);
    node.await_that("the other is taken", || node.is_ready());
    assert_eq!(node.plugin()["clusterNetwork"], json!(node.file("20-bridge.conf")));
}

#[test]
fn the_readiness_indicator_is_waited_for_and_its_loss_is_told() {
    let mut node = Node::new();
    let indicator = node.path("ready");
    node.conf["readinessindicatorfile"] = json!(indicator);
    node.primary(&calico());
    let _daemon = node.daemon();

    node.await_trouble("still waiting for readinessindicatorfile");
    assert_eq!(node.names(), ["10-calico.conflist"]);
    fs::write(&indicator, "").unwrap();
    node.await_that("it is written", || node.is_ready());
    let text = node.text();

    fs::remove_file(&indicator).unwrap();
    node.await_trouble("still waiting for readinessindicatorfile");
    assert_eq!(node.text(), text);
}

#[test]
fn an_installation_that_can_never_be_keeps_the_daemon_from_starting() {
    let mut node = Node::new();
    node.conf["cniConfigName"] = json!("00-manifold");

    let config = node.path("daemon.json");
    fs::write(&config, node.conf.to_string()).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_manifold"))
        .args(["daemon", "--config"])
        .arg(config)
        .output()
        .unwrap();

    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("\"cniConfigName\" is \"00-manifold\""), "{said}");
}
