//! Claiming what only one attachment on a node can have, before the node is surveyed: otherwise the settings of the
//! former holder would be taken for the original ones.

use super::ports::{Entry, Holder, Patience};
use super::undo::{self, undo};
use super::{Life, Node};
use crate::model::fault::{Fault, Outcome};
use crate::model::{FaultKind, Owner};
use crate::plan::claim::Claim;

/// Takes every claim for an owner. If that fails half-way, undoing its record gives up what was taken.
///
/// # Errors
/// [`FaultKind::TryLater`] while the sandbox of another holder is there.
pub(super) fn take(node: &Node<'_>, claims: &[Claim], owner: &Owner) -> Outcome<()> {
    claims.iter().try_for_each(|claim| take_one(node, claim, owner))
}

fn take_one(node: &Node<'_>, claim: &Claim, owner: &Owner) -> Outcome<()> {
    if let Some(former) = claim.former()
        && let Some(holder) = node.journal.holder(&former)?.filter(|holder| holder != owner)
    {
        evict(node, &former, &holder, owner)?;
    }
    let Holder::Other(holder) = node.journal.claim(claim, owner)? else { return Ok(()) };
    evict(node, claim, &holder, owner)?;
    match node.journal.claim(claim, owner)? {
        Holder::You => Ok(()),
        Holder::Other(other) => Err(held(claim, &other)),
    }
}

/// Finds out whether [`take`] would find a claim held, and frees nothing. Of the owner's own sandbox, these attachments
/// stand.
///
/// # Errors
/// As [`take`].
pub(super) fn look(node: &Node<'_>, claim: &Claim, owner: &Owner, standing: &[Owner]) -> Outcome<()> {
    for claim in claim.former().iter().chain([claim]) {
        let Some(holder) = node.journal.holder(claim)?.filter(|holder| holder != owner) else { continue };
        if holder.container == owner.container {
            if standing.contains(&holder) {
                return Err(twice(claim, &holder));
            }
            continue;
        }
        match node.journal.entries(&holder.container)?.into_iter().find(|entry| is_behind(entry, &holder)) {
            None => {}
            Some(Entry::Whole(record)) if matches!(node.life(&record), Ok(Life::Gone)) => {}
            Some(Entry::Whole(_) | Entry::Broken(_)) => return Err(held(claim, &holder)),
        }
    }
    Ok(())
}

/// Frees a claim whose holder's sandbox is gone, by undoing that holder's record.
fn evict(node: &Node<'_>, claim: &Claim, holder: &Owner, owner: &Owner) -> Outcome<()> {
    if holder.container == owner.container {
        return Err(twice(claim, holder));
    }
    let records = node.journal.lock(&holder.container, Patience::Try).map_err(|_| held(claim, holder))?;
    let entry = records.entries()?.into_iter().find(|entry| is_behind(entry, holder));
    let record = match entry {
        Some(Entry::Whole(record)) => record,
        Some(Entry::Broken(_)) => return Err(held(claim, holder)),
        // Nobody stands behind the claim: its record was set aside.
        None => return node.journal.release(claim, holder),
    };
    match node.life(&record) {
        Ok(Life::Gone) => {}
        Ok(Life::Living(_) | Life::Unseen) | Err(_) => return Err(held(claim, holder)),
    }
    match Fault::gather(undo(node, records.as_ref(), &[undo::Entry::Journalled(&record)])) {
        None => Ok(()),
        Some(fault) => Err(stuck(claim, holder, &fault)),
    }
}

/// Whether an entry is why somebody holds a claim.
fn is_behind(entry: &Entry, holder: &Owner) -> bool {
    match entry {
        Entry::Whole(record) => record.attachment.owner == *holder,
        Entry::Broken(broken) => broken.fault.kind() != FaultKind::Decode && broken.may_be_of(holder),
    }
}

/// What is asked for twice by one pod.
pub(super) fn twice(claim: &Claim, holder: &Owner) -> Fault {
    let what = format!("this pod has {:?} already, as {:?}", claim.as_str(), holder.ifname.as_str());
    Fault::new(FaultKind::Config, what).remedy("attach the pod to that network once")
}

/// What is known of another pod's attachment is no matter of the one that waits for it.
fn stuck(claim: &Claim, holder: &Owner, fault: &Fault) -> Fault {
    let claim = claim.as_str();
    Fault::new(fault.kind(), format!("{claim:?} is held by a pod that is gone and cannot be taken down"))
        .remedy("the log of the node says why; or choose another network")
        .confiding(format!(
            "cannot take {claim:?} over from {holder}, whose pod is gone: {}",
            fault.advised()
        ))
}

fn held(claim: &Claim, holder: &Owner) -> Fault {
    Fault::new(FaultKind::TryLater, format!("{:?} is held by another pod", claim.as_str()))
        .confiding(format!("{:?} is held by pod sandbox {holder}", claim.as_str()))
        .remedy("wait until that pod is gone, or choose another network")
}
