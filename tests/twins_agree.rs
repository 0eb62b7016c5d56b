//! The simulated node and the real one are twins: the same verbs on the same attachments end alike on both.

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

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use common::Pod;
use manifold::engine::add::add;
use manifold::engine::check::check;
use manifold::engine::del::{Detach, del};
use manifold::engine::scope::Scope;
use manifold::engine::{Node, gc};
use manifold::host::exec::Plugins;
use manifold::host::hands::HostHands;
use manifold::host::journal::FileJournal;
use manifold::host::netlink::{Sockets, link};
use manifold::host::netns::Netns;
use manifold::host::probe::HostProbe;
use manifold::model::fault::Outcome;
use manifold::model::{Attachment, ContainerId, FaultKind, Network, Owner};
use manifold::sim::SimNode;
use scene::Scene;
use serde_json::{Value, json};

/// What both nodes can be asked: interfaces with their addresses, stores with the owners of their addresses, records.
#[derive(Debug, PartialEq, Eq)]
struct Picture {
    links: BTreeMap<String, (u32, Option<String>)>,
    leases: BTreeMap<String, String>,
    records: BTreeSet<String>,
    answer: Option<FaultKind>,
}

/// One thing that happens to the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Add,
    Del,
    Check,
    Gc,
    /// Somebody else's link takes the name `net1`.
    Foreign,
    /// The pod's namespace is gone.
    Vanish,
}

use Event::{Add, Check, Del, Foreign, Gc, Vanish};

/// The stories both nodes live through.
const STORIES: [&[Event]; 9] = [
    &[Add, Check, Del, Del],
    &[Add, Add, Check, Del],
    &[Check],
    &[Del],
    &[Foreign, Add, Del],
    &[Add, Vanish, Check, Del, Del],
    &[Add, Vanish, Gc],
    &[Add, Gc, Check],
    &[Add, Del, Add, Check, Gc, Del],
];

/// The attachments of the pod: two native ones, with addresses out of stores and without.
fn attachments(scene: &Scene, netns: &str) -> Vec<Attachment> {
    let mut private = scene.macvlan("private", 2);
    private["mode"] = json!("private");
    let mut fixed = scene.macvlan("fixed", 3);
    fixed["ipam"] =
        json!({"type": "static", "addresses": [{"address": "10.9.9.9/24", "gateway": "10.9.9.1"}]});
    let networks = [scene.macvlan("data", 1), private, fixed];
    let each =
        networks.iter().zip(["eth0", "net1", "net2"]).map(|(conf, ifname)| attachment(conf, ifname, netns));
    each.collect()
}

fn attachment(conf: &Value, ifname: &str, netns: &str) -> Attachment {
    Attachment {
        netns: Some(netns.parse().unwrap()),
        ..Attachment::new(
            Owner::parse("pod-1", ifname).unwrap(),
            Network::parse(conf.to_string().as_bytes(), None).unwrap(),
        )
    }
}

fn happen(node: &Node<'_>, event: Event, attachments: &[Attachment]) -> Outcome<()> {
    let container: ContainerId = "pod-1".parse().unwrap();
    let owners: Vec<Owner> = attachments.iter().map(|a| a.owner.clone()).collect();
    match event {
        Add => add(node, attachments.to_vec()).map(drop),
        Del => del(node, &Detach::recorded(&container, Scope::Own)).map(drop),
        Check => check(node, &container, &Scope::Own, &owners),
        Gc => gc::gc(node, &Scope::Own, gc::Valid::Living, &gc::Audience::default()),
        Foreign | Vanish => Ok(()),
    }
}

/// The real node, wired up anew for each event as each call of the program is.
fn on_the_real_node(story: &[Event]) -> Vec<Picture> {
    let scene = Scene::new();
    let mut pod: Option<Pod> = Some(scene.node.pod().unwrap());
    let netns = pod.as_ref().unwrap().path().to_string();
    let attachments = attachments(&scene, &netns);
    let mut pictures = Vec::new();
    for event in story {
        match (event, &pod) {
            (Vanish, _) => pod = None,
            (Foreign, Some(pod)) => pod.inside(|| scene::ip("link add net1 type veth peer name foreign")),
            (Add | Del | Check | Gc | Foreign, _) => {}
        }
        let sockets = Rc::new(Sockets::default());
        let plugins = Rc::new(Plugins::new(Vec::new(), Vec::new(), Duration::from_secs(1)));
        let probe = HostProbe::new(Rc::clone(&sockets), Rc::clone(&plugins));
        let hands = HostHands::new(sockets, plugins, &scene.path("cache"));
        let journal = FileJournal::new(scene.path("state"));
        let node = Node { probe: &probe, hands: &hands, journal: &journal };
        let answer = happen(&node, *event, &attachments).err().map(|fault| fault.kind());
        pictures.push(real_picture(&scene, &netns, answer));
    }
    pictures
}

fn real_picture(scene: &Scene, netns: &str, answer: Option<FaultKind>) -> Picture {
    let mut links = BTreeMap::new();
    if let Some(netns) = Netns::open(&netns.parse().unwrap()).unwrap() {
        for seen in link::all(&mut netns.socket().unwrap()).unwrap() {
            let ours = seen.kind.is_some();
            links.insert(seen.name, (seen.group, seen.mac.filter(|_| ours).map(|mac| mac.to_string())));
        }
        links.retain(|name, _| name != "lo" && name != "foreign");
    }
    let (mut leases, mut records) = (BTreeMap::new(), BTreeSet::new());
    for (path, text) in scene.kept() {
        if let Some(lease) = path.strip_prefix("ipam/") {
            leases.insert(lease.to_owned(), text.replace("\r\n", "/"));
        }
        if let Some(container) = path.strip_prefix("state/records/") {
            let container = container.trim_end_matches(".json");
            let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            records.extend(lines.map(|line| format!("{container}/{}", line["ifname"].as_str().unwrap())));
        }
    }
    Picture { links, leases, records, answer }
}

fn on_the_simulated_node(story: &[Event]) -> Vec<Picture> {
    let scene = Scene::new();
    let sim = SimNode::with_masters(&["up0"]);
    let netns = "/sim/pod-1";
    sim.make_netns(netns);
    let attachments = attachments(&scene, netns);
    let mut pictures = Vec::new();
    for event in story {
        match event {
            Vanish => sim.remove_netns(netns),
            Foreign => sim.add_foreign_link(netns, "net1"),
            Add | Del | Check | Gc => {}
        }
        let answer = happen(&sim.node(), *event, &attachments).err().map(|fault| fault.kind());
        pictures.push(simulated_picture(&scene, &sim, answer));
    }
    pictures
}

fn simulated_picture(scene: &Scene, sim: &SimNode, answer: Option<FaultKind>) -> Picture {
    let world = sim.world();
    let links =
        world.links.into_iter().map(|((_, name), l)| (name, (l.group, l.mac.map(|mac| mac.to_string()))));
    let leases = world.leases.into_iter().map(|((store, ip), owner)| {
        let store = store.strip_prefix(scene.path("ipam")).unwrap().display().to_string();
        (format!("{store}/{ip}"), owner.to_string())
    });
    let records = world.records.into_keys().map(|owner| owner.to_string()).collect();
    Picture { links: links.collect(), leases: leases.collect(), records, answer }
}

#[test]
fn every_story_ends_alike_on_both() {
    for story in STORIES {
        let (real, simulated) = (on_the_real_node(story), on_the_simulated_node(story));
        for ((event, real), simulated) in story.iter().zip(real).zip(simulated) {
            assert_eq!(real, simulated, "{event:?} in {story:?}");
        }
    }
}

#[test]
fn the_picture_shows_what_is_there() {
    let pictures = on_the_real_node(&[Add, Del]);
    let names: Vec<&str> = pictures[0].links.keys().map(String::as_str).collect();
    assert_eq!(names, ["eth0", "net1", "net2"]);
    assert_eq!((pictures[0].leases.len(), pictures[0].records.len()), (2, 3));
    assert!(pictures[1].links.is_empty() && pictures[1].leases.is_empty() && pictures[1].records.is_empty());
}
