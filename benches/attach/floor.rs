//! The floor: the netlink messages of an attachment and nothing else. No record, no address store, no configuration.

use std::os::fd::AsFd;
use std::rc::Rc;

use manifold::host::netlink::link::{self, Cradle};
use manifold::host::netlink::{Request, Socket, addr, route};
use manifold::host::netns::Netns;
use manifold::model::result::Route;
use manifold::model::{IfName, Owner};
use manifold::plan::facts::Place;
use manifold::plan::mark;
use manifold::plan::step::{Dad, LinkKind, LinkStep, MacvlanMode, Master};

use crate::common::Pod;
use crate::race::Contender;
use crate::scene::{MASTER, Scene};

/// A pod and the links it is to get.
struct Links {
    owners: Vec<Owner>,
    pod: Pod,
}

/// Makes links one after the other, and deletes them one by one.
pub(crate) fn attach(scene: &Scene, name: &str, links: usize) -> Contender {
    let owner = |number: usize| Owner::parse(&format!("floor{links}"), &format!("net{number}")).unwrap();
    let adding = Rc::new(Links { owners: (1..=links).map(owner).collect(), pod: scene.pod() });
    let deleting = Rc::clone(&adding);
    Contender::new(name, move || adding.add(), move || deleting.del())
}

impl Links {
    fn add(&self) {
        let netns = Netns::open_existing(self.pod.path()).unwrap();
        let (mut host, mut inside) = (Socket::open().unwrap(), netns.socket().unwrap());
        for (owner, number) in self.owners.iter().zip(2..) {
            let master = link::by_name(&mut host, MASTER).unwrap().unwrap();
            let step = LinkStep {
                kind: LinkKind::Macvlan { mode: MacvlanMode::Bridge, bc_queue_len: None },
                master: Some(Master {
                    place: Place::Host,
                    name: MASTER.parse().unwrap(),
                    index: master.index,
                }),
                mac: Some(mark::derived_mac(owner)),
                mtu: None,
                group: mark::link_group(&owner.container),
            };
            link::create(&mut host, &owner.ifname, &step, Cradle::There(netns.as_fd())).unwrap();
            let index = index(&mut inside, &owner.ifname);
            for answer in inside.ask_all(configuration(index, owner, number)).unwrap() {
                answer.unwrap();
            }
        }
    }

    fn del(&self) {
        let netns = Netns::open_existing(self.pod.path()).unwrap();
        let mut inside = netns.socket().unwrap();
        for owner in self.owners.iter().rev() {
            let index = index(&mut inside, &owner.ifname);
            link::delete(&mut inside, index).unwrap();
        }
    }
}

fn index(socket: &mut Socket, name: &IfName) -> u32 {
    link::by_name(socket, name.as_str()).unwrap().unwrap().index
}

/// Alias, address, up and two routes, in one datagram.
fn configuration(index: u32, owner: &Owner, number: u8) -> Vec<Request> {
    let gateway = "10.9.0.1".parse().unwrap();
    let through = |dst: &str| {
        let route: Route = serde_json::from_value(serde_json::json!({ "dst": dst })).unwrap();
        route::add(index, &route, Some(gateway))
    };
    vec![
        link::introduce(index, &mark::alias(owner), true),
        addr::add(index, format!("10.9.0.{number}/16").parse().unwrap(), Dad::Wait),
        link::raise(index),
        through("0.0.0.0/0"),
        through("10.10.0.0/16"),
    ]
}
