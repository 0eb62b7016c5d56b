//! The VPP of the simulated node: it runs for ever, and has one bridge domain.

use super::State;
use crate::engine::ports::Site;
use crate::model::result::Interface;
use crate::model::{CniResult, Owner};
use crate::plan::facts::Answer;
use crate::plan::step::Progress;
use crate::plan::vpp::{Abilities, VppFacts, VppPort, VppStep};

/// What is seen of VPP.
pub(super) fn see_vpp() -> Answer {
    let has = Abilities { vhost_user: true, memif: true, abstract_sockets: true, vlans: true };
    Answer::Vpp(VppFacts { version: "26.06".to_owned(), has, bridge: true })
}

impl State {
    pub(super) fn make_in_vpp(&mut self, site: Site<'_>, step: &VppStep, progress: &mut Progress) {
        let VppStep::Make(port) = step else { return };
        let owner = &site.attachment.owner;
        self.world.vpp.insert(owner.clone(), VppPort::clone(port));
        let (name, mac) = (owner.ifname.to_string(), port.endpoint.mac.to_string());
        let interface = Interface { name, mac, ..Interface::default() };
        progress.result.get_or_insert(CniResult { interfaces: vec![interface], ..CniResult::default() });
        progress.device_info = Some(port.endpoint.device.clone());
    }

    pub(super) fn remove_from_vpp(&mut self, owner: &Owner) {
        self.world.vpp.remove(owner);
    }

    pub(super) fn vpp_holds(&self, site: Site<'_>, step: &VppStep) -> bool {
        match step {
            VppStep::Make(port) => self.world.vpp.get(&site.attachment.owner) == Some(port.as_ref()),
            VppStep::Lost(_) => true,
        }
    }
}
