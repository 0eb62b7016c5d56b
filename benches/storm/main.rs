//! A node that starts all its pods at once, through the shim and one daemon with little memory; and many calls in a row.
//! `docs/benchmarks.md` explains what is printed.
//!
//! `make bench-storm`, or `cargo bench --bench storm -- 100` for 100 pods, and `-- cluster 250` for 250 of a cluster;
//! `make soak`, or `-- soak 10000` for so many rounds of ADD and DEL. Needs root; everything happens in network namespaces that are gone afterwards.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement may panic, starts programs and prints its figures"
)]

#[path = "../../tests/common/api_server/mod.rs"]
mod api_server;
mod cage;
mod cluster;
#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../attach/machine.rs"]
mod machine;
#[path = "../../tests/common/scene.rs"]
mod scene;

use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::{Duration, Instant};

use cage::Cage;
use common::Pod;
use scene::{Call, PLUGINS, Scene};
use serde_json::{Value, json};

/// Pods that start at once, unless the command line says otherwise.
const PODS: usize = 100;
/// What the daemon and its plugins may use together, in MiB.
const LIMIT: u64 = 32;
/// Calls in a row, of which the median is told.
const IN_A_ROW: usize = 40;

/// A node with a daemon.
struct Node {
    scene: Scene,
    daemon: Child,
    cage: Cage,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let number = words.iter().find_map(|word| word.parse().ok());
    println!("{}", machine::describe());
    if words.iter().any(|word| word == "cluster") {
        return cluster::run(number.unwrap_or(cluster::PODS));
    }
    let node = Node::on(Scene::new(), LIMIT, &json!({}));
    if words.iter().any(|word| word == "soak") {
        node.soak(number.unwrap_or(10_000));
    } else {
        node.in_a_row();
        node.storm(number.unwrap_or(PODS));
    }
}

impl Node {
    /// A daemon with these keys beside what it needs, and so many MiB.
    fn on(scene: Scene, limit: u64, more: &Value) -> Self {
        let config = scene.path("daemon.json");
        let mut text = json!({"socketDir": scene.path("run"), "stateDir": scene.path("state"), "cniDir": scene.path("cache"),
            "binDir": PLUGINS, "housekeepingSeconds": 5});
        text.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        std::fs::write(&config, text.to_string()).unwrap();
        let cage = Cage::new(limit << 20);
        let daemon =
            cage.start(&[env!("CARGO_BIN_EXE_manifold"), "daemon", "--config", config.to_str().unwrap()]);
        while UnixStream::connect(scene.path("run/multus.sock")).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let node = Self { scene, daemon, cage };
        println!("\ndaemon, just started: {} kB resident", node.resident());
        node
    }

    /// The pod of the peer's figures: an exec'd default network and two native ones.
    fn whole(&self) -> Value {
        let bridge = json!({"cniVersion": "1.0.0", "name": "base", "type": "bridge", "bridge": "br0", "ipam": self.wide(1)});
        let native = |name: &str, n: u8| json!({"cniVersion": "1.0.0", "name": name, "type": "macvlan", "master": "up0", "ipam": self.wide(n)});
        self.conf(&json!([bridge, native("red", 2), native("blue", 3)]))
    }

    fn native(&self) -> Value {
        self.conf(&json!([{"cniVersion": "1.0.0", "name": "red", "type": "macvlan", "master": "up0", "ipam": self.wide(2)}]))
    }

    fn conf(&self, delegates: &Value) -> Value {
        let mut conf = self.scene.conf(delegates);
        conf["type"] = json!("manifold-shim");
        conf["daemonSocketDir"] = json!(self.scene.path("run"));
        conf
    }

    fn wide(&self, n: u8) -> Value {
        Self::wide_in(&self.scene, n)
    }

    /// An `ipam` of a /16 of its own.
    fn wide_in(scene: &Scene, n: u8) -> Value {
        json!({"type": "host-local", "dataDir": scene.path("ipam"), "ranges": [[{"subnet": format!("10.{n}.0.0/16")}]]})
    }

    fn begin(&self, verb: &str, (container, pod): (&str, &Pod), conf: &str) -> Child {
        let call = Call { verb, container, ifname: "eth0", netns: pod.path().as_str() };
        scene::start(self.scene.command(env!("CARGO_BIN_EXE_manifold-shim"), &call), conf.as_bytes())
    }

    /// Begins a call for the cluster's pod of this number.
    fn begin_pod(&self, verb: &str, (n, pod): (usize, &Pod), conf: &str) -> Child {
        let call = Call { verb, container: &format!("pod-{n}"), ifname: "eth0", netns: pod.path().as_str() };
        let mut command = self.scene.command(env!("CARGO_BIN_EXE_manifold-shim"), &call);
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=pod-{n};K8S_POD_UID=uid-{n}");
        command.env("CNI_ARGS", args);
        scene::start(command, conf.as_bytes())
    }

    fn call(&self, verb: &str, who: (&str, &Pod), conf: &str) -> Duration {
        let began = Instant::now();
        scene::finish(self.begin(verb, who, conf)).result();
        began.elapsed()
    }

    /// One call after the other on a node with nothing else to do.
    fn in_a_row(&self) {
        for (name, conf) in
            [("one native macvlan", self.native()), ("bridge run and two native macvlan", self.whole())]
        {
            let conf = conf.to_string();
            let pod = self.scene.node.pod().unwrap();
            let mut adds: Vec<Duration> = (0..IN_A_ROW)
                .map(|_| {
                    let took = self.call("ADD", ("row", &pod), &conf);
                    self.call("DEL", ("row", &pod), &conf);
                    took
                })
                .collect();
            adds.sort();
            let ms = |at: usize| adds[adds.len() * at / 100].as_secs_f64() * 1000.0;
            println!(
                "ADD through the shim, {name}: p50 {:.1} ms, p90 {:.1} ms ({IN_A_ROW} in a row)",
                ms(50),
                ms(90)
            );
        }
    }

    /// All pods at once.
    fn storm(&self, count: usize) {
        let conf = self.whole().to_string();
        let pods: Vec<Pod> = (0..count).map(|_| self.scene.node.pod().unwrap()).collect();
        for verb in ["ADD", "DEL"] {
            self.cage.forget_peak();
            let began = Instant::now();
            let begun =
                pods.iter().enumerate().map(|(n, pod)| self.begin(verb, (&format!("pod-{n}"), pod), &conf));
            let begun: Vec<Child> = begun.collect();
            let answers: Vec<_> = begun.into_iter().map(scene::finish).collect();
            let failed: Vec<_> = answers.into_iter().filter(|answer| !answer.succeeded()).collect();
            let took = began.elapsed();
            println!(
                "\n{verb} of {count} pods at once: {} failed, {:.2} s in all, {:.1} ms a pod; peak of the daemon and its plugins {:.1} MiB of {LIMIT}; daemon {} kB resident",
                failed.len(),
                took.as_secs_f64(),
                took.as_secs_f64() * 1000.0 / count as f64,
                self.cage.peak() as f64 / f64::from(1 << 20),
                self.resident(),
            );
            assert!(failed.is_empty(), "{:?}", failed.first());
        }
        assert_eq!(self.scene.kept().len(), 0, "nothing is left");
    }

    /// Many rounds; what grows would show.
    fn soak(&self, rounds: usize) {
        let conf = self.native().to_string();
        let pod = self.scene.node.pod().unwrap();
        println!("\n| rounds | resident, kB | descriptors | threads | files kept |\n|--:|--:|--:|--:|--:|");
        for round in 0..=rounds {
            if round % (rounds / 10).max(1) == 0 {
                let (descriptors, threads) = (self.count("fd"), self.count("task"));
                let kept = self.scene.kept().len();
                println!("| {round} | {} | {descriptors} | {threads} | {kept} |", self.resident());
            }
            self.call("ADD", (&format!("soak-{round}"), &pod), &conf);
            self.call("DEL", (&format!("soak-{round}"), &pod), &conf);
        }
    }

    /// How many of these the daemon has.
    fn count(&self, what: &str) -> usize {
        std::fs::read_dir(format!("/proc/{}/{what}", self.daemon.id())).map_or(0, Iterator::count)
    }

    /// The daemon's resident memory, in kB.
    fn resident(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.daemon.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.daemon.kill().unwrap_or_default();
        self.daemon.wait().map(drop).unwrap_or_default();
    }
}
