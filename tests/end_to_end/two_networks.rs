//! A runtime that has two networks, each a configuration that calls Manifold, on one node and with one `stateDir`.

use std::fs;

use super::*;

/// A node with the pod `pod-1`, and a second network of the runtime's beside the stage's own.
struct Two {
    stage: Stage,
    other: Value,
}

impl Two {
    fn new() -> Self {
        let scene = Scene::new();
        let mut other = scene.conf(&json!([scene.macvlan("second", 2)]));
        other["name"] = json!("other");
        let delegates = json!([scene.macvlan("first", 1)]);
        Self { stage: Stage::with(scene, &delegates), other }
    }

    /// A call about the stage's pod under the other network's name.
    fn call_other(&self, verb: &str, container: &str, ifname: &str) -> Answer {
        let netns = self.stage.pod.path().as_str();
        self.stage.scene.call(&Call { verb, container, ifname, netns }, &self.other)
    }

    /// A GC of one network that calls these attachments valid.
    fn gc(&self, conf: &Value, valid: &[(&str, &str)]) -> Answer {
        let mut conf = conf.clone();
        let entry = |(id, ifname): &(&str, &str)| json!({"containerID": id, "ifname": ifname});
        conf["cni.dev/valid-attachments"] = valid.iter().map(entry).collect();
        self.stage.scene.call(&Call { verb: "GC", container: "", ifname: "", netns: "" }, &conf)
    }

    /// Changes the interface's record as a version before would have written it.
    fn forget_what_was_called_for(&self, ifname: &str) {
        self.stage.scene.alter("pod-1", ifname, |line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            if let Some(attachment) = line["attachment"].as_object_mut() {
                attachment.remove("called").expect("what the runtime called for");
            }
            Some(line.to_string())
        });
    }
}

#[test]
fn a_gc_of_one_network_leaves_what_was_attached_to_the_other() {
    let two = Two::new();
    two.stage.add();
    let before = two.stage.scene.kept();

    two.gc(&two.other, &[]).result();

    assert_eq!(two.stage.scene.kept(), before);
    two.stage.call("CHECK").result();

    two.gc(&two.stage.conf, &[]).result();
    two.stage.assert_empty();
}

#[test]
fn what_a_network_that_is_no_more_attached_goes_with_its_namespace() {
    let two = Two::new();
    let mut gone = two.other.clone();
    gone["name"] = json!("gone");
    let pod = two.stage.scene.node.pod().unwrap();
    let netns = pod.path().as_str();
    two.stage.scene.call(&Call { verb: "ADD", container: "pod-2", ifname: "eth0", netns }, &gone).result();
    two.gc(&two.other, &[]).result();
    assert_eq!(pod.interfaces(), ["eth0", "lo"]);

    drop(pod);

    two.gc(&two.other, &[]).result();
    two.stage.assert_empty();
}

#[test]
fn what_nobody_knows_the_network_of_is_kept_while_its_namespace_is_there() {
    let two = Two::new();
    let Stage { scene, conf, .. } = &two.stage;
    let pod = scene.node.pod().unwrap();
    let netns = pod.path().as_str();
    scene.call(&Call { verb: "ADD", container: "pod-1", ifname: "eth0", netns }, conf).result();
    two.forget_what_was_called_for("eth0");
    let before = scene.kept();

    two.gc(conf, &[]).result();
    assert_eq!((pod.interfaces(), scene.kept()), (vec!["eth0".to_owned(), "lo".to_owned()], before));

    drop(pod);
    two.gc(conf, &[]).result();
    two.stage.assert_empty();
}

#[test]
fn a_sandbox_in_both_networks_leaves_one_and_stays_in_the_other() {
    let two = Two::new();
    two.stage.add();
    two.call_other("ADD", "pod-1", "eth1").result();
    two.stage.ip("link del eth0");
    // What the other network lost is no matter of this one's.
    two.call_other("CHECK", "pod-1", "eth1").result();
    two.stage.call("CHECK").error();
    two.stage.del();
    two.stage.add();
    assert_eq!(two.stage.pod.interfaces(), ["eth0", "eth1", "lo"]);

    two.call_other("DEL", "pod-1", "eth1").result();

    assert_eq!(two.stage.pod.interfaces(), ["eth0", "lo"]);
    two.stage.call("CHECK").result();
    two.call_other("CHECK", "pod-1", "eth1").error();
    two.stage.del();
    two.stage.assert_empty();
}

#[test]
fn a_gc_of_a_network_that_a_sandbox_left_takes_that_part_alone() {
    let two = Two::new();
    two.stage.add();
    two.call_other("ADD", "pod-1", "eth1").result();

    two.gc(&two.other, &[]).result();

    assert_eq!(two.stage.pod.interfaces(), ["eth0", "lo"]);
    two.stage.call("CHECK").result();
    two.gc(&two.stage.conf, &[("pod-1", "eth0")]).result();
    two.stage.call("CHECK").result();
}

#[test]
fn a_network_or_an_interface_that_was_renamed_is_found_by_the_other() {
    for (network, ifname) in [("renamed", "eth0"), ("meta", "eth7")] {
        let mut two = Two::new();
        two.stage.add();
        two.other = two.stage.conf.clone();
        two.other["name"] = json!(network);

        two.call_other("CHECK", "pod-1", "eth0").result();
        two.call_other("DEL", "pod-1", ifname).result();

        two.stage.assert_empty();
    }
}

#[test]
fn a_record_of_a_version_before_goes_with_the_first_del_of_its_sandbox() {
    let two = Two::new();
    two.stage.add();
    two.forget_what_was_called_for("eth0");

    two.call_other("DEL", "pod-1", "eth1").result();

    two.stage.assert_empty();
}

#[test]
fn damage_beside_what_another_network_attached_stays() {
    let two = Two::new();
    two.stage.add();
    let records = two.stage.scene.records("pod-1");
    let text = fs::read_to_string(&records).unwrap();
    fs::write(&records, format!("{text}{{\"ifname\":\"net1\",\"format\":7\n")).unwrap();
    let before = two.stage.scene.kept();

    let (_, message, _) = two.gc(&two.other, &[]).error();

    assert!(message.contains("is not readable"), "{message}");
    assert_eq!(two.stage.scene.kept(), before);
}

#[test]
fn a_plugin_that_both_networks_run_is_told_of_the_attachments_of_both() {
    let shared = spy::network("shared");
    let mut stage = spy::stage(&json!([shared]));
    stage.add();
    stage.conf["name"] = json!("other");
    let pod = stage.scene.node.pod().unwrap();
    let netns = pod.path().as_str();
    stage.scene.call(&Call { verb: "ADD", container: "pod-2", ifname: "eth0", netns }, &stage.conf).result();

    stage.conf["cni.dev/valid-attachments"] = json!([{"containerID": "pod-2", "ifname": "eth0"}]);
    stage.call_without_pod("GC").result();

    let both =
        json!([{"containerID": "pod-1", "ifname": "eth0"}, {"containerID": "pod-2", "ifname": "eth0"}]);
    assert_eq!(stage.heard_json("GC", "")["cni.dev/valid-attachments"], both);
}

#[test]
fn the_peers_file_tells_of_the_network_that_is_left() {
    let mut two = Two::new();
    two.stage.conf["type"] = json!("multus");
    two.other["type"] = json!("multus");
    two.stage.add();
    let before = two.stage.scene.kept();
    two.call_other("ADD", "pod-1", "eth1").result();

    two.call_other("DEL", "pod-1", "eth1").result();

    let kept = |kept: std::collections::BTreeMap<String, String>| -> Vec<(String, String)> {
        kept.into_iter().filter(|(path, _)| path.starts_with("cache/")).collect()
    };
    assert_eq!(kept(two.stage.scene.kept()), kept(before));
    two.stage.del();
    two.stage.assert_empty();
}

#[test]
fn what_was_attached_by_hand_stays_while_its_namespace_is_there() {
    let two = Two::new();
    two.stage.scene.network("data.conf", &two.stage.scene.macvlan("data", 3).to_string());
    let netns = two.stage.pod.path().to_string();
    let networks_dir = two.stage.scene.path("networks").display().to_string();
    let words = ["attach", "--netns", &netns, "--container-id", "by-hand", "--networks", "data"];
    let attached = two.stage.scene.manifold(&[&words[..], &["--networks-dir", &networks_dir]].concat());
    assert!(attached.status.success(), "{attached:?}");
    let before = two.stage.scene.kept();

    two.gc(&two.stage.conf, &[]).result();

    assert_eq!(two.stage.scene.kept(), before);
    assert!(two.stage.scene.manifold(&["detach", "--container-id", "by-hand"]).status.success());
    two.stage.assert_empty();
}
