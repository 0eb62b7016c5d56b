//! vhost-user interfaces on the real switch: a call of a container runtime in, a port of Open vSwitch with DPDK out, and
//! frames between the pods' applications.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test may panic, and starts programs"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/scene.rs"]
mod scene;
#[path = "../common/strace.rs"]
mod strace;

mod bad_input;
mod health;
mod ports;
mod switch;
mod traffic;
mod trouble;

use std::sync::{Mutex, MutexGuard};

use common::Pod;
use scene::{Answer, Call, Scene};
use serde_json::{Value, json};
use switch::Switch;

/// One switch at a time: each needs memory and a processor.
static ALONE: Mutex<()> = Mutex::new(());

/// A node with a switch, and a pod.
struct Stage {
    switch: Switch,
    scene: Scene,
    pod: Pod,
    /// Keys of Manifold's `vhostUser` beside where the switch is.
    more: Value,
    _alone: MutexGuard<'static, ()>,
}

impl Stage {
    fn new() -> Self {
        Self::with(Switch::start)
    }

    fn with(start: impl FnOnce(&std::path::Path) -> Switch) -> Self {
        let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let scene = Scene::new();
        let switch = start(&scene.path("ovs"));
        let pod = scene.node.pod().unwrap();
        Self { switch, scene, pod, more: json!({}), _alone: alone }
    }

    /// A network of type `vhost-user` with these keys.
    fn network(&self, keys: &Value) -> Value {
        let mut network = json!({"cniVersion": "1.1.0", "name": "fast", "type": "vhost-user", "bridge": "br0",
            "socketDir": self.scene.path("sockets")});
        network.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        network
    }

    fn conf(&self, network: &Value) -> Value {
        let mut conf = self.scene.conf(&json!([network]));
        let mut ovs = json!({"ovsdbSocket": self.switch.socket(), "linkDir": self.scene.path("v"), "timeoutSeconds": 60});
        ovs.as_object_mut().unwrap().extend(self.more.as_object().unwrap().clone());
        conf["vhostUser"] = ovs;
        conf
    }

    fn call_for(&self, verb: &str, (container, pod): (&str, &Pod), network: &Value) -> Answer {
        let call = Call { verb, container, ifname: "net1", netns: pod.path().as_str() };
        self.scene.call(&call, &self.conf(network))
    }

    fn call(&self, verb: &str, keys: &Value) -> Answer {
        self.call_for(verb, ("pod-1", &self.pod), &self.network(keys))
    }

    fn add(&self, keys: &Value) -> Value {
        self.call("ADD", keys).result()
    }

    fn del(&self, keys: &Value) {
        self.call("DEL", keys).result();
    }

    /// Nothing is left: no port, no socket, no link, no record.
    fn assert_empty(&self) {
        assert_eq!(self.switch.ports("br0"), Vec::<String>::new());
        self.assert_no_files();
    }

    fn assert_no_files(&self) {
        assert_eq!(self.scene.kept(), Default::default());
        for folder in ["sockets", "v"] {
            let listing = std::fs::read_dir(self.scene.path(folder));
            let left: Vec<_> = listing.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

/// The socket of a result.
fn socket(result: &Value) -> &str {
    result["interfaces"][0]["socketPath"].as_str().unwrap()
}
