//! ADD.

use std::fs;

use super::*;

#[test]
fn a_pod_gets_all_its_interfaces_native_and_run() {
    let stage = Stage::with_everything();

    let result = stage.add();

    assert_eq!(stage.pod.interfaces(), ["eth0", "lab", "lo", "net1", "tuned"]);
    assert_eq!(result["cniVersion"], "1.1.0");
    assert_eq!(result["interfaces"][0]["name"], "eth0");
    assert_eq!(result["ips"][0], json!({"address": "10.77.0.2/24", "gateway": "10.77.0.1", "interface": 0}));

    let link = &stage.seen("link show dev eth0")[0];
    assert_eq!(link["linkinfo"]["info_kind"], "macvlan");
    assert_eq!(link["linkinfo"]["info_data"]["mode"], "bridge");
    assert_eq!(link["ifalias"], "manifold:pod-1/eth0");
    assert_eq!(link["address"], result["interfaces"][0]["mac"]);
    assert!(link["flags"].as_array().unwrap().contains(&json!("UP")));

    let tuned = &stage.seen("link show dev tuned")[0];
    assert_eq!((tuned["mtu"].as_u64(), tuned["address"].as_str()), (Some(1400), Some("02:00:00:00:00:42")));
    assert_eq!(stage.seen("addr show dev lab")[0]["addr_info"][0]["local"], "10.77.2.2");
}

#[test]
fn what_runs_beside_finds_its_cache_and_the_record_reads_as_json() {
    let stage = Stage::with_everything();
    stage.add();

    let kept = stage.scene.kept();
    let cached: Value = serde_json::from_str(&kept["cache/results/lab-pod-1-lab"]).unwrap();
    assert_eq!(cached["kind"], "cniCacheV1");
    let states = stage.scene.record("pod-1", "net1");
    assert_eq!(states[1]["phase"], "pending");
    let record = &states[0];
    assert_eq!(record["phase"], "attached");
    assert_eq!(record["learned"]["0"]["held"], json!(["10.77.1.2"]));
    assert_eq!(record["result"]["ips"][0]["address"], "10.77.1.2/24");
}

#[test]
fn two_pods_reach_each_other() {
    let stage = Stage::with(Scene::new(), &json!([]));
    let conf = stage.scene.conf(&json!([stage.scene.macvlan("data", 0)]));
    let other = stage.scene.node.pod().unwrap();
    for (container, pod) in [("a", &stage.pod), ("b", &other)] {
        let netns = pod.path().as_str();
        stage.scene.call(&Call { verb: "ADD", container, ifname: "eth0", netns }, &conf).result();
    }

    let ping =
        stage.pod.inside(|| std::process::Command::new("ping").args(["-c1", "-W5", "10.77.0.3"]).output());
    assert!(ping.unwrap().status.success());
}

#[test]
fn every_mode_of_macvlan_is_made_as_asked() {
    for mode in ["bridge", "private", "vepa", "passthru", "source"] {
        let scene = Scene::new();
        let conf = json!([{"name": "n", "cniVersion": "1.0.0", "type": "macvlan", "master": "up0", "mode": mode, "mtu": 1300}]);
        let stage = Stage::with(scene, &conf);

        stage.add();

        let link = &stage.seen("link show dev eth0")[0];
        assert_eq!(link["linkinfo"]["info_data"]["mode"], mode);
        assert_eq!(link["mtu"], 1300);
        stage.del();
        stage.assert_empty();
    }
}

#[test]
fn without_a_master_the_default_route_names_it() {
    let stage = Stage::with(
        Scene::new(),
        &json!([{"name": "n", "cniVersion": "1.0.0", "type": "macvlan", "mac": "02:00:00:00:00:07"}]),
    );

    let result = stage.add();

    assert_eq!(result["interfaces"][0]["mac"], "02:00:00:00:00:07");
    assert_eq!(stage.seen("link show dev eth0")[0]["address"], "02:00:00:00:00:07");
}

#[test]
fn a_master_in_the_pod_is_found_there() {
    let stage = Stage::with(
        Scene::new(),
        &json!([{"name": "n", "cniVersion": "1.0.0", "type": "macvlan", "master": "inner0", "linkInContainer": true}]),
    );
    stage.ip("link add inner0 type veth peer name inner1");
    stage.ip("link set inner0 up");

    stage.add();

    assert_eq!(stage.seen("link show dev eth0")[0]["link"], "inner0");
    stage.del();
    assert_eq!(stage.pod.interfaces(), ["inner0", "inner1", "lo"]);
}

#[test]
fn addresses_and_routes_of_both_families_are_in_the_kernel() {
    let ipam = json!({"type": "static", "addresses": [
            {"address": "10.5.0.9/24", "gateway": "10.5.0.1"}, {"address": "fd05::9/64", "gateway": "fd05::1"}],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.6.0.0/16", "gw": "10.5.0.2", "priority": 77, "mtu": 1200, "advmss": 1100},
            {"dst": "10.7.0.0/16", "table": 100}, {"dst": "10.8.0.0/16", "scope": 253}, {"dst": "fd06::/48"}]});
    let stage = Stage::with(
        Scene::new(),
        &json!([{"name": "n", "cniVersion": "1.1.0", "type": "macvlan", "master": "up0", "ipam": ipam, "dad": "off"}]),
    );

    let result = stage.add();

    let route = |words| stage.seen(words)[0].clone();
    assert!(route("route show 10.8.0.0/16")["gateway"].is_null());
    assert_eq!(route("route show default")["gateway"], "10.5.0.1");
    let metrics = route("route show 10.6.0.0/16");
    assert_eq!((&metrics["gateway"], &metrics["metric"]), (&json!("10.5.0.2"), &json!(77)));
    assert_eq!(metrics["metrics"][0], json!({"mtu": 1200, "advmss": 1100}));
    assert_eq!(route("route show 10.7.0.0/16 table 100")["gateway"], "10.5.0.1");
    assert_eq!(route("-6 route show fd06::/48")["gateway"], "fd05::1");
    assert_eq!(result["routes"][1]["advmss"], 1100);
    stage.call("CHECK").result();
    stage.del();
    stage.assert_empty();
}

#[test]
fn an_ipv6_address_is_ready_when_add_returns() {
    for (dad, tentative) in [("wait", false), ("off", false), ("optimistic", true)] {
        let ipam = json!({"type": "static", "addresses": [{"address": "fd05::9/64", "gateway": "fd05::1"}]});
        let stage = Stage::with(
            Scene::new(),
            &json!([{"name": "n", "cniVersion": "1.1.0", "type": "macvlan", "master": "up0", "ipam": ipam, "dad": dad}]),
        );

        stage.add();

        let info = &stage.seen("-6 addr show dev eth0 scope global")[0]["addr_info"][0];
        assert_eq!(info["local"], "fd05::9");
        assert_eq!(info["optimistic"] == json!(true), tentative, "{dad}: {info}");
        // An optimistic address is tentative still, and in use.
        assert_eq!(info["tentative"] == json!(true), tentative, "{dad}: {info}");
    }
}

#[test]
fn a_duplicate_ipv6_address_is_refused_and_leaves_nothing() {
    let ipam = json!({"type": "static", "addresses": [{"address": "fd05::9/64", "gateway": "fd05::1"}]});
    let stage = Stage::with(
        Scene::new(),
        &json!([{"name": "n", "cniVersion": "1.1.0", "type": "macvlan", "master": "up0", "ipam": ipam}]),
    );
    scene::ip("-6 addr add fd05::9/64 dev up1 nodad");

    let (code, message, _) = stage.call("ADD").error();

    assert_eq!(code, 101, "{message}");
    assert!(message.contains("fd05::9/64 is used by another host"), "{message}");
    stage.assert_empty();
}

#[test]
fn addresses_are_announced() {
    let stage = Stage::with(Scene::new(), &json!([]));
    let conf = stage.scene.conf(&json!([stage.scene.macvlan("data", 0)]));
    let netns = stage.pod.path().as_str();
    stage.scene.call(&Call { verb: "ADD", container: "a", ifname: "eth0", netns }, &conf).result();

    let notify = stage.pod.inside(|| std::fs::read_to_string("/proc/sys/net/ipv4/conf/eth0/arp_notify"));
    assert_eq!(notify.unwrap().trim(), "1");
}

#[test]
fn an_ipv4_address_that_comes_later_is_announced_too() {
    let ipam = json!({"type": "static", "addresses": [{"address": "fd05::9/64"}]});
    let stage = Stage::with(
        Scene::new(),
        &json!([{"name": "n", "cniVersion": "1.1.0", "type": "macvlan", "master": "up0", "ipam": ipam}]),
    );

    stage.add();

    let notify = stage.pod.inside(|| std::fs::read_to_string("/proc/sys/net/ipv4/conf/eth0/arp_notify"));
    assert_eq!(notify.unwrap().trim(), "1");
}

#[test]
fn native_false_runs_the_plugin() {
    let mut network =
        json!({"cniVersion": "1.0.0", "name": "n", "type": "macvlan", "master": "up0", "native": false});
    let scene = Scene::new();
    network["ipam"] = scene.ipam(0);
    let stage = Stage::with(scene, &json!([network]));

    stage.add();

    assert_eq!(stage.seen("link show dev eth0")[0]["group"], "default");
    assert!(stage.scene.kept().contains_key("cache/results/n-pod-1-eth0"));
    stage.del();
    stage.assert_empty();
}

#[test]
fn an_older_runtime_is_answered_in_its_version() {
    for (version, key) in
        [("0.1.0", "ip4"), ("0.2.0", "ip4"), ("0.3.1", "ips"), ("0.4.0", "ips"), ("1.0.0", "ips")]
    {
        let scene = Scene::new();
        let mut stage = Stage::with(scene, &json!([]));
        stage.conf = stage.scene.conf(&json!([stage.scene.macvlan("data", 0)]));
        stage.conf["cniVersion"] = json!(version);

        let result = stage.add();

        assert_eq!(result["cniVersion"], version);
        assert!(!result[key].is_null(), "{version}: {result}");
    }
}

#[test]
fn if_one_attachment_fails_none_is_made() {
    let mut stage = Stage::with_everything();
    stage
        .scene
        .network("bad.conf", r#"{"cniVersion":"1.0.0","name":"bad","type":"macvlan","master":"nowhere0"}"#);
    stage.select("data,lab,tuned,bad");

    let (code, message, details) = stage.call("ADD").error();

    assert_eq!(code, 100);
    assert_eq!(message, r#"cannot attach "net4" (bad): master "nowhere0" is not on this node"#);
    assert!(details.contains("\"master\""), "{details}");
    stage.assert_empty();
}

#[test]
fn an_add_makes_anew_what_stands_behind_a_record_that_is_damaged_or_was_never_written() {
    for cut in [0, 1, 40, 200] {
        let stage = Stage::with_everything();
        stage.add();
        let bytes = fs::read(stage.scene.records("pod-1")).unwrap();
        fs::write(stage.scene.records("pod-1"), &bytes[..cut]).unwrap();

        stage.add();

        assert_eq!(stage.pod.interfaces(), ["eth0", "lab", "lo", "net1", "tuned"], "cut at {cut}");
        stage.call("CHECK").result();
        stage.del();
        let mut kept = stage.scene.kept();
        kept.retain(|path, _| !path.starts_with("state/aside/"));
        assert_eq!(kept, Default::default(), "cut at {cut}");
    }
}

#[test]
fn a_damaged_record_of_another_interface_keeps_no_interface_from_a_pod() {
    let stage = Stage::with_everything();
    fs::create_dir_all(stage.scene.path("state/records")).unwrap();
    fs::write(stage.scene.records("pod-1"), "{\"ifname\":\"other\",\"format\":1,\n").unwrap();

    stage.add();

    assert_eq!(stage.pod.interfaces(), ["eth0", "lab", "lo", "net1", "tuned"]);
    stage.del();
    let kept: Vec<String> = stage.scene.kept().into_keys().collect();
    assert_eq!(kept, ["state/aside/pod-1.other.json"]);
}

#[test]
fn a_record_of_a_newer_layout_is_not_touched_by_an_add() {
    let stage = Stage::with_everything();
    stage.add();
    let path = stage.scene.records("pod-1");
    stage.scene.alter("pod-1", "net1", |line| Some(line.replace("\"format\":1", "\"format\":2")));
    for name in ["eth0", "lab", "tuned"] {
        stage.scene.alter("pod-1", name, |_| None);
    }
    let newer = fs::read_to_string(&path).unwrap();

    let (code, message, details) = stage.call("ADD").error();

    assert!(code > 0 && format!("{message} {details}").contains("has format 2"), "{message} {details}");
    assert_eq!(fs::read_to_string(&path).unwrap(), newer);
    assert!(stage.pod.interfaces().contains(&"net1".to_owned()));
}

#[test]
fn an_address_that_is_about_to_be_free_is_waited_for() {
    let stage = Stage::with(
        Scene::new(),
        &json!([{"name": "n", "cniVersion": "1.0.0", "type": "macvlan", "mac": "02:00:00:00:00:07"}]),
    );
    scene::ip("link add dying0 link up0 address 02:00:00:00:00:07 type macvlan mode bridge");
    scene::ip("link set dying0 up");
    let netns = stage.pod.path().as_str();
    let call = Call { verb: "ADD", container: "pod-1", ifname: "eth0", netns };
    let command = stage.scene.command(env!("CARGO_BIN_EXE_manifold"), &call);
    let adding = scene::start(command, stage.conf.to_string().as_bytes());
    while stage.pod.interfaces() != ["eth0", "lo"] {
        std::thread::yield_now();
    }

    scene::ip("link del dying0");

    scene::finish(adding).result();
    assert_eq!(stage.seen("link show up dev eth0")[0]["address"], "02:00:00:00:00:07");
}

#[test]
fn an_address_that_stays_in_use_is_refused_and_leaves_nothing() {
    let stage = Stage::with(
        Scene::new(),
        &json!([{"name": "n", "cniVersion": "1.0.0", "type": "macvlan", "mac": "02:00:00:00:00:07"}]),
    );
    scene::ip("link add other0 link up0 address 02:00:00:00:00:07 type macvlan mode bridge");
    scene::ip("link set other0 up");

    let (code, message, _) = stage.call("ADD").error();

    assert_eq!(code, 101, "{message}");
    stage.assert_empty();
}
