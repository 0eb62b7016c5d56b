//! CHECK: is everything that was made still there?

use super::Node;
use super::ports::{Entry, Patience, Site};
use super::record::{Phase, Record};
use super::scope::Scope;
use crate::model::fault::{Fault, Outcome};
use crate::model::{ContainerId, FaultKind, Owner, Role};

/// Holds the attachments of a sandbox that `scope` covers against the node.
///
/// # Errors
/// Everything that is lost, the first leading; or that `expected` has no record, unless the default network
/// has one under another name.
pub fn check(node: &Node<'_>, container: &ContainerId, scope: &Scope, expected: &[Owner]) -> Outcome<()> {
    let records = node.journal.lock(container, Patience::Wait)?;
    let mut faults = Vec::new();
    let mut found = Vec::new();
    // The runtime calls the default network's interface by its own name; the pod may have asked for another.
    let mut renamed = false;
    let mut untold = Vec::new();
    for entry in records.entries()? {
        match entry {
            Entry::Broken(broken) if scope.may_cover(broken.ifname.as_ref()) => match &broken.ifname {
                Some(ifname) => {
                    found.push(Owner { container: broken.container.clone(), ifname: ifname.clone() });
                    faults.push(broken.into_fault());
                }
                None => untold.push(broken.into_fault()),
            },
            Entry::Whole(record) if scope.covers(&record.attachment) => {
                faults.extend(check_one(node, &record));
                let owner = &record.attachment.owner;
                renamed |= record.attachment.role == Role::Default && !expected.contains(owner);
                found.push(record.attachment.owner);
            }
            Entry::Whole(_) | Entry::Broken(_) => {}
        }
    }
    let unknown: Vec<_> = expected.iter().filter(|owner| !renamed && !found.contains(owner)).collect();
    // Damage of which no interface can be told matters where something is missing, or nobody knows what there should be.
    if expected.is_empty() || !unknown.is_empty() {
        faults.extend(untold);
    }
    faults.extend(unknown.into_iter().map(|owner| {
        Fault::new(
            FaultKind::UnknownContainer,
            format!(
                "{:?} was never attached to sandbox {:?}",
                owner.ifname.as_str(),
                owner.container.as_str()
            ),
        )
        .remedy("ADD it first")
    }));
    Fault::gather(faults).map_or(Ok(()), Err)
}

fn check_one(node: &Node<'_>, record: &Record) -> Vec<Fault> {
    let attachment = &record.attachment;
    let named = |fault: Fault| {
        fault.while_doing(format!(
            "{:?} ({}) is not as it was made",
            attachment.owner.ifname.as_str(),
            attachment.label
        ))
    };
    if attachment.network.disable_check {
        return Vec::new();
    }
    if record.phase != Phase::Attached {
        return vec![named(lost("its ADD or DEL was not finished"))];
    }
    let Some(netns) = node.living_netns(record) else {
        return vec![named(lost("the pod's network namespace is gone"))];
    };
    let site = Site { attachment, netns: Some(netns), result: record.result.as_ref() };
    let mut losses: Vec<Fault> =
        record.steps.iter().filter_map(|step| node.hands.holds(site, step).err()).collect();
    // A link that is gone is missed by every step that was about it.
    losses.dedup_by_key(|loss| loss.to_string());
    losses.into_iter().map(named).collect()
}

fn lost(what: &str) -> Fault {
    Fault::new(FaultKind::Drift, what).remedy("restart the pod")
}
