//! Whether the next pod would get a port: STATUS, and `manifold doctor`.

use super::*;

fn status(stage: &Stage) -> Answer {
    let call = Call { verb: "STATUS", container: "", ifname: "", netns: "" };
    stage.scene.call(&call, &stage.conf(&stage.network(&json!({}))))
}

fn found(stage: &Stage) -> (bool, Value) {
    stage.scene.examined("00-manifold.conf", &stage.conf(&stage.network(&json!({}))))
}

#[test]
fn the_status_asks_the_switch_and_the_doctor_tells_which_it_is() {
    let mut stage = Stage::new();
    status(&stage).result();
    let (ok, seen) = found(&stage);
    let told = seen["Open vSwitch"]["found"].as_str().unwrap();
    assert!(ok && told.contains("with DPDK") && told.starts_with("version "), "{seen}");
    assert_eq!(seen["VPP"], Value::Null, "there is none");

    stage.switch.vsctl("del-br br0");
    let (code, what, _) = status(&stage).error();
    assert!(code == 50 && what.contains("has no bridge \"br0\""), "{code} {what}");

    stage.more = json!({"timeoutSeconds": 2});
    stage.switch.kill_daemon();
    stage.switch.kill_database();
    let (code, what, remedy) = status(&stage).error();
    assert!(code == 50 && what.contains("nobody listens") && !remedy.is_empty(), "{code} {what} {remedy}");
    let (ok, seen) = found(&stage);
    assert!(!ok, "{seen}");
    assert_eq!(seen["Open vSwitch"]["health"], "warning", "{seen}");
    assert!(seen["Open vSwitch"]["remedy"].is_string(), "{seen}");
}

#[test]
fn a_switch_without_dpdk_is_told_by_the_doctor() {
    let stage = Stage::with(Switch::database_only);

    let (_, seen) = found(&stage);

    assert_eq!(seen["Open vSwitch"]["health"], "warning", "{seen}");
    assert!(seen["Open vSwitch"]["found"].as_str().unwrap().ends_with("runs without DPDK"), "{seen}");
}
