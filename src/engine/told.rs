//! What plugins are told in a GC: the attachments of their own network, for a plugin frees what belongs to any other.

use std::collections::BTreeSet;

use super::Node;
use super::ports::Entry;
use super::record::{Phase, Record};
use crate::model::call::ValidList;
use crate::model::fault::{Fault, Outcome};
use crate::model::{Attachment, ContainerId, Network, NetworkName, Owner};
use crate::plan::chain;
use crate::plan::step::ExecStep;

/// Whom a GC is about beside what is on record.
#[derive(Debug, Clone, Copy, Default)]
pub struct Audience<'a> {
    /// Networks whose plugins are told what is valid; the first is the runtime's own.
    pub networks: &'a [Network],
    /// What another program attached to valid sandboxes, and the networks it did so by.
    pub inherited: &'a [(Owner, NetworkName)],
}

/// Tells the plugins of these networks what is valid of each. Sandboxes that are `busy` count as valid.
///
/// What is valid is on record, or inherited, for the runtime knows but one interface of a pod. What it names beyond that
/// was attached before it called Manifold, and is of its own network.
pub(super) fn tell(
    node: &Node<'_>,
    valid: &ValidList,
    busy: &[ContainerId],
    Audience { networks, inherited }: &Audience<'_>,
) -> Vec<Fault> {
    if networks.iter().all(|network| plugins(network).is_empty()) {
        return Vec::new();
    }
    let recorded = match recorded(node, valid, busy) {
        Ok(recorded) => recorded,
        Err(fault) => return vec![fault.while_doing("no plugin was told what is valid")],
    };
    let mut faults = Vec::new();
    for (place, network) in networks.iter().enumerate() {
        let on_record = recorded.iter().filter(|attachment| attachment.network.name == network.name);
        let mut owners: BTreeSet<Owner> = on_record.map(|attachment| attachment.owner.clone()).collect();
        owners.extend(
            inherited.iter().filter(|(_, name)| *name == network.name).map(|(owner, _)| owner.clone()),
        );
        if place == 0 {
            let unrecorded = |owner: &&Owner| !recorded.iter().any(|attachment| attachment.owner == **owner);
            owners.extend(valid.attachments().filter(unrecorded).cloned());
        }
        let owners: Vec<Owner> = owners.into_iter().collect();
        let told = plugins(network).into_iter();
        faults.extend(told.filter_map(|plugin| node.hands.gc(network, &plugin, &owners).err()));
    }
    faults
}

/// The plugins of a network that are told.
fn plugins(network: &Network) -> Vec<ExecStep> {
    let told = network.version.has_gc_and_status() && !network.disable_gc;
    if told { chain::processes(network) } else { Vec::new() }
}

/// What is on record and stays: of valid sandboxes and busy ones, however far it is, and what was kept that the runtime
/// called for by the name of another network.
///
/// # Errors
/// A record cannot be read: then nobody knows what it stands for, and its plugin must not free it.
fn recorded(node: &Node<'_>, valid: &ValidList, busy: &[ContainerId]) -> Outcome<Vec<Attachment>> {
    let mut recorded = Vec::new();
    for container in node.journal.containers()? {
        let is_valid = valid.has(&container) || busy.contains(&container);
        let stays = |record: &Record| {
            let of_another = record.attachment.called_for() != Some(valid.network());
            is_valid || of_another && record.phase == Phase::Attached
        };
        for entry in node.journal.entries(&container)? {
            match entry {
                Entry::Whole(record) => recorded.extend(Some(*record).filter(stays).map(|r| r.attachment)),
                Entry::Broken(broken) => return Err(broken.into_fault()),
            }
        }
    }
    Ok(recorded)
}
