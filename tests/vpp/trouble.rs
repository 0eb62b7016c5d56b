//! What goes wrong: VPP ends, is restarted, hangs, refuses; records are lost; Manifold is killed.

use super::stage::Stage;
use super::*;
use crate::strace::{self, CHANGES};

#[test]
fn what_a_restarted_vpp_lost_is_seen_and_taken_down() {
    let stage = Stage::new();
    for keys in [
        json!({"interfaceType": "memif"}),
        json!({"mode": "client"}),
        json!({"bridge": 9, "createBridge": true}),
    ] {
        stage.add(&keys);

        stage.peer.kill();
        let (code, what, remedy) = stage.call("CHECK", &keys).error();
        assert!(code == 105 && what.contains("nobody listens at VPP's socket"), "{code} {what}");
        assert!(remedy.contains("restart the pod"), "{remedy}");
        stage.peer.with(StandIn::restart);
        stage.peer.listen();
        let (code, what, _) = stage.call("CHECK", &keys).error();
        assert!(code == 105 && what.contains("VPP does not have the interface any more"), "{code} {what}");
        stage.del(&keys);
        stage.assert_empty();
    }
}

#[test]
fn a_vpp_that_is_away_takes_no_pod_and_keeps_none() {
    let stage = Stage::new();
    let keys = json!({"interfaceType": "memif"});
    stage.add(&keys);
    stage.peer.kill();
    let other = stage.scene.node.pod().unwrap();
    let network = stage.network(&keys);

    let (code, what, remedy) = stage.call_for("ADD", ("pod-2", &other), &network).error();
    assert!(code == 11 && what.contains("nobody listens at VPP's socket"), "{code} {what}");
    assert_eq!(remedy, "start VPP");
    stage.del(&keys);
    stage.peer.with(StandIn::restart);
    stage.assert_empty();
    std::fs::remove_file(stage.peer.socket()).unwrap();
    let (code, what, remedy) = stage.call_for("ADD", ("pod-2", &other), &network).error();
    assert!(code == 100 && what.contains("VPP's API is not at"), "{code} {what}");
    assert!(remedy.contains("vppSocket"), "{remedy}");
    // Nor does a GC mind.
    let mut conf = stage.conf(&network);
    conf["cni.dev/valid-attachments"] = json!([]);
    let call = Call { verb: "GC", container: "", ifname: "", netns: "" };
    stage.scene.call(&call, &conf).result();
    stage.assert_empty();
}

#[test]
fn a_vpp_that_hangs_is_waited_for_a_bounded_time_and_nothing_is_forgotten() {
    let stage = Stage::new();
    let keys = json!({"interfaceType": "memif"});
    let mut conf = stage.conf(&stage.network(&keys));
    conf["vhostUser"]["timeoutSeconds"] = json!(3);
    let call = |verb| {
        let call = Call { verb, container: "pod-1", ifname: "net1", netns: stage.pod.path().as_str() };
        stage.scene.call(&call, &conf)
    };
    call("ADD").result();

    stage
        .peer
        .behave(Manners { unknown: vec![], trouble: Some(("control_ping", Trouble::Silence, u32::MAX)) });
    let (code, what, remedy) = call("DEL").error();
    assert!(
        code == 104 && what.contains("its port of the switch") && what.contains("did not answer in 3 s"),
        "{what}"
    );
    assert!(remedy.contains("vppctl"), "{remedy}");
    assert_eq!(stage.scene.record("pod-1", "net1")[0]["phase"], "detaching");
    stage.peer.behave(Manners::default());
    call("DEL").result();
    stage.assert_empty();
}

#[test]
fn a_refused_request_leaves_nothing() {
    let stage = Stage::new();
    let keys = json!({"interfaceType": "memif", "bridge": 9, "createBridge": true, "vlan": 5, "mtu": 1400});
    for name in [
        "bridge_domain_add_del_v2",
        "memif_socket_filename_add_del_v2",
        "memif_create_v2",
        "sw_interface_tag_add_del",
        "sw_interface_set_l2_bridge",
        "l2_interface_vlan_tag_rewrite",
        "l2_interface_efp_filter",
        "sw_interface_set_mtu",
        "sw_interface_set_flags",
    ] {
        // Once: what undoes it is not refused.
        stage.peer.with(|vpp| vpp.refuse_once = Some((name, -11)));
        let (code, what, remedy) = stage.call("ADD", &keys).error();
        assert!(
            code == 108 && what.contains("it answers -11, the kernel refuses the socket"),
            "{name}: {what}"
        );
        assert!(!remedy.contains("also:"), "{name}: {remedy}");
        stage.assert_empty();
    }
    stage.add(&keys);
    stage.del(&keys);
    stage.assert_empty();
}

#[test]
fn an_interface_whose_record_is_lost_is_replaced_by_the_next_add_or_collected() {
    let stage = Stage::new();
    let keys = json!({"vlan": 5});
    let forget = || std::fs::remove_dir_all(stage.scene.path("state")).unwrap();
    stage.add(&keys);
    forget();
    stage.add(&json!({"vlan": 6}));
    assert_eq!(stage.peer.with(|vpp| vpp.only().rewrite[2]), 6);

    // Of three, GC takes the one that no record knows, that is not valid, and that this Manifold made.
    let others = [stage.scene.node.pod().unwrap(), stage.scene.node.pod().unwrap()];
    let network = stage.network(&json!({"interfaceType": "memif"}));
    for (n, other) in others.iter().enumerate() {
        stage.call_for("ADD", (&format!("other-{n}"), other), &network).result();
    }
    forget();
    let foreign = |vpp: &mut StandIn| {
        let made = vpp.interfaces.values_mut().find(|made| made.rewrite[2] == 6).unwrap();
        // As another Manifold on the node would have tagged it.
        made.tag = format!("{}/0123456789ab", made.tag.rsplit_once('/').unwrap().0);
    };
    stage.peer.with(foreign);
    let mut conf = stage.conf(&network);
    conf["cni.dev/valid-attachments"] = json!([{"containerID": "other-1", "ifname": "net1"}]);
    let call = Call { verb: "GC", container: "", ifname: "", netns: "" };
    stage.scene.call(&call, &conf).result();
    stage.peer.with(|vpp| assert_eq!((vpp.interfaces.len(), vpp.sockets.len()), (2, 2), "{vpp:?}"));

    // A DEL whose record cannot be read finds what is its own by the tag.
    for (container, pod) in [("other-1", &others[1]), ("pod-1", &stage.pod)] {
        std::fs::create_dir_all(stage.scene.path("state/records")).unwrap();
        std::fs::write(stage.scene.records(container), "{").unwrap();
        stage.call_for("DEL", (container, pod), &network).result();
    }
    stage.peer.with(|vpp| assert!(vpp.is_pristine(), "{vpp:?}"));
}

#[test]
fn the_status_asks_vpp() {
    let stage = Stage::new();
    let conf = stage.conf(&stage.network(&json!({"interfaceType": "memif"})));
    let call = Call { verb: "STATUS", container: "", ifname: "", netns: "" };

    stage.scene.call(&call, &conf).result();
    stage.peer.behave(Manners { unknown: vec!["memif_dump"], trouble: None });
    let (code, what, remedy) = stage.scene.call(&call, &conf).error();
    assert!(code == 50 && what.contains("makes no memif interfaces"), "{code} {what}");
    assert!(remedy.contains("memif_plugin.so"), "{remedy}");
}

#[test]
fn a_call_killed_at_any_step_leaves_nothing_after_del() {
    for keys in [
        json!({"interfaceType": "memif", "bridge": 9, "createBridge": true, "vlan": 5, "mtu": 1400}),
        json!({"mode": "client", "group": 4242}),
    ] {
        let stage = Stage::new();
        for verb in ["ADD", "DEL"] {
            killed_everywhere(&stage, verb, &keys);
        }
    }
}

fn killed_everywhere(stage: &Stage, verb: &str, keys: &Value) {
    let prepare = || {
        if verb == "DEL" {
            drop(stage.add(keys))
        }
    };
    let clean = |when: &str| {
        stage.del(keys);
        stage.peer.with(|vpp| assert!(vpp.is_pristine(), "{when}: {vpp:?}"));
        stage.assert_no_files();
        for name in ["state", "cache", "sockets", "v"] {
            drop(std::fs::remove_dir_all(stage.scene.path(name)));
        }
    };
    let call = Call { verb, container: "pod-1", ifname: "net1", netns: stage.pod.path().as_str() };
    let conf = stage.conf(&stage.network(keys));
    prepare();
    let traced = strace::trace(&stage.scene, &call, &conf);
    clean("undisturbed");
    assert!(traced.count("sendto") >= 5, "VPP was not spoken with: {}", traced.log);
    for name in CHANGES {
        for n in 1..=traced.count(name) {
            prepare();
            strace::kill(&stage.scene, &call, &conf, (name, n));
            clean(&format!("{verb} killed at {name} {n}"));
        }
    }
}
