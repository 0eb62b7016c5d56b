//! The whole path on the real kernel: a call of a container runtime in, interfaces in a network namespace out.

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

mod add;
mod bad_input;
mod by_hand;
mod check;
mod configured;
mod default_route;
mod del;
mod doctor;
mod housekeeping;
mod log;
mod peer;
mod spy;
mod status;
mod storm;
mod two_networks;
mod where_the_peer_fails;
mod words;

use common::Pod;
use scene::{Answer, Call, PLUGINS, Scene};
use serde_json::{Value, json};

/// A pod on a scene, with the configuration it is called with.
struct Stage {
    scene: Scene,
    pod: Pod,
    conf: Value,
}

impl Stage {
    /// A pod with a default network and, as its annotation says, three more: native, run, and both in one chain.
    fn with_everything() -> Self {
        let scene = Scene::new();
        scene.network("data.conf", &scene.macvlan("data", 1).to_string());
        let bridge = json!({"cniVersion": "1.0.0", "name": "lab", "type": "bridge", "bridge": "lab0", "isGateway": true, "ipam": scene.ipam(2)});
        scene.network("lab.conf", &bridge.to_string());
        let tuned = json!({"cniVersion": "1.0.0", "name": "tuned", "plugins": [
            {"type": "macvlan", "master": "up0", "mtu": 1400, "ipam": scene.ipam(3)},
            {"type": "tuning", "mac": "02:00:00:00:00:42", "sysctl": {"net.ipv4.conf.all.log_martians": "1"}},
        ]});
        scene.network("tuned.conflist", &tuned.to_string());
        let mut conf = scene.conf(&json!([scene.macvlan("default", 0)]));
        conf["capabilities"] = json!({"io.kubernetes.cri.pod-annotations": true});
        conf["runtimeConfig"] = json!({"io.kubernetes.cri.pod-annotations":
            {"k8s.v1.cni.cncf.io/networks": "data,lab@lab,tuned@tuned"}});
        Self::around(scene, conf)
    }

    /// A pod with these delegates.
    fn with(scene: Scene, delegates: &Value) -> Self {
        let conf = scene.conf(delegates);
        Self::around(scene, conf)
    }

    fn around(scene: Scene, conf: Value) -> Self {
        let pod = scene.node.pod().unwrap();
        Self { scene, pod, conf }
    }

    /// Changes the pod's annotation.
    fn select(&mut self, networks: &str) {
        self.conf["runtimeConfig"]["io.kubernetes.cri.pod-annotations"]["k8s.v1.cni.cncf.io/networks"] =
            json!(networks);
    }

    fn call(&self, verb: &str) -> Answer {
        let netns = self.pod.path().as_str();
        self.scene.call(&Call { verb, container: "pod-1", ifname: "eth0", netns }, &self.conf)
    }

    /// A call as the runtime makes it when the pod is gone.
    fn call_without_netns(&self, verb: &str) -> Answer {
        self.scene.call(&Call { verb, container: "pod-1", ifname: "eth0", netns: "" }, &self.conf)
    }

    fn add(&self) -> Value {
        self.call("ADD").result()
    }

    fn del(&self) {
        self.call("DEL").result();
    }

    /// What `ip` says inside the pod.
    fn seen(&self, words: &'static str) -> Value {
        self.pod.inside(move || scene::seen(words))
    }

    fn ip(&self, words: &'static str) {
        self.pod.inside(move || scene::ip(words));
    }

    /// Nothing is left of the pod: no link, no file.
    /// The configuration, with a plugin `bridge` that fails.
    fn with_a_bridge_that_fails(&self) -> Value {
        let bin = self.scene.path("bin");
        std::fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink("/bin/false", bin.join("bridge")).unwrap();
        let mut conf = self.conf.clone();
        conf["binDir"] = json!(bin);
        conf
    }

    fn assert_empty(&self) {
        assert_eq!(self.pod.interfaces(), ["lo"]);
        assert_eq!(self.scene.kept(), Default::default());
    }
}
