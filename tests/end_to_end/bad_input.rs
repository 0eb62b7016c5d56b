//! Bad input: each a CNI error that names the thing and the remedy, and no change left behind.

use std::fs;

use super::*;

/// Calls ADD with a configuration and expects this code, and these words in the message.
fn refused(stage: &Stage, conf: &Value, code: u64, words: &str) {
    let netns = stage.pod.path().as_str();
    let answer = stage.scene.call(&Call { verb: "ADD", container: "pod-1", ifname: "eth0", netns }, conf);
    expect(answer, code, words);
    stage.assert_empty();
}

fn expect(answer: Answer, code: u64, words: &str) {
    let (got, message, details) = answer.error();
    assert_eq!(got, code, "{message}; {details}");
    assert!(message.contains(words), "{message:?} should say {words:?}");
    assert!(!details.is_empty(), "{message:?} should come with a remedy");
}

fn with_network(stage: &Stage, change: impl FnOnce(&mut Value)) -> Value {
    let mut network = stage.scene.macvlan("data", 1);
    change(&mut network);
    stage.scene.conf(&json!([network]))
}

#[test]
fn configurations_that_can_never_be_right_are_refused_and_change_nothing() {
    let stage = Stage::with(Scene::new(), &json!([]));
    type Change = fn(&mut Value);
    let cases: [(Change, u64, &str); 22] = [
        (|n| n["mode"] = json!("router"), 7, "\"mode\" is \"router\""),
        (|n| n["mtu"] = json!(-1), 7, "\"mtu\" is -1"),
        (|n| n["mtu"] = json!(9000), 7, "\"mtu\" is 9000, but master \"up0\" has 1500"),
        (|n| n["mtu"] = json!("big"), 6, "plugin \"macvlan\": cannot read \"mtu\" of the configuration"),
        (|n| n["mac"] = json!("01:00:00:00:00:01"), 7, "01:00:00:00:00:01 cannot be a link's address"),
        (|n| n["mac"] = json!("zz"), 7, "\"zz\" is not an Ethernet address"),
        (|n| n["master"] = json!("nowhere0"), 100, "master \"nowhere0\" is not on this node"),
        (|n| n["master"] = json!("../../etc"), 7, "interface name \"../../etc\""),
        (|n| n["dad"] = json!("never"), 7, "\"dad\" is \"never\""),
        (|n| n["ipam"]["ranges"] = json!([[{"subnet": "10.0.0.0/31"}]]), 7, "10.0.0.0/31"),
        (|n| n["ipam"]["ranges"] = json!([[{"subnet": "10.0.0.1/24"}]]), 7, "10.0.0.1/24"),
        (|n| n["ipam"]["dataDir"] = json!("relative"), 7, "relative"),
        (
            |n| n["ipam"]["resolvConf"] = json!("/no/such.conf"),
            100,
            "\"/no/such.conf\", named by \"resolvConf\"",
        ),
        (|n| n["ipam"]["resolvConf"] = json!("/proc"), 5, "cannot read \"/proc\""),
        (
            |n| n["ipam"]["routes"] = json!([{"dst": "10.0.0.0/8", "gw": "fd00::1"}]),
            7,
            "the \"gw\" \"fd00::1\" of the route to 10.0.0.0/8 is not IPv4",
        ),
        (
            |n| n["ipam"] = json!({"type": "static", "addresses": [{"address": "10.0.0.300/24"}]}),
            7,
            "10.0.0.300/24",
        ),
        (
            |n| n["capabilities"] = json!({"mac": "true"}),
            6,
            "plugin \"macvlan\": cannot read \"capabilities\": invalid type: string \"true\", expected a boolean",
        ),
        (|n| n["native"] = json!("false"), 6, "cannot read \"native\": invalid type: string \"false\""),
        (|n| n["capabilities"] = json!(["mac"]), 6, "cannot read \"capabilities\""),
        (|n| n["ipam"] = json!({"type": "no-such-ipam"}), 100, "no-such-ipam"),
        (|n| n["type"] = json!("no-such-plugin"), 100, "no-such-plugin"),
        (|n| n["cniVersion"] = json!("9.9.9"), 1, "9.9.9"),
    ];
    for (change, code, words) in cases {
        refused(&stage, &with_network(&stage, change), code, words);
    }
    let types = [json!("../macvlan"), json!(""), json!("..")];
    for kind in types {
        refused(&stage, &with_network(&stage, |n| n["type"] = kind), 7, "type");
    }
    refused(&stage, &with_network(&stage, |n| n["name"] = json!("a/b")), 7, "\"a/b\"");
    refused(&stage, &stage.scene.conf(&json!([])), 7, "no default network");
}

#[test]
fn input_that_is_no_configuration_is_refused_and_changes_nothing() {
    let stage = Stage::with(Scene::new(), &json!([]));
    let netns = stage.pod.path().as_str();
    for (bytes, code) in [
        (&b"{nonsense"[..], 6),
        (b"", 6),
        (b"[]", 6),
        (b"{}", 7),
        (b"{\"name\":\"a b\"}", 7),
        (b"\xff\xfe", 6),
    ] {
        let answer =
            stage.scene.call_raw(&Call { verb: "ADD", container: "c", ifname: "eth0", netns }, bytes);
        expect(answer, code, "");
    }
    let conf = json!({"cniVersion": "1.0.0", "name": "n", "type": "portmap"});
    refused(&stage, &conf, 7, "\"type\" is \"portmap\"");
}

#[test]
fn names_that_nothing_can_have_are_refused_and_change_nothing() {
    let stage = Stage::with_everything();
    let netns = stage.pod.path().as_str();
    let call =
        |container, ifname| stage.scene.call(&Call { verb: "ADD", container, ifname, netns }, &stage.conf);
    for ifname in [
        "a/b",
        "..",
        ".",
        "sixteen-bytes-xx",
        "a b",
        "a\tb",
        "a\u{7f}b",
        "a:b",
        "é\u{2003}x",
        "a%d",
        "all",
        "default",
    ] {
        expect(call("pod-1", ifname), 4, "interface name");
    }
    for container in ["../x", "a/b", "-x", "a b", "a\nb"] {
        expect(call(container, "eth0"), 4, "container id");
    }
    let long = "x".repeat(300);
    expect(call(&long, "eth0"), 4, "container id");
    expect(call("", "eth0"), 4, "CNI_CONTAINERID");
    stage.assert_empty();
}

#[test]
fn paths_that_hold_no_namespace_of_a_pod_are_refused_and_change_nothing() {
    let stage = Stage::with_everything();
    let own = format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid());
    let call = |netns: &str| {
        stage.scene.call(&Call { verb: "ADD", container: "pod-1", ifname: "eth0", netns }, &stage.conf)
    };

    expect(call(&own), 8, "is the host's own");
    expect(call("/nowhere"), 4, "does not exist");
    expect(call("relative"), 4, "is not an absolute path");
    expect(call("/etc/passwd"), 4, "is not a network namespace");
    let mounts = format!("/proc/{}/ns/mnt", std::process::id());
    expect(call(&mounts), 4, "is not a network namespace");
    let socket = stage.scene.path("socket");
    let _listens = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    expect(call(socket.to_str().unwrap()), 5, "cannot open network namespace");
    expect(call(""), 4, "CNI_NETNS");
    stage.assert_empty();
}

/// A name that was given to a namespace by a mount, as those of runtimes are, does not tell of what kind it is.
#[test]
fn a_namespace_of_another_kind_is_refused_before_anything_is_recorded() {
    let stage = Stage::with_everything();
    let named = stage.scene.path("named");
    std::fs::write(&named, "").unwrap();
    let conf = stage.scene.path("conf.json");
    std::fs::write(&conf, stage.conf.to_string()).unwrap();
    let [named, conf] = [named, conf].map(|path| path.display().to_string());
    let script = format!(
        "mount --bind /proc/self/ns/uts {named}
        CNI_COMMAND=ADD CNI_CONTAINERID=pod-1 CNI_IFNAME=eth0 CNI_NETNS={named} CNI_PATH={PLUGINS} {} <{conf}",
        env!("CARGO_BIN_EXE_manifold")
    );
    let mut shell = std::process::Command::new("unshare");

    let told = shell.args(["--mount", "sh", "-c", &script]).output().unwrap();

    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let message = told["msg"].as_str().unwrap();
    assert_eq!(told["code"], 4, "{told}");
    assert_eq!(message, format!("{named:?} is not a network namespace"));
    stage.assert_empty();
}

#[test]
fn interfaces_that_clash_are_refused_and_change_nothing() {
    let mut stage = Stage::with_everything();
    stage.select("data@x0,lab@x0");
    refused(&stage, &stage.conf, 7, "\"x0\"");
    stage.select("data,lab@net1");
    refused(&stage, &stage.conf, 7, "both want interface \"net1\"");
    stage.select("no-such-network");
    refused(&stage, &stage.conf, 100, "no network named \"no-such-network\"");
    stage.select("[null]");
    refused(&stage, &stage.conf, 7, "cannot read the selection of networks");

    stage.select("data");
    stage.ip("link add net1 type veth peer name foreign");
    let (code, message, _) = stage.call("ADD").error();
    assert_eq!(code, 101, "{message}");
    assert_eq!(stage.pod.interfaces(), ["foreign", "lo", "net1"]);
    assert_eq!(stage.scene.kept(), Default::default());
}

#[test]
fn addresses_that_are_taken_or_used_up_are_refused_and_change_nothing() {
    let stage = Stage::with(Scene::new(), &json!([]));
    let tiny = with_network(&stage, |n| {
        n["ipam"]["ranges"] =
            json!([[{"subnet": "10.9.0.0/24", "rangeStart": "10.9.0.7", "rangeEnd": "10.9.0.7"}]]);
    });
    let other = stage.scene.node.pod().unwrap();
    let holder = Call { verb: "ADD", container: "holder", ifname: "eth0", netns: other.path().as_str() };
    stage.scene.call(&holder, &tiny).result();
    let before = stage.scene.kept();
    let netns = stage.pod.path().as_str();
    let add = Call { verb: "ADD", container: "pod-1", ifname: "eth0", netns };

    expect(stage.scene.call(&add, &tiny), 102, "10.9.0.7");
    let mut asked = tiny.clone();
    asked["delegates"][0]["args"] = json!({"cni": {"ips": ["10.9.0.7"]}});
    let log = stage.scene.path("log");
    asked["logFile"] = json!(log);
    let (code, message, details) = stage.scene.call(&add, &asked).error();
    assert_eq!(code, 101, "{message}");
    assert!(
        message.ends_with("the requested address \"10.9.0.7\" is held by another interface"),
        "{message}"
    );
    assert!(!details.contains("holder/"), "another pod's is no matter of this one: {details}");
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("says that \"holder/eth0\" has the address"), "{log}");

    assert_eq!(stage.scene.kept(), before);
    assert_eq!(stage.pod.interfaces(), ["lo"]);
}

/// Otherwise the network would bring switches, rules and places of its own.
#[test]
fn no_network_has_manifold_itself_run_as_a_plugin() {
    let stage = Stage::with(Scene::new(), &json!([]));
    for kind in ["manifold", "manifold-shim", "multus", "multus-shim"] {
        let words = format!("plugin {kind:?}: {kind:?} is not run as a plugin of a network");
        refused(&stage, &with_network(&stage, |n| n["type"] = json!(kind)), 7, &words);
        let asked = with_network(&stage, |n| n["ipam"] = json!({"type": kind}));
        refused(&stage, &asked, 7, &format!("plugin \"macvlan\": {kind:?} is not run as a plugin"));
    }
    let run = with_network(&stage, |n| {
        n["type"] = json!("vhost-user");
        n["native"] = json!(false);
    });
    refused(&stage, &run, 7, "\"vhost-user\" is not run as a plugin");
}

#[test]
fn what_is_on_record_of_such_a_plugin_is_undone_by_running_it() {
    let stage = spy::stage(&json!([spy::network("first")]));
    stage.add();
    let record = stage.scene.path("state/records/pod-1.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("\"spy\"", "\"multus\"")).unwrap();
    fs::rename(stage.scene.path("bin/spy"), stage.scene.path("bin/multus")).unwrap();

    stage.del();

    assert_eq!(stage.heard_json("DEL", "eth0")["type"], "multus");
    stage.assert_empty();
}

#[test]
fn directories_that_cannot_be_used_are_told_and_change_nothing() {
    let stage = Stage::with_everything();
    let mut nowhere = stage.conf.clone();
    nowhere["confDir"] = json!(stage.scene.path("nowhere"));
    refused(&stage, &nowhere, 5, "nowhere");

    let file = stage.scene.path("a-file");
    fs::write(&file, "").unwrap();
    let mut state = stage.conf.clone();
    state["stateDir"] = json!(file);
    refused(&stage, &state, 5, "a-file");

    for (key, wrong) in [("stateDir", json!("relative")), ("cniDir", json!("relative"))] {
        let mut alone = stage.scene.macvlan("alone", 1);
        alone["stateDir"] = stage.conf["stateDir"].clone();
        alone[key] = wrong;
        refused(&stage, &alone, 7, &format!("{key:?} is \"relative\""));
    }

    let netns = stage.pod.path().as_str();
    let wrong = stage.scene.call(&Call { verb: "FROB", container: "c", ifname: "eth0", netns }, &stage.conf);
    expect(wrong, 4, "FROB");
}

#[test]
fn a_result_that_the_version_cannot_tell_leaves_nothing() {
    let scene = Scene::new();
    let mut delegate = scene.macvlan("net", 0);
    delegate["ipam"] = json!({});
    let mut conf = scene.conf(&json!([delegate]));
    conf["cniVersion"] = json!("0.2.0");
    let stage = Stage::around(scene, conf);

    stage.call("ADD").error();

    stage.assert_empty();
}

#[test]
fn a_plugin_that_cannot_be_executed_is_not_begun() {
    let stage = spy::stage(&json!([spy::network("first")]));
    let file = stage.scene.path("bin").join(spy::SPY);
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();

    expect(stage.call("ADD"), 100, &format!("plugin \"spy\" is not executable: {file:?}"));

    stage.assert_empty();
    stage.del();
}
