//! A pod's interface of VPP from ADD to DEL, as a container runtime calls for it.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::stage::Stage;
use super::stand_in::Kind;
use super::*;

#[test]
fn a_memif_is_a_name_in_the_pods_namespace_and_gone_again() {
    let stage = Stage::new();
    let ipam = json!({"type": "static", "addresses": [{"address": "10.5.0.7/24"}]});
    let keys = json!({"interfaceType": "memif", "mac": "02:00:00:00:00:42", "queues": 2, "ipam": ipam});

    let result = stage.add(&keys);

    assert_eq!(
        (&result["interfaces"][0]["socketPath"], &result["interfaces"][0]["mac"]),
        (&json!("@net1"), &json!("02:00:00:00:00:42"))
    );
    assert_eq!(result["ips"][0]["address"], "10.5.0.7/24");
    let device = json!({"type": "memif", "version": "1.1.0",
        "memif": {"role": "slave", "path": "@net1", "mode": "ethernet"}});
    assert_eq!(stage.scene.record("pod-1", "net1")[0]["device_info"], device);
    assert!(stage.pod_sockets().contains(&"@net1".to_owned()), "{:?}", stage.pod_sockets());
    stage.peer.with(|vpp| {
        let members = vpp.bridges[&7].members.clone();
        assert_eq!(members, [*vpp.interfaces.keys().next().unwrap()]);
        let made = vpp.only();
        assert!(made.up && made.tag.starts_with("manifold/") && made.tag.contains("/net1/"), "{made:?}");
        let Kind::Memif { slave, queues, zero_copy, .. } = made.kind else { panic!("{made:?}") };
        assert_eq!((slave, queues, zero_copy), (false, 2, false));
    });
    assert_eq!(stage.pod.interfaces(), ["lo"], "the kernel has no part in it");
    stage.call("CHECK", &keys).result();

    stage.del(&keys);
    stage.del(&keys);
    stage.assert_empty();
    assert!(!stage.pod_sockets().contains(&"@net1".to_owned()));
}

#[test]
fn an_application_makes_the_socket_of_vhost_user_or_connects_to_that_of_vpp() {
    let stage = Stage::new();
    let keys = json!({"vlan": 100, "mtu": 1400});
    let result = stage.add(&keys);
    let path = stage.scene.path("sockets").join(short("pod-1")).join("net1");
    assert_eq!(result["interfaces"][0]["socketPath"], path.to_str().unwrap());
    stage.peer.with(|vpp| {
        let made = vpp.only();
        let connects =
            Kind::Vhost { path: path.to_str().unwrap().into(), serves: false, regions: 0, error: 0 };
        assert_eq!(
            (&made.kind, made.mtu, made.rewrite, made.filter),
            (&connects, 1400, [1, 1, 100, 0], true)
        );
    });
    assert!(!path.exists(), "the application makes it");
    let note: Value =
        serde_json::from_slice(&std::fs::read(path.with_file_name("netinfo-net1.json")).unwrap()).unwrap();
    assert_eq!(
        (&note["engine"], &note["mode"], &note["bridge"], &note["vlan"]),
        (&json!("vpp"), &json!("server"), &json!("7"), &json!(100))
    );
    stage.call("CHECK", &keys).result();
    stage.del(&keys);
    stage.assert_empty();

    let keys = json!({"mode": "client", "group": 4242});
    stage.add(&keys);
    let seen = std::fs::symlink_metadata(&path).unwrap();
    assert!(seen.file_type().is_socket());
    assert_eq!((seen.gid(), seen.mode() & 0o7777), (4242, 0o770));
    stage.call("CHECK", &keys).result();
    stage.del(&keys);
    stage.assert_empty();
}

#[test]
fn a_memif_over_a_file_leaves_no_file() {
    for (role, unknown) in [("slave", vec![]), ("slave", OLDER.to_vec()), ("master", OLDER.to_vec())] {
        let stage = Stage::new();
        stage.peer.behave(Manners { unknown: unknown.clone(), trouble: None });
        let keys = json!({"interfaceType": "memif", "abstract": !unknown.is_empty(), "mode": role});
        let path = stage.scene.path("sockets").join(short("pod-1")).join("net1");

        let result = stage.add(&keys);

        assert_eq!(result["interfaces"][0]["socketPath"], path.to_str().unwrap());
        assert_eq!(path.exists(), role == "slave", "who listens makes it");
        let told = &stage.scene.record("pod-1", "net1")[0]["device_info"]["memif"];
        assert_eq!((&told["role"], &told["path"]), (&json!(role), &json!(path)));
        stage.call("CHECK", &keys).result();
        stage.del(&keys);
        stage.assert_empty();
    }
}

/// What a VPP before 23.06 does not know.
pub(crate) const OLDER: [&str; 2] = ["memif_create_v2", "memif_socket_filename_add_del_v2"];

#[test]
fn networks_of_the_peer_are_served_as_they_are() {
    let stage = Stage::new();
    let network = json!({
        "cniVersion": "0.3.1", "name": "userspace", "type": "userspace", "sharedDir": stage.scene.path("sockets"),
        "host": {"engine": "vpp", "iftype": "memif", "netType": "bridge",
            "memif": {"role": "master", "mode": "ethernet"}, "bridge": {"bridgeName": "7"}},
        "container": {"engine": "vpp", "iftype": "memif", "netType": "interface",
            "memif": {"role": "slave", "mode": "ethernet"}},
    });
    let container = "0958c8871b3297d1e0f5";

    let result = stage.call_for("ADD", (container, &stage.pod), &network).result();

    let path = stage.scene.path("sockets/0958c8871b32/memif-0958c8871b32-net1.sock");
    assert_eq!(result["interfaces"][0]["socketPath"], path.to_str().unwrap());
    assert!(path.exists());
    stage.call_for("DEL", (container, &stage.pod), &network).result();
    stage.assert_empty();
}

#[test]
fn a_bridge_domain_is_made_only_if_asked_and_goes_when_it_is_ours_and_empty() {
    let stage = Stage::new();
    let keys = json!({"bridge": 9, "createBridge": true, "interfaceType": "memif"});
    let other = stage.scene.node.pod().unwrap();
    let network = stage.network(&keys);

    let (code, what, remedy) = stage.call("ADD", &json!({"bridge": 9})).error();
    assert!(code == 100 && what.ends_with("has no bridge domain 9"), "{code} {what}");
    assert!(remedy.contains("createBridge"), "{remedy}");
    stage.assert_empty();
    stage.add(&keys);
    stage.call_for("ADD", ("pod-2", &other), &network).result();
    assert_eq!(stage.peer.with(|vpp| vpp.bridges[&9].members.len()), 2);
    stage.del(&keys);
    assert_eq!(stage.peer.with(|vpp| vpp.bridges[&9].members.len()), 1);
    stage.call_for("DEL", ("pod-2", &other), &network).result();
    stage.assert_empty();

    // One that somebody else made stays, empty or not.
    let theirs = json!({"bridge": 7, "createBridge": true});
    stage.add(&theirs);
    stage.del(&theirs);
    stage.assert_empty();
    // And one of ours stays while somebody else's interface is in it.
    stage.add(&keys);
    stage.peer.with(|vpp| vpp.bridges.get_mut(&9).unwrap().members.push(77));
    stage.del(&keys);
    assert_eq!(stage.peer.with(|vpp| vpp.bridges[&9].members.clone()), [77]);
}

/// Something that becomes of an interface.
type Loss = fn(&mut StandIn);

#[test]
fn check_sees_what_becomes_of_an_interface() {
    let stage = Stage::new();
    let keys = json!({"vlan": 5, "mtu": 1400});
    stage.add(&keys);
    stage.call("CHECK", &keys).result();
    let losses: [(&str, Loss); 8] = [
        ("is down", |vpp| vpp.only().up = false),
        ("carries other VLANs", |vpp| vpp.only().rewrite[2] = 6),
        ("carries other VLANs", |vpp| vpp.only().rewrite[0] = 0),
        ("has another MTU", |vpp| vpp.only().mtu = 1500),
        ("is not in bridge domain 7", |vpp| vpp.bridges.get_mut(&7).unwrap().members.clear()),
        ("uses another socket", |vpp| {
            vpp.only().kind = Kind::Vhost { path: "/x".into(), serves: false, regions: 0, error: 0 };
        }),
        ("does not have the interface any more", |vpp| vpp.only().tag.clear()),
        ("its link is down", |vpp| {
            let Kind::Vhost { regions, .. } = &mut vpp.only().kind else { panic!() };
            *regions = 2;
        }),
    ];
    for (wanted, lose) in losses {
        stage.peer.with(lose);
        let (code, what, remedy) = stage.call("CHECK", &keys).error();
        assert!(code == 105 && what.contains(wanted) && !remedy.is_empty(), "{code} {what}, not {wanted}");
        stage.peer.with(|vpp| vpp.restart());
        stage.del(&keys);
        stage.add(&keys);
        stage.call("CHECK", &keys).result();
    }
    // Connected, and all is well.
    stage.peer.with(|vpp| {
        vpp.only().link = true;
        let Kind::Vhost { regions, .. } = &mut vpp.only().kind else { panic!() };
        *regions = 2;
    });
    stage.call("CHECK", &keys).result();
    stage.peer.with(|vpp| {
        let Kind::Vhost { error, .. } = &mut vpp.only().kind else { panic!() };
        *error = 13;
    });
    let (_, what, remedy) = stage.call("CHECK", &keys).error();
    assert!(what.contains("VPP may not use the socket") && what.contains("Permission denied"), "{what}");
    assert!(remedy.contains("group"), "{remedy}");
    stage.del(&keys);
    stage.assert_empty();
}

#[test]
fn twenty_pods_at_once_get_an_interface_each_and_give_it_back() {
    let stage = Stage::new();
    let conf =
        stage.conf(&stage.network(&json!({"interfaceType": "memif", "bridge": 9, "createBridge": true})));
    let pods: Vec<Pod> = (0..20).map(|_| stage.scene.node.pod().unwrap()).collect();
    let all_at_once = |verb: &'static str| {
        let start = |(n, pod): (usize, &Pod)| {
            let container = format!("storm-{n}");
            let call = Call { verb, container: &container, ifname: "net1", netns: pod.path().as_str() };
            let command = stage.scene.command(env!("CARGO_BIN_EXE_manifold"), &call);
            scene::start(command, conf.to_string().as_bytes())
        };
        let started: Vec<_> = pods.iter().enumerate().map(start).collect();
        started.into_iter().map(scene::finish).for_each(|answer| drop(answer.result()));
    };

    all_at_once("ADD");
    stage.peer.with(|vpp| {
        assert_eq!((vpp.interfaces.len(), vpp.sockets.len(), vpp.bridges[&9].members.len()), (20, 21, 20));
    });
    all_at_once("DEL");
    stage.assert_empty();
}

#[test]
fn by_hand_it_is_the_same() {
    let stage = Stage::new();
    let network =
        stage.network(&json!({"interfaceType": "memif", "vlan": 5, "bridge": 9, "createBridge": true}));
    stage.scene.network("fast.conf", &network.to_string());
    let (networks, socket) = (stage.scene.path("networks"), stage.peer.socket());
    let words = |verb| {
        let words = [verb, "--netns", stage.pod.path().as_str(), "--networks", "fast", "--networks-dir"];
        let folder = [networks.to_str().unwrap(), "--vpp-socket", socket.to_str().unwrap()];
        let done = stage.scene.manifold(&[&words[..], &folder].concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };

    let plan = words("explain");
    let wanted = "make a memif interface of VPP in bridge domain 9, with the domain if need be, which makes @net1 in the \
                  pod's network namespace, VLAN 5";
    assert!(plan.contains(wanted), "{plan}");
    stage.assert_empty();
    words("attach");
    stage.peer.with(|vpp| assert_eq!(vpp.only().rewrite, [1, 1, 5, 0]));
    for verb in ["check", "detach"] {
        let done = stage.scene.manifold(&[verb, "--netns", stage.pod.path().as_str()]);
        assert!(done.status.success(), "{verb}: {}", String::from_utf8_lossy(&done.stderr));
    }
    stage.assert_empty();
}
