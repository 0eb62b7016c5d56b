//! The one undo: DEL, GC, a refused step, a crash found later and a claim taken over all end here.

use super::Node;
use super::ports::{Records, Site, Undo};
use super::record::{Phase, Record};
use crate::model::NetnsPath;
use crate::model::fault::{Fault, Outcome};
use crate::plan::step::{Step, UndoRank};

/// How many DELs of a pod that is gone may fail before its record is set aside.
const PATIENCE: u32 = 5;

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
/// one request; then addresses are given back and files removed. A journalled record whose steps are all undone is removed; another
/// stays, marked as being undone. Neither the pod's network namespace nor any configuration is needed.
pub(super) fn undo(node: &Node<'_>, records: &dyn Records, entries: &[Entry<'_>]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let sites: Vec<_> = entries.iter().map(|entry| (entry, prepare(node, records, entry))).collect();
    let mut clean = vec![true; entries.len()];
    for rank in [UndoRank::Plugin, UndoRank::Link, UndoRank::Files] {
        for (index, fault) in revert(node, &sites, rank) {
            if let Some(flag) = clean.get_mut(index) {
                *flag = false;
            }
            faults.push(fault);
        }
    }
    let mut gone = Vec::new();
    for ((entry, netns), clean) in sites.iter().zip(clean) {
        match entry {
            Entry::Journalled(record) if clean => match release(node, record) {
                Ok(()) => gone.push(&record.attachment.owner.ifname),
                Err(fault) => faults.push(fault),
            },
            Entry::Journalled(record) if netns.is_none() => count(records, record),
            Entry::Journalled(_) | Entry::MadeUp(_) => {}
        }
    }
    if !gone.is_empty() {
        faults.extend(records.remove(&gone).err());
    }
    faults
}

/// Notes that the undoing has begun, so that a crash in the middle is finished by whoever comes next; finds the netns.
fn prepare<'e>(node: &Node<'_>, records: &dyn Records, entry: &'e Entry<'_>) -> Option<&'e NetnsPath> {
    if let Entry::Journalled(record) = entry
        && record.phase == Phase::Attached
    {
        // A full disk must not keep a pod from being taken down: without this mark only a crash goes unnoticed longer.
        drop(records.mark(&Record { phase: Phase::Detaching, ..(*record).clone() }));
    }
    node.living_netns(entry.record())
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
    let failed = owners.into_iter().zip(batch).zip(answers);
    failed.filter_map(|((index, undo), answer)| Some((index, told(answer.err()?, &undo)))).collect()
}

fn told(fault: Fault, undo: &Undo<'_>) -> Fault {
    let Undo { site, step } = undo;
    let what = match step {
        Step::Exec(_) => return fault.while_doing(named(site)),
        Step::Vf(_) => "its virtual function".to_owned(),
        Step::Port(_) | Step::Vpp(_) => "its port of the switch".to_owned(),
        Step::Socket(_) | Step::Note(_) => "its socket".to_owned(),
        Step::Link(_) | Step::Configure(_) | Step::DefaultRoute(_) | Step::Pass => "its link".to_owned(),
        Step::Lease(_) => "its addresses".to_owned(),
        Step::Cache(_) => "its cached result".to_owned(),
        Step::DeviceFile(_) | Step::DeviceInfo(_) => "what is known of its device".to_owned(),
    };
    fault.while_doing(format!("{}: {what}", named(site)))
}

fn named(site: &Site<'_>) -> String {
    format!("cannot detach {:?} ({})", site.attachment.owner.ifname.as_str(), site.attachment.label)
}

/// Notes that undoing failed although the pod is gone: see [`given_up`].
fn count(records: &dyn Records, record: &Record) {
    let failures = record.failures.saturating_add(1);
    // On a full disk it is counted next time.
    drop(records.mark(&Record { phase: Phase::Detaching, failures, ..record.clone() }));
}

/// Whether a record has kept a pod that is gone from being taken down for too long.
///
/// A plugin may refuse for ever, for instance a configuration that it refused on ADD too. Then the record is set aside
/// for a person to look at, and the DEL succeeds: a pod that can never be taken down helps nobody.
pub(super) fn given_up(record: &Record) -> bool {
    record.failures >= PATIENCE
}

/// Gives up the claims of a record.
fn release(node: &Node<'_>, record: &Record) -> Outcome<()> {
    record.claims.iter().try_for_each(|claim| node.journal.release(claim, &record.attachment.owner))
}
