//! GC: undo whatever is ours and belongs to no valid attachment.

use super::Node;
use super::ports::{Entry, Patience};
use super::record::{Phase, Record};
use super::scope::Scope;
use super::undo::{self, undo};
use crate::model::fault::{Fault, Outcome};
use crate::model::{ContainerId, FaultKind, Network, Owner};
use crate::plan::chain;

/// Undoes every record that `scope` covers whose sandbox is in no valid attachment, and every unfinished one; then tells
/// the plugins of `networks` that are run as processes.
///
/// A sandbox that another Manifold is working on is passed over: it is valid, or will be found next time.
///
/// # Errors
/// Everything that could not be undone or told, the first leading.
pub fn gc(node: &Node<'_>, scope: &Scope, valid: &[Owner], networks: &[Network]) -> Outcome<()> {
    let mut faults = Vec::new();
    for container in node.journal.containers()? {
        let keep = valid.iter().any(|owner| owner.container == container);
        match sweep(node, &container, scope, keep) {
            Ok(more) => faults.extend(more),
            Err(fault) if fault.kind() == FaultKind::TryLater => {}
            Err(fault) => faults.push(fault),
        }
    }
    for network in networks.iter().filter(|n| n.version.has_gc_and_status() && !n.disable_gc) {
        for plugin in chain::run_as_processes(network) {
            faults.extend(node.hands.gc(network, plugin, valid).err());
        }
    }
    Fault::gather(faults).map_or(Ok(()), Err)
}

/// The attachments whose network namespace is there: what is valid where no runtime says so.
///
/// # Errors
/// The journal could not be read.
pub fn living(node: &Node<'_>) -> Outcome<Vec<Owner>> {
    let mut living = Vec::new();
    for container in node.journal.containers()? {
        for entry in node.journal.entries(&container)? {
            match entry {
                Entry::Whole(record) if node.living_netns(&record).is_none() => {}
                Entry::Whole(record) => living.push(record.attachment.owner),
                Entry::Broken(owner, _) => living.push(owner),
            }
        }
    }
    Ok(living)
}

/// Sweeps one container. A kept one loses only what was never finished.
fn sweep(node: &Node<'_>, container: &ContainerId, scope: &Scope, keep: bool) -> Outcome<Vec<Fault>> {
    let _lock = node.journal.lock(container, Patience::Try)?;
    let mut records: Vec<Record> = Vec::new();
    let mut faults = Vec::new();
    for entry in node.journal.entries(container)? {
        match entry {
            Entry::Whole(record) if !scope.covers(&record.attachment) => {}
            Entry::Whole(record) if keep && record.phase == Phase::Attached => {}
            Entry::Whole(record) => records.push(*record),
            // What a lost record stood for is found by DEL, which brings the configuration; here it would only be lost.
            Entry::Broken(_, fault) if keep => faults.push(fault),
            // It may be of the other role.
            Entry::Broken(..)
                if matches!(scope, Scope::StandaloneNetwork(_) | Scope::StandaloneInterface(_)) => {}
            Entry::Broken(owner, fault) => {
                faults.push(fault);
                faults.extend(node.journal.set_aside(&owner).err());
            }
        }
    }
    let entries: Vec<_> = records.iter().map(undo::Entry::Journalled).collect();
    faults.extend(undo(node, &entries));
    Ok(faults)
}
