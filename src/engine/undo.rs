//! The one undo: DEL, GC, a refused step, a crash found later and a claim taken over all end here.

use super::ports::{Records, Site, Undo};
use super::record::{Phase, Record};
use super::{Life, Node};
use crate::model::fault::{Fault, Outcome};
use crate::model::{Attachment, FaultKind, NetnsPath};
use crate::plan::step::{Step, UndoRank};

/// How many DELs may fail before a record is set aside, if its pod is gone.
const PATIENCE: u32 = 5;
/// The same while the pod's namespace is there: a plugin may come back, and a runtime tries every few seconds.
const PATIENCE_WITH_A_POD: u32 = 20;

/// What to do with the entry of an attachment once its steps are undone.
pub(super) enum Entry<'a> {
    /// A record in the journal: it goes last, and stays if anything could not be undone.
    Journalled(&'a Record),
    /// A record made up for the purpose; the journal knows nothing of it.
    MadeUp(&'a Record),
}

impl Entry<'_> {
    fn record(&self) -> &Record {
        match self {
            Self::Journalled(record) | Self::MadeUp(record) => record,
        }
    }
}

/// Undoes the given attachments, all of one container, whose lock is held.
///
/// # Guarantees
/// Every step is tried, whatever becomes of the others. Plugins are run first, in reverse order; then all links go in
/// one request; then addresses are given back and files removed. A journalled record whose steps are all undone is removed;
/// another stays, marked as being undone. Neither the pod's network namespace nor any configuration is needed.
pub(super) fn undo(node: &Node<'_>, records: &dyn Records, entries: &[Entry<'_>]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut sites = Vec::with_capacity(entries.len());
    for entry in entries {
        match prepare(node, records, entry) {
            Ok(netns) => sites.push((entry, netns)),
            Err(fault) => faults.push(fault),
        }
    }
    let mut clean = vec![true; sites.len()];
    for rank in [UndoRank::Plugin, UndoRank::Link, UndoRank::Files] {
        for (index, fault) in revert(node, &sites, rank) {
            if let Some(flag) = clean.get_mut(index) {
                *flag = false;
            }
            faults.push(fault);
        }
    }
    let mut gone = Vec::new();
    for ((entry, _), _) in sites.iter().zip(clean).filter(|(_, clean)| *clean) {
        let Entry::Journalled(record) = entry else { continue };
        match release(node, record) {
            Ok(()) => gone.push(&record.attachment.owner.ifname),
            Err(fault) => faults.push(fault),
        }
    }
    if !gone.is_empty() {
        faults.extend(records.remove(&gone).err());
    }
    faults
}

/// Finds the netns, and notes that the undoing has begun, so that a crash in the middle is finished by whoever comes next.
/// Where the netns cannot be looked at, nothing is touched: a link in it would be taken for gone. One that cannot be seen
/// from here counts as gone: of those, only what somebody wants undone gets this far (DEL, or GC with a runtime's list).
fn prepare<'e>(
    node: &Node<'_>,
    records: &dyn Records,
    entry: &'e Entry<'_>,
) -> Outcome<Option<&'e NetnsPath>> {
    let attachment = &entry.record().attachment;
    let life = node.life(entry.record());
    let life = life.map_err(|fault| fault.while_doing(named(attachment)))?;
    if let Entry::Journalled(record) = entry
        && record.phase == Phase::Attached
    {
        // A full disk must not keep a pod from being taken down: without this mark only a crash goes unnoticed longer.
        drop(records.mark(&Record { phase: Phase::Detaching, ..(*record).clone() }));
    }
    Ok(match life {
        Life::Living(netns) => Some(netns),
        Life::Gone | Life::Unseen => None,
    })
}

/// Reverts the steps of one rank, last made first; answers with the failures and the entries they belong to.
fn revert(
    node: &Node<'_>,
    sites: &[(&Entry<'_>, Option<&NetnsPath>)],
    rank: UndoRank,
) -> Vec<(usize, Fault)> {
    let mut batch = Vec::new();
    let mut owners = Vec::new();
    for (index, (entry, netns)) in sites.iter().enumerate().rev() {
        let record = entry.record();
        let site = Site { attachment: &record.attachment, netns: *netns, result: record.result.as_ref() };
        for step in record.steps.iter().rev().filter(|s| s.undo_rank() == rank) {
            batch.push(Undo { site, step });
            owners.push(index);
        }
    }
    if batch.is_empty() {
        return Vec::new();
    }
    let answers = node.hands.revert(&batch);
    let mut failed = Vec::new();
    for ((index, undo), answer) in owners.into_iter().zip(batch).zip(answers) {
        let Err(fault) = answer else { continue };
        let begun = sites.get(index).is_none_or(|(entry, _)| was_begun(entry, undo.step, &fault));
        failed.extend(begun.then(|| (index, told(fault, &undo))));
    }
    failed
}

/// Whether there may be something of a step that could not be undone. A plugin that does not speak the version of its
/// network refuses its ADD for that, before anything else: of what was never attached it has nothing.
fn was_begun(entry: &Entry<'_>, step: &Step, fault: &Fault) -> bool {
    let Entry::Journalled(record) = entry else { return true };
    let attached = record.phase != Phase::Pending && record.result.is_some();
    attached || !matches!(step, Step::Exec(_)) || fault.kind() != FaultKind::Version
}

fn told(fault: Fault, undo: &Undo<'_>) -> Fault {
    let Undo { site, step } = undo;
    let what = match step {
        Step::Exec(_) => return fault.while_doing(named(site.attachment)),
        Step::Vf(_) => "its virtual function".to_owned(),
        Step::Port(_) | Step::Vpp(_) => "its port of the switch".to_owned(),
        Step::Socket(_) | Step::Note(_) => "its socket".to_owned(),
        Step::Link(_) | Step::Configure(_) | Step::DefaultRoute(_) | Step::Pass => "its link".to_owned(),
        Step::Lease(_) => "its addresses".to_owned(),
        Step::Cache(_) => "its cached result".to_owned(),
        Step::DeviceFile(_) | Step::DeviceInfo(_) => "what is known of its device".to_owned(),
    };
    fault.while_doing(format!("{}: {what}", named(site.attachment)))
}

fn named(attachment: &Attachment) -> String {
    format!("cannot detach {:?} ({})", attachment.owner.ifname.as_str(), attachment.label)
}

/// Notes that a DEL failed: see [`given_up`].
pub(super) fn count(records: &dyn Records, record: &Record) {
    let failures = record.failures.saturating_add(1);
    // On a full disk it is counted next time.
    drop(records.mark(&Record { phase: Phase::Detaching, failures, ..record.clone() }));
}

/// Whether a record has kept a pod from being taken down for too long.
///
/// A plugin may refuse for ever, for instance a configuration that it refused on ADD too, or not be installed any more.
/// Then the record is set aside for a person to look at, and the DEL succeeds: a pod that can never be taken down helps
/// nobody. A runtime keeps the pod's namespace until then.
pub(super) fn given_up(node: &Node<'_>, record: &Record) -> bool {
    let patience = if node.living_netns(record).is_some() { PATIENCE_WITH_A_POD } else { PATIENCE };
    record.failures >= patience
}

/// Gives up the claims of a record.
fn release(node: &Node<'_>, record: &Record) -> Outcome<()> {
    record.claims.iter().try_for_each(|claim| node.journal.release(claim, &record.attachment.owner))
}
