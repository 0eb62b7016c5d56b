//! GC, STATUS, VERSION, and what a crash or a second pod leaves to sort out.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use super::*;

/// The configuration of a GC that calls these containers valid.
fn gc_conf(stage: &Stage, valid: &[&str]) -> Value {
    let mut conf = stage.conf.clone();
    let entries: Vec<Value> = valid.iter().map(|id| json!({"containerID": id, "ifname": "eth0"})).collect();
    conf["cni.dev/valid-attachments"] = json!(entries);
    conf
}

#[test]
fn gc_keeps_the_valid_and_removes_the_rest() {
    let mut stage = Stage::with_everything();
    stage.select("data,lab@lab");
    stage.add();
    let other = stage.scene.node.pod().unwrap();
    let netns = other.path().as_str();
    stage.scene.call(&Call { verb: "ADD", container: "pod-2", ifname: "eth0", netns }, &stage.conf).result();
    let gc = Call { verb: "GC", container: "", ifname: "", netns: "" };

    stage.scene.call(&gc, &gc_conf(&stage, &["pod-1"])).result();

    assert_eq!(other.interfaces(), ["lo"]);
    assert_eq!(stage.pod.interfaces(), ["eth0", "lab", "lo", "net1"]);
    assert!(stage.scene.kept().keys().all(|path| !path.contains("pod-2")));
    stage.call("CHECK").result();

    stage.scene.call(&gc, &gc_conf(&stage, &[])).result();
    stage.assert_empty();
}

#[test]
fn gc_tells_nobody_which_attachments_are_valid_if_it_was_not_told() {
    let stage = Stage::with_everything();
    stage.add();
    let gc = Call { verb: "GC", container: "", ifname: "", netns: "" };

    let (code, _, _) = stage.scene.call(&gc, &stage.conf).error();

    assert_eq!(code, 7);
    assert_eq!(stage.pod.interfaces().len(), 5);
}

#[test]
fn status_says_at_once_what_is_in_the_way() {
    let scene = Scene::new();
    let good = scene.macvlan("data", 1);
    let stage = Stage::with(scene, &json!([good]));
    let status = Call { verb: "STATUS", container: "", ifname: "", netns: "" };
    stage.scene.call(&status, &stage.conf).result();

    scene::ip("link del up0");

    let (code, message, details) = stage.scene.call(&status, &stage.conf).error();
    assert_eq!((code, message.as_str()), (50, r#"master "up0" is not on this node"#), "{details}");
    assert_eq!(stage.scene.kept(), Default::default());
}

#[test]
fn version_needs_no_input() {
    let stage = Stage::with(Scene::new(), &json!([]));
    let answer = stage.scene.call_raw(&Call { verb: "VERSION", container: "", ifname: "", netns: "" }, b"");

    let json = answer.result();
    assert_eq!(json["cniVersion"], "1.1.0");
    assert_eq!(json["supportedVersions"].as_array().unwrap().len(), 7);
}

#[test]
fn an_add_that_comes_twice_is_refused_and_harms_nothing() {
    let stage = Stage::with_everything();
    stage.add();
    let before = stage.scene.kept();

    let (code, message, _) = stage.call("ADD").error();

    assert_eq!((code, message.as_str()), (101, r#"interface "eth0" already exists in the pod"#));
    assert_eq!(stage.scene.kept(), before);
    stage.call("CHECK").result();
}

#[test]
fn a_sandbox_that_got_a_new_namespace_is_attached_anew() {
    let stage = Stage::with_everything();
    stage.add();
    let again = stage.scene.node.pod().unwrap();
    let netns = again.path().as_str();

    stage.scene.call(&Call { verb: "ADD", container: "pod-1", ifname: "eth0", netns }, &stage.conf).result();

    assert_eq!(again.interfaces().len(), 5);
    stage.scene.call(&Call { verb: "DEL", container: "pod-1", ifname: "eth0", netns }, &stage.conf).result();
    assert_eq!(again.interfaces(), ["lo"]);
    assert_eq!(stage.scene.kept(), Default::default());
}

/// A pod that was attached by a path which has come to mean another namespace, with the number that the first one had.
fn renewed() -> (Stage, Pod) {
    let stage = Stage::with_everything();
    let path = stage.scene.path("netns");
    symlink(stage.pod.path().as_str(), &path).unwrap();
    stage.call_at("ADD").result();
    // What is in a namespace goes with it, some time later.
    ["link del eth0", "link del net1", "link del lab", "link del tuned"]
        .into_iter()
        .for_each(|words| stage.ip(words));
    let again = stage.scene.node.pod().unwrap();
    let [old, new] = [&stage.pod, &again].map(|pod| {
        let number = fs::metadata(pod.path().as_str()).unwrap().ino();
        format!("\"ino\":{number}")
    });
    fs::remove_file(&path).unwrap();
    symlink(again.path().as_str(), &path).unwrap();
    for name in ["eth0", "net1", "lab", "tuned"] {
        stage.scene.alter("pod-1", name, |line| Some(line.replace(&old, &new)));
    }
    (stage, again)
}

impl Stage {
    /// A call with the path of [`renewed`].
    fn call_at(&self, verb: &str) -> Answer {
        let netns = self.scene.path("netns").display().to_string();
        self.scene.call(&Call { verb, container: "pod-1", ifname: "eth0", netns: &netns }, &self.conf)
    }
}

#[test]
fn a_namespace_that_got_the_number_of_the_one_before_is_not_taken_for_it() {
    let (stage, again) = renewed();

    stage.call_at("ADD").result();

    assert_eq!(again.interfaces(), ["eth0", "lab", "lo", "net1", "tuned"]);
    stage.call_at("DEL").result();
    assert_eq!(again.interfaces(), ["lo"]);
    assert_eq!(stage.scene.kept(), Default::default());
}

#[test]
fn a_record_that_knows_no_more_than_the_number_is_taken_at_its_word() {
    let (stage, _again) = renewed();
    for name in ["eth0", "net1", "lab", "tuned"] {
        stage.scene.alter("pod-1", name, |line| {
            let (head, tail) = line.split_once(",\"cookie\":").unwrap_or((line, ""));
            Some(format!("{head}{}", tail.trim_start_matches(|c: char| c.is_ascii_digit())))
        });
    }

    let (code, message, _) = stage.call_at("ADD").error();

    assert_eq!(code, 101, "{message}");
}

#[test]
fn what_was_made_as_a_plugin_and_what_as_itself_do_not_feel_each_other() {
    let mut stage = Stage::with_everything();
    stage.select("data");
    stage.add();
    let alone = |name: &str, verb, valid: &[&str]| {
        let mut conf = stage.scene.macvlan(name, 8);
        conf["stateDir"] = json!(stage.scene.path("state"));
        conf["cni.dev/valid-attachments"] = gc_conf(&stage, valid)["cni.dev/valid-attachments"].clone();
        let ifname = format!("{name}0");
        let netns = stage.pod.path().as_str();
        stage.scene.call(&Call { verb, container: "pod-1", ifname: &ifname, netns }, &conf).result()
    };
    alone("red", "ADD", &[]);
    alone("blue", "ADD", &[]);
    assert_eq!(stage.pod.interfaces(), ["blue0", "eth0", "lo", "net1", "red0"]);

    alone("red", "GC", &[]);
    assert_eq!(stage.pod.interfaces(), ["blue0", "eth0", "lo", "net1"]);
    alone("blue", "CHECK", &[]);
    stage.call("CHECK").result();

    stage.del();
    assert_eq!(stage.pod.interfaces(), ["blue0", "lo"]);
    alone("blue", "DEL", &[]);
    stage.assert_empty();
}

/// Where it is installed under the plugin's name, it would otherwise run itself, and wait for its own lock.
#[test]
fn who_plays_the_part_of_a_plugin_runs_no_other_for_it() {
    let stage = Stage::with(Scene::new(), &json!([]));
    let mut conf = stage.scene.macvlan("red", 8);
    conf["stateDir"] = json!(stage.scene.path("state"));
    conf["binDir"] = json!(stage.scene.path("no-plugins"));
    conf["native"] = json!(false);
    conf["plugins"] = json!([{"type": "macvlan", "native": false}]);
    let netns = stage.pod.path().as_str();
    let alone =
        |verb| stage.scene.call(&Call { verb, container: "pod-1", ifname: "eth0", netns }, &conf).result();

    alone("ADD");
    assert_eq!(stage.pod.interfaces(), ["eth0", "lo"]);
    alone("CHECK");
    alone("DEL");
    stage.assert_empty();
}

#[test]
fn a_plugin_that_is_refused_a_name_does_not_take_down_who_has_it() {
    let stage = Stage::with_everything();
    stage.add();
    let (interfaces, before) = (stage.pod.interfaces(), stage.scene.kept());
    let mut conf = stage.scene.macvlan("red", 8);
    conf["stateDir"] = stage.conf["stateDir"].clone();
    let netns = stage.pod.path().as_str();
    let alone = |verb| stage.scene.call(&Call { verb, container: "pod-1", ifname: "eth0", netns }, &conf);

    assert_eq!(alone("ADD").error().0, 101);
    alone("DEL").result();

    assert_eq!((stage.pod.interfaces(), stage.scene.kept()), (interfaces, before));
    stage.call("CHECK").result();
}

#[test]
fn gc_takes_down_no_sandbox_that_an_entry_names_or_may_name() {
    let stage = Stage::with_everything();
    stage.add();
    let (interfaces, before) = (stage.pod.interfaces(), stage.scene.kept());
    let gc = |valid: Value| {
        let mut conf = stage.conf.clone();
        conf["cni.dev/valid-attachments"] = valid;
        stage.scene.call(&Call { verb: "GC", container: "", ifname: "", netns: "" }, &conf)
    };

    for whose in [json!([{}]), json!([{"ifname": "eth0"}]), json!([{"containerID": "", "ifname": "eth0"}])] {
        assert_eq!(gc(whose).error().0, 7);
    }
    for entry in [json!({"containerID": "pod-1"}), json!({"containerID": "pod-1", "ifname": "a/b"})] {
        gc(json!([entry])).result();
    }

    assert_eq!(stage.pod.interfaces(), interfaces);
    assert_eq!(stage.scene.kept(), before);
    stage.call("CHECK").result();
}

/// A container's address in a store of the scene's folder.
fn leave(stage: &Stage, network: &str, address: &str, container: &str) {
    let store = stage.scene.path("ipam").join(network);
    std::fs::create_dir_all(&store).unwrap();
    std::fs::write(store.join(address), format!("{container}\r\neth0")).unwrap();
}

#[test]
fn gc_gives_back_the_addresses_of_containers_that_nobody_knows() {
    let scene = Scene::new();
    let mut unwatched = scene.macvlan("unwatched", 3);
    unwatched["disableGC"] = json!(true);
    let mut run = scene.macvlan("run", 4);
    run["cniVersion"] = json!("1.0.0");
    run["ipam"]["native"] = json!(false);
    let delegates = json!([scene.macvlan("data", 1), scene.macvlan("more", 2), unwatched, run]);
    let stage = Stage::with(scene, &delegates);
    stage.add();
    for (network, address) in [("data", "10.77.1.9"), ("more", "10.77.2.9")] {
        leave(&stage, network, address, "pod-7");
    }
    let before = stage.scene.kept();
    for (network, address) in [("data", "10.77.1.8"), ("data", "10.77.1.7"), ("more", "10.77.2.8")] {
        leave(&stage, network, address, "dead");
    }
    let others = [("unwatched", "10.77.3.8"), ("run", "10.77.4.8"), ("elsewhere", "10.77.5.8")];
    others.iter().for_each(|(network, address)| leave(&stage, network, address, "dead"));
    let gc = Call { verb: "GC", container: "", ifname: "", netns: "" };

    stage.scene.call(&gc, &gc_conf(&stage, &["pod-1", "pod-7"])).result();

    let mut kept = stage.scene.kept();
    for (network, address) in others {
        assert_eq!(kept.remove(&format!("ipam/{network}/{address}")).as_deref(), Some("dead\r\neth0"));
    }
    assert_eq!(kept, before);
}

#[test]
fn a_single_plugins_gc_gives_back_addresses_of_its_own_network() {
    let stage = Stage::with_everything();
    for name in ["red", "blue"] {
        leave(&stage, name, "10.77.8.9", "dead");
    }
    let mut conf = stage.scene.macvlan("red", 8);
    conf["stateDir"] = json!(stage.scene.path("state"));
    conf["cni.dev/valid-attachments"] = json!([]);

    stage.scene.call(&Call { verb: "GC", container: "", ifname: "", netns: "" }, &conf).result();

    assert_eq!(stage.scene.kept().into_keys().collect::<Vec<_>>(), ["ipam/blue/10.77.8.9"]);
}

/// A stage whose macvlan links have their addresses from a plugin that is run.
fn addressed_by_a_plugin() -> Stage {
    let network = json!({"cniVersion": "1.1.0", "name": "data", "type": "macvlan", "master": "up0",
        "ipam": {"type": spy::SPY, "pool": "p"}});
    spy::stage(&json!([network]))
}

#[test]
fn a_plugin_that_gives_addresses_is_asked_for_its_status_too() {
    let stage = addressed_by_a_plugin();
    stage.call_without_pod("STATUS").result();
    assert_eq!(stage.heard_json("STATUS", "")["ipam"]["pool"], "p");

    stage.plugin(spy::SPY, "#!/bin/sh\necho '{\"code\":51,\"msg\":\"the pool is closed\"}'; exit 1\n");
    let (code, message, _) = stage.call_without_pod("STATUS").error();
    assert_eq!(code, 51);
    assert!(message.ends_with("failed on STATUS: the pool is closed"), "{message}");
}

#[test]
fn a_plugin_that_gives_addresses_is_told_what_is_valid() {
    let mut stage = addressed_by_a_plugin();
    let valid = json!([{"containerID": "pod-7", "ifname": "eth0"}]);
    stage.conf["cni.dev/valid-attachments"] = valid.clone();
    stage.call_without_pod("GC").result();
    assert_eq!(stage.heard_json("GC", "")["cni.dev/valid-attachments"], valid);

    let mut alone = stage.conf["delegates"][0].clone();
    for key in ["stateDir", "binDir"] {
        alone[key] = stage.conf[key].clone();
    }
    alone["cni.dev/valid-attachments"] = json!([]);
    stage.conf = alone;
    stage.call_without_pod("GC").result();
    let heard = stage.heard_json("GC", "");
    assert_eq!((&heard["cni.dev/valid-attachments"], &heard["name"]), (&json!([]), &json!("data")));
}
