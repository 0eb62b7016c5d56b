//! A VF of which there is no record: found by the file the peer left, or by its alias.

use super::VfHands;
use super::detach::{Proof, bring_home_by_alias, rename_by_alias};
use crate::engine::ports::Site;
use crate::host::netlink::device::{self, Device};
use crate::host::vf_registry::{PeerVf, PeerVfState};
use crate::model::fault::Outcome;
use crate::model::{MacAddr, Owner, PciAddress};
use crate::plan::mark::{Aliased, read_alias};
use crate::plan::step::VlanProtocol;
use crate::plan::vf::{
    AddressLock, AppVf, Driven, KernelVf, Pf, VfLinkState, VfPort, VfRate, VfSettings, VfTake, VfVlan,
};

impl VfHands {
    /// Takes back what is known to have been given to a pod although there is no record.
    pub(super) fn detach_lost(&self, site: Site<'_>) -> Outcome<()> {
        let owner = &site.attachment.owner;
        // A file that cannot be read tells nothing; the peer itself passes over it.
        if let Some(take) =
            self.registry.left_by_peer(owner).ok().flatten().and_then(|left| self.take_of(&left))
        {
            self.detach(site, &take, Proof::PeersFile)?;
        }
        self.registry.forget(owner)?;
        self.detach_by_alias(site)
    }

    /// Brings home what carries the owner's alias: from the pod, or under a pod's name on the host.
    fn detach_by_alias(&self, site: Site<'_>) -> Outcome<()> {
        let owner = &site.attachment.owner;
        match site.netns {
            Some(path) => self.sockets.pod(path, |pod| {
                let Some(link) = self.carrier(device::all(&mut pod.socket)?, owner)? else { return Ok(()) };
                self.give_up(site, &link, || bring_home_by_alias(&mut pod.socket, &link, owner))
            }),
            None => {
                let carrier = self.carrier(self.sockets.host(device::all)?, owner)?;
                let Some(link) = carrier else { return Ok(()) };
                self.give_up(site, &link, || self.sockets.host(|host| rename_by_alias(host, &link, owner)))
            }
        }
    }

    /// Has the VF of a link come home, and strikes it out; nobody takes it meanwhile, and what another has by now is left
    /// to it.
    fn give_up(&self, site: Site<'_>, link: &Device, home: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
        let Ok(vf) = link.bus_name.parse::<PciAddress>() else { return home() };
        let _lock = self.registry.lock(vf)?;
        if self.is_anothers(site, vf)? {
            return Ok(());
        }
        home()?;
        self.registry.strike(vf)
    }

    /// The link of a device among these that carries the owner's alias.
    fn carrier(&self, mut links: Vec<Device>, owner: &Owner) -> Outcome<Option<Device>> {
        let ours = |link: &Device| matches!(read_alias(&link.alias, owner), Aliased::Ours(Some(_)));
        let place = match links.iter().position(|link| !link.bus_name.is_empty() && ours(link)) {
            Some(place) => Some(place),
            None => self.by_alias(&links, owner, None)?,
        };
        Ok(place.map(|place| links.swap_remove(place)))
    }

    /// What the peer did, as a step of ours.
    fn take_of(&self, left: &PeerVf) -> Option<VfTake> {
        let vf: PciAddress = left.deviceid.parse().ok()?;
        let pf = self.sysfs.pf_of(vf).and_then(|pci| {
            let number = self.sysfs.number(pci, vf)?;
            let name = self.sysfs.uplink(pci)?.parse().ok()?;
            Some(Pf { pci, name, index: 0, number })
        });
        let before = &left.origvfstate;
        let was = before_peer(before);
        let asked =
            |yes: bool, settings: &VfSettings| if yes { settings.clone() } else { VfSettings::default() };
        let to = VfSettings {
            // The peer restores the administrative address always, asked for or not.
            mac: None,
            vlan: asked(left.vlan.is_some(), &was).vlan,
            spoofchk: asked(!left.spoofchk.is_empty(), &was).spoofchk,
            trust: asked(!left.trust.is_empty(), &was).trust,
            link_state: asked(!left.link_state.is_empty(), &was).link_state,
            rate: asked(left.min_tx_rate.is_some() || left.max_tx_rate.is_some(), &was).rate,
        };
        let driven = match before.hostifname.parse() {
            Err(_) => Driven::Application(AppVf { bind: None }),
            Ok(name) => Driven::Kernel(KernelVf {
                was: VfPort {
                    name,
                    index: 0,
                    mac: before.effectivemac.parse().ok(),
                    mtu: before.mtu,
                    allmulti: false,
                    altnames: Vec::new(),
                },
                mtu: None,
                allmulti: None,
                lock: AddressLock::Unknown,
            }),
        };
        Some(VfTake { vf, pf, was, to, driven, representor: None, rdma_device: None })
    }
}

/// The settings before, as the peer noted them. It takes what a driver does not tell for "on".
fn before_peer(before: &PeerVfState) -> VfSettings {
    let protocol = if before.vlanproto == 0x88a8 { VlanProtocol::Dot1Ad } else { VlanProtocol::Dot1Q };
    VfSettings {
        mac: before.adminmac.parse::<MacAddr>().ok(),
        vlan: Some(VfVlan { id: before.vlan, qos: before.vlanqos, protocol }),
        spoofchk: Some(before.spoofchk),
        trust: Some(before.trust),
        link_state: match before.linkstate {
            0 => Some(VfLinkState::Auto),
            1 => Some(VfLinkState::Enable),
            2 => Some(VfLinkState::Disable),
            _ => None,
        },
        rate: Some(VfRate { min: before.mintxrate, max: before.maxtxrate }),
    }
}
