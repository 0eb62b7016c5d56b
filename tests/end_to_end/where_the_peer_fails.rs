//! What the program this one stands in for gets wrong, done right.

use std::fs;

use super::*;

/// A list as a vendor writes it: a number no machine word holds, a fraction with its zero, keys in no order.
const VENDOR: &str =
    r#""zeta":1,"alpha":{"big":123456789012345678901234567890,"fraction":1.10,"a":null},"Beta":"x""#;

#[test]
fn check_asks_every_attachment_also_those_that_no_configuration_names() {
    let mut stage = spy::stage(&json!([]));
    stage.conf["clusterNetwork"] = json!("first");
    stage.scene.network("a.conf", &spy::network("first").to_string());
    stage.scene.network("b.conf", &spy::network("second").to_string());
    stage.select("second");
    stage.add();
    fs::remove_dir_all(stage.scene.path("networks")).unwrap();

    stage.call("CHECK").result();

    for ifname in ["eth0", "net1"] {
        assert_eq!(stage.heard_json("CHECK", ifname)["prevResult"]["interfaces"][0]["name"], ifname);
    }
}

#[test]
fn gc_tells_every_network_of_the_node_what_the_runtime_calls_valid_and_prunes() {
    let mut stage = spy::stage(&json!([]));
    stage.conf["clusterNetwork"] = json!("first");
    stage.conf["defaultNetworks"] = json!(["second"]);
    stage.plugin(
        "other",
        &fs::read_to_string(stage.scene.path("bin/spy")).unwrap().replace("$CNI_COMMAND-", "other-"),
    );
    stage.scene.network("a.conf", &spy::network("first").to_string());
    stage.scene.network("b.conf", r#"{"cniVersion":"1.1.0","name":"second","type":"other"}"#);
    stage.add();
    let cached =
        |stage: &Stage| stage.scene.kept().keys().filter(|path| path.starts_with("cache/results/")).count();
    assert_eq!(cached(&stage), 2);

    stage.conf["cni.dev/valid-attachments"] = json!([{"containerID": "pod-7", "ifname": "eth0"}]);
    stage.call_without_pod("GC").result();

    // Of the runtime's own network it may be of a time before Manifold; of another it would be on record.
    let told = |name| stage.heard_json(name, "")["cni.dev/valid-attachments"].clone();
    assert_eq!((told("GC"), told("other")), (stage.conf["cni.dev/valid-attachments"].clone(), json!([])));
    assert_eq!(cached(&stage), 0);
    assert!(stage.all_heard().contains(&"DEL-eth0".to_owned()), "{:?}", stage.all_heard());
    stage.assert_empty();
}

#[test]
fn gc_tells_each_network_what_is_attached_to_it() {
    let mut second = spy::network("second");
    second["type"] = json!("other");
    let mut stage = spy::stage(&json!([spy::network("first"), second]));
    let spy = fs::read_to_string(stage.scene.path("bin/spy")).unwrap();
    stage.plugin("other", &spy.replace("$CNI_COMMAND-", "other-"));
    stage.add();
    let before = stage.scene.kept();

    stage.conf["cni.dev/valid-attachments"] = json!([{"containerID": "pod-1", "ifname": "eth0"}]);
    stage.call_without_pod("GC").result();

    for (name, ifname) in [("GC", "eth0"), ("other", "net1")] {
        let told = &stage.heard_json(name, "")["cni.dev/valid-attachments"];
        assert_eq!(*told, json!([{"containerID": "pod-1", "ifname": ifname}]), "{name}");
    }
    assert_eq!(stage.scene.kept(), before);
}

#[test]
fn gc_tells_each_network_what_another_program_attached_to_it() {
    let mut second = spy::network("second");
    second["type"] = json!("other");
    let mut stage = spy::stage(&json!([spy::network("first"), second]));
    let spy = fs::read_to_string(stage.scene.path("bin/spy")).unwrap();
    stage.plugin("other", &spy.replace("$CNI_COMMAND-", "other-"));
    fs::create_dir_all(stage.scene.path("cache/results")).unwrap();
    for container in ["pod-7", "gone"] {
        let cached = json!({"kind": "cniCacheV1", "containerId": container, "ifName": "net1",
            "networkName": "second", "config": "e30=", "result": {}});
        fs::write(stage.scene.path(&format!("cache/results/second-{container}-net1")), cached.to_string())
            .unwrap();
    }

    stage.conf["cni.dev/valid-attachments"] = json!([{"containerID": "pod-7", "ifname": "eth0"}]);
    stage.call_without_pod("GC").result();

    for (name, ifname) in [("GC", "eth0"), ("other", "net1")] {
        let told = &stage.heard_json(name, "")["cni.dev/valid-attachments"];
        assert_eq!(*told, json!([{"containerID": "pod-7", "ifname": ifname}]), "{name}");
    }
}

#[test]
fn gc_tells_no_plugin_what_is_valid_where_a_record_cannot_be_read() {
    let mut stage = spy::stage(&json!([spy::network("first")]));
    stage.add();
    fs::write(stage.scene.records("pod-1"), "{").unwrap();

    stage.conf["cni.dev/valid-attachments"] = json!([{"containerID": "pod-1", "ifname": "eth0"}]);
    let (_, message, details) = stage.call_without_pod("GC").error();

    assert!(message.contains("the record of sandbox pod-1 is not readable"), "{message}");
    assert!(details.contains("no plugin was told what is valid"), "{details}");
    assert!(!stage.all_heard().contains(&"GC-".to_owned()), "{:?}", stage.all_heard());
}

#[test]
fn a_failed_add_leaves_the_sandboxs_other_interfaces() {
    let scene = Scene::new();
    let flat = json!({"cniVersion": "0.2.0", "name": "flat", "type": "macvlan", "master": "up0", "ipam": {}});
    let mut stage = Stage::with(scene, &json!([flat]));
    let other = |stage: &Stage| {
        let netns = stage.pod.path().as_str();
        stage.scene.call(&Call { verb: "ADD", container: "pod-1", ifname: "eth1", netns }, &stage.conf)
    };
    stage.add();
    let before = stage.scene.kept();

    stage.conf["cniVersion"] = json!("0.2.0");
    let (code, message, details) = other(&stage).error();

    assert_eq!((code, message.contains("no words for a result")), (1, true), "{message}");
    assert!(!details.contains("also:"), "{details}");
    assert_eq!(stage.pod.interfaces(), ["eth0", "lo"]);
    assert_eq!(stage.scene.kept(), before);
}

#[test]
fn a_plugin_that_does_not_speak_the_version_leaves_nothing() {
    let scene = Scene::new();
    let bridge = json!({"cniVersion": "1.1.0", "name": "lab", "type": "bridge", "ipam": scene.ipam(2)});
    let delegates = json!([scene.macvlan("data", 1), bridge]);
    let mut stage = Stage::with(scene, &delegates);

    for _ in 0..2 {
        let (code, message, details) = stage.call("ADD").error();

        assert_eq!(code, 1, "{message}");
        assert!(
            message.contains("\"bridge\"") && message.contains("it does not speak CNI 1.1.0, but "),
            "{message}"
        );
        assert!(details.contains("\"cniVersion\"") && !details.contains("also:"), "{details}");
        stage.assert_empty();
    }
    stage.del();

    let status = stage.call_without_pod("STATUS").error();
    assert!(status.0 == 50 && status.1.contains("it does not speak CNI 1.1.0"), "{status:?}");
    stage.conf["cni.dev/valid-attachments"] = json!([]);
    stage.call_without_pod("GC").result();
}

#[test]
fn what_cannot_be_undone_keeps_no_other_interface_from_a_new_add() {
    let mut second = spy::network("second");
    second["type"] = json!("other");
    let mut stage = spy::stage(&json!([spy::network("first"), second]));
    stage.plugin("other", "#!/bin/sh\nexit 1\n");
    stage.call("ADD").error();
    let left = |stage: &Stage| !stage.scene.record("pod-1", "net1").is_empty();
    assert!(left(&stage));

    let (_, message, _) = stage.call("ADD").error();
    assert!(message.contains("cannot undo what an earlier ADD of this sandbox left"), "{message}");

    stage.conf["delegates"] = json!([spy::network("first")]);
    stage.add();

    assert!(left(&stage), "its DEL is still to come");
    stage.plugin("other", "#!/bin/sh\n");
    stage.del();
    stage.assert_empty();
}

#[test]
fn gc_prunes_even_if_a_network_is_gone() {
    let mut stage = spy::stage(&json!([]));
    stage.conf["clusterNetwork"] = json!("first");
    stage.scene.network("a.conf", &spy::network("first").to_string());
    stage.add();
    fs::remove_file(stage.scene.path("networks/a.conf")).unwrap();

    stage.conf["cni.dev/valid-attachments"] = json!([]);
    let (_, message, _) = stage.call_without_pod("GC").error();

    assert!(message.contains("\"first\""), "{message}");
    stage.assert_empty();
}

#[test]
fn what_a_vendor_wrote_reaches_every_verb_as_written() {
    let mut stage = spy::stage(&json!([]));
    let list = format!(r#"{{"cniVersion":"1.1.0","name":"vendor","plugins":[{{"type":"spy",{VENDOR}}}]}}"#);
    stage.scene.network("vendor.conflist", &list);
    stage.conf["clusterNetwork"] = json!(stage.scene.path("networks/vendor.conflist"));
    stage.add();
    fs::remove_file(stage.scene.path("networks/vendor.conflist")).unwrap();

    stage.call("CHECK").result();
    stage.del();

    for verb in ["ADD", "CHECK", "DEL"] {
        let heard = stage.heard(verb, "eth0");
        assert!(heard.contains(VENDOR), "{verb}: {heard}");
    }
    stage.assert_empty();
}

#[test]
fn what_the_pod_asked_for_reaches_del_as_it_reached_add() {
    let mut stage = spy::stage(&json!([spy::network("first")]));
    let mut network = spy::network("second");
    network["capabilities"] = json!({"portMappings": true, "bandwidth": true, "mac": true, "ips": true});
    stage.scene.network("a.conf", &network.to_string());
    let ports = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
    let bandwidth = json!({"ingressRate": 1000, "ingressBurst": 2000, "egressRate": 1, "egressBurst": 2});
    let mac = "02:00:00:00:00:07";
    let ips = ["10.1.0.7/24", "fd01::7/64"];
    let selection =
        json!([{"name": "second", "portMappings": ports, "bandwidth": bandwidth, "mac": mac, "ips": ips}]);
    stage.select(&selection.to_string());
    // The runtime's own are those of the pod's default interface.
    stage.conf["runtimeConfig"]["portMappings"] =
        json!([{"hostPort": 1, "containerPort": 2, "protocol": "udp"}]);

    stage.add();
    stage.del();

    for verb in ["ADD", "DEL"] {
        let given = stage.heard_json(verb, "net1")["runtimeConfig"].clone();
        assert_eq!(
            given,
            json!({"portMappings": ports, "bandwidth": bandwidth, "mac": mac, "ips": ips}),
            "{verb}"
        );
    }
}

#[test]
fn a_damaged_record_does_not_keep_a_plugin_from_its_del() {
    for text in ["", "[]", "{", "null", "{\"attachment\":"] {
        let mut stage = spy::stage(&json!([spy::network("first")]));
        stage.scene.network("a.conf", &spy::network("second").to_string());
        stage.select("second");
        stage.add();
        fs::write(stage.scene.records("pod-1"), text).unwrap();

        stage.del();

        let heard = stage.all_heard();
        assert!(
            heard.contains(&"DEL-eth0".to_owned()) && heard.contains(&"DEL-net1".to_owned()),
            "{text}: {heard:?}"
        );
        let mut kept = stage.scene.kept();
        kept.retain(|path, _| !path.starts_with("state/aside/"));
        assert_eq!(kept, Default::default(), "{text}");
    }
}

#[test]
fn status_of_a_default_network_that_is_not_there_answers_at_once() {
    let mut stage = spy::stage(&json!([]));
    stage.conf["clusterNetwork"] = json!("first");
    let began = std::time::Instant::now();

    let (code, message, _) = stage.call_without_pod("STATUS").error();

    assert_eq!(code, 50, "{message}");
    assert!(message.contains("\"first\""), "{message}");
    assert!(began.elapsed().as_secs() < 20, "it does not wait");
    stage.scene.network("a.conf", &spy::network("first").to_string());
    stage.call_without_pod("STATUS").result();
    assert_eq!(stage.all_heard(), ["STATUS-"]);
}

#[test]
fn arguments_are_one_list_without_repetition_and_with_the_extras() {
    let stage = spy::stage(&json!([spy::network("first")]));
    let args = "X=1;K8S_POD_UID=u;K8S_POD_INFRA_CONTAINER_ID=c;K8S_POD_NAME=p;IgnoreUnknown=1;K8S_POD_NAMESPACE=n;Y=;X=2";

    stage.call_with_args("ADD", args).result();

    let tidy = "IgnoreUnknown=1;K8S_POD_NAMESPACE=n;K8S_POD_NAME=p;K8S_POD_INFRA_CONTAINER_ID=c;K8S_POD_UID=u;X=2;Y=";
    assert_eq!(stage.args("ADD", "eth0"), tidy);
}

#[test]
fn arguments_may_hold_equals_signs_and_empty_parts() {
    let stage = spy::stage(&json!([spy::network("first")]));

    stage.call_with_args("ADD", ";IgnoreUnknown=1;;TOKEN=a=b==;").result();

    assert_eq!(stage.args("ADD", "eth0"), "IgnoreUnknown=1;TOKEN=a=b==");
}

#[test]
fn several_addresses_are_no_argument_beside_the_capability() {
    let several = json!(["10.1.0.7", "fd01::7"]);
    for (ips, capable, extra) in [
        (json!(["10.1.0.7/24"]), true, ";IP=10.1.0.7/24"),
        (several.clone(), true, ""),
        (several, false, ";IP=10.1.0.7,fd01::7"),
    ] {
        let mut stage = spy::stage(&json!([spy::network("first")]));
        let mut second = spy::network("second");
        second["capabilities"] = json!({"ips": capable});
        stage.scene.network("a.conf", &second.to_string());
        stage.select(&json!([{"name": "second", "mac": "02:00:00:00:00:07", "ips": ips}]).to_string());

        stage.add();
        stage.del();

        let expected = format!("IgnoreUnknown=1;K8S_POD_NAME=p;MAC=02:00:00:00:00:07{extra}");
        assert_eq!((stage.args("ADD", "net1"), stage.args("DEL", "net1")), (expected.clone(), expected));
        assert_eq!(stage.args("ADD", "eth0"), "IgnoreUnknown=1;K8S_POD_NAME=p");
    }
}

#[test]
fn the_code_and_the_details_of_a_plugin_are_passed_on() {
    let refused = json!([{"cniVersion": "1.1.0", "name": "n", "type": "refuser"}]);
    let stage = spy::stage(&refused);
    let error = r#"{"code":77,"msg":"no","details":"because"}"#;
    stage.plugin(
        "refuser",
        &format!("#!/bin/sh\n[ $CNI_COMMAND = DEL ] && exit 0\nprintf %s '{error}'\nexit 1\n"),
    );

    for answer in [stage.call("ADD"), stage.call_without_pod("STATUS")] {
        let (code, message, details) = answer.error();
        assert_eq!(code, 77, "{message}");
        assert!(message.contains("refuser") && message.ends_with("no"), "{message}");
        assert!(details.contains("because"), "{details}");
    }
    stage.assert_empty();
}

#[test]
fn a_plugin_is_not_run_for_a_name_that_another_interface_has() {
    let mut stage = Stage::with_everything();
    stage.select("data,lab@lab");
    stage.ip("link add lab type veth peer name far");
    let before = stage.seen("link show lab")[0]["ifindex"].clone();

    let (code, message, _) = stage.call("ADD").error();

    assert_eq!(code, 101, "{message}");
    assert!(message.ends_with(r#"interface "lab" already exists in the pod"#), "{message}");
    assert_eq!(stage.pod.interfaces(), ["far", "lab", "lo"]);
    assert_eq!(stage.seen("link show lab")[0]["ifindex"], before);
    assert_eq!(stage.scene.kept(), Default::default());
}

#[test]
fn the_plugin_of_the_loopback_is_run_for_an_interface_that_is_there() {
    let loopback = json!({"cniVersion": "1.0.0", "name": "lo", "type": "loopback"});
    let stage = Stage::with(Scene::new(), &json!([loopback]));
    let netns = stage.pod.path().as_str();
    let call = |verb| stage.scene.call(&Call { verb, container: "pod-1", ifname: "lo", netns }, &stage.conf);
    stage.ip("link set lo down");

    call("ADD").result();

    assert_eq!(stage.seen("link show lo")[0]["flags"], json!(["LOOPBACK", "UP", "LOWER_UP"]));
    call("DEL").result();
    stage.assert_empty();
}

#[test]
fn selections_that_are_none_are_refused() {
    let mut stage = spy::stage(&json!([spy::network("first")]));
    for text in [
        "[null]",
        "{}",
        "[{}]",
        "[7]",
        "[[]]",
        "{\"name\":\"a\"}",
        "[\"a\"]",
        "\"a\"",
        "[{\"name\":7}]",
        "[{\"name\":\"a\",\"cni-args\":7}]",
    ] {
        stage.select(text);
        let (code, message, _) = stage.call("ADD").error();
        assert_eq!(code, 7, "{text}: {message}");
    }
    assert!(stage.all_heard().is_empty());
}

#[test]
fn delegates_that_are_none_are_refused() {
    let mut stage = spy::stage(&json!([]));
    let lists = [
        json!([null]),
        json!([{}]),
        json!([7]),
        json!([[]]),
        json!([{"name": "n", "plugins": []}]),
        json!({}),
        json!(7),
    ];
    for delegates in lists {
        stage.conf["delegates"] = delegates.clone();
        for verb in ["ADD", "STATUS"] {
            let (code, message, _) = stage.call(verb).error();
            assert!(code == 6 || code == 7, "{delegates} {verb}: {code} {message}");
        }
    }
    stage.assert_empty();
}

#[test]
fn arguments_of_the_pod_reach_a_plugin_whose_own_are_no_object() {
    for args in [json!(7), json!("text"), json!([]), json!(null), json!({"cni": 7})] {
        let mut stage = spy::stage(&json!([spy::network("first")]));
        let mut network = spy::network("second");
        network["args"] = args.clone();
        stage.scene.network("a.conf", &network.to_string());
        stage.select(r#"[{"name":"second","cni-args":{"key":"value"}}]"#);

        stage.add();

        assert_eq!(stage.heard_json("ADD", "net1")["args"], json!({"cni": {"key": "value"}}), "{args}");
    }
}
