//! CHECK.

use super::*;

#[test]
fn check_sees_every_loss_in_the_kernel() {
    let losses: [(&'static str, &str); 6] = [
        ("link del eth0", "interface \"eth0\" is gone"),
        ("link del net1", "interface \"net1\" is gone"),
        ("link set net1 down", "interface \"net1\" is down"),
        ("addr del 10.77.1.2/24 dev net1", "interface \"net1\" has lost address 10.77.1.2/24"),
        ("link set net1 address 02:00:00:00:00:99", "interface \"net1\" has another Ethernet address"),
        ("link set net1 type macvlan mode private", "interface \"net1\" is of another kind or mode"),
    ];
    for (words, what) in losses {
        let stage = Stage::with_everything();
        stage.add();
        stage.call("CHECK").result();

        stage.ip(words);

        let (code, message, details) = stage.call("CHECK").error();
        assert_eq!(code, 105, "{words}");
        assert!(message.contains(what), "{words}: {message}; {details}");
    }
}

#[test]
fn check_sees_a_lost_route_and_a_lost_lease() {
    let scene = Scene::new();
    let mut network = scene.macvlan("data", 1);
    network["ipam"]["routes"] = json!([{"dst": "10.99.0.0/16"}]);
    let stage = Stage::with(scene, &json!([network]));
    stage.add();
    stage.call("CHECK").result();

    stage.ip("route del 10.99.0.0/16");
    let (_, message, _) = stage.call("CHECK").error();
    assert!(message.contains("has lost route 10.99.0.0/16 via 10.77.1.1"), "{message}");

    stage.ip("route add 10.99.0.0/16 via 10.77.1.1");
    stage.call("CHECK").result();
    std::fs::remove_file(stage.scene.path("ipam/data/10.77.1.2")).unwrap();
    assert_eq!(stage.call("CHECK").error().0, 105);
}

#[test]
fn check_of_what_was_never_attached_says_so() {
    let stage = Stage::with_everything();
    let (code, message, _) = stage.call("CHECK").error();
    assert_eq!((code, message.as_str()), (3, r#""eth0" was never attached to sandbox "pod-1""#));
}

#[test]
fn check_asks_the_plugins_too() {
    let stage = Stage::with_everything();
    stage.add();

    stage.ip("link del lab");

    let (_, message, _) = stage.call("CHECK").error();
    assert!(message.contains("\"bridge\""), "{message}");
}

#[test]
fn a_network_may_switch_check_off() {
    let scene = Scene::new();
    let list = json!({"cniVersion": "1.1.0", "name": "n", "disableCheck": "True", "plugins": [scene.macvlan("n", 1)]});
    let stage = Stage::with(scene, &json!([list]));
    stage.add();
    stage.ip("link del eth0");

    stage.call("CHECK").result();
}

#[test]
fn a_plugin_that_has_no_check_fails_none_and_one_that_refuses_does() {
    for (said, code) in [
        (r#"{"code":999,"msg":"CNI CHECK method is not implemented"}"#, None),
        (r#"{"code":999,"msg":"the CHECK command is unsupported"}"#, None),
        (r#"{"code":999,"msg":"CHECK is unsupported: it failed on check: 1"}"#, None),
        (r#"{"code":999,"msg":"the rule is not implemented any more"}"#, Some(999)),
        (r#"{"code":105,"msg":"check: lost"}"#, Some(105)),
    ] {
        let stage = spy::stage(&json!([spy::network("first")]));
        stage.add();
        stage.plugin(
            spy::SPY,
            &format!("#!/bin/sh\n[ \"$CNI_COMMAND\" != CHECK ] || {{ echo '{said}'; exit 1; }}\n"),
        );

        let answer = stage.call("CHECK");

        match code {
            None => assert!(answer.succeeded(), "{said}: {answer:?}"),
            Some(code) => assert_eq!(answer.error().0, code, "{said}"),
        }
        stage.del();
    }
}

#[test]
fn routes_that_a_later_plugin_moved_into_its_own_table_are_not_lost() {
    let scene = Scene::new();
    let mut first = scene.macvlan("data", 1);
    first["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "10.99.0.0/16"}]);
    let list = json!({"cniVersion": "1.0.0", "name": "data", "plugins": [first, {"type": "sbr"}]});
    let stage = Stage::with(scene, &json!([list]));
    stage.add();
    assert_eq!(stage.seen("route show table 100").as_array().unwrap().len(), 3);

    stage.call("CHECK").result();

    stage.ip("route del 10.99.0.0/16 table 100");
    let (_, message, _) = stage.call("CHECK").error();
    assert!(message.contains("has lost route 10.99.0.0/16 via 10.77.1.1"), "{message}");
    stage.del();
}

#[test]
fn in_mode_passthru_the_result_tells_the_masters_address() {
    let conf = json!([{"name": "n", "cniVersion": "1.0.0", "type": "macvlan", "master": "up0", "mode": "passthru",
        "mac": "02:00:00:00:00:07"}]);
    let stage = Stage::with(Scene::new(), &conf);

    let result = stage.add();

    assert_eq!(result["interfaces"][0]["mac"], stage.seen("link show dev eth0")[0]["address"]);
    assert_eq!(result["interfaces"][0]["mac"], scene::seen("link show dev up0")[0]["address"]);
    stage.call("CHECK").result();
    stage.del();
    stage.assert_empty();
}
