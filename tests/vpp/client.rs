//! The client: what it asks for, in which order, and what it makes of answers, of none, and of broken ones.

use std::path::PathBuf;

use manifold::host::vpp::OpenVpps;
use manifold::model::device_info::{Device, VhostUser};
use manifold::model::fault::Fault;
use manifold::model::{DeviceInfo, FaultKind, Owner};
use manifold::plan::mark;
use manifold::plan::port::Endpoint;
use manifold::plan::vpp::{BridgeDomain, MemifSocket, VppApi, VppEnd, VppInterface, VppPort};
use tempfile::TempDir;

use super::peer::{Manners, Peer, Trouble};
use super::recording::Replay;

/// The number of the recorded bridge domain.
const BRIDGE: u32 = 0x006e_f35f;

fn owner() -> Owner {
    Owner::parse("pod-1", "net1").unwrap()
}

struct Scene {
    peer: Peer<Replay>,
    vpps: OpenVpps,
    folder: TempDir,
    /// How long answers are waited for, in seconds.
    patience: u32,
}

impl Scene {
    fn new(manners: Manners) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let peer = Peer::start(&folder.path().join("api.sock"), Replay::new(), manners);
        Self { peer, vpps: OpenVpps::default(), folder, patience: 60 }
    }

    fn troubled(name: &'static str, trouble: Trouble, times: u32) -> Self {
        Self::new(Manners { unknown: Vec::new(), trouble: Some((name, trouble, times)) })
    }

    /// One in which the n-th recorded answer is given.
    fn answering(name: &'static str, n: usize) -> Self {
        let scene = Self::new(Manners::default());
        scene.peer.with(|replay| replay.choose.insert(name, n));
        scene
    }

    fn api(&self) -> VppApi {
        VppApi { socket: self.peer.socket().to_owned(), patience: self.patience }
    }

    fn port(&self, interface: VppInterface) -> VppPort {
        VppPort {
            api: self.api(),
            interface,
            end: VppEnd::Listens { group: None },
            bridge: BridgeDomain { number: BRIDGE, create: false },
            vlan: None,
            mtu: None,
            state_dir: self.folder.path().join("state"),
            endpoint: Endpoint {
                mac: "02:00:00:00:00:01".parse().unwrap(),
                mtu: None,
                socket: "/run/x".into(),
                device: DeviceInfo::new(Device::VhostUser(VhostUser::default())),
            },
        }
    }

    fn vhost(&self) -> VppPort {
        self.port(VppInterface::VhostUser("/run/x/net1".into()))
    }

    fn memif(&self) -> VppPort {
        let socket = MemifSocket::Abstract { name: "net1".into(), netns: "/run/netns/pod1".into() };
        self.port(VppInterface::Memif { socket, queues: 2 })
    }

    fn attach(&self, port: &VppPort) -> Result<(), Fault> {
        self.vpps.attach(&owner(), port)
    }

    fn fields(&self, name: &str) -> Vec<u8> {
        let found = self.peer.heard().into_iter().find(|request| request.name == name);
        found.unwrap_or_else(|| panic!("{name} was not asked for: {:?}", self.peer.names())).fields
    }
}

#[test]
fn a_vhost_user_interface_is_made_in_order_and_others_are_left_alone() {
    let scene = Scene::new(Manners::default());
    let port = VppPort { vlan: Some(100), mtu: Some(1400), ..scene.vhost() };

    scene.attach(&port).unwrap();

    let wanted = [
        "sw_interface_dump",
        "memif_dump",
        "bridge_domain_dump",
        "create_vhost_user_if_v2",
        "sw_interface_set_l2_bridge",
        "l2_interface_vlan_tag_rewrite",
        "l2_interface_efp_filter",
        "sw_interface_set_mtu",
        "sw_interface_set_flags",
    ];
    assert_eq!(scene.peer.names(), wanted);
    let made = scene.fields("create_vhost_user_if_v2");
    assert_eq!((made[0], &made[1..12]), (1, b"/run/x/net1".as_slice()));
    let tag = mark::vpp_tag(&port.state_dir, &owner());
    assert_eq!(&made[made.len() - 64..][..tag.len()], tag.as_bytes());
    // Of the interface that VPP answered with.
    assert_eq!(scene.fields("sw_interface_set_flags"), [0, 0, 0, 1, 0, 0, 0, 1]);
    assert_eq!(scene.fields("sw_interface_set_mtu")[..8], [0, 0, 0, 1, 0, 0, 0x05, 0x78]);
    assert_eq!(scene.fields("l2_interface_vlan_tag_rewrite")[4..16], [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 100]);
}

#[test]
fn a_memif_interface_is_made_on_a_socket_of_its_own_and_tagged_before_it_is_used() {
    let scene = Scene::new(Manners::default());

    scene.attach(&scene.memif()).unwrap();

    let made = [
        "memif_socket_filename_dump",
        "bridge_domain_dump",
        "memif_socket_filename_add_del_v2",
        "memif_create_v2",
        "sw_interface_tag_add_del",
        "sw_interface_set_l2_bridge",
        "sw_interface_set_flags",
    ];
    assert_eq!(scene.peer.names()[2..], made);
    let socket = scene.fields("memif_socket_filename_add_del_v2");
    assert!(socket.ends_with(b"abstract:net1,netns_name=/run/netns/pod1"));
    let memif = scene.fields("memif_create_v2");
    // It listens, with two queues each way, on the socket that VPP answered with.
    assert_eq!(memif[..10], [0, 0, 0, 0, 0, 0, 0, 0, 2, 2]);
    assert_eq!(memif[14..18], 0x3c6e_f35f_u32.to_be_bytes());
}

#[test]
fn an_older_vpp_is_asked_in_its_own_words() {
    let manners = Manners {
        unknown: vec![
            "memif_create_v2",
            "memif_socket_filename_add_del_v2",
            "create_vhost_user_if_v2",
            "bridge_domain_add_del_v2",
        ],
        trouble: None,
    };
    let scene = Scene::new(manners);
    let facts = scene.vpps.survey(&scene.api(), Some(BRIDGE)).unwrap();
    assert_eq!((facts.has.memif, facts.has.abstract_sockets, facts.has.vhost_user), (true, false, true));

    scene.attach(&scene.vhost()).unwrap();
    let file = VppInterface::Memif { socket: MemifSocket::File("/run/x/net1".into()), queues: 1 };
    scene.attach(&scene.port(file)).unwrap();

    let names = scene.peer.names();
    for name in ["create_vhost_user_if", "memif_socket_filename_add_del", "memif_create"] {
        assert!(names.iter().any(|asked| asked == name), "{name}: {names:?}");
    }
    // The lowest number that no socket has.
    let socket = scene.fields("memif_socket_filename_add_del");
    assert_eq!((&socket[..5], &socket[5..16]), ([1, 0, 0, 0, 1].as_slice(), b"/run/x/net1".as_slice()));
    assert_eq!(scene.fields("memif_create")[14..18], [0, 0, 0, 1]);
}

#[test]
fn a_vpp_without_a_plugin_is_told_by_what_it_does_not_know() {
    let manners = Manners {
        unknown: vec![
            "memif_dump",
            "create_vhost_user_if_v2",
            "create_vhost_user_if",
            "l2_interface_efp_filter",
        ],
        trouble: None,
    };
    let scene = Scene::new(manners);

    let facts = scene.vpps.survey(&scene.api(), Some(BRIDGE)).unwrap();

    assert_eq!((facts.version.as_str(), facts.bridge), ("26.06-release", true));
    assert_eq!((facts.has.memif, facts.has.vhost_user, facts.has.vlans), (false, false, false));
    let fault = scene.attach(&scene.vhost()).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Absent);
    assert!(fault.to_string().ends_with("does not know \"create_vhost_user_if\""), "{fault}");
    // Taking down asks for nothing that there cannot be.
    scene.vpps.detach(&scene.api(), &owner(), Some(&scene.memif())).unwrap();
}

#[test]
fn refusals_of_a_real_vpp_are_told_in_words() {
    let refused = |name, n, memif: bool| {
        let scene = Scene::answering(name, n);
        let port = if memif { scene.memif() } else { scene.vhost() };
        scene.attach(&port).unwrap_err()
    };

    let fault = refused("create_vhost_user_if_v2", 1, false);
    assert_eq!(fault.kind(), FaultKind::Exists);
    assert!(fault.to_string().contains("-79, another vhost-user interface is on that socket"), "{fault}");
    for (name, n, memif, wanted) in [
        ("create_vhost_user_if_v2", 3, false, "-12, the kernel refuses the socket"),
        ("memif_create_v2", 1, true, "-68, another memif interface is on that socket"),
        ("memif_create_v2", 2, true, "-73, an argument is wrong"),
        ("memif_create_v2", 5, true, "-14, the kernel refuses the socket"),
        ("memif_socket_filename_add_del_v2", 2, true, "-116, that number is another socket's"),
        ("sw_interface_set_l2_bridge", 1, false, "-2, there is no such interface"),
    ] {
        let fault = refused(name, n, memif);
        assert!(fault.to_string().contains(wanted), "{name} {n}: {fault}");
        assert!(fault.advice().is_some_and(|advice| !advice.is_empty()));
    }
}

#[test]
fn a_bridge_domain_that_is_gone_is_not_brought_about() {
    let scene = Scene::new(Manners::default());
    let elsewhere = VppPort { bridge: BridgeDomain { number: 7, create: false }, ..scene.vhost() };

    let fault = scene.attach(&elsewhere).unwrap_err();

    assert_eq!((fault.kind(), fault.to_string().as_str()), (FaultKind::Absent, "bridge domain 7 is gone"));
    assert!(!scene.peer.names().contains(&"sw_interface_set_l2_bridge".to_owned()));
    // One that another made in between is taken as it is.
    let made = Scene::answering("bridge_domain_add_del_v2", 1);
    let port = VppPort { bridge: BridgeDomain { number: 7, create: true }, ..made.vhost() };
    made.attach(&port).unwrap();
}

#[test]
fn what_a_restarted_vpp_does_not_have_is_drift_and_needs_no_undoing() {
    let scene = Scene::new(Manners::default());
    let port = scene.memif();

    let fault = scene.vpps.holds(&owner(), &port).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::Drift);
    assert!(fault.to_string().contains("VPP does not have the interface any more"), "{fault}");
    scene.vpps.detach(&scene.api(), &owner(), Some(&port)).unwrap();
    scene.vpps.sweep(&scene.api(), "/state".as_ref(), &|_| false).unwrap();
    let removing = |name: &String| name.contains("delete") || name.contains("add_del");
    assert!(!scene.peer.names().iter().any(removing), "others' was touched: {:?}", scene.peer.names());
}

#[test]
fn a_vpp_that_does_not_run_has_nothing_to_take_down() {
    let scene = Scene::new(Manners::default());
    let port = scene.vhost();
    scene.vpps.survey(&scene.api(), None).unwrap();

    scene.peer.kill();

    scene.vpps.detach(&scene.api(), &owner(), Some(&port)).unwrap();
    assert_eq!(scene.vpps.holds(&owner(), &port).unwrap_err().kind(), FaultKind::Drift);
    let fault = scene.attach(&port).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::TryLater);
    assert!(fault.to_string().starts_with("nobody listens at VPP's socket"), "{fault}");
    let nowhere = VppApi { socket: PathBuf::from("/nowhere/api.sock"), patience: 1 };
    scene.vpps.detach(&nowhere, &owner(), None).unwrap();
    scene.vpps.sweep(&nowhere, "/state".as_ref(), &|_| false).unwrap();
    let absent = scene.vpps.survey(&nowhere, None).unwrap_err();
    assert_eq!(
        (absent.kind(), absent.to_string().as_str()),
        (FaultKind::Absent, "VPP's API is not at \"/nowhere/api.sock\"")
    );
    // Up again, it is found by itself.
    scene.peer.listen();
    scene.attach(&port).unwrap();
}

#[test]
fn no_answer_ends_at_the_limit() {
    for name in ["show_version", "create_vhost_user_if_v2", "control_ping"] {
        let scene = Scene { patience: 3, ..Scene::troubled(name, Trouble::Silence, u32::MAX) };
        let asked = match name {
            "show_version" => scene.vpps.survey(&scene.api(), None).map(drop),
            _ => scene.attach(&scene.vhost()),
        };
        let fault = asked.unwrap_err();

        assert_eq!(fault.kind(), FaultKind::TimedOut, "{name}: {fault}");
        assert!(fault.to_string().ends_with("did not answer in 3 s"), "{fault}");
        // Nor is it taken for a VPP that does not run.
        if name == "control_ping" {
            let detached = scene.vpps.detach(&scene.api(), &owner(), None).unwrap_err();
            assert_eq!(detached.kind(), FaultKind::TimedOut);
        }
    }
}

#[test]
fn a_connection_that_breaks_once_is_made_anew_and_the_work_repeated() {
    for (name, trouble) in [
        ("sw_interface_dump", Trouble::CloseBehind),
        ("control_ping", Trouble::CloseAmid),
        ("create_vhost_user_if_v2", Trouble::Close),
        ("sw_interface_set_flags", Trouble::CloseAmid),
    ] {
        let scene = Scene::troubled(name, trouble, 1);
        scene.attach(&scene.vhost()).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    }
    let scene = Scene::troubled("sw_interface_dump", Trouble::CloseBehind, 2);
    let fault = scene.attach(&scene.vhost()).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::TryLater);
    assert!(fault.to_string().contains("went away"), "{fault}");
    // It did run, so what it has is not known to be gone.
    scene.peer.behave(Manners { unknown: vec![], trouble: Some(("control_ping", Trouble::Close, 2)) });
    assert_eq!(scene.vpps.detach(&scene.api(), &owner(), None).unwrap_err().kind(), FaultKind::TryLater);
}

#[test]
fn answers_that_are_none_are_seen() {
    for (name, trouble) in [
        ("create_vhost_user_if_v2", Trouble::Endless),
        ("create_vhost_user_if_v2", Trouble::OtherMessage),
        ("create_vhost_user_if_v2", Trouble::Short),
        ("sw_interface_dump", Trouble::OtherMessage),
        ("sw_interface_dump", Trouble::Short),
        ("control_ping", Trouble::OtherMessage),
    ] {
        let scene = Scene::troubled(name, trouble, u32::MAX);
        let fault = scene.attach(&scene.vhost()).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Decode, "{name}, {trouble:?}: {fault}");
        assert!(fault.to_string().ends_with("is not VPP's API"), "{fault}");
    }
}

#[test]
fn a_vpp_that_asks_whether_we_are_there_is_told_and_answers_may_come_in_pieces() {
    for trouble in [Trouble::KeepAlive, Trouble::Dribble] {
        for name in ["control_ping", "create_vhost_user_if_v2"] {
            let scene = Scene::troubled(name, trouble, 1);
            scene.attach(&scene.vhost()).unwrap_or_else(|fault| panic!("{trouble:?}: {fault}"));
        }
    }
}

#[test]
fn a_path_that_vpp_would_cut_never_reaches_it() {
    let scene = Scene::new(Manners::default());
    let port = scene.port(VppInterface::VhostUser(format!("/run/{}", "x".repeat(251)).into()));

    assert_eq!(scene.attach(&port).unwrap_err().kind(), FaultKind::Config);
    assert!(!scene.peer.names().contains(&"create_vhost_user_if_v2".to_owned()));
}
