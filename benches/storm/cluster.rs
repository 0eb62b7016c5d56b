//! The node of a cluster: what hearing of many networks and pods costs, and what it spares.

use std::process::Child;
use std::time::Instant;

use serde_json::json;

use crate::Node;
use crate::api_server::ApiServer;
use crate::common::Pod;
use crate::scene::{self, Scene};

/// Networks of the cluster.
const NETWORKS: usize = 1000;
/// Pods of the node.
pub(crate) const PODS: usize = 250;
/// What the daemon, its plugins and what the kernel needs for the pods' links may use together, in MiB: of 250 pods with
/// three links each the kernel alone has some 16.
const LIMIT: u64 = 64;
/// Pods that are attached at a time.
const LOT: usize = 50;

/// Attaches many pods, each to its node's default network and two of a thousand.
pub(crate) fn run(count: usize) {
    let scene = Scene::new();
    let server = ApiServer::start();
    for n in 0..NETWORKS {
        let network = json!({"cniVersion": "1.0.0", "name": format!("net-{n}"), "type": "macvlan", "master": "up0",
            "ipam": Node::wide_in(&scene, (n % 100) as u8 + 100)});
        server.put_definition(&format!("shop/net-{n}"), &network.to_string(), &json!({}));
    }
    for n in 0..count {
        let selected = format!("net-{}, net-{}", n % NETWORKS, (n + 1) % NETWORKS);
        let annotations = json!({"k8s.v1.cni.cncf.io/networks": selected, "description": "x".repeat(500)});
        server.put_pod(&format!("shop/pod-{n}"), &format!("uid-{n}"), &annotations);
    }
    let more = json!({"kubeconfig": server.kubeconfig(), "nodeName": "node"});
    let node = Node::on(scene, LIMIT, &more);
    while server.watches() < 2 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    println!(
        "daemon, when it has heard of {NETWORKS} networks and {count} pods: {} kB resident",
        node.resident()
    );

    let bridge = json!({"cniVersion": "1.0.0", "name": "base", "type": "bridge", "bridge": "br0", "ipam": node.wide(1)});
    let mut conf = node.conf(&json!([bridge]));
    conf["kubeconfig"] = json!(server.kubeconfig());
    let conf = conf.to_string();
    let pods: Vec<Pod> = (0..count).map(|_| node.scene.node.pod().unwrap()).collect();
    for verb in ["ADD", "DEL"] {
        let before = server.asked().len();
        let began = Instant::now();
        for lot in pods.iter().enumerate().collect::<Vec<_>>().chunks(LOT) {
            let begun: Vec<Child> =
                lot.iter().map(|(n, pod)| node.begin_pod(verb, (*n, pod), &conf)).collect();
            begun.into_iter().map(scene::finish).for_each(|answer| drop(answer.result()));
        }
        let took = began.elapsed().as_secs_f64();
        let asked = server.asked().split_off(before);
        let count_of = |method: &str| asked.iter().filter(|line| line.starts_with(method)).count();
        println!(
            "{verb} of {count} pods, {LOT} at a time: {took:.1} s, {:.1} ms a pod; asked: {} GET, {} PATCH, {} POST; \
             peak with plugins and kernel {:.1} MiB of {LIMIT}; daemon {} kB resident",
            took * 1000.0 / count as f64,
            count_of("GET"),
            count_of("PATCH"),
            count_of("POST"),
            node.cage.peak() as f64 / f64::from(1 << 20),
            node.resident(),
        );
    }
    assert_eq!(node.scene.kept().len(), 0, "nothing is left");
}
