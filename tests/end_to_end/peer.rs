//! A node changes programs while its pods live on: what the program Manifold stands in for attached is taken down, and
//! what Manifold attached can be taken down by it.
//!
//! [`Peer`] does what that program and the reference library in it do, with files of its own writing and the reference
//! plugins of this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

const CONTAINER: &str = "pod-1";

/// The program Manifold stands in for.
struct Peer {
    cache: PathBuf,
    netns: String,
}

/// One network as that program has it.
struct Delegate {
    label: &'static str,
    /// The interface asked for; empty takes the one of its place.
    asked: &'static str,
    conf: Value,
}

impl Peer {
    fn of(stage: &Stage) -> Self {
        let cache = stage.scene.path("cache");
        fs::create_dir_all(cache.join("results")).unwrap();
        Self { cache, netns: stage.pod.path().to_string() }
    }

    fn file(&self) -> PathBuf {
        self.cache.join(CONTAINER)
    }

    fn plugin(&self, verb: &str, ifname: &str, conf: &Value) -> Value {
        let mut command = Command::new(Path::new(scene::PLUGINS).join(conf["type"].as_str().unwrap()));
        command
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", CONTAINER)
            .env("CNI_IFNAME", ifname)
            .env("CNI_NETNS", &self.netns)
            .env("CNI_PATH", scene::PLUGINS)
            .env("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=p")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = scene::feed(command, conf.to_string().as_bytes());
        assert!(output.status.success(), "{verb} {conf}: {}", String::from_utf8_lossy(&output.stdout));
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// Attaches all networks, and leaves its files.
    fn add(&self, delegates: &[Delegate]) {
        let mut entries = Vec::new();
        for (place, delegate) in delegates.iter().enumerate() {
            let Delegate { label, asked, conf } = delegate;
            let list = conf.get("plugins").is_some();
            let generic = |conf: &Value| {
                json!({"cniVersion": conf["cniVersion"], "name": conf["name"], "type": conf["type"],
                "ipam": {"type": conf["ipam"]["type"]}, "dns": {}})
            };
            entries.push(json!({
                "Conf": if list { json!({"ipam": {}, "dns": {}}) } else { generic(conf) },
                "ConfList": if list { conf.clone() } else { json!({}) },
                "Name": label, "ifnameRequest": asked, "IsFilterV4Gateway": false, "IsFilterV6Gateway": false,
                "Bytes": STANDARD.encode(conf.to_string()),
            }));
            let ifname = ifname(asked, place);
            let result = self.attach(conf, &ifname);
            let cached = json!({"kind": "cniCacheV1", "containerId": CONTAINER, "config": STANDARD.encode(conf.to_string()),
                "ifName": ifname, "networkName": conf["name"], "netns": self.netns,
                "cniArgs": [["IgnoreUnknown", "1"], ["K8S_POD_NAME", "p"]], "result": result});
            fs::write(self.result(conf, &ifname), cached.to_string()).unwrap();
        }
        fs::write(self.file(), Value::Array(entries).to_string()).unwrap();
    }

    /// Runs the plugins of one network, each told the result of the one before it.
    fn attach(&self, conf: &Value, ifname: &str) -> Value {
        let mut result = Value::Null;
        for plugin in plugins(conf) {
            let mut request = with_head(&plugin, conf);
            if !result.is_null() {
                request["prevResult"] = result;
            }
            result = self.plugin("ADD", ifname, &request);
        }
        result
    }

    /// Takes down what a sandbox's file names, and forgets it.
    fn del(&self) {
        let entries: Value = serde_json::from_slice(&fs::read(self.file()).unwrap()).unwrap();
        for (place, entry) in entries.as_array().unwrap().iter().enumerate().rev() {
            let conf: Value =
                serde_json::from_slice(&STANDARD.decode(entry["Bytes"].as_str().unwrap()).unwrap()).unwrap();
            let listed = entry["ConfList"]["plugins"].as_array().is_some_and(|all| !all.is_empty());
            assert_eq!(listed, conf.get("plugins").is_some(), "{entry}");
            let ifname = ifname(entry["ifnameRequest"].as_str().unwrap_or_default(), place);
            let file = self.result(&conf, &ifname);
            let cached: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            for plugin in plugins(&conf).iter().rev() {
                let mut request = with_head(plugin, &conf);
                request["prevResult"] = cached["result"].clone();
                self.plugin("DEL", &ifname, &request);
            }
            fs::remove_file(file).unwrap();
        }
        fs::remove_file(self.file()).unwrap();
    }

    fn result(&self, conf: &Value, ifname: &str) -> PathBuf {
        self.cache.join("results").join(format!("{}-{CONTAINER}-{ifname}", conf["name"].as_str().unwrap()))
    }
}

fn ifname(asked: &str, place: usize) -> String {
    match (asked, place) {
        ("", 0) => "eth0".to_owned(),
        ("", place) => format!("net{place}"),
        (asked, _) => asked.to_owned(),
    }
}

fn plugins(conf: &Value) -> Vec<Value> {
    conf["plugins"].as_array().cloned().unwrap_or_else(|| vec![conf.clone()])
}

fn with_head(plugin: &Value, conf: &Value) -> Value {
    let mut request = plugin.clone();
    request["name"] = conf["name"].clone();
    request["cniVersion"] = conf["cniVersion"].clone();
    request
}

/// The stage of a node on which only the program was replaced: its configuration is the peer's.
fn in_place(mut stage: Stage) -> Stage {
    stage.conf["type"] = json!("multus");
    stage
}

/// A node whose pod was attached by the peer: a bridge, a macvlan with a name of its own, and a list.
fn inherited_stage() -> (Stage, Peer) {
    let scene = Scene::new();
    let bridge = json!({"cniVersion": "1.0.0", "name": "lab", "type": "bridge", "bridge": "lab0", "ipam": scene.ipam(0)});
    let mut macvlan = scene.macvlan("data", 1);
    macvlan["cniVersion"] = json!("1.0.0");
    let tuned = json!({"cniVersion": "1.0.0", "name": "tuned", "plugins": [
        {"type": "macvlan", "master": "up0", "ipam": scene.ipam(2)}, {"type": "tuning", "mtu": 1400}]});
    let stage = in_place(Stage::with(scene, &json!([bridge])));
    let peer = Peer::of(&stage);
    peer.add(&[
        Delegate { label: "lab", asked: "", conf: bridge },
        Delegate { label: "ns/data", asked: "data0", conf: macvlan },
        Delegate { label: "ns/tuned", asked: "", conf: tuned },
    ]);
    assert_eq!(stage.pod.interfaces(), ["data0", "eth0", "lo", "net2"]);
    assert!(stage.scene.kept().keys().filter(|path| path.starts_with("ipam/")).count() >= 3);
    (stage, peer)
}

/// What is left in files, but for what was set aside.
fn left(stage: &Stage) -> Vec<String> {
    let kept = stage.scene.kept().into_keys();
    kept.filter(|path| !path.ends_with(".unreadable")).collect()
}

#[test]
fn what_the_peer_attached_is_taken_down() {
    let (stage, _) = inherited_stage();

    stage.del();

    stage.assert_empty();
    stage.del();
}

#[test]
fn what_the_peer_attached_is_taken_down_when_the_pod_is_gone() {
    let (stage, _) = inherited_stage();

    stage.call_without_netns("DEL").result();

    assert_eq!(left(&stage), [] as [&str; 0]);
}

#[test]
fn a_sandbox_file_that_cannot_be_read_does_not_lose_the_pod() {
    let spoils: [fn(&str) -> String; 7] = [
        |_| String::new(),
        |_| "[".to_owned(),
        |_| "null".to_owned(),
        |_| "{}".to_owned(),
        |_| "[null]".to_owned(),
        |whole| whole[..whole.len() / 2].to_owned(),
        |whole| whole.replacen("\"Bytes\":\"", "\"Bytes\":\"!", 1),
    ];
    for spoil in spoils {
        let (stage, peer) = inherited_stage();
        let text = spoil(&fs::read_to_string(peer.file()).unwrap());
        fs::write(peer.file(), &text).unwrap();

        stage.del();

        assert_eq!(stage.pod.interfaces(), ["lo"], "{text}");
        assert_eq!(left(&stage), [] as [&str; 0], "{text}");
        let aside = stage.scene.path("cache/.manifold/pod-1.unreadable");
        assert_eq!(fs::read_to_string(aside).unwrap(), text);
    }
}

#[test]
fn without_a_sandbox_file_the_cached_results_tell() {
    let (stage, peer) = inherited_stage();
    fs::remove_file(peer.file()).unwrap();

    stage.del();

    stage.assert_empty();
}

#[test]
fn a_list_of_which_only_the_common_keys_were_kept_is_taken_down_by_its_cached_result() {
    let (stage, peer) = inherited_stage();
    let mut entries: Value = serde_json::from_slice(&fs::read(peer.file()).unwrap()).unwrap();
    let lossy =
        json!({"cniVersion": "1.0.0", "name": "tuned", "plugins": [{"type": "macvlan"}, {"type": "tuning"}]});
    entries[2]["Bytes"] = json!(STANDARD.encode(lossy.to_string()));
    fs::write(peer.file(), entries.to_string()).unwrap();

    stage.del();

    stage.assert_empty();
}

#[test]
fn a_plugin_that_is_not_there_any_more_is_stood_in_for() {
    let (stage, _) = inherited_stage();
    let bin = stage.scene.path("bin");
    fs::create_dir(&bin).unwrap();
    for name in ["bridge", "tuning", "host-local"] {
        std::os::unix::fs::symlink(Path::new(scene::PLUGINS).join(name), bin.join(name)).unwrap();
    }
    let mut conf = stage.conf.clone();
    conf["binDir"] = json!(bin);
    let call = Call { verb: "DEL", container: CONTAINER, ifname: "eth0", netns: stage.pod.path().as_str() };
    let mut command = stage.scene.command(env!("CARGO_BIN_EXE_manifold"), &call);
    command.env("CNI_PATH", &bin);

    let output = scene::feed(command, conf.to_string().as_bytes());

    assert!(output.status.success(), "{output:?}");
    stage.assert_empty();
}

#[test]
fn a_plugin_that_fails_keeps_the_peers_file_for_the_next_del() {
    let (stage, peer) = inherited_stage();
    let broken = stage.with_a_bridge_that_fails();
    let netns = stage.pod.path().as_str();
    let call = Call { verb: "DEL", container: CONTAINER, ifname: "eth0", netns };

    let (_, message, _) = stage.scene.call(&call, &broken).error();

    assert!(message.contains("\"eth0\" (lab)") && message.contains("bridge"), "{message}");
    assert!(peer.file().exists());
    assert_eq!(stage.pod.interfaces(), ["eth0", "lo"]);
    stage.del();
    stage.assert_empty();
}

/// A pod with everything, in the newest version that the reference plugins of this machine speak.
fn spoken_to_in_1_0() -> Stage {
    let mut stage = in_place(Stage::with_everything());
    let old = |mut conf: Value| {
        conf["cniVersion"] = json!("1.0.0");
        conf
    };
    stage.scene.network("data.conf", &old(stage.scene.macvlan("data", 1)).to_string());
    stage.conf["delegates"] = json!([old(stage.scene.macvlan("default", 0))]);
    stage
}

#[test]
fn what_manifold_attached_is_taken_down_by_the_peer() {
    let stage = spoken_to_in_1_0();
    stage.add();
    let peer = Peer { cache: stage.scene.path("cache"), netns: stage.pod.path().to_string() };

    peer.del();

    assert_eq!(stage.pod.interfaces(), ["lo"]);
    let mut kept = stage.scene.kept();
    kept.retain(|path, _| !path.starts_with("state/"));
    assert_eq!(kept, Default::default());
    // Back again, Manifold finds everything gone.
    stage.del();
    stage.assert_empty();
}

#[test]
fn a_network_with_neither_version_nor_addresses_is_written_down_too() {
    let stage =
        in_place(Stage::with(Scene::new(), &json!([{"name": "bare", "type": "macvlan", "master": "up0"}])));

    stage.add();

    let kept = stage.scene.kept();
    assert!(
        kept.contains_key("cache/pod-1") && kept.contains_key("cache/results/bare-pod-1-eth0"),
        "{kept:?}"
    );
    stage.del();
    stage.assert_empty();
}

#[test]
fn a_record_that_is_lost_is_made_up_for_by_the_sandbox_file() {
    let stage = in_place(Stage::with_everything());
    stage.add();
    fs::remove_dir_all(stage.scene.path("state")).unwrap();

    stage.del();

    stage.assert_empty();
}

#[test]
fn part_of_a_pod_of_the_peers_may_be_manifolds() {
    let (stage, peer) = inherited_stage();
    let mut conf = stage.conf.clone();
    conf["delegates"] = json!([stage.scene.macvlan("more", 5)]);
    let netns = stage.pod.path().as_str();
    stage.scene.call(&Call { verb: "ADD", container: CONTAINER, ifname: "more0", netns }, &conf).result();
    let entries: Value = serde_json::from_slice(&fs::read(peer.file()).unwrap()).unwrap();
    assert_eq!(entries.as_array().unwrap().len(), 4);
    assert_eq!(entries[1]["Name"], "ns/data");

    stage.del();

    stage.assert_empty();
}

#[test]
fn a_program_that_plays_one_plugins_part_leaves_no_sandbox_file() {
    let stage = in_place(Stage::with(Scene::new(), &json!([])));
    let mut conf = stage.scene.macvlan("data", 1);
    for key in ["stateDir", "cniDir"] {
        conf[key] = stage.conf[key].clone();
    }
    let netns = stage.pod.path().as_str();
    let call = |verb| Call { verb, container: CONTAINER, ifname: "eth0", netns };

    stage.scene.call(&call("ADD"), &conf).result();

    assert!(!stage.scene.path("cache").exists());
    stage.scene.call(&call("DEL"), &conf).result();
    stage.assert_empty();
}

#[test]
fn only_where_it_stands_in_for_the_peer_does_manifold_leave_its_files() {
    let stage = Stage::with_everything();

    stage.add();

    let cached: Vec<String> =
        stage.scene.kept().into_keys().filter(|path| path.starts_with("cache/")).collect();
    assert_eq!(cached, ["cache/results/lab-pod-1-lab", "cache/results/tuned-pod-1-tuned"]);
}
