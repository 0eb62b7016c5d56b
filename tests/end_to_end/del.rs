//! DEL.

use std::fs;

use super::*;

#[test]
fn del_removes_everything_and_may_come_again() {
    let stage = Stage::with_everything();
    stage.add();

    stage.del();

    stage.assert_empty();
    stage.del();
    stage.call_without_netns("DEL").result();
    stage.assert_empty();
}

#[test]
fn del_works_when_the_pod_is_gone() {
    let Stage { scene, pod, conf } = Stage::with_everything();
    let stage = Stage::around(scene, conf);
    let netns = pod.path().to_string();
    stage
        .scene
        .call(&Call { verb: "ADD", container: "pod-1", ifname: "eth0", netns: &netns }, &stage.conf)
        .result();
    drop(pod);

    stage
        .scene
        .call(&Call { verb: "DEL", container: "pod-1", ifname: "eth0", netns: &netns }, &stage.conf)
        .result();

    stage.assert_empty();
}

#[test]
fn del_works_when_the_runtime_forgot_the_namespace() {
    let stage = Stage::with_everything();
    stage.add();

    stage.call_without_netns("DEL").result();

    stage.assert_empty();
}

#[test]
fn del_works_when_configuration_and_networks_are_gone() {
    let mut stage = Stage::with_everything();
    stage.add();
    fs::remove_dir_all(stage.scene.path("networks")).unwrap();
    stage.conf["delegates"] = json!([{"nonsense": true}]);
    stage.conf["cniVersion"] = json!("9.9.9");
    scene::ip("link del up0");

    stage.del();

    stage.assert_empty();
}

#[test]
fn del_finds_the_records_whatever_else_is_wrong() {
    for (key, wrong) in [("confDir", json!("relative")), ("kubeletDir", json!(5)), ("cniVersion", json!(1.1))]
    {
        let mut stage = Stage::with_everything();
        stage.add();
        stage.conf[key] = wrong;

        stage.del();

        stage.assert_empty();
    }
}

#[test]
fn del_works_when_a_record_is_half_written() {
    for cut in [0, 1, 40, 200] {
        let stage = Stage::with_everything();
        stage.add();
        let bytes = fs::read(stage.scene.records("pod-1")).unwrap();
        fs::write(stage.scene.records("pod-1"), &bytes[..cut]).unwrap();

        stage.del();

        let mut kept = stage.scene.kept();
        kept.retain(|path, _| !path.starts_with("state/aside/"));
        assert_eq!(kept, Default::default(), "cut at {cut}");
        assert_eq!(stage.pod.interfaces(), ["lo"], "cut at {cut}");
        // What was never written is nobody's loss; the rest is kept for a person to look at.
        assert_eq!(stage.scene.path("state/aside").exists(), cut > 0);
    }
}

#[test]
fn del_finds_a_link_that_the_pod_renamed_and_leaves_what_is_not_ours() {
    let stage = Stage::with_everything();
    stage.add();
    stage.ip("link set net1 down");
    stage.ip("link set net1 name renamed");
    stage.ip("link add net1 type veth peer name foreign");

    stage.del();

    assert_eq!(stage.pod.interfaces(), ["foreign", "lo", "net1"]);
    assert_eq!(stage.scene.kept(), Default::default());
}

#[test]
fn del_of_a_stranger_does_nothing() {
    let stage = Stage::with_everything();
    stage.add();
    let before = stage.scene.kept();
    let netns = stage.pod.path().as_str();

    stage.scene.call(&Call { verb: "DEL", container: "pod-2", ifname: "eth0", netns }, &stage.conf).result();

    assert_eq!(stage.scene.kept(), before);
    assert_eq!(stage.pod.interfaces().len(), 5);
}

#[test]
fn a_plugin_that_fails_keeps_its_record_and_nothing_else() {
    let stage = Stage::with_everything();
    stage.add();
    let broken = stage.with_a_bridge_that_fails();
    let netns = stage.pod.path().as_str();
    let call = Call { verb: "DEL", container: "pod-1", ifname: "eth0", netns };

    let (_, message, _) = stage.scene.call(&call, &broken).error();

    assert!(message.contains("\"lab\"") && message.contains("bridge"), "{message}");
    assert_eq!(stage.pod.interfaces(), ["lab", "lo"]);
    let kept: Vec<String> = stage.scene.kept().into_keys().filter(|path| path.starts_with("state")).collect();
    assert_eq!(kept, ["state/records/pod-1.json"]);
    for name in ["eth0", "net1", "tuned"] {
        assert!(stage.scene.states("pod-1", name).is_empty(), "{name}");
    }
    assert_eq!(stage.scene.record("pod-1", "lab")[0]["phase"], "detaching");
    stage.del();
    stage.assert_empty();
}

#[test]
fn a_plugin_that_refuses_for_ever_does_not_keep_a_pod_that_is_gone() {
    let scene = Scene::new();
    let refused =
        json!({"cniVersion": "1.0.0", "name": "n", "type": "bridge", "vlan": 9999, "ipam": scene.ipam(1)});
    let Stage { scene, pod, conf } = Stage::with(scene, &json!([refused]));
    let stage = Stage::around(scene, conf);
    let call = Call { verb: "ADD", container: "pod-1", ifname: "eth0", netns: pod.path().as_str() };
    let (_, message, _) = stage.scene.call(&call, &stage.conf).error();
    assert!(message.contains("9999"), "{message}");
    stage.call_without_netns("DEL").error();
    drop(pod);

    let tries = (1..10).find(|_| stage.call_without_netns("DEL").succeeded());

    assert!(tries.is_some_and(|n| n > 2), "it is tried a few times: {tries:?}");
    let kept: Vec<String> = stage.scene.kept().into_keys().collect();
    assert_eq!(kept, ["state/aside/pod-1.eth0.json"]);
    stage.call_without_netns("DEL").result();
}

#[test]
fn a_plugin_that_is_gone_for_good_does_not_keep_a_pod_whose_namespace_waits_for_the_del() {
    let stage = spy::stage(&json!([spy::network("first")]));
    stage.add();
    fs::remove_file(stage.scene.path("bin").join(spy::SPY)).unwrap();
    let (_, message, _) = stage.call("DEL").error();
    assert!(message.contains("spy"), "{message}");
    // Housekeeping is no DEL: it uses up nobody's patience.
    for _ in 0..30 {
        stage.scene.manifold(&["prune"]);
    }

    let tries = (2..50).find(|_| stage.call("DEL").succeeded());

    assert!(tries.is_some_and(|n| n > 15), "the plugin may come back: {tries:?}");
    let kept: Vec<String> = stage.scene.kept().into_keys().collect();
    assert_eq!(kept, ["state/aside/pod-1.eth0.json"]);
}

#[test]
fn a_record_of_a_newer_layout_is_left_to_who_can_read_it() {
    let stage = Stage::with_everything();
    stage.add();
    stage.scene.alter("pod-1", "net1", |line| Some(line.replace("\"format\":1", "\"format\":2")));
    let newer = || fs::read_to_string(stage.scene.records("pod-1")).unwrap();
    assert!(newer().contains("\"format\":2"));

    let (_, message, details) = stage.call("DEL").error();
    stage.scene.manifold(&["prune"]);

    assert!(format!("{message} {details}").contains("has format 2"), "{message} {details}");
    assert_eq!(stage.pod.interfaces(), ["lo", "net1"], "what can be undone is undone");
    assert!(newer().contains("\"format\":2"));
    stage.scene.alter("pod-1", "net1", |line| Some(line.replace("\"format\":2", "\"format\":1")));
    stage.del();
    stage.assert_empty();
}

#[test]
fn a_namespace_that_cannot_be_seen_from_here_is_not_taken_for_gone_by_housekeeping() {
    let stage = Stage::with_everything();
    stage.add();
    let unseen = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        if let Some(netns) = line.pointer_mut("/attachment/netns") {
            *netns = json!(stage.scene.path("nowhere/netns/pod-1"));
        }
        Some(line.to_string())
    };
    ["eth0", "net1", "lab", "tuned"].iter().for_each(|name| stage.scene.alter("pod-1", name, unseen));
    let before = stage.scene.kept();

    let pruned = stage.scene.manifold(&["prune"]);

    let said = String::from_utf8_lossy(&pruned.stderr).into_owned();
    assert!(!pruned.status.success() && said.contains("cannot be seen from here"), "{said}");
    assert_eq!(stage.scene.kept(), before);
    assert_eq!(stage.pod.interfaces().len(), 5);
    // The directory is there, and the namespace is not: now it is gone.
    fs::create_dir_all(stage.scene.path("nowhere/netns")).unwrap();
    assert!(stage.scene.manifold(&["prune"]).status.success());
    assert!(!stage.scene.records("pod-1").exists());
}

#[test]
fn a_record_that_cannot_be_read_gives_its_link_back_without_configuration() {
    let stage = Stage::with_everything();
    stage.add();
    stage.scene.alter("pod-1", "net1", |line| Some(line[..60].to_owned()));
    let netns = stage.pod.path().as_str();

    let done = stage.scene.manifold(&["detach", "--netns", netns, "--container-id", "pod-1"]);

    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(stage.pod.interfaces(), ["lo"]);
}

#[test]
fn del_as_a_single_plugin_removes_what_the_reference_plugin_made() {
    let scene = Scene::new();
    let mut conf = scene.macvlan("net", 0);
    conf["cniVersion"] = json!("1.0.0");
    conf["stateDir"] = json!(scene.path("state"));
    let stage = Stage::around(scene, conf);
    let netns = stage.pod.path().as_str();
    let call = Call { verb: "ADD", container: "pod-1", ifname: "eth0", netns };
    let reference = stage.scene.command(&format!("{PLUGINS}/macvlan"), &call);
    assert!(scene::feed(reference, stage.conf.to_string().as_bytes()).status.success());
    assert_eq!(stage.pod.interfaces(), ["eth0", "lo"]);

    stage.del();

    stage.assert_empty();
}

#[test]
fn del_as_a_single_plugin_leaves_unmarked_links_of_other_kinds_and_names() {
    let scene = Scene::new();
    let mut conf = scene.macvlan("net", 0);
    conf["stateDir"] = json!(scene.path("state"));
    let stage = Stage::around(scene, conf);
    stage.ip("link add eth0 type veth peer name other");
    stage.ip("link add link other name eth1 type macvlan mode bridge");

    stage.del();

    assert_eq!(stage.pod.interfaces(), ["eth0", "eth1", "lo", "other"]);
}

#[test]
fn a_record_whose_last_state_was_cut_short_counts_with_the_one_before() {
    let stage = Stage::with_everything();
    stage.add();
    let path = stage.scene.records("pod-1");
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 20);
    fs::write(&path, &bytes).unwrap();

    let (_, message, _) = stage.call("CHECK").error();
    assert!(message.contains("was not finished"), "{message}");
    stage.del();
    stage.assert_empty();
}

#[test]
fn a_configuration_of_several_lines_is_recorded_and_undone() {
    let stage = Stage::with_everything();
    let mut network = stage.scene.macvlan("lines", 6);
    network["name"] = json!("lines");
    let text = serde_json::to_string_pretty(&network).unwrap().replace('\n', "\r\n");
    let manifest = json!({"kind": "NetworkAttachmentDefinition", "metadata": {"name": "lines"}, "spec": {"config": text}});
    stage.scene.network("lines.json", &manifest.to_string());
    let netns = stage.pod.path().as_str();
    let networks = stage.scene.path("networks").display().to_string();
    let target = ["--netns", netns, "--container-id", "pod-1"];
    let attach = [&["attach", "--networks", "lines", "--networks-dir", &networks][..], &target].concat();

    let done = stage.scene.manifold(&attach);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    assert_eq!(stage.scene.record("pod-1", "net1").len(), 2, "one line for each state");
    assert!(stage.scene.manifold(&[&["check"][..], &target].concat()).status.success());
    assert!(stage.scene.manifold(&[&["detach"][..], &target].concat()).status.success());
    stage.assert_empty();
}

#[test]
fn del_finds_a_link_that_lost_its_group() {
    let stage = Stage::with_everything();
    stage.add();
    for words in ["link set eth0 group default", "link set net1 group default", "link add other0 type veth"] {
        stage.ip(words);
    }

    stage.del();

    assert_eq!(stage.pod.interfaces(), ["lo", "other0", "veth0"]);
    assert_eq!(stage.scene.kept(), Default::default());
}

#[test]
fn del_waits_for_a_plugin_whose_manifold_was_killed() {
    let stage = spy::stage(&json!([spy::network("first")]));
    let heard = stage.scene.path("heard");
    let (begun, order, go) = (heard.join("begun"), heard.join("order"), heard.join("go"));
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = format!(
        "#!/bin/sh\ncat >/dev/null\nif [ $CNI_COMMAND = ADD ]; then touch {begun:?}; read -r _ <{go:?}; fi\n\
         echo $CNI_COMMAND >>{order:?}\n"
    );
    stage.plugin(spy::SPY, &script);
    let call = |verb| Call { verb, container: "pod-1", ifname: "eth0", netns: stage.pod.path().as_str() };
    let start = |verb| {
        let command = stage.scene.command(env!("CARGO_BIN_EXE_manifold"), &call(verb));
        scene::start(command, stage.conf.to_string().as_bytes())
    };
    let mut adding = start("ADD");
    while !begun.exists() {
        std::thread::yield_now();
    }

    adding.kill().unwrap();
    adding.wait().unwrap();
    let mut leaving = start("DEL");
    let waits = format!(" {} ", leaving.id());
    let waiting = |locks: String| locks.lines().any(|lock| lock.contains("->") && lock.contains(&waits));
    while !waiting(fs::read_to_string("/proc/locks").unwrap()) {
        assert_eq!(leaving.try_wait().unwrap(), None, "it does not wait");
    }
    assert!(!order.exists());
    fs::write(&go, "\n").unwrap();

    scene::finish(leaving).result();
    assert_eq!(fs::read_to_string(&order).unwrap(), "ADD\nDEL\n");
    stage.assert_empty();
}

#[test]
fn del_finds_a_renamed_link_that_has_its_masters_address() {
    let conf =
        json!([{"name": "n", "cniVersion": "1.0.0", "type": "macvlan", "master": "up0", "mode": "passthru"}]);
    let stage = Stage::with(Scene::new(), &conf);
    stage.add();
    for words in ["link set eth0 down", "link set eth0 name x0", "link set x0 up"] {
        stage.ip(words);
    }

    stage.del();

    stage.assert_empty();
}
