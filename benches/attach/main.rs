//! How long attaching takes: one macvlan with an address, by the reference plugin, by this program as a process, by its
//! engine in process, and by the bare kernel. `docs/benchmarks.md` explains the rows.
//!
//! `make bench`, or `cargo bench -- 200` for 200 rounds. Needs root; everything happens in network namespaces that are
//! gone afterwards.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement may panic, and prints its figures"
)]

#[path = "../../tests/common/api_server/mod.rs"]
mod api_server;
mod cluster;
#[path = "../../tests/common/mod.rs"]
mod common;
mod disk;
mod engine;
mod floor;
mod machine;
mod process;
mod race;
mod scene;
mod table;

use cluster::Cluster;
use engine::Sandbox;
use manifold::model::Network;
use race::{Contender, race};
use scene::Scene;

/// Rounds, unless the command line says otherwise.
const ROUNDS: usize = 100;
/// Addresses in use in the crowded store: most of a /16.
const CROWD: u16 = 60_000;

fn main() {
    // `cargo bench` adds arguments of its own.
    let rounds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(ROUNDS);
    let scene = Scene::enter();
    println!("{}\n* records and addresses: on {}", machine::describe(), scene.medium());
    let cluster = Cluster::start(&scene);
    cluster.print_memory(&scene);

    let contenders = vec![process::version_of_reference(&scene), process::version_of_manifold(&scene)];
    table::print("Process start: VERSION", &race(rounds, contenders).adds(), &[0]);

    let contenders = one_attachment(&scene);
    let times = race(rounds, contenders);
    table::print("ADD of one macvlan", &times.adds(), &[0, 5]);
    table::print("DEL of one macvlan", &times.dels(), &[0, 5]);

    let before = cluster.asked();
    let times = race(rounds, vec![Cluster::bridge(&scene), cluster.whole(&scene)]);
    println!(
        "\nRequests to the API server for a whole pod: {}",
        (cluster.asked() - before) / race::turns(rounds)
    );
    table::print("ADD of a whole pod of a cluster", &times.adds(), &[0]);
    table::print("DEL of a whole pod of a cluster", &times.dels(), &[0]);
    Cluster::print_against_peer(table::ratio(&times.adds(), 1, 0));

    let times = race(rounds, several_links(&scene));
    table::print("DEL of a pod with several links", &times.dels(), &[0]);

    let times = race((rounds / 20).max(3), crowded_store(&scene));
    table::print(&format!("ADD with {CROWD} addresses in use"), &times.adds(), &[0]);
    table::print(&format!("DEL with {CROWD} addresses in use"), &times.dels(), &[0]);
}

fn one_attachment(scene: &Scene) -> Vec<Contender> {
    let in_memory = Sandbox { state: scene.in_memory(), ..sandbox(scene, scene.fixed(), 1) };
    vec![
        process::reference(scene, "reference, process", 0),
        process::manifold(scene, "manifold, process", 0),
        engine::attach("engine, host-local", sandbox(scene, scene.leased("engine", 0), 1)),
        engine::attach("engine, static", sandbox(scene, scene.fixed(), 1)),
        engine::attach("engine, static, records in memory", in_memory),
        floor::attach(scene, "bare netlink", 1),
    ]
}

fn several_links(scene: &Scene) -> Vec<Contender> {
    vec![
        floor::attach(scene, "1 link, bare netlink", 1),
        floor::attach(scene, "4 links one by one, bare netlink", 4),
        engine::attach("1 link, engine", sandbox(scene, scene.leased("one", 0), 1)),
        engine::attach("4 links, engine", sandbox(scene, scene.leased("four", 0), 4)),
    ]
}

fn crowded_store(scene: &Scene) -> Vec<Contender> {
    vec![
        process::reference(scene, "reference, process", CROWD),
        process::manifold(scene, "manifold, process", CROWD),
        engine::attach("engine, host-local", sandbox(scene, scene.leased("crowded", CROWD), 1)),
    ]
}

/// A pod that is to get several interfaces on one network.
fn sandbox(scene: &Scene, network: Network, links: usize) -> Sandbox {
    Sandbox { pod: scene.pod(), networks: vec![network; links], state: scene.path("state") }
}
