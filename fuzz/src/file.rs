//! Files that others write, read where they stand. The first byte of the input tells which file it is.

use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ipnetwork::IpNetwork;
use manifold::engine::ports::{Devices, Hands, Networks, Site, Undo};
use manifold::host::cache::ResultCache;
use manifold::host::directory::{Directory, plugins_beside};
use manifold::host::exec::Plugins;
use manifold::host::hands::HostHands;
use manifold::host::ipam::store;
use manifold::host::kubelet::Kubelet;
use manifold::host::peer::Sandboxes;
use manifold::host::sysfs::Sysfs;
use manifold::host::vf_registry::VfRegistry;
use manifold::model::{CniVersion, DeviceInfo};
use manifold::plan::step::{AddressRange, DeviceInfoStep, LeaseStep, Progress, Step};

use crate::{kubelet, peer, stand};

pub(crate) fn run(data: &[u8]) {
    let (Some(kind), Some(text)) = (data.first(), data.get(1..)) else { return };
    let folder = peer::folder();
    let root = folder.path();
    match kind {
        b'c' => checkpoint(root, text),
        b'd' => definitions(root, text, "n.yaml"),
        b'e' => definitions(root, text, "n.conflist"),
        b'i' => described(root, text),
        b'l' => lease(root, text),
        b'p' => sandbox(root, text),
        b'r' => cached(root, text),
        b's' => ports(root, text),
        _ => registered(root, text),
    }
}

fn put(folder: &Path, name: &str, text: &[u8]) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(name), text).unwrap();
}

fn checkpoint(root: &Path, text: &[u8]) {
    put(&root.join("device-plugins"), "kubelet_internal_checkpoint", text);
    if let Ok(devices) = Kubelet::new(root).of_pod(&kubelet::pod()) {
        kubelet::handed_out(&devices);
    }
}

fn definitions(root: &Path, text: &[u8], name: &str) {
    put(root, name, text);
    put(&root.join("n"), "10-more.conf", text);
    let networks = Directory::new(root, CniVersion::NEWEST);
    if let Ok(named) = networks.network(None, "n") {
        assert!(!named.network.plugins.is_empty());
        drop(networks.network(Some("default"), "n"));
    }
    drop(Directory::first(root, CniVersion::NEWEST));
    drop(plugins_beside(root, "n"));
}

/// A device as its plugin describes it, then as an attachment's plugins find it described, and what is told of it then.
fn described(root: &Path, text: &[u8]) {
    put(root, "device.json", text);
    let (file, source) = (root.join("cni/n"), root.join("device.json"));
    let step = DeviceInfoStep { file: file.clone(), source: Some(source), device: None };
    let (mut copy, mut told) = (Step::DeviceFile(step.clone()), Step::DeviceInfo(step));
    let hands = HostHands::new(Rc::default(), Rc::new(Plugins::new(vec![], vec![], Duration::ZERO)), root);
    let attachment = stand::attachment(stand::network(), Default::default(), Default::default());
    let site = Site { attachment: &attachment, netns: None, result: None };
    let mut progress = Progress::default();
    hands.apply(site, &mut copy, &mut progress).unwrap();
    hands.apply(site, &mut told, &mut progress).unwrap();
    let found = fs::read(&file).ok().map(|found| DeviceInfo::parse(&found).unwrap());
    assert_eq!(found.is_some(), DeviceInfo::parse(text).is_ok());
    assert_eq!(found, progress.device_info);
    assert!(hands.revert(&[Undo { site, step: &copy }]).iter().all(Result::is_ok));
    assert!(!file.exists());
}

/// A store in which the text is an address's file, and the file that tells where the round is.
fn lease(root: &Path, text: &[u8]) {
    put(root, "10.0.0.2", text);
    put(root, "last_reserved_ip.0", text);
    let range = AddressRange {
        subnet: IpNetwork::new("10.0.0.0".parse().unwrap(), 29).unwrap(),
        start: "10.0.0.1".parse().unwrap(),
        end: "10.0.0.6".parse().unwrap(),
        gateway: "10.0.0.1".parse().unwrap(),
    };
    let owner = stand::owner();
    let mut step =
        LeaseStep { store: root.to_owned(), sets: vec![vec![range]], requested: Vec::new(), held: None };
    let before = store::holds(&step, &owner).is_ok();
    store::take(&mut step, &owner).unwrap();
    store::holds(&step, &owner).unwrap();
    let other = "10.0.0.2".parse().unwrap();
    assert!(step.held.as_ref().is_some_and(|held| held.len() == 1 && !held.contains(&other)));
    store::give_back(&step, &owner).unwrap();
    store::holds(&step, &owner).unwrap_err();
    // A file of somebody else's stays as it is, whoever looks for his own.
    store::give_back(&LeaseStep { held: None, ..step }, &owner).unwrap();
    let after = fs::read(root.join("10.0.0.2")).ok();
    assert_eq!(after.is_none(), before);
    assert!(after.is_none_or(|after| after == text));
}

fn sandbox(root: &Path, text: &[u8]) {
    let owner = stand::owner();
    put(root, owner.container.as_str(), text);
    let sandboxes = Sandboxes::new(root);
    let read = sandboxes.read(&owner.container);
    for delegate in read.iter().flatten().flat_map(|sandbox| &sandbox.delegates).flatten() {
        stand::recorded(&stand::attachment(
            delegate.network.clone(),
            Default::default(),
            delegate.capabilities.clone(),
        ));
    }
    let attachment = stand::attachment(stand::network(), Default::default(), Default::default());
    sandboxes.put(&attachment).unwrap();
    let mut told = sandboxes.read(&owner.container).unwrap().unwrap();
    let ours = told.delegates.pop().unwrap().unwrap();
    assert!(ours.ours && ours.interface == Some(owner.ifname.clone()));
    assert_eq!(ours.network.plugins, attachment.network.plugins);
    sandboxes.remove(&owner).unwrap();
    sandboxes.forget(&owner.container).unwrap();
}

fn cached(root: &Path, text: &[u8]) {
    let owner = stand::owner();
    let network = "n".parse().unwrap();
    let name = "n-pod1-net1";
    put(&root.join("results"), name, text);
    let cache = ResultCache::new(root);
    if let Ok(Some(cached)) = cache.get(&owner, &network)
        && let Some(result) = &cached.result
    {
        crate::result::kept(result);
    }
    for (other, _) in cache.of_container(&owner.container).unwrap() {
        assert_eq!(other.container, owner.container);
    }
    if let Some(ours) = cache.ours(name) {
        assert_eq!((ours.owner, ours.network), (owner.clone(), network.clone()));
    }
    cache.remove(&owner, &network).unwrap();
    assert_eq!(cache.get(&owner, &network).unwrap(), None);
}

/// Lines are the names of ports, of one network interface each.
fn ports(root: &Path, text: &[u8]) {
    let pf = "0000:3b:00.0".parse().unwrap();
    let vf = "0000:3b:00.2".parse().unwrap();
    let sysfs = Sysfs::at(root);
    for (number, line) in text.split(|byte| *byte == b'\n').take(4).enumerate() {
        let name = format!("eth{number}");
        put(&root.join("class/net").join(&name), "phys_port_name", line);
        put(&root.join("class/net").join(&name), "phys_switch_id", b"1");
        put(&sysfs.path(pf).join("net"), &name, b"");
    }
    put(&sysfs.path(vf), "driver_override", text);
    let uplink = sysfs.uplink(pf);
    for number in 0..3 {
        let stands = sysfs.representor(pf, number);
        assert!(stands.is_none() || stands != uplink);
    }
    drop(sysfs.driver_override(vf));
    assert_eq!(sysfs.number(pf, vf), None);
}

fn registered(root: &Path, text: &[u8]) {
    let owner = stand::owner();
    put(root, "pod1-net1", text);
    put(&root.join("pci"), "0000:3b:00.2", text);
    let registry = VfRegistry::at(root);
    drop(registry.left_by_peer(&owner));
    registry.holder("0000:3b:00.2".parse().unwrap()).unwrap();
    registry.forget(&owner).unwrap();
    assert_eq!(registry.left_by_peer(&owner).unwrap(), None);
}
