//! What the emulated adapter cannot: settings that it refuses, and a switch with representors. The kernel simulates an
//! adapter that has both, but neither PCI functions nor interfaces of VFs; so a tree of devices says that a dummy link
//! is the interface of its VF, and the library is called with that tree. The PF, its settings and its switch are real.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use manifold::engine::add::{Attached, add};
use manifold::engine::check::check;
use manifold::engine::del::{Detach, del};
use manifold::engine::scope::Scope;
use manifold::host::exec::Plugins;
use manifold::host::hands::HostHands;
use manifold::host::journal::FileJournal;
use manifold::host::netlink::Sockets;
use manifold::host::probe::HostProbe;
use manifold::host::sysfs::Sysfs;
use manifold::host::vf_registry::VfRegistry;
use manifold::model;
use serde_json::{Value, json};

use crate::adapter::await_that;
use crate::catalogue::{Case, HoldsFor};
use crate::command::Program;
use crate::need::Need;
use crate::node::{Netns, Node};
use crate::plugin::{IFNAME, Subject};
use crate::trouble::{Outcome, Trouble, equal, holds};

pub(super) const NEEDS: &[Need] = &[Need::Simulator, Need::Link("dummy")];

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a_simulated_adapter_takes_every_setting_of_a_vf",
        proves: "link_state, both rates, 802.1ad, trust and spoofchk are read back, seen by CHECK, and undone by DEL",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: every_setting,
    },
    Case {
        name: "a_vf_is_told_with_its_representor",
        proves: "in mode switchdev the result and the device's description name the representor of the VF, by switch and port",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: representor,
    },
];

pub(super) const CONTAINER: &str = "pod-1";
const VF: &str = "0000:99:00.3";
const PF: &str = "0000:99:00.0";
/// The VF's number at its PF.
pub(super) const NUMBER: usize = 2;
/// The simulated adapter's.
const ID: u32 = 907;

/// A simulated adapter with four VFs, the third of which has an interface; and a pod.
pub(super) struct Stage {
    pub(super) pod: Netns,
    pub(super) node: Node,
    pub(super) pf: String,
}

impl Stage {
    pub(super) fn new() -> Outcome<Self> {
        write("/sys/bus/netdevsim/new_device", &format!("{ID} 1"))?;
        let node = Node::of_machine()?;
        let mut stage = Self { pod: node.netns("pod")?, node, pf: String::new() };
        let device = format!("/sys/bus/netdevsim/devices/netdevsim{ID}");
        let port = || std::fs::read_dir(format!("{device}/net")).ok()?.find_map(Result::ok);
        await_that("the simulated adapter has no interface", || port().is_some())?;
        stage.pf = port().map(|entry| entry.file_name().to_string_lossy().into_owned()).unwrap_or_default();
        write(&format!("{device}/sriov_numvfs"), "4")?;
        stage.node.own.ip("link add vfport type dummy")?;
        stage.tree()?;
        Ok(stage)
    }

    /// The tree of devices: a PF with the simulated interface, and its VF with the dummy.
    fn tree(&self) -> Outcome<()> {
        let sys = self.node.path("sys");
        let functions = sys.join("bus/pci/devices");
        for folder in [format!("{PF}/net/{}", self.pf), format!("{VF}/net/vfport")] {
            let folder = functions.join(folder);
            std::fs::create_dir_all(&folder).map_err(Trouble::doing(format!("cannot make {folder:?}")))?;
        }
        for function in [PF, VF] {
            std::fs::write(functions.join(function).join("class"), "0x020000\n")
                .map_err(Trouble::doing("cannot write a class"))?;
        }
        std::fs::create_dir_all(sys.join("class")).map_err(Trouble::doing("cannot make a folder"))?;
        let link = |to: &str, at: &Path| {
            symlink(to, at).map_err(Trouble::doing(format!("cannot make the link {at:?}")))
        };
        link(&format!("../{PF}"), &functions.join(VF).join("physfn"))?;
        link(&format!("../{VF}"), &functions.join(PF).join(format!("virtfn{NUMBER}")))?;
        link("/sys/class/net", &sys.join("class/net"))
    }

    /// What the adapter holds of the VF.
    pub(super) fn settings(&self) -> Outcome<Value> {
        let printed = Program::new(["ip", "-details", "-json", "link", "show", &self.pf]).output()?;
        let all: Value =
            serde_json::from_str(&printed).map_err(Trouble::doing("cannot read what ip printed"))?;
        let found = all.pointer(&format!("/0/vfinfo_list/{NUMBER}")).cloned();
        found.ok_or_else(|| Trouble::new("the adapter says nothing of its VF"))
    }

    /// Works with this machine as one call of the program does.
    pub(super) fn call<T>(
        &self,
        work: impl FnOnce(&manifold::engine::Node<'_>) -> model::fault::Outcome<T>,
    ) -> Outcome<T> {
        let (sysfs, registry) = (Sysfs::at(self.node.path("sys")), VfRegistry::at(self.node.path("sriov")));
        let sockets = Rc::new(Sockets::default());
        let plugins = Rc::new(Plugins::new(Vec::new(), Vec::new(), Duration::from_secs(1)));
        let probe = HostProbe::new(Rc::clone(&sockets), Rc::clone(&plugins))
            .with_devices(sysfs.clone(), registry.clone());
        let hands = HostHands::new(sockets, plugins, &self.node.path("cache")).with_devices(sysfs, registry);
        let journal = FileJournal::new(self.node.path("state"));
        let node = manifold::engine::Node { probe: &probe, hands: &hands, journal: &journal };
        Ok(work(&node)?)
    }

    pub(super) fn add(&self, keys: Value) -> Outcome<Attached> {
        self.attach(self.attachment(keys)?)
    }

    pub(super) fn attach(&self, attachment: model::Attachment) -> Outcome<Attached> {
        let made = self.call(|node| add(node, vec![attachment]))?;
        made.into_iter().next().ok_or_else(|| Trouble::new("ADD made nothing"))
    }

    pub(super) fn attachment(&self, keys: Value) -> Outcome<model::Attachment> {
        let mut conf = json!({"cniVersion": "1.1.0", "name": "fast", "type": "sriov", "deviceID": VF});
        if let (Some(conf), Value::Object(keys)) = (conf.as_object_mut(), keys) {
            conf.extend(keys);
        }
        let network = model::Network::parse(conf.to_string().as_bytes(), None)?;
        let owner = model::Owner::parse(CONTAINER, IFNAME)?;
        Ok(model::Attachment {
            netns: Some(self.pod.path().parse()?),
            ..model::Attachment::new(owner, network)
        })
    }

    pub(super) fn check(&self) -> Outcome<()> {
        let container = CONTAINER.parse()?;
        self.call(|node| check(node, &container, &Scope::Own, &[]))
    }

    pub(super) fn del(&self) -> Outcome<()> {
        let container = CONTAINER.parse()?;
        self.call(|node| del(node, &Detach::recorded(&container, Scope::Own))).map(drop)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A case that failed may have left the interface in the pod, which goes with it.
        self.node.own.ip("link delete vfport").ok();
        write("/sys/bus/netdevsim/del_device", &ID.to_string()).ok();
    }
}

pub(super) fn every_key() -> Value {
    json!({"vlan": 5, "vlanQoS": 2, "vlanProto": "802.1ad", "link_state": "enable", "min_tx_rate": 10,
        "max_tx_rate": 100, "trust": "on", "spoofchk": "on", "mac": "02:aa:00:00:00:50"})
}

fn every_setting(_: &Subject) -> Outcome<()> {
    let stage = Stage::new()?;
    let before = stage.settings()?;

    stage.add(every_key())?;

    let settings = stage.settings()?;
    let expected = [
        ("/address", json!("02:aa:00:00:00:50")),
        ("/vlan_list/0/vlan", json!(5)),
        ("/vlan_list/0/qos", json!(2)),
        ("/vlan_list/0/protocol", json!("802.1ad")),
        ("/link_state", json!("enable")),
        ("/rate/min_tx", json!(10)),
        ("/rate/max_tx", json!(100)),
        ("/trust", json!(true)),
        ("/spoofchk", json!(true)),
    ];
    for (key, value) in expected {
        equal(key, settings.pointer(key), Some(&value))?;
    }
    equal("the address in the pod", stage.pod.link(IFNAME)?.mac(), "02:aa:00:00:00:50")?;
    stage.check()?;
    stage.node.own.ip(&format!("link set {} vf {NUMBER} state disable", stage.pf))?;
    let loss = stage.check().err().map(|trouble| trouble.to_string()).unwrap_or_default();
    holds(loss.contains("link state enable"), format!("CHECK says {loss:?}"))?;

    stage.del()?;

    equal("the settings", stage.settings()?, before)?;
    stage.node.own.link("vfport").map(|_| ())
}

fn representor(_: &Subject) -> Outcome<()> {
    let stage = Stage::new()?;
    let device = format!("netdevsim/netdevsim{ID}");
    Program::new(["devlink", "dev", "eswitch", "set", &device, "mode", "switchdev"]).output()?;
    let wanted = format!("pf0vf{NUMBER}");
    let port = |name: &str| std::fs::read_to_string(format!("/sys/class/net/{name}/phys_port_name"));
    let names = stage.node.own.names()?;
    let named = names.into_iter().find(|name| port(name).is_ok_and(|port| port.trim() == wanted));
    let named = named.ok_or_else(|| Trouble::new(format!("no link is {wanted}")))?;

    let Attached { result, device_info, .. } = stage.add(json!({}))?;

    let told: Vec<&str> = result.interfaces.iter().map(|interface| interface.name.as_str()).collect();
    equal("the interfaces told", told, vec![IFNAME, &named])?;
    let info = serde_json::to_value(device_info).map_err(Trouble::doing("cannot read the description"))?;
    let expected = json!({"pci-address": VF, "pf-pci-address": PF, "representor-device": named});
    equal("the device's description", info.get("pci"), Some(&expected))?;
    stage.del()?;
    stage.node.own.link("vfport").map(|_| ())
}

fn write(path: &str, value: &str) -> Outcome<()> {
    std::fs::write(path, value).map_err(Trouble::doing(format!("cannot write {value:?} to {path}")))
}
