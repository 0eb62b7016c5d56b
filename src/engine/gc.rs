//! GC: undo whatever is ours and belongs to no valid attachment.

use super::ports::{Entry, Patience};
use super::record::{Phase, Record};
use super::scope::Scope;
pub use super::told::Audience;
use super::told::tell;
use super::undo::{self, undo};
use super::{Life, Node};
use crate::model::call::ValidList;
use crate::model::fault::{Fault, Outcome};
use crate::model::{Attachment, ContainerId, FaultKind, NetnsPath, Network};
use crate::plan::chain;

/// Which sandboxes are valid.
#[derive(Debug, Clone, Copy)]
pub enum Valid<'a> {
    /// Those of these attachments: a runtime says so, of what it called for by the name of one network.
    Listed(&'a ValidList),
    /// Those whose network namespace is there: nobody says more. It is looked at under the sandbox's lock, so that one
    /// that is just being attached is not taken for one that is gone.
    Living,
}

/// What came of a sweep.
#[derive(Debug, Default)]
pub struct Swept {
    /// How many attachments were undone.
    pub undone: usize,
    /// What could not be undone, or could not be looked at.
    pub faults: Vec<Fault>,
    /// Whether it ended before all was looked at, for as many as were asked for were undone.
    pub more: bool,
    /// The sandboxes that another Manifold is working on.
    pub busy: Vec<ContainerId>,
}

/// Undoes every record that `scope` covers whose sandbox is not valid, and every unfinished one; then, where the
/// valid attachments are known, tells the plugins of the audience's networks, and gives back addresses that nobody knows.
///
/// A sandbox that another Manifold is working on is passed over: it is valid, or will be found next time.
///
/// # Errors
/// Everything that could not be undone or told, the first leading.
pub fn gc(node: &Node<'_>, scope: &Scope, valid: Valid<'_>, audience: &Audience<'_>) -> Outcome<()> {
    let Swept { mut faults, busy, .. } = sweep(node, scope, valid, usize::MAX)?;
    if let Valid::Listed(valid) = valid {
        faults.extend(tell(node, valid, &busy, audience));
        faults.extend(collect(node, valid, audience.networks));
    }
    Fault::gather(faults).map_or(Ok(()), Err)
}

/// Gives back what the stores of networks hold for containers that are neither valid nor on record.
fn collect(node: &Node<'_>, valid: &ValidList, networks: &[Network]) -> Vec<Fault> {
    // Where nobody can tell, it is kept.
    let is_known =
        |container: &ContainerId| node.journal.entries(container).map_or(true, |entries| !entries.is_empty());
    let keep = |container: &ContainerId| valid.has(container) || is_known(container);
    let mut stores: Vec<_> = networks.iter().filter(|n| !n.disable_gc).flat_map(chain::stores).collect();
    stores.sort_unstable();
    stores.dedup();
    stores.iter().filter_map(|store| node.hands.collect(store, &keep).err()).collect()
}

/// The same, without telling plugins; it ends once `most` attachments were undone. What cannot be undone does not count:
/// it keeps nothing else from being undone.
///
/// # Errors
/// The journal cannot be read.
pub fn sweep(node: &Node<'_>, scope: &Scope, valid: Valid<'_>, most: usize) -> Outcome<Swept> {
    let mut swept = Swept::default();
    for container in node.journal.containers()? {
        if swept.undone >= most {
            swept.more = true;
            break;
        }
        match sweep_one(node, &container, scope, valid) {
            Ok((undone, faults)) => {
                swept.undone += undone;
                swept.faults.extend(faults);
            }
            Err(fault) if fault.kind() == FaultKind::TryLater => swept.busy.push(container),
            Err(fault) => swept.faults.push(fault),
        }
    }
    Ok(swept)
}

/// Sweeps one container. A valid one loses only what was never finished. Answers with how many attachments were undone.
fn sweep_one(
    node: &Node<'_>,
    container: &ContainerId,
    scope: &Scope,
    valid: Valid<'_>,
) -> Outcome<(usize, Vec<Fault>)> {
    let on_file = node.journal.lock(container, Patience::Try)?;
    let mut records: Vec<Record> = Vec::new();
    let (mut damage, mut faults) = (Vec::new(), Vec::new());
    // What a lost record stood for is known to nobody: where no runtime says that its sandbox is gone, it stays, and
    // where anything of the sandbox stays.
    let mut keep_broken = match valid {
        Valid::Listed(valid) => valid.has(container),
        Valid::Living => true,
    };
    for entry in on_file.entries()? {
        match entry {
            Entry::Whole(record) if !scope.covers(&record.attachment) => {}
            Entry::Whole(record) => match (record.phase, is_kept(node, &record, valid)) {
                (Phase::Attached, Ok(true)) => keep_broken = true,
                (Phase::Attached, Err(fault)) => {
                    keep_broken = true;
                    faults.push(fault);
                }
                (Phase::Attached, Ok(false)) | (Phase::Pending | Phase::Detaching, _) => {
                    records.push(*record)
                }
            },
            Entry::Broken(broken) => damage.push(broken),
        }
    }
    for broken in damage {
        // It is found by DEL, which brings the configuration; here it would only be lost.
        if keep_broken || broken.fault.kind() != FaultKind::Decode {
            faults.push(broken.into_fault());
        // Else it may be of the other role.
        } else if !matches!(scope, Scope::StandaloneNetwork(_) | Scope::StandaloneInterface(_)) {
            faults.extend(on_file.set_aside(broken.ifname.as_ref()).err());
            faults.push(broken.into_fault());
        }
    }
    let entries: Vec<_> = records.iter().map(undo::Entry::Journalled).collect();
    let stuck = undo(node, on_file.as_ref(), &entries);
    let mut undone = records.len();
    if !stuck.is_empty() {
        faults.extend(stuck);
        match on_file.entries() {
            Ok(left) => undone = records.iter().filter(|record| !is_left(record, &left)).count(),
            Err(fault) => {
                undone = 0;
                faults.push(fault);
            }
        }
    }
    Ok((undone, faults))
}

/// Whether a record is still there.
fn is_left(record: &Record, entries: &[Entry]) -> bool {
    entries.iter().any(|entry| match entry {
        Entry::Whole(left) => left.attachment.owner == record.attachment.owner,
        Entry::Broken(_) => false,
    })
}

/// Whether a record's sandbox is valid. A runtime says so of one network of its own; what was made for another, or nobody
/// knows for which, goes by its namespace, like all where no runtime says anything. One that nobody can see from here is
/// kept, and told of.
fn is_kept(node: &Node<'_>, record: &Record, valid: Valid<'_>) -> Outcome<bool> {
    if let Valid::Listed(valid) = valid {
        let Attachment { owner, .. } = &record.attachment;
        if valid.has(&owner.container) {
            return Ok(true);
        }
        if record.attachment.called_for() == Some(valid.network()) {
            return Ok(false);
        }
    }
    match node.life(record)? {
        Life::Living(_) => Ok(true),
        Life::Gone => Ok(false),
        Life::Unseen => {
            let path = record.attachment.netns.as_ref().map(NetnsPath::as_str).unwrap_or_default();
            Err(Fault::new(
                FaultKind::Environment,
                format!("the network namespace {path:?} of sandbox {} cannot be seen from here", record.attachment.owner),
            )
            .remedy("give the daemon's container the node's directory of namespaces; if they are gone for good, detach by hand"))
        }
    }
}
