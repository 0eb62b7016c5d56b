//! The virtual functions of the simulated node: 16, of one PF.

use std::collections::BTreeMap;

use super::{SimLink, State};
use crate::engine::ports::Site;
use crate::model::fault::{Fault, Outcome};
use crate::model::result::Interface;
use crate::model::{CniResult, FaultKind, MacAddr, PciAddress};
use crate::plan::facts::Answer;
use crate::plan::step::{Progress, VlanProtocol};
use crate::plan::vf::{
    Driven, Function, PfPort, PortFacts, PortUse, VfFacts, VfPort, VfSettings, VfStep, VfTake, VfVlan,
};

/// The PF.
const PF: &str = "0000:01:00.0";
/// How many VFs it has.
const COUNT: u32 = 16;

/// A simulated VF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimVf {
    /// Its number.
    pub number: u32,
    /// What the PF holds of it.
    pub settings: VfSettings,
    /// The name of its interface.
    pub name: String,
    /// The namespace its interface is in; `None` is the host's.
    pub netns: Option<u64>,
    /// Whose its alias says it is.
    pub alias: Option<String>,
}

/// The VFs of a node that nobody has used yet.
pub fn pristine() -> BTreeMap<PciAddress, SimVf> {
    (0..COUNT).filter_map(|number| Some((address(number)?, SimVf::new(number)))).collect()
}

/// The address of a VF: as on an Intel 82576, two apart.
fn address(number: u32) -> Option<PciAddress> {
    format!("0000:01:{:02x}.{}", 0x10 + number / 4, number % 4 * 2).parse().ok()
}

impl SimVf {
    fn new(number: u32) -> Self {
        let vlan = VfVlan { id: 0, qos: 0, protocol: VlanProtocol::Dot1Q };
        let settings = VfSettings {
            mac: Some(MacAddr::local(u64::from(number))),
            vlan: Some(vlan),
            spoofchk: Some(true),
            trust: Some(false),
            ..VfSettings::default()
        };
        Self { number, settings, name: format!("vf{number}"), netns: None, alias: None }
    }
}

impl State {
    /// What is seen of a VF.
    pub(super) fn see_vf(&self, pci: PciAddress) -> Answer {
        let (Some(vf), Ok(pf)) = (self.world.vfs.get(&pci), PF.parse()) else { return Answer::Absent };
        let pf_port = "ens1".parse().ok().map(|name| PfPort {
            name,
            index: 2,
            ethernet: true,
            settings: Some(vf.settings.clone()),
        });
        let port = match (vf.netns, vf.name.parse()) {
            (None, Ok(name)) => {
                let (index, mac) = (100 + vf.number, vf.settings.mac);
                let port = VfPort { name, index, mac, mtu: 1500, allmulti: false, altnames: Vec::new() };
                PortFacts::Here(port, PortUse::Free)
            }
            (Some(_), _) | (None, Err(_)) => PortFacts::Elsewhere,
        };
        Answer::Vf(Box::new(VfFacts {
            function: Function::Virtual { pf, number: vf.number, pf_port },
            is_network: true,
            driver: Some("igbvf".to_owned()),
            driver_override: None,
            port,
            held_for: None,
            representor: None,
            rdma_device: None,
        }))
    }

    pub(super) fn take_vf(&mut self, site: Site<'_>, step: &VfStep, progress: &mut Progress) -> Outcome<()> {
        let VfStep::Take(take) = step else { return Ok(()) };
        let gone = || Fault::new(FaultKind::Environment, "no network namespace");
        let ino = self.ino(site.netns.ok_or_else(gone)?)?;
        let vf = self.world.vfs.get(&take.vf).ok_or_else(|| Fault::new(FaultKind::Absent, "no such VF"))?;
        if vf.netns.is_some() {
            return Err(Fault::new(FaultKind::Exists, "the interface is in another pod"));
        }
        self.insert_link(site, SimLink { vf: Some(take.vf), ..SimLink::default() }, progress)?;
        let owner = &site.attachment.owner;
        if let Some(vf) = self.world.vfs.get_mut(&take.vf) {
            overlay(&mut vf.settings, &take.to);
            (vf.name, vf.netns) = (owner.ifname.to_string(), Some(ino));
            vf.alias = Some(owner.to_string());
        }
        let result: &mut CniResult = progress.result.get_or_insert_default();
        result.interfaces.iter_mut().for_each(|own: &mut Interface| own.pci_id = take.vf.to_string());
        Ok(())
    }

    pub(super) fn give_vf_back(&mut self, site: Site<'_>, step: &VfStep) {
        let owner = site.attachment.owner.to_string();
        match step {
            VfStep::Take(take) => {
                let alias = self.world.vfs.get(&take.vf).map(|vf| vf.alias.clone());
                match alias {
                    // Given to another pod since, or never moved.
                    None | Some(None) => {}
                    Some(Some(other)) if other != owner => {}
                    Some(Some(_)) => self.bring_home(take.vf, Some(take)),
                }
            }
            VfStep::Lost => {
                let ours = self.world.vfs.iter().filter(|(_, vf)| vf.alias.as_ref() == Some(&owner));
                let ours: Vec<PciAddress> = ours.map(|(pci, _)| *pci).collect();
                ours.into_iter().for_each(|pci| self.bring_home(pci, None));
            }
        }
    }

    fn bring_home(&mut self, pci: PciAddress, take: Option<&VfTake>) {
        self.world.links.retain(|_, link| link.vf != Some(pci));
        let Some(vf) = self.world.vfs.get_mut(&pci) else { return };
        (vf.netns, vf.alias) = (None, None);
        let Some(take) = take else { return };
        overlay(&mut vf.settings, &take.was.where_asked(&take.to));
        if let Driven::Kernel(kernel) = &take.driven {
            vf.name = kernel.was.name.to_string();
        }
    }

    pub(super) fn vf_holds(&self, site: Site<'_>, step: &VfStep) -> bool {
        let VfStep::Take(take) = step else { return true };
        let ino = site.netns.and_then(|path| self.ino(path).ok());
        self.world
            .vfs
            .get(&take.vf)
            .is_some_and(|vf| ino.is_some() && vf.netns == ino && take.to.other_than(&vf.settings).is_empty())
    }

    /// The kernel brings the interfaces of a namespace that dies back to the host, under the names they have.
    pub(super) fn return_vfs(&mut self, gone: u64) {
        for vf in self.world.vfs.values_mut().filter(|vf| vf.netns == Some(gone)) {
            vf.netns = None;
        }
    }
}

/// Makes settings; what is not among them stays.
fn overlay(settings: &mut VfSettings, changed: &VfSettings) {
    let now = settings.clone();
    *settings = VfSettings {
        mac: changed.mac.or(now.mac),
        vlan: changed.vlan.or(now.vlan),
        spoofchk: changed.spoofchk.or(now.spoofchk),
        trust: changed.trust.or(now.trust),
        link_state: changed.link_state.or(now.link_state),
        rate: changed.rate.or(now.rate),
    };
}
