//! Whether a VF is as it was given.

use super::VfHands;
use crate::engine::ports::Site;
use crate::host::hands::link::{drift, netns};
use crate::host::netlink::device::{self, Device};
use crate::model::fault::Outcome;
use crate::plan::vf::{Driven, KernelVf, VfSettings, VfTake};

impl VfHands {
    /// Holds the VF's interface, its driver and what its PF holds of it against what was asked for.
    pub(super) fn check(&self, site: Site<'_>, take: &VfTake) -> Outcome<()> {
        if !self.sysfs.exists(take.vf) {
            return Err(drift(format!("VF {} is not on this node any more", take.vf)));
        }
        match &take.driven {
            Driven::Kernel(kernel) => {
                let name = site.attachment.owner.ifname.as_str();
                let seen = self.sockets.pod(netns(site)?, |pod| device::by_name(&mut pod.socket, name))?;
                let seen = seen.ok_or_else(|| drift(format!("interface {name:?} is gone")))?;
                is_as_given(&seen, site, take, kernel)?;
            }
            Driven::Application(app) => {
                let wanted = app.bind.as_ref().map(|bind| bind.to.as_str());
                let bound = self.sysfs.driver(take.vf);
                if let Some(wanted) = wanted.filter(|wanted| bound.as_deref() != Some(*wanted)) {
                    return Err(drift(format!("VF {} is not bound to {wanted:?} any more", take.vf)));
                }
            }
        }
        self.check_settings(take)
    }

    fn check_settings(&self, take: &VfTake) -> Outcome<()> {
        let Some(pf) = take.pf.as_ref().filter(|_| !take.to.is_empty()) else { return Ok(()) };
        let Some(seen) = self.ask_pf(pf.pci, pf.number)? else { return Ok(()) };
        let Some(now) = seen.settings else { return Ok(()) };
        let lost = take.to.other_than(&now);
        // What a driver does not tell cannot be missed.
        let lost = VfSettings {
            mac: lost.mac.filter(|_| now.mac.is_some()),
            spoofchk: lost.spoofchk.filter(|_| now.spoofchk.is_some()),
            trust: lost.trust.filter(|_| now.trust.is_some()),
            ..lost
        };
        if lost.is_empty() {
            return Ok(());
        }
        let words = lost.to_string();
        Err(drift(format!("VF {} has lost {}", take.vf, words.trim_start_matches(", "))))
    }
}

fn is_as_given(seen: &Device, site: Site<'_>, take: &VfTake, kernel: &KernelVf) -> Outcome<()> {
    let name = &seen.name;
    // A later plugin of the chain may have changed address and MTU; the result tells the address it left.
    let alone = site.attachment.network.plugins.len() == 1;
    let told =
        site.result.and_then(|r| r.interfaces.iter().find(|i| i.name == *name && !i.sandbox.is_empty()));
    let mac = told.map(|i| i.mac.to_ascii_lowercase()).filter(|mac| !mac.is_empty());
    if !seen.bus_name.is_empty() && !seen.is_of(take.vf) {
        Err(drift(format!("interface {name:?} is not that of VF {}", take.vf)))
    } else if mac.is_some_and(|mac| seen.mac.is_none_or(|m| m.to_string() != mac)) {
        Err(drift(format!("interface {name:?} has another Ethernet address")))
    } else if alone && seen.mtu != kernel.mtu.unwrap_or(kernel.was.mtu) {
        Err(drift(format!("interface {name:?} has MTU {}", seen.mtu)))
    } else if kernel.allmulti.is_some_and(|on| on != seen.allmulti) {
        Err(drift(format!("interface {name:?} receives other multicast frames than asked for")))
    } else {
        Ok(())
    }
}
