//! Floor 2: the verbs, and the ports through which they reach a node.
//!
//! [`add`] plans, records, applies; [`del`], [`gc`] and every failure go through one undo; [`check`] asks whether
//! the record still holds; [`foresee`] plans and leaves it at that.

pub mod add;
pub mod check;
mod claim;
pub mod del;
pub mod foresee;
pub mod gc;
pub mod inherit;
pub mod ports;
pub mod record;
pub mod scope;
pub mod status;
pub mod survey;
mod told;
mod undo;

use ports::{Hands, Journal, NetnsId, NetnsState, Probe};
use record::Record;

use crate::model::fault::Outcome;
use crate::model::{FaultKind, NetnsPath};

/// A node, as the verbs see it.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    /// Looks.
    pub probe: &'a dyn Probe,
    /// Acts.
    pub hands: &'a dyn Hands,
    /// Remembers.
    pub journal: &'a dyn Journal,
}

/// Whether a pod's network namespace is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life<'r> {
    /// It is, at this path.
    Living(&'r NetnsPath),
    /// It is not.
    Gone,
    /// It cannot be seen from here ([`NetnsState::Unseen`]).
    Unseen,
}

impl Node<'_> {
    /// Whether the network namespace a record was made for is there still.
    ///
    /// A path that holds another namespace, something else, or a namespace of an earlier boot counts as gone: what was
    /// made in the old one died with it.
    ///
    /// # Errors
    /// It could not be looked at, which says nothing of it.
    pub fn life<'r>(&self, record: &'r Record) -> Outcome<Life<'r>> {
        let Some((path, id)) = record.attachment.netns.as_ref().zip(record.netns) else {
            return Ok(Life::Gone);
        };
        if self.probe.boot_id().is_ok_and(|boot| boot != record.boot) {
            return Ok(Life::Gone);
        }
        match self.probe.netns(path) {
            Ok(NetnsState::There(there)) if there.may_be(&id) => Ok(Life::Living(path)),
            Ok(NetnsState::There(_) | NetnsState::Gone | NetnsState::Own) => Ok(Life::Gone),
            Ok(NetnsState::Unseen) => Ok(Life::Unseen),
            // It is something else.
            Err(fault) if fault.kind() == FaultKind::Environment => Ok(Life::Gone),
            Err(fault) => Err(fault),
        }
    }

    /// The pod's network namespace, if it is there for sure.
    pub fn living_netns<'r>(&self, record: &'r Record) -> Option<&'r NetnsPath> {
        match self.life(record) {
            Ok(Life::Living(path)) => Some(path),
            Ok(Life::Gone | Life::Unseen) | Err(_) => None,
        }
    }

    /// The identity of the namespace at a path, if a namespace other than our own is there.
    fn netns_id(&self, path: &NetnsPath) -> Option<NetnsId> {
        match self.probe.netns(path) {
            Ok(NetnsState::There(id)) => Some(id),
            Ok(NetnsState::Gone | NetnsState::Unseen | NetnsState::Own) | Err(_) => None,
        }
    }
}
