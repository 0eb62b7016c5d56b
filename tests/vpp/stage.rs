//! A node with a small VPP, and a pod.

use super::*;

/// The node.
pub(crate) struct Stage {
    pub(crate) peer: Peer<StandIn>,
    pub(crate) scene: Scene,
    pub(crate) pod: Pod,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let scene = Scene::new();
        let peer = Peer::start(&scene.path("api.sock"), StandIn::new(), Manners::default());
        let pod = scene.node.pod().unwrap();
        Self { peer, scene, pod }
    }

    /// A network of type `vhost-user` on VPP with these keys.
    pub(crate) fn network(&self, keys: &Value) -> Value {
        let mut network = json!({"cniVersion": "1.1.0", "name": "fast", "type": "vhost-user", "engine": "vpp",
            "bridge": 7, "socketDir": self.scene.path("sockets")});
        network.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        network
    }

    pub(crate) fn conf(&self, network: &Value) -> Value {
        let mut conf = self.scene.conf(&json!([network]));
        conf["vhostUser"] = json!({"vppSocket": self.peer.socket(), "linkDir": self.scene.path("v"),
            "ovsdbSocket": self.scene.path("no-ovs"), "timeoutSeconds": 60});
        conf
    }

    pub(crate) fn call_for(&self, verb: &str, (container, pod): (&str, &Pod), network: &Value) -> Answer {
        let call = Call { verb, container, ifname: "net1", netns: pod.path().as_str() };
        self.scene.call(&call, &self.conf(network))
    }

    pub(crate) fn call(&self, verb: &str, keys: &Value) -> Answer {
        self.call_for(verb, ("pod-1", &self.pod), &self.network(keys))
    }

    pub(crate) fn add(&self, keys: &Value) -> Value {
        self.call("ADD", keys).result()
    }

    pub(crate) fn del(&self, keys: &Value) {
        self.call("DEL", keys).result();
    }

    /// The sockets in the pod's network namespace that have a name.
    pub(crate) fn pod_sockets(&self) -> Vec<String> {
        let text = self.pod.inside(|| std::fs::read_to_string("/proc/thread-self/net/unix").unwrap());
        text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(7).map(str::to_owned)).collect()
    }

    /// Nothing is left: nothing in VPP, no socket, no record.
    pub(crate) fn assert_empty(&self) {
        self.peer.with(|vpp| assert!(vpp.is_pristine(), "{vpp:?}"));
        self.assert_no_files();
    }

    pub(crate) fn assert_no_files(&self) {
        assert_eq!(self.scene.kept(), Default::default());
        for folder in ["sockets", "v"] {
            let listing = std::fs::read_dir(self.scene.path(folder));
            let left: Vec<_> = listing.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}
