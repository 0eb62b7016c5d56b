//! What is done to the interface of a virtual function, on this kernel: a veth plays the interface, a recorded tree of
//! devices the adapter. What only a real adapter can show is tried in the emulated machine (`hw-tests`).

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

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::rc::Rc;
use std::time::Duration;

use common::Pod;
use manifold::engine::Node;
use manifold::engine::add::{Attached, add};
use manifold::engine::check::check;
use manifold::engine::del::{Detach, Unrecorded, del};
use manifold::engine::scope::Scope;
use manifold::host::exec::Plugins;
use manifold::host::hands::HostHands;
use manifold::host::journal::FileJournal;
use manifold::host::netlink::device::{self, Device};
use manifold::host::netlink::{Socket, Sockets};
use manifold::host::netns::Netns;
use manifold::host::probe::HostProbe;
use manifold::host::sysfs::Sysfs;
use manifold::host::vf_registry::VfRegistry;
use manifold::model::fault::Outcome;
use manifold::model::{Attachment, FaultKind, Network, Owner};
use nix::fcntl::{Flock, FlockArg};
use scene::{Scene, ip};
use serde_json::{Value, json};

const VF: &str = "0000:01:10.0";
const PF: &str = "0000:01:00.0";

/// A node with the interface `vf0`, and a tree of devices in which it is that of a VF.
struct Stage {
    scene: Scene,
    pod: Pod,
}

impl Stage {
    fn new() -> Self {
        let scene = Scene::new();
        ip("link add vf0 type veth peer name wire");
        let pod = scene.node.pod().unwrap();
        let stage = Self { scene, pod };
        stage.folder(&format!("bus/pci/devices/{VF}/net/vf0"));
        stage.file(&format!("bus/pci/devices/{VF}/class"), "0x020000\n");
        stage
    }

    /// Adds a PF with the interface `pf0`, whose adapter is in mode `switchdev`.
    fn with_pf(self) -> Self {
        ip("link add pf0 type veth peer name far");
        self.folder(&format!("bus/pci/devices/{PF}/net/pf0"));
        let link = |at: String, to: &str| symlink(to, self.sys().join(at)).unwrap();
        link(format!("bus/pci/devices/{VF}/physfn"), &format!("../{PF}"));
        link(format!("bus/pci/devices/{PF}/virtfn3"), &format!("../{VF}"));
        for (name, port) in [("pf0", "p0"), ("rep3", "pf0vf3")] {
            self.folder(&format!("class/net/{name}"));
            fs::write(self.sys().join(format!("class/net/{name}/phys_switch_id")), "98039b0003a2b4e4\n")
                .unwrap();
            fs::write(self.sys().join(format!("class/net/{name}/phys_port_name")), port).unwrap();
        }
        self
    }

    fn sys(&self) -> std::path::PathBuf {
        self.scene.path("sys")
    }

    fn file(&self, path: &str, text: &str) {
        fs::write(self.sys().join(path), text).unwrap();
    }

    fn folder(&self, path: &str) {
        fs::create_dir_all(self.sys().join(path)).unwrap();
    }

    /// Works with the node as one call of the program does.
    fn call<T>(&self, work: impl FnOnce(&Node<'_>) -> T) -> T {
        let (sysfs, registry) = (Sysfs::at(self.sys()), VfRegistry::at(self.scene.path("sriov")));
        let sockets = Rc::new(Sockets::default());
        let bin = self.scene.path("bin");
        let environment =
            vec![("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into()), ("OUT".into(), (&bin).into())];
        let plugins = Rc::new(Plugins::new(vec![bin], environment, Duration::from_secs(20)));
        let probe = HostProbe::new(Rc::clone(&sockets), Rc::clone(&plugins))
            .with_devices(sysfs.clone(), registry.clone());
        let hands = HostHands::new(sockets, plugins, &self.scene.path("cache")).with_devices(sysfs, registry);
        let journal = FileJournal::new(self.scene.path("state"));
        work(&Node { probe: &probe, hands: &hands, journal: &journal })
    }

    fn attachment(&self, keys: Value) -> Attachment {
        let mut conf = json!({"cniVersion": "1.1.0", "name": "fast", "type": "sriov", "deviceID": VF,
            "ipam": {"type": "static", "addresses": [{"address": "10.5.0.7/24"}]}});
        conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        Attachment {
            netns: Some(self.pod.path().clone()),
            ..Attachment::new(
                Owner::parse("pod-1", "net1").unwrap(),
                Network::parse(conf.to_string().as_bytes(), None).unwrap(),
            )
        }
    }

    /// Makes a plugin that is a script. Answers with its directory, in which it may leave notes (`$OUT`).
    fn plugin(&self, name: &str, script: &str) -> std::path::PathBuf {
        let bin = self.scene.path("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(bin.join(name), script).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        bin
    }

    fn add(&self, keys: Value) -> Outcome<Attached> {
        self.attach(self.attachment(keys))
    }

    fn attach(&self, attachment: Attachment) -> Outcome<Attached> {
        self.call(|node| add(node, vec![attachment])).map(|mut made| made.remove(0))
    }

    fn del(&self) -> Outcome<()> {
        let container = "pod-1".parse().unwrap();
        let detach = Detach::recorded(&container, Scope::Own);
        self.call(|node| del(node, &detach)).map(drop)
    }

    fn on_host(&self) -> Option<Device> {
        device::by_name(&mut Socket::open().unwrap(), "vf0").unwrap()
    }

    fn in_pod(&self) -> Vec<Device> {
        let netns = Netns::open(self.pod.path()).unwrap().unwrap();
        let mut links = device::all(&mut netns.socket().unwrap()).unwrap();
        links.retain(|link| link.name != "lo");
        links
    }

    fn account(&self) -> Option<String> {
        fs::read_to_string(self.scene.path("sriov").join("pci").join(VF)).ok()
    }
}

impl Stage {
    /// Attaches in the place of the program that calls the peer.
    fn add_in_place(&self, keys: Value) -> Outcome<Attached> {
        self.attach(Attachment { in_place: true, ..self.attachment(keys) })
    }

    /// What the peer finds of the attachment.
    fn for_the_peer(&self) -> Option<Value> {
        let text = fs::read(self.scene.path("sriov/pod-1-net1")).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }
}

#[test]
fn what_is_attached_in_the_peers_place_is_in_a_file_that_the_peer_reads() {
    let stage = Stage::new().with_pf();
    let before = stage.on_host().unwrap();

    stage.add_in_place(json!({"mtu": 1400})).unwrap();

    let expected = json!({"name": "fast", "type": "sriov", "deviceID": VF, "Master": "pf0", "VFID": 3,
        "ContIFNames": "net1", "DPDKMode": false, "ipam": {"type": "static"},
        "OrigVfState": {"HostIFName": "vf0", "EffectiveMAC": before.mac.unwrap().to_string(), "MTU": 1500,
            "AdminMAC": "", "SpoofChk": true, "Trust": false, "Vlan": 0, "VlanQoS": 0, "VlanProto": 33024,
            "MinTxRate": 0, "MaxTxRate": 0, "LinkState": 0}});
    assert_eq!(stage.for_the_peer(), Some(expected));
    stage.del().unwrap();
    assert_eq!((stage.for_the_peer(), stage.on_host().unwrap()), (None, before));
    let left: Vec<_> =
        fs::read_dir(stage.scene.path("sriov")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["pci"]);
}

#[test]
fn an_add_that_is_refused_leaves_the_peer_no_file() {
    let stage = Stage::new().with_pf();

    // A veth has no VFs.
    stage.add_in_place(json!({"vlan": 7})).unwrap_err();

    assert_eq!(stage.for_the_peer(), None);
}

#[test]
fn the_peer_gets_no_file_where_nobody_can_put_it_back_and_none_without_a_pf() {
    let stage = Stage::new().with_pf();
    stage.add(json!({})).unwrap();
    assert_eq!(stage.for_the_peer(), None);
    stage.del().unwrap();

    let alone = Stage::new();
    alone.add_in_place(json!({})).unwrap();
    assert_eq!(alone.for_the_peer(), None);
    alone.del().unwrap();
}

#[test]
fn a_vf_whose_record_is_lost_comes_back_by_the_file() {
    let stage = Stage::new().with_pf();
    let before = stage.on_host().unwrap();
    let attachment = Attachment { in_place: true, ..stage.attachment(json!({"mtu": 1400})) };
    stage.attach(attachment.clone()).unwrap();
    fs::remove_dir_all(stage.scene.path("state")).unwrap();

    let container = "pod-1".parse().unwrap();
    let detach = Detach {
        container: &container,
        scope: Scope::Own,
        configured: &|| vec![attachment.clone()],
        netns: attachment.netns.as_ref(),
        unrecorded: Unrecorded::Trace,
    };
    stage.call(|node| del(node, &detach)).unwrap();

    let after = stage.on_host().unwrap();
    // The alias tells the name, but not the MTU.
    assert_eq!((after.mtu, after.mac, stage.in_pod()), (before.mtu, before.mac, Vec::new()));
    assert_eq!((stage.for_the_peer(), stage.account()), (None, None));
}

#[test]
fn a_vf_without_a_pf_is_moved_and_comes_back_as_it_was() {
    let stage = Stage::new();
    ip("link property add dev vf0 altname net1");
    let before = stage.on_host().unwrap();

    let made = stage.add(json!({"mac": "02:aa:00:00:00:01", "mtu": 1400, "allmulti": true})).unwrap();

    let [there] = stage.in_pod().try_into().unwrap();
    assert_eq!((there.name.as_str(), there.mtu, there.up, there.allmulti), ("net1", 1400, true, true));
    assert_eq!(there.mac.unwrap().to_string(), "02:aa:00:00:00:01");
    assert_eq!(there.alias, "manifold:pod-1/net1 was vf0");
    assert_eq!(stage.account().as_deref(), Some(stage.pod.path().as_str()));
    let told = &made.result.interfaces[0];
    assert_eq!((told.name.as_str(), told.pci_id.as_str(), told.mtu), ("net1", VF, Some(1400)));
    stage.call(|node| check(node, &"pod-1".parse().unwrap(), &Scope::Own, &[])).unwrap();

    stage.del().unwrap();

    assert_eq!(stage.on_host().unwrap(), before);
    assert_eq!((stage.in_pod(), stage.account()), (Vec::new(), None));
    stage.del().unwrap();
    assert_eq!(stage.on_host().unwrap(), before);
}

#[test]
fn a_vf_that_the_pod_renamed_and_built_upon_comes_back() {
    let stage = Stage::new();
    let before = stage.on_host().unwrap();
    stage.add(json!({})).unwrap();
    stage.pod.inside(|| {
        ip("link add upper link net1 type macvlan");
        ip("link set net1 down");
        ip("link set net1 name mine");
    });

    stage.del().unwrap();

    assert_eq!((stage.on_host().unwrap(), stage.in_pod()), (before, Vec::new()));
}

#[test]
fn a_vf_whose_names_are_taken_on_the_host_comes_back() {
    let stage = Stage::new();
    let before = stage.on_host().unwrap();
    stage.add(json!({})).unwrap();
    stage.pod.inside(|| ip("link property add dev net1 altname taken"));
    ip("link add taken type veth peer name other");

    stage.del().unwrap();

    assert_eq!((stage.on_host().unwrap(), stage.in_pod()), (before, Vec::new()));
}

#[test]
fn a_vf_whose_name_in_the_pod_and_on_the_host_are_taken_leaves_the_pod() {
    let stage = Stage::new();
    let mac = stage.on_host().unwrap().mac;
    stage.add(json!({})).unwrap();
    ip("link add net1 type veth peer name vf0");

    stage.del().unwrap();

    let there = device::all(&mut Socket::open().unwrap()).unwrap();
    assert!(there.iter().any(|link| link.name.starts_with("mfvf") && link.mac == mac), "{there:?}");
    assert_eq!(stage.in_pod(), []);
}

#[test]
fn a_link_whose_other_end_is_elsewhere_is_not_built_upon_the_vf() {
    let stage = Stage::new();
    stage.add(json!({})).unwrap();
    let [net1] = stage.in_pod().try_into().unwrap();
    // Its parent, which is on the host, has the index that the VF has in the pod.
    let pod = stage.pod.path().as_str().to_owned();
    ip(&format!("link add far index {} type veth peer name near netns {pod}", net1.index));

    stage.del().unwrap();

    let left: Vec<String> = stage.in_pod().into_iter().map(|link| link.name).collect();
    assert_eq!(left, ["near"]);
}

#[test]
fn a_link_of_the_pods_own_is_not_touched() {
    let stage = Stage::new();
    let before = stage.on_host().unwrap();
    stage.pod.inside(|| ip("link add net1 type veth peer name other"));
    let own = stage.in_pod();

    assert_eq!(stage.add(json!({})).unwrap_err().kind(), FaultKind::Exists);

    assert_eq!((stage.on_host().unwrap(), stage.in_pod(), stage.account()), (before, own, None));
}

#[test]
fn who_works_on_a_vf_has_the_lock_that_the_peer_takes() {
    let folder = tempfile::tempdir().unwrap();
    let registry = VfRegistry::at(folder.path());
    let path = folder.path().join(format!("pci/vf_lock/{VF}.lock"));
    let is_free = || {
        let held = File::open(&path).unwrap();
        Flock::lock(held, FlockArg::LockExclusiveNonblock).is_ok()
    };

    let ours = registry.lock(VF.parse().unwrap()).unwrap();
    assert!(!is_free());
    drop(ours);
    assert!(is_free());

    // And waits while the peer has it.
    let theirs = Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusive).unwrap();
    let (told, hears) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let registry = registry.clone();
        scope.spawn(move || {
            let _lock = registry.lock(VF.parse().unwrap()).unwrap();
            told.send(()).unwrap();
        });
        assert!(hears.recv_timeout(Duration::from_millis(300)).is_err(), "it does not wait");
        drop(theirs);
        hears.recv_timeout(Duration::from_secs(20)).unwrap();
    });
}

#[test]
fn a_vf_that_another_program_gave_away_is_left_alone() {
    let stage = Stage::new();
    let other = stage.scene.node.pod().unwrap();
    let account = stage.scene.path("sriov").join("pci");
    fs::create_dir_all(&account).unwrap();
    fs::write(account.join(VF), other.path().as_str()).unwrap();

    assert_eq!(stage.add(json!({})).unwrap_err().kind(), FaultKind::TryLater);
    assert_eq!(stage.account().as_deref(), Some(other.path().as_str()));

    // A namespace that is gone has nothing.
    drop(other);
    stage.add(json!({})).unwrap();
    // Given to another pod meanwhile, by a program that we know nothing of.
    let next = stage.scene.node.pod().unwrap();
    fs::write(account.join(VF), next.path().as_str()).unwrap();
    let there = stage.in_pod();
    stage.del().unwrap();
    assert_eq!((stage.in_pod(), stage.account().as_deref()), (there, Some(next.path().as_str())));
}

#[test]
fn what_a_pf_refuses_undoes_the_rest() {
    let stage = Stage::new().with_pf();
    let before = stage.on_host().unwrap();

    let fault = stage.add(json!({"mac": "02:aa:00:00:00:02", "vlan": 7})).unwrap_err();

    // A veth has no VFs.
    assert_eq!(fault.kind(), FaultKind::Kernel);
    assert!(fault.to_string().contains("the PF of VF 0000:01:10.0 refuses"), "{fault}");
    assert_eq!((stage.on_host().unwrap(), stage.in_pod(), stage.account()), (before, Vec::new(), None));
}

#[test]
fn a_representor_is_told_of() {
    let stage = Stage::new().with_pf();

    let Attached { result, device_info, .. } = stage.add(json!({})).unwrap();

    let names: Vec<(&str, &str)> =
        result.interfaces.iter().map(|i| (i.name.as_str(), i.sandbox.as_str())).collect();
    assert_eq!(names, [("net1", stage.pod.path().as_str()), ("rep3", "")]);
    assert_eq!(result.ips[0].interface, Some(0));
    assert_eq!(
        serde_json::to_value(device_info).unwrap(),
        json!({"type": "pci", "version": "1.1.0", "pci": {"pci-address": VF, "pf-pci-address": PF,
            "representor-device": "rep3"}})
    );
    stage.del().unwrap();
}

#[test]
fn what_the_host_needs_is_not_taken() {
    let stage = Stage::new();
    ip("link set wire up");
    ip("link set vf0 up");
    ip("address add 10.66.0.1/24 dev vf0");

    let fault = stage.add(json!({})).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::Exists);
    assert!(fault.to_string().contains("10.66.0.1/24"), "{fault}");
    assert!(stage.on_host().unwrap().up);
}

#[test]
fn neither_a_disk_nor_the_nodes_own_virtio_adapter_is_bound_to_another_driver() {
    let stage = Stage::new();
    let device = format!("bus/pci/devices/{VF}");
    for driver in ["present", "vfio-pci"] {
        stage.folder(&format!("bus/pci/drivers/{driver}"));
        stage.file(&format!("bus/pci/drivers/{driver}/unbind"), "");
    }
    symlink("../../drivers/present", stage.sys().join(format!("{device}/driver"))).unwrap();
    let refused = || stage.add(json!({"bindDriver": "vfio-pci"})).unwrap_err();

    fs::remove_dir_all(stage.sys().join(format!("{device}/net"))).unwrap();
    stage.file(&format!("{device}/class"), "0x010802\n");
    let disk = refused();
    stage.file(&format!("{device}/class"), "0x020000\n");
    stage.folder(&format!("{device}/virtio3/net/vf0"));
    ip("link set wire up");
    ip("link set vf0 up");
    ip("address add 10.66.0.1/24 dev vf0");
    let adapter = refused();

    assert_eq!((disk.kind(), adapter.kind()), (FaultKind::Config, FaultKind::Exists), "{disk}, {adapter}");
    assert_eq!(fs::read_to_string(stage.sys().join("bus/pci/drivers/present/unbind")).unwrap(), "");
    assert!(!stage.sys().join(format!("{device}/driver_override")).exists());
}

#[test]
fn del_succeeds_when_the_device_is_gone() {
    let stage = Stage::new();
    stage.add(json!({})).unwrap();
    fs::remove_dir_all(stage.sys()).unwrap();
    stage.pod.inside(|| ip("link delete net1"));

    stage.del().unwrap();

    assert_eq!(stage.account(), None);
    assert!(!stage.scene.records("pod-1").exists());
}

/// A plugin for RDMA devices needs hardware that no build machine has; this one notes how it was called, and where the
/// VF's interface was then.
const RDMA: &str = r#"#!/bin/sh
cat > "$OUT/$CNI_COMMAND.json"
nsenter --net="$CNI_NETNS" ip -brief link show "$CNI_IFNAME" > "$OUT/$CNI_COMMAND.there"
[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion": "1.1.0", "interfaces": [{"name": "net1"}]}'
"#;

#[test]
fn a_plugin_for_rdma_behind_it_is_told_the_device_and_runs_while_the_vf_is_in_the_pod() {
    let stage = Stage::new();
    let program = stage.plugin("rdma", RDMA);
    let list =
        json!({"cniVersion": "1.1.0", "name": "fast", "plugins": [{"type": "sriov"}, {"type": "rdma"}]});
    let mut network = Network::parse(list.to_string().as_bytes(), None).unwrap();
    // As the kubelet's device is.
    network.plugins.iter_mut().for_each(|plugin| plugin.set_device(&VF.parse().unwrap()).unwrap());
    let attachment = Attachment { network, ..stage.attachment(json!({})) };

    stage.attach(attachment).unwrap();
    stage.del().unwrap();

    for command in ["ADD", "DEL"] {
        let told: Value =
            serde_json::from_slice(&fs::read(program.join(format!("{command}.json"))).unwrap()).unwrap();
        assert_eq!((&told["type"], &told["deviceID"]), (&json!("rdma"), &json!(VF)), "{command}");
        assert!(told["prevResult"]["interfaces"].is_array(), "{command}: {told}");
        let there = fs::read_to_string(program.join(format!("{command}.there"))).unwrap();
        assert!(there.starts_with("net1"), "{command}: {there:?}");
    }
    let told: Value = serde_json::from_slice(&fs::read(program.join("ADD.json")).unwrap()).unwrap();
    assert_eq!(told["prevResult"]["interfaces"][0]["pciID"], json!(VF));
    assert!(stage.on_host().is_some());
}
