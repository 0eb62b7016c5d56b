//! `kill -9` at every step of an ADD, and again at every step of the DEL that follows, leaves nothing: no link, no
//! address, no file.
//!
//! `strace` delivers the signal at the entry of the n-th system call of a name; walking every call that changes
//! anything visits every state the program can die in.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test may panic, and starts programs"
)]

#[path = "common/mod.rs"]
mod common;
#[path = "common/scene.rs"]
mod scene;
#[path = "common/strace.rs"]
mod strace;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use common::Pod;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use scene::{Call, Scene};
use serde_json::{Value, json};
use strace::CHANGES;

/// Waits for what a killed program had started.
fn wait_for_all() {
    while waitpid(Pid::from_raw(-1), None).is_ok() {}
}

/// Whoever waits for any child must be the only one who has some.
static ALONE: Mutex<()> = Mutex::new(());

/// A pod with a link and an address of its own, plugins run, and a chain of both.
struct Stage {
    scene: Scene,
    pod: Pod,
    conf: Value,
    _alone: MutexGuard<'static, ()>,
}

impl Stage {
    fn new() -> Self {
        let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Plugins that outlive the program become our children, so that their end can be waited for.
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        let scene = Scene::new();
        let tuned = json!({"cniVersion": "1.0.0", "name": "tuned", "plugins": [
            {"type": "macvlan", "master": "up0", "ipam": scene.ipam(0)},
            {"type": "tuning", "mtu": 1400},
        ]});
        let bridge = json!({"cniVersion": "1.0.0", "name": "lab", "type": "bridge", "bridge": "lab0",
            "ipam": {"type": "static", "addresses": [{"address": "10.77.2.2/24"}]}});
        let mut conf = scene.conf(&json!([tuned, scene.macvlan("data", 1), bridge]));
        // In the peer's place the most is written.
        conf["type"] = json!("multus");
        let pod = scene.node.pod().unwrap();
        Self { scene, pod, conf, _alone: alone }
    }

    /// How often an undisturbed call makes each of the system calls that change something.
    fn count(&self, verb: &str) -> BTreeMap<String, usize> {
        let traced = strace::trace(&self.scene, &self.as_call(verb), &self.conf);
        wait_for_all();
        let each = CHANGES.map(|name| (name.to_owned(), traced.count(name)));
        each.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// Kills a call at the n-th system call of this name.
    fn kill(&self, verb: &str, name: &str, n: usize) {
        strace::kill(&self.scene, &self.as_call(verb), &self.conf, (name, n));
        wait_for_all();
    }

    fn as_call<'a>(&'a self, verb: &'a str) -> Call<'a> {
        Call { verb, container: "pod-1", ifname: "eth0", netns: self.pod.path().as_str() }
    }

    fn call(&self, verb: &str) -> scene::Answer {
        self.scene.call(&self.as_call(verb), &self.conf)
    }

    /// Nothing is left. The folders go too, so that every ADD is the first on its node and takes the same steps.
    fn assert_empty(&self, when: &str) {
        assert_eq!(self.pod.interfaces(), ["lo"], "{when}");
        assert_eq!(self.scene.kept(), BTreeMap::new(), "{when}");
        for name in ["state", "cache", "ipam"] {
            drop(std::fs::remove_dir_all(self.scene.path(name)));
        }
    }
}

#[test]
fn an_add_killed_at_any_step_leaves_nothing_after_del() {
    let stage = Stage::new();
    let counts = stage.count("ADD");
    stage.call("DEL").result();
    stage.assert_empty("undisturbed");
    let steps: usize = counts.values().sum();
    assert!(steps > 40 && counts.contains_key("fchmod") && counts.contains_key("sendto"), "{counts:?}");

    for (name, count) in counts {
        for n in 1..=count {
            stage.kill("ADD", &name, n);
            stage.call("DEL").result();
            stage.assert_empty(&format!("ADD killed at {name} {n}"));
        }
    }
}

#[test]
fn a_del_killed_at_any_step_is_finished_by_the_next() {
    let stage = Stage::new();
    stage.call("ADD").result();
    let counts = stage.count("DEL");
    stage.assert_empty("undisturbed");

    for (name, count) in counts {
        for n in 1..=count {
            stage.call("ADD").result();
            stage.kill("DEL", &name, n);
            stage.call("DEL").result();
            stage.assert_empty(&format!("DEL killed at {name} {n}"));
        }
    }
}

#[test]
fn an_add_killed_at_any_step_is_undone_by_the_next_add() {
    let stage = Stage::new();
    let counts = stage.count("ADD");
    stage.call("DEL").result();
    stage.assert_empty("undisturbed");

    for name in ["rename", "write", "fchmod", "sendto"] {
        for n in 1..=counts[name] {
            stage.kill("ADD", name, n);
            // What was attached in full stands; the runtime takes it down before it tries again.
            if !stage.scene.kept().values().any(|text| text.contains("\"phase\":\"attached\"")) {
                stage.call("ADD").result();
                stage.call("CHECK").result();
            }
            stage.call("DEL").result();
            stage.assert_empty(&format!("ADD after ADD killed at {name} {n}"));
        }
    }
}

#[test]
fn a_file_system_that_cannot_change_modes_does_as_well() {
    let stage = Stage::new();

    strace::refuse(&stage.scene, &stage.as_call("ADD"), &stage.conf, ("fchmod", "EPERM"));

    let kept = stage.scene.kept();
    assert!(kept["ipam/data/10.77.1.2"].starts_with("pod-1"), "{kept:?}");
    stage.call("CHECK").result();
    stage.call("DEL").result();
    stage.assert_empty("where modes stay as they are");
}
