//! A virtual function, given to a pod and taken back.
//!
//! Names say nothing about who owns what: a VF is found by its PCI address, wherever its interface is, and it is ours by
//! the record, the account of VFs, and its alias.

mod attach;
mod check;
mod detach;
mod downgrade;
mod driver;
mod lost;
mod restore;
mod settings;
mod whereabouts;

use std::rc::Rc;

use crate::engine::ports::Site;
use crate::host::netlink::Sockets;
use crate::host::sysfs::Sysfs;
use crate::host::vf_registry::VfRegistry;
use crate::model::fault::Outcome;
use crate::plan::step::Progress;
use crate::plan::vf::VfStep;

/// Hands for VFs.
pub(super) struct VfHands {
    sockets: Rc<Sockets>,
    sysfs: Sysfs,
    registry: VfRegistry,
}

impl VfHands {
    pub(super) fn new(sockets: Rc<Sockets>, sysfs: Sysfs, registry: VfRegistry) -> Self {
        Self { sockets, sysfs, registry }
    }

    /// Gives the VF to the pod.
    pub(super) fn apply(&self, site: Site<'_>, step: &mut VfStep, progress: &mut Progress) -> Outcome<()> {
        match step {
            VfStep::Take(take) => self.attach(site, take, progress),
            VfStep::Lost => Ok(()),
        }
    }

    /// Takes the VF back.
    pub(super) fn revert(&self, site: Site<'_>, step: &VfStep) -> Outcome<()> {
        match step {
            VfStep::Take(take) => {
                self.detach(site, take, detach::Proof::Record)?;
                self.forget_peers_file(site)
            }
            VfStep::Lost => self.detach_lost(site),
        }
    }

    /// Whether the VF is as it was given.
    pub(super) fn holds(&self, site: Site<'_>, step: &VfStep) -> Outcome<()> {
        match step {
            VfStep::Take(take) => self.check(site, take),
            VfStep::Lost => Ok(()),
        }
    }
}
