//! A whole pod of a cluster, by one process: a default network whose plugin is run, and two native macvlan networks that
//! an API server on loopback defines and is told of.

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

use crate::api_server::ApiServer;
use crate::process::Plugin;
use crate::race::Contender;
use crate::scene::{MASTER, Scene};

/// What the peer took for such a pod, as a process for each call, and what its default network's plugin took alone: the
/// medians of 40 calls each on another machine of two cores (Multus 4.3.0, Kubernetes 1.36, containerd 2.4).
const PEER_MS: f64 = 67.3;
const PEER_BRIDGE_MS: f64 = 11.6;
/// The peak of its process there, in MB; plugins not counted.
const PEER_MB: u64 = 36;

/// The cluster, and a pod of it.
pub(crate) struct Cluster {
    server: ApiServer,
    whole: String,
    native: String,
}

impl Cluster {
    pub(crate) fn start(scene: &Scene) -> Self {
        let server = ApiServer::start();
        for name in ["red", "blue"] {
            let conf = json!({"cniVersion": "1.0.0", "type": "macvlan", "master": MASTER, "ipam": ipam(scene, name)});
            server.put_definition(&format!("default/{name}"), &conf.to_string(), &json!({}));
        }
        server.put_pod("default/web", "u", &json!({"k8s.v1.cni.cncf.io/networks": "red,blue"}));
        let conf = |default: Value| {
            json!({"cniVersion": "1.0.0", "name": "meta", "type": "manifold", "kubeconfig": server.kubeconfig(),
                "stateDir": scene.path("state"), "cniDir": scene.path("cache"), "delegates": [default]})
            .to_string()
        };
        let native = conf(json!({"cniVersion": "1.0.0", "type": "macvlan", "master": MASTER}));
        let whole = conf(bridge(scene, "manifold"));
        Self { whole, native, server }
    }

    /// The pod, attached and detached.
    pub(crate) fn whole(&self, scene: &Scene) -> Contender {
        Plugin::new(scene, "manifold", self.whole.clone()).contender("manifold, whole pod")
    }

    /// The plugin of the default network alone: what any program that runs it cannot do without.
    pub(crate) fn bridge(scene: &Scene) -> Contender {
        let conf = bridge(scene, "reference").to_string();
        Plugin::new(scene, "bridge", conf).contender("bridge plugin alone")
    }

    /// Says how much memory one process takes for the pod. Children are measured together, so this comes first.
    pub(crate) fn print_memory(&self, scene: &Scene) {
        let plugin = Plugin::new(scene, "manifold", self.native.clone());
        plugin.run("ADD");
        plugin.run("DEL");
        let kilobytes = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
        println!(
            "* memory: {kilobytes} kB at the most for a pod of a cluster, by one process (peer, recorded: {PEER_MB} MB)"
        );
    }

    /// Says how the pod compares with what was recorded of the peer.
    pub(crate) fn print_against_peer(whole_over_bridge: f64) {
        let peer = PEER_MS / PEER_BRIDGE_MS;
        println!(
            "\nThe whole pod takes {whole_over_bridge:.2} times the bridge plugin alone; the peer took {peer:.2} times \
             ({PEER_MS} ms and {PEER_BRIDGE_MS} ms, recorded elsewhere): {:.2} of it",
            whole_over_bridge / peer
        );
    }

    /// How often the API server was asked so far.
    pub(crate) fn asked(&self) -> usize {
        self.server.asked().len()
    }
}

fn bridge(scene: &Scene, store: &str) -> Value {
    json!({"cniVersion": "1.0.0", "name": format!("base-{store}"), "type": "bridge", "bridge": format!("br-{store:.3}"), "isGateway": true,
        "ipam": ipam(scene, store)})
}

fn ipam(scene: &Scene, store: &str) -> Value {
    json!({"type": "host-local", "dataDir": scene.path(store), "ranges": [[{"subnet": "10.30.0.0/16"}]]})
}
