//! Others at the same VPP at the same time: at a bridge domain, and at the numbers of sockets.

use std::process::Child;
use std::thread;

use manifold::host::lock;

use super::life::OLDER;
use super::peer::PAUSE;
use super::stage::Stage;
use super::stand_in::{Act, Kind};
use super::*;

/// Starts a call.
fn start(stage: &Stage, verb: &str, (container, pod): (&str, &Pod), network: &Value) -> Child {
    let call = Call { verb, container, ifname: "net1", netns: pod.path().as_str() };
    let command = stage.scene.command(env!("CARGO_BIN_EXE_manifold"), &call);
    scene::start(command, stage.conf(network).to_string().as_bytes())
}

/// Whether a process waits for a lock: the thread that does is named so, and begins when the lock is found taken.
fn waits(child: &Child) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{}/task", child.id()));
    let name = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("comm"));
    threads.into_iter().flatten().flatten().any(|thread| name(thread).is_ok_and(|name| name == "lock\n"))
}

#[test]
fn a_bridge_domain_stays_while_another_pods_interface_is_on_its_way_into_it() {
    // A network may make the domain, or count on the one that another network makes.
    for create in [true, false] {
        let stage = Stage::new();
        let network =
            |keys| stage.network(&json!({"interfaceType": "memif", "bridge": 9, "createBridge": keys}));
        let (going, coming) = (network(true), network(create));
        let other = stage.scene.node.pod().unwrap();
        stage.call_for("ADD", ("pod-2", &other), &going).result();
        let tag = stage.peer.with(|vpp| vpp.bridges[&9].tag.clone());
        assert!(!tag.is_empty());

        // The domain was found to be there, and the interface is not in it yet.
        let held = Some(("memif_create_v2", Trouble::Held, 1));
        stage.peer.behave(Manners { unknown: vec![], trouble: held });
        let asked = || stage.peer.names().iter().filter(|name| *name == "memif_create_v2").count();
        let before = asked();
        let mut add = start(&stage, "ADD", ("pod-1", &stage.pod), &coming);
        while asked() == before {
            assert!(add.try_wait().unwrap().is_none(), "{:?}", scene::finish(add));
            thread::sleep(PAUSE);
        }
        let mut del = start(&stage, "DEL", ("pod-2", &other), &going);
        while del.try_wait().unwrap().is_none() && !waits(&del) {
            thread::sleep(PAUSE);
        }
        stage.peer.behave(Manners::default());
        scene::finish(add).result();
        scene::finish(del).result();

        stage.peer.with(|vpp| {
            let bridge = vpp.bridges[&9].clone();
            assert_eq!((bridge.tag, bridge.members.len()), (tag.clone(), 1), "createBridge: {create}");
        });
        stage.call_for("DEL", ("pod-1", &stage.pod), &going).result();
        stage.peer.with(|vpp| assert_eq!(vpp.bridges.contains_key(&9), !create, "{vpp:?}"));
    }
}

#[test]
fn somebody_who_keeps_a_bridge_domain_is_waited_for_a_bounded_time() {
    let stage = Stage::new();
    let keys = json!({"bridge": 9, "createBridge": true});
    stage.add(&keys);
    stage.del(&keys);
    let mut locks =
        std::fs::read_dir(stage.scene.path("state/vpp")).unwrap().map(|entry| entry.unwrap().path());
    let path = locks.next().unwrap();
    assert_eq!(locks.next(), None, "one domain has one lock");
    let keeper = std::fs::File::open(&path).unwrap();
    let keeper = lock::exclusive(keeper, &path, lock::LIMIT).unwrap();
    let mut conf = stage.conf(&stage.network(&keys));
    conf["vhostUser"]["timeoutSeconds"] = json!(3);
    let call = Call { verb: "ADD", container: "pod-1", ifname: "net1", netns: stage.pod.path().as_str() };

    let (code, what, remedy) = stage.scene.call(&call, &conf).error();

    assert!(code == 11 && what.contains("is locked by another process"), "{code} {what}");
    assert!(remedy.contains("fuser"), "{remedy}");
    // Nobody waits for the domains of others.
    let other = stage.scene.node.pod().unwrap();
    for verb in ["ADD", "DEL"] {
        stage.call_for(verb, ("pod-2", &other), &stage.network(&json!({"bridge": 7}))).result();
    }
    drop(keeper);
    stage.del(&keys);
    stage.assert_empty();
}

#[test]
fn a_socket_whose_number_another_took_first_gets_the_next() {
    for (times, number) in [(1, 2), (3, 4)] {
        let stage = Stage::new();
        stage.peer.behave(Manners { unknown: OLDER.to_vec(), trouble: None });
        let keys = json!({"interfaceType": "memif", "abstract": false});
        // The first look is for sockets that an earlier try left.
        stage.peer.with(|vpp| vpp.behind = Some(("memif_socket_filename_dump", times + 1, take_next)));

        stage.add(&keys);

        stage.peer.with(|vpp| {
            let Kind::Memif { socket, .. } = vpp.only().kind else { panic!("{vpp:?}") };
            assert_eq!(socket, number + 1, "{vpp:?}");
            assert!(vpp.sockets[&socket].ends_with("/net1"), "{vpp:?}");
        });
        stage.del(&keys);
        stage.peer.with(|vpp| vpp.sockets.retain(|_, name| !name.starts_with("/rival")));
        stage.assert_empty();
    }
}

/// Somebody else takes the lowest number that is free.
fn take_next(vpp: &mut StandIn) {
    let free = (1..).find(|number| !vpp.sockets.contains_key(number)).unwrap();
    vpp.sockets.insert(free, format!("/rival-{free}"));
}

#[test]
fn a_number_that_is_always_anothers_fails_and_leaves_nothing() {
    for code in [-116, -81] {
        let stage = Stage::new();
        stage.peer.behave(Manners { unknown: OLDER.to_vec(), trouble: None });
        let keys = json!({"interfaceType": "memif", "abstract": false});
        // Once, it is tried again.
        stage.peer.with(|vpp| vpp.refuse_once = Some(("memif_socket_filename_add_del", code)));
        stage.add(&keys);
        stage.del(&keys);

        let refuse: Act = match code {
            -81 => |vpp| vpp.refuse_once = Some(("memif_socket_filename_add_del", -81)),
            _ => |vpp| vpp.refuse_once = Some(("memif_socket_filename_add_del", -116)),
        };
        stage.peer.with(|vpp| vpp.behind = Some(("memif_socket_filename_dump", 1000, refuse)));
        let (error, what, _) = stage.call("ADD", &keys).error();
        assert!(error == 108 && what.contains(&format!("it answers {code}")), "{error} {what}");
        stage.peer.with(|vpp| (vpp.behind, vpp.refuse_once) = (None, None));
        stage.assert_empty();
    }
}
