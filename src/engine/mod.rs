//! Floor 2: the verbs, and the ports through which they reach a node.
//!
//! [`add`] plans, records, applies; [`del`], [`gc`] and every failure go through one undo; [`check`] asks whether
//! the record still holds.

pub mod add;
pub mod check;
mod claim;
pub mod del;
pub mod gc;
pub mod inherit;
pub mod ports;
pub mod record;
pub mod scope;
pub mod status;
pub mod survey;
mod undo;

use ports::{Hands, Journal, NetnsId, NetnsState, Probe};
use record::Record;

use crate::model::NetnsPath;

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

impl Node<'_> {
    /// The pod's network namespace, if the one a record was made for is there still.
    ///
    /// A path that holds another namespace, something else, or a namespace of an earlier boot counts as gone: what was
    /// made in the old one died with it.
    pub fn living_netns<'r>(&self, record: &'r Record) -> Option<&'r NetnsPath> {
        let (path, id) = record.attachment.netns.as_ref().zip(record.netns)?;
        let same_boot = self.probe.boot_id().map_or(true, |boot| boot == record.boot);
        (same_boot && self.netns_id(path) == Some(id)).then_some(path)
    }

    /// The identity of the namespace at a path, if a namespace other than our own is there.
    fn netns_id(&self, path: &NetnsPath) -> Option<NetnsId> {
        match self.probe.netns(path) {
            Ok(NetnsState::There(id)) => Some(id),
            Ok(NetnsState::Gone | NetnsState::Own) | Err(_) => None,
        }
    }
}
