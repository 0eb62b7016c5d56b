//! What goes wrong: the switch's programs end, the bridge goes, Manifold is killed.

use super::*;
use crate::strace::{self, CHANGES};

#[test]
fn a_switch_that_is_down_is_a_clear_error_in_bounded_time_and_leaves_nothing() {
    let mut stage = Stage::new();
    let keys = json!({});
    stage.add(&keys);
    stage.more = json!({"timeoutSeconds": 2});

    // ovs-vswitchd alone: the database takes the change, and nobody acts on it.
    stage.switch.kill_daemon();
    let other = stage.scene.node.pod().unwrap();
    let network = stage.network(&keys);
    let (code, what, remedy) = stage.call_for("ADD", ("pod-2", &other), &network).error();
    assert!(code == 104 && what.contains("ovs-vswitchd did not take the change up in 2 s"), "{what}");
    assert!(remedy.contains("ovs-vswitchd"), "{remedy}");
    let ports = stage.switch.vsctl("--bare --columns=name find Interface type=dpdkvhostuserclient");
    assert_eq!(ports.lines().count(), 1, "the other's is there: {ports}");

    // The database too: a DEL is to be tried again, and what it is about stays on record.
    stage.switch.kill_database();
    let (code, what, _) = stage.call_for("ADD", ("pod-2", &other), &network).error();
    assert!(code == 11 && what.contains("nobody listens"), "{what}");
    let (code, what, _) = stage.call("DEL", &keys).error();
    assert!(
        code == 11 && what.starts_with("cannot detach \"net1\" (fast): its port of the switch"),
        "{what}"
    );
    stage.switch.start_database();
    stage.del(&keys);
    stage.switch.start_daemon();
    stage.assert_empty();
    assert_eq!(stage.switch.vsctl("--bare --columns=name find Interface type=dpdkvhostuserclient"), "");
}

#[test]
fn a_bridge_that_goes_midway_is_a_clear_error() {
    let stage = Stage::new();
    let keys = json!({});
    stage.add(&keys);

    stage.switch.vsctl("del-br br0");

    let (code, what, _) = stage.call("CHECK", &keys).error();
    assert!(code == 105 && what.ends_with("bridge \"br0\" is gone"), "{what}");
    let other = stage.scene.node.pod().unwrap();
    let (code, what, _) = stage.call_for("ADD", ("pod-2", &other), &stage.network(&keys)).error();
    assert!(code == 100 && what.contains("has no bridge \"br0\""), "{what}");
    stage.del(&keys);
    stage.assert_no_files();
}

#[test]
fn a_switch_without_dpdk_or_with_the_kernels_datapath_is_told_apart() {
    let stage = Stage::with(|folder| {
        let switch = Switch::database_only(folder);
        switch.vsctl("--no-wait add-br br0");
        switch
    });
    let refused = |keys: Value| stage.call("ADD", &keys).error();

    let (code, what, remedy) = refused(json!({}));
    assert!(code == 100 && what.ends_with("runs without DPDK"), "{what}");
    assert!(remedy.contains("dpdk-init=true"), "{remedy}");
    stage.switch.vsctl("--no-wait set Open_vSwitch . dpdk_initialized=true");
    let (code, what, _) = refused(json!({}));
    assert!(code == 100 && what.ends_with("makes no interfaces of type \"dpdkvhostuserclient\""), "{what}");
    stage.switch.vsctl("--no-wait set Open_vSwitch . iface_types=dpdkvhostuserclient");
    let (code, what, _) = refused(json!({}));
    assert!(code == 7 && what.ends_with("bridge \"br0\" uses the kernel's datapath"), "{what}");
    stage.assert_no_files();
}

#[test]
fn a_call_killed_at_any_step_leaves_nothing_after_del() {
    let stage = Stage::new();
    let keys = json!({"egress_policing_rate": 1000});
    let empty = |when: &str| {
        assert_eq!(stage.switch.ports("br0"), Vec::<String>::new(), "{when}");
        assert_eq!(stage.switch.vsctl("--bare --columns=type list QoS"), "", "{when}");
        stage.assert_no_files();
        for name in ["state", "cache", "sockets", "v"] {
            drop(std::fs::remove_dir_all(stage.scene.path(name)));
        }
    };
    for verb in ["ADD", "DEL"] {
        let prepare = || {
            if verb == "DEL" {
                drop(stage.add(&keys))
            }
        };
        let call = Call { verb, container: "pod-1", ifname: "net1", netns: stage.pod.path().as_str() };
        let conf = stage.conf(&stage.network(&keys));
        prepare();
        let traced = strace::trace(&stage.scene, &call, &conf);
        stage.del(&keys);
        empty("undisturbed");
        assert!(traced.count("sendto") >= 2, "the switch was not spoken with: {}", traced.log);
        for name in CHANGES {
            for n in 1..=traced.count(name) {
                prepare();
                strace::kill(&stage.scene, &call, &conf, (name, n));
                stage.del(&keys);
                empty(&format!("{verb} killed at {name} {n}"));
            }
        }
    }
}
