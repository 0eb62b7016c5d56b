use std::os::unix::fs::symlink;

use super::*;

/// A tree as the kernel shows it, with what a test puts there.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn sysfs(&self) -> Sysfs {
        Sysfs::at(self.0.path())
    }

    fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn folder(&self, path: &str) -> &Self {
        fs::create_dir_all(self.0.path().join(path)).unwrap();
        self
    }

    fn link(&self, path: &str, target: &str) -> &Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
        self
    }

    /// A PF with VFs of these numbers and addresses, each with its interface.
    fn adapter(&self, pf: &str, vfs: &[(u32, &str)]) -> &Self {
        let device = format!("bus/pci/devices/{pf}");
        self.file(&format!("{device}/sriov_totalvfs"), "8\n").folder(&format!("{device}/net/pf0"));
        for (number, vf) in vfs {
            self.link(&format!("{device}/virtfn{number}"), &format!("../{vf}"));
            self.link(&format!("bus/pci/devices/{vf}/physfn"), &format!("../{pf}"));
            self.folder(&format!("bus/pci/devices/{vf}/net/eth{number}"));
        }
        self
    }

    /// A network interface, with the name of its port on a switch.
    fn port(&self, name: &str, switch: &str, port: &str) -> &Self {
        self.file(&format!("class/net/{name}/phys_switch_id"), &format!("{switch}\n"));
        self.file(&format!("class/net/{name}/phys_port_name"), &format!("{port}\n"))
    }
}

fn pci(text: &str) -> PciAddress {
    text.parse().unwrap()
}

#[test]
fn a_vf_has_the_number_of_the_link_that_leads_to_it() {
    let tree = Tree::new();
    tree.adapter("0000:01:00.0", &[(0, "0000:01:10.0"), (3, "0000:01:10.2"), (12, "0000:01:11.6")]);
    let (sysfs, pf) = (tree.sysfs(), pci("0000:01:00.0"));

    assert_eq!(sysfs.pf_of(pci("0000:01:10.2")), Some(pf));
    assert_eq!(sysfs.number(pf, pci("0000:01:10.2")), Some(3));
    assert_eq!(sysfs.number(pf, pci("0000:01:11.6")), Some(12));
    assert_eq!(sysfs.number(pf, pci("0000:01:11.4")), None);
    assert!(sysfs.is_pf(pf) && !sysfs.is_pf(pci("0000:01:10.0")));
}

#[test]
fn an_interface_that_is_away_is_told_from_one_that_is_not() {
    let tree = Tree::new();
    tree.folder("bus/pci/devices/0000:01:10.0/net/eth0").folder("bus/pci/devices/0000:01:10.2/net");
    tree.folder("bus/pci/devices/0000:01:10.4");

    assert_eq!(tree.sysfs().netdevs(pci("0000:01:10.0")), Netdevs::Here(vec!["eth0".to_owned()]));
    assert_eq!(tree.sysfs().netdevs(pci("0000:01:10.2")), Netdevs::Elsewhere);
    assert_eq!(tree.sysfs().netdevs(pci("0000:01:10.4")), Netdevs::None);
}

#[test]
fn interfaces_of_virtio_devices_are_their_functions() {
    let tree = Tree::new();
    tree.folder("bus/pci/devices/0000:00:03.0/virtio1/net/eth0")
        .folder("bus/pci/devices/0000:00:04.0/virtio2");
    tree.folder("bus/pci/devices/0000:00:05.0/virtio3/net");

    assert_eq!(tree.sysfs().netdevs(pci("0000:00:03.0")), Netdevs::Here(vec!["eth0".to_owned()]));
    assert_eq!(tree.sysfs().netdevs(pci("0000:00:04.0")), Netdevs::None);
    assert_eq!(tree.sysfs().netdevs(pci("0000:00:05.0")), Netdevs::Elsewhere);
}

#[test]
fn a_network_controller_is_told_by_its_class() {
    let tree = Tree::new();
    for (function, class) in [("0000:00:03.0", "0x020000\n"), ("0000:00:04.0", "0x010802\n")] {
        tree.file(&format!("bus/pci/devices/{function}/class"), class);
    }
    let networks =
        ["0000:00:03.0", "0000:00:04.0", "0000:00:05.0"].map(|at| tree.sysfs().is_network(pci(at)));

    assert_eq!(networks, [true, false, false]);
}

#[test]
fn no_override_is_none() {
    let tree = Tree::new();
    tree.file("bus/pci/devices/0000:01:10.0/driver_override", "(null)\n");
    tree.file("bus/pci/devices/0000:01:10.2/driver_override", "vfio-pci\n");
    tree.link("bus/pci/devices/0000:01:10.2/driver", "../../../../bus/pci/drivers/vfio-pci");

    assert_eq!(tree.sysfs().driver_override(pci("0000:01:10.0")), None);
    assert_eq!(tree.sysfs().driver_override(pci("0000:01:10.2")).as_deref(), Some("vfio-pci"));
    assert_eq!(tree.sysfs().driver(pci("0000:01:10.2")).as_deref(), Some("vfio-pci"));
}

/// As a ConnectX-5 in mode switchdev shows its two PFs: the interfaces of the representors stand beside the uplink's,
/// and the same number of VF exists at both.
#[test]
fn a_representor_is_found_by_switch_and_port() {
    let tree = Tree::new();
    tree.adapter("0000:03:00.0", &[(0, "0000:03:00.2"), (1, "0000:03:00.3")]);
    for name in ["a-representor", "z-representor"] {
        tree.folder(&format!("bus/pci/devices/0000:03:00.0/net/{name}"));
    }
    tree.port("pf0", "98039b0003a2b4e4", "p0");
    tree.port("a-representor", "98039b0003a2b4e4", "pf0vf0").port(
        "z-representor",
        "98039b0003a2b4e4",
        "pf0vf1",
    );
    tree.port("pf1vf1", "98039b0003a2b4e4", "pf1vf1").port("other", "00000000000000ff", "pf0vf1");
    let (sysfs, pf) = (tree.sysfs(), pci("0000:03:00.0"));

    assert_eq!(sysfs.uplink(pf).as_deref(), Some("pf0"));
    assert_eq!(sysfs.representor(pf, 1).as_deref(), Some("z-representor"));
    assert_eq!(sysfs.representor(pf, 0).as_deref(), Some("a-representor"));
    assert_eq!(sysfs.representor(pf, 2), None);
}

#[test]
fn a_representor_on_a_controller_of_the_adapters_own_is_found() {
    let tree = Tree::new();
    tree.adapter("0000:03:00.0", &[(5, "0000:03:00.7")]);
    tree.port("pf0", "aa", "p0s0").port("eth9", "aa", "c1pf0vf5");

    assert_eq!(tree.sysfs().representor(pci("0000:03:00.0"), 5).as_deref(), Some("eth9"));
}

/// As netdevsim has it: its ports are numbered from 1, its PFs from 0.
#[test]
fn a_representor_is_found_although_ports_and_pfs_are_numbered_apart() {
    let tree = Tree::new();
    tree.adapter("0000:03:00.0", &[(2, "0000:03:00.4")]);
    tree.port("pf0", "aa", "p1").port("eth3", "aa", "pf0vf2").port("eth4", "aa", "pf0vf3");
    let (sysfs, pf) = (tree.sysfs(), pci("0000:03:00.0"));

    assert_eq!(sysfs.representor(pf, 2).as_deref(), Some("eth3"));
    // Nobody can tell which of two is meant.
    tree.port("eth5", "aa", "pf2vf2");
    assert_eq!(sysfs.representor(pf, 2), None);
}

#[test]
fn an_adapter_in_legacy_mode_has_no_representors() {
    let tree = Tree::new();
    tree.adapter("0000:01:00.0", &[(0, "0000:01:10.0")]);
    // Some drivers number their ports in every mode.
    tree.file("class/net/pf0/phys_port_name", "0\n");

    assert_eq!(tree.sysfs().uplink(pci("0000:01:00.0")).as_deref(), Some("pf0"));
    assert_eq!(tree.sysfs().representor(pci("0000:01:00.0"), 0), None);
}

#[test]
fn a_group_without_an_iommu_is_told() {
    let tree = Tree::new();
    tree.link("bus/pci/devices/0000:01:10.0/iommu_group", "../../../kernel/iommu_groups/12");
    tree.file("kernel/iommu_groups/12/name", "vfio-noiommu\n");

    assert_eq!(tree.sysfs().iommu_group(pci("0000:01:10.0")), Some(("12".to_owned(), true)));
    assert_eq!(tree.sysfs().iommu_group(pci("0000:01:10.2")), None);
}
