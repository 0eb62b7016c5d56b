//! DEL: undo what the records of a sandbox say; where a record is lost, undo what its configuration would have made.

use super::Node;
use super::ports::{Broken, Entry, Patience, Records};
use super::record::{Phase, Record};
use super::scope::Scope;
use super::survey;
use super::undo::{self, count, given_up, undo};
use crate::model::fault::{Fault, Outcome};
use crate::model::{Attachment, ContainerId, FaultKind, NetnsPath, Owner};
use crate::plan::chain;
use crate::plan::step::Step;

/// What to do for an attachment of the configuration that has no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrecorded {
    /// Nothing: what Manifold made is on record. This is what makes a repeated DEL cheap.
    Skip,
    /// Undo what such a configuration would have made: another plugin may have attached it.
    Trace,
}

/// A DEL.
pub struct Detach<'a> {
    /// The sandbox.
    pub container: &'a ContainerId,
    /// Which attachments.
    pub scope: Scope,
    /// The attachments as today's configuration would make them; asked for only where a record is lost.
    pub configured: &'a dyn Fn() -> Vec<Attachment>,
    /// The pod's network namespace, where the caller knows it; used only where a record is lost.
    pub netns: Option<&'a NetnsPath>,
    /// What to do for those of them that have no record.
    pub unrecorded: Unrecorded,
}

impl<'a> Detach<'a> {
    /// What is on record of a sandbox, and nothing else.
    pub fn recorded(container: &'a ContainerId, scope: Scope) -> Self {
        Self { container, scope, configured: &Vec::new, netns: None, unrecorded: Unrecorded::Skip }
    }
}

/// Undoes the attachments of a sandbox.
///
/// # Guarantees
/// Everything is tried, in reverse order. Success means that nothing is left; a second DEL succeeds and does nothing.
/// It needs neither the pod's network namespace nor today's configuration. An entry that is no record is set aside.
/// What cannot be undone although the pod is gone is tried a few more times, then its record is set aside too, and the
/// answer says what is left.
///
/// # Errors
/// All that could not be undone, the first leading; its record stays, and the next DEL tries again.
pub fn del(node: &Node<'_>, detach: &Detach<'_>) -> Outcome<Vec<Fault>> {
    let on_file = node.journal.lock(detach.container, Patience::Wait)?;
    let mut records = Vec::new();
    // What was made in the other role is on record too: no trace of it is ours to follow.
    let mut on_record = Vec::new();
    let (mut damage, mut unread) = (Vec::new(), Vec::new());
    for entry in on_file.entries()? {
        match entry {
            Entry::Whole(record) if detach.scope.covers(&record.attachment) => records.push(*record),
            Entry::Broken(broken) if !detach.scope.may_cover(broken.ifname.as_ref()) => {}
            Entry::Broken(broken) if broken.fault.kind() == FaultKind::Decode => damage.push(broken),
            // Whoever can read it knows more than the configuration does.
            Entry::Broken(broken) => unread.push(broken.into_fault()),
            Entry::Whole(record) => on_record.push(record.attachment.owner),
        }
    }
    on_record.extend(records.iter().map(|record| record.attachment.owner.clone()));
    let made_up = lost(node, detach, &on_record, &damage)?;
    let whole = records.iter().map(undo::Entry::Journalled);
    let entries: Vec<_> = whole.chain(made_up.iter().map(undo::Entry::MadeUp)).collect();
    let mut faults = undo(node, on_file.as_ref(), &entries);
    faults.extend(damage.iter().filter_map(|broken| on_file.set_aside(broken.ifname.as_ref()).err()));
    if !faults.is_empty() {
        faults.extend(count_failures(on_file.as_ref(), &records).err());
    }
    faults.extend(unread);
    if records.iter().any(|record| given_up(node, record)) {
        match give_up(node, on_file.as_ref(), &detach.scope, &records) {
            Ok(true) => return Ok(faults),
            Ok(false) => {}
            Err(fault) => faults.push(fault),
        }
    }
    Fault::gather(faults).map_or(Ok(Vec::new()), Err)
}

/// Records of what may have been made and is on none; these are.
fn lost(
    node: &Node<'_>,
    detach: &Detach<'_>,
    on_record: &[Owner],
    damage: &[Broken],
) -> Outcome<Vec<Record>> {
    let is_lost = |owner: &Owner| {
        let is_meant = match detach.unrecorded {
            Unrecorded::Trace => detach.scope.may_cover(Some(&owner.ifname)),
            Unrecorded::Skip => false,
        };
        (is_meant || damage.iter().any(|broken| broken.may_be_of(owner))) && !on_record.contains(owner)
    };
    let configured = match (detach.unrecorded, damage) {
        (Unrecorded::Skip, []) => Vec::new(),
        (Unrecorded::Skip | Unrecorded::Trace, _) => (detach.configured)(),
    };
    let mut traced: Vec<Attachment> = configured.into_iter().filter(|a| is_lost(&a.owner)).collect();
    for ifname in damage.iter().filter_map(|broken| broken.ifname.clone()) {
        let owner = Owner { container: detach.container.clone(), ifname };
        if !traced.iter().any(|a| a.owner == owner) {
            traced.push(chain::unknown(&owner, detach.netns)?);
        }
    }
    let made_up = traced.into_iter().map(|attachment| trace(node, attachment));
    match detach.unrecorded {
        Unrecorded::Skip => made_up.collect(),
        Unrecorded::Trace => made_up.map(|record| record.map(by_another_plugin)).collect(),
    }
}

/// Counts a failure for each of these records that still stands.
fn count_failures(on_file: &dyn Records, records: &[Record]) -> Outcome<()> {
    for entry in on_file.entries()? {
        let Entry::Whole(left) = entry else { continue };
        let tried = records.iter().any(|record| record.attachment.owner == left.attachment.owner);
        if tried {
            count(on_file, &left);
        }
    }
    Ok(())
}

/// Sets aside what could not be undone for too long. Whether nothing is left that another DEL could try.
fn give_up(node: &Node<'_>, on_file: &dyn Records, scope: &Scope, records: &[Record]) -> Outcome<bool> {
    for record in records.iter().filter(|record| given_up(node, record)) {
        let owner = &record.attachment.owner;
        record.claims.iter().try_for_each(|claim| node.journal.release(claim, owner))?;
        on_file.set_aside(Some(&owner.ifname))?;
    }
    Ok(!on_file.entries()?.iter().any(|entry| match entry {
        Entry::Whole(record) => scope.covers(&record.attachment),
        Entry::Broken(broken) => scope.may_cover(broken.ifname.as_ref()),
    }))
}

/// A record of what an attachment would have made, for want of the real one.
pub(super) fn trace(node: &Node<'_>, attachment: Attachment) -> Outcome<Record> {
    // What another program made may be of a configuration that we would refuse.
    let steps = match survey::read(&attachment) {
        Ok(read) => read.traces(&attachment),
        Err(_) => chain::remains(&attachment),
    };
    let netns = attachment.netns.as_ref().and_then(|path| node.netns_id(path));
    let blank = Record::new(attachment, node.probe.boot_id()?, Phase::Detaching);
    Ok(Record { netns, steps, ..blank })
}

/// The same, and what another plugin of that type would have made: its link carries no mark.
fn by_another_plugin(mut record: Record) -> Record {
    let links: Vec<Step> = record.steps.iter().filter_map(Step::unmarked).collect();
    record.steps.extend(links);
    record
}
