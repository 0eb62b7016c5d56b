//! The switch of the simulated node: one bridge, whose ports outlive pods and reboots.

use super::State;
use crate::engine::ports::Site;
use crate::model::fault::{Fault, Outcome};
use crate::model::result::Interface;
use crate::model::{CniResult, FaultKind, Owner};
use crate::plan::facts::Answer;
use crate::plan::port::{Port, PortStep, SwitchFacts};
use crate::plan::step::Progress;

/// A simulated port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimPort {
    /// Whose it is.
    pub owner: Owner,
    /// What it was made as.
    pub made: Port,
}

/// What is seen of the switch.
pub(super) fn see_switch() -> Answer {
    Answer::Switch(SwitchFacts {
        dpdk: true,
        interface_types: vec!["dpdkvhostuserclient".to_owned()],
        socket_dir: None,
        datapath: Some("netdev".to_owned()),
    })
}

impl State {
    pub(super) fn make_port(
        &mut self,
        site: Site<'_>,
        step: &PortStep,
        progress: &mut Progress,
    ) -> Outcome<()> {
        let PortStep::Make(port) = step else { return Ok(()) };
        let owner = &site.attachment.owner;
        if self.world.ports.get(&port.name).is_some_and(|there| there.owner != *owner) {
            return Err(Fault::new(FaultKind::Exists, "the switch has a port of that name"));
        }
        let made = SimPort { owner: owner.clone(), made: port.as_ref().clone() };
        self.world.ports.insert(port.name.clone(), made);
        let name = owner.ifname.to_string();
        let interface = Interface { name, mac: port.endpoint.mac.to_string(), ..Interface::default() };
        progress.result.get_or_insert(CniResult { interfaces: vec![interface], ..CniResult::default() });
        progress.device_info = Some(port.endpoint.device.clone());
        Ok(())
    }

    pub(super) fn remove_ports(&mut self, owner: &Owner) {
        self.world.ports.retain(|_, port| port.owner != *owner);
    }

    pub(super) fn port_holds(&self, site: Site<'_>, step: &PortStep) -> bool {
        let PortStep::Make(port) = step else { return true };
        let seen = self.world.ports.get(&port.name);
        seen.is_some_and(|seen| seen.owner == site.attachment.owner && seen.made == **port)
    }
}
