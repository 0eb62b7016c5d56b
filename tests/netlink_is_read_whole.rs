//! What is asked of the kernel over netlink is answered in full, and by the kernel.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test may panic"
)]

#[path = "common/mod.rs"]
mod common;
#[path = "common/scene.rs"]
mod scene;

use std::fs;

use manifold::host::netlink::{Socket, addr, device, link, route};
use manifold::model::result::Route;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket as Raw, SocketAddr};
use scene::Scene;

#[test]
fn more_requests_than_a_socket_has_room_for_answers_are_all_made() {
    let _scene = Scene::new();
    let mut socket = Socket::open().unwrap();
    let up0 = link::by_name(&mut socket, "up0").unwrap().unwrap().index;
    let routes = (0..1000_u32).map(|n| {
        let dst = format!("10.{}.{}.0/24", n / 256, n % 256).parse().unwrap();
        route::add(up0, &Route::to(dst), Some("192.0.2.9".parse().unwrap()))
    });

    let answers = socket.ask_all(routes.collect()).unwrap();

    assert_eq!((answers.len(), answers.iter().filter(|answer| answer.is_err()).count()), (1000, 0));
    let there = route::of_link(&mut socket, up0).unwrap();
    assert_eq!(there.iter().filter(|route| route.gw == Some("192.0.2.9".parse().unwrap())).count(), 1000);
}

#[test]
fn a_link_that_is_not_there_has_no_addresses_and_no_routes() {
    let _scene = Scene::new();
    let mut socket = Socket::open().unwrap();

    assert_eq!(addr::of_link(&mut socket, 9999).unwrap(), []);
    assert_eq!(route::of_link(&mut socket, 9999).unwrap(), []);
}

#[test]
fn an_answer_that_is_not_the_kernels_is_passed_over() {
    let _scene = Scene::new();
    let mut socket = Socket::open().unwrap();
    // "There is no such link", to the first two requests of every socket in this namespace.
    let mut forged = Vec::new();
    for sequence in [1_u32, 2] {
        for word in [36, 2, sequence, 0, (-19_i32).cast_unsigned(), 0, 0, 0, 0] {
            forged.extend(word.to_ne_bytes());
        }
    }
    let forger = Raw::new(NETLINK_ROUTE).unwrap();
    let table = fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
    let ports = table.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        (words.next() == Some("0")).then(|| words.next()?.parse::<u32>().ok()).flatten()
    });
    let sent =
        ports.filter(|port| *port != 0).map(|port| forger.send_to(&forged, &SocketAddr::new(port, 0), 0));
    assert!(sent.filter(Result::is_ok).count() > 0, "{table}");

    let seen = device::by_name(&mut socket, "up0").unwrap();

    assert_eq!(seen.map(|seen| seen.name).as_deref(), Some("up0"));
}
