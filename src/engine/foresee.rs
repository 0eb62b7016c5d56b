//! What an ADD would do, found out by looking alone.

use serde::Serialize;

use super::add::pod_netns;
use super::ports::{Entry, NetnsId, ifname_taken};
use super::record::{Phase, Record};
use super::survey::{self, Read, namesake, runs_a_plugin_for_it};
use super::{Node, claim, del};
use crate::model::fault::{Fault, Outcome};
use crate::model::{Attachment, FaultKind, Owner};
use crate::plan::claim::Claim;
use crate::plan::facts::LinkFacts;
use crate::plan::mark;
use crate::plan::step::Step;

/// The plan of one attachment.
#[derive(Debug, Serialize)]
pub struct Foreseen {
    /// What is asked.
    pub attachment: Attachment,
    /// What would be done, in order.
    pub steps: Vec<Step>,
    /// What was written in its configuration, or asked for by the pod, and has no effect.
    pub warnings: Vec<String>,
}

/// Plans the attachments of one pod, as [`super::add::add`] would, and changes nothing.
///
/// # Errors
/// What an ADD finds out before it changes anything, and what it would find taken: an interface's name, or what it must have
/// for itself.
pub fn foresee(node: &Node<'_>, attachments: Vec<Attachment>) -> Outcome<Vec<Foreseen>> {
    let reads: Vec<Read> = attachments.iter().map(survey::read).collect::<Outcome<_>>()?;
    let claims: Vec<Vec<Claim>> =
        reads.iter().zip(&attachments).map(|(read, of)| read.claims(of)).collect::<Outcome<_>>()?;
    let Some(first) = attachments.first() else { return Ok(Vec::new()) };
    let netns = pod_netns(node, first)?;
    let found = found(node, &attachments, netns)?;
    let mut taken: Vec<(Claim, Owner)> = Vec::new();
    let each = reads.into_iter().zip(attachments).zip(claims).map(|((read, attachment), claims)| {
        let Attachment { owner, label, .. } = &attachment;
        let named = format!("cannot attach {:?} ({label})", owner.ifname.as_str());
        let steps = claims.into_iter().try_for_each(|claim| {
            if let Some((_, by)) = taken.iter().find(|(other, _)| *other == claim) {
                return Err(claim::twice(&claim, by));
            }
            claim::look(node, &claim, owner, &found.standing)?;
            taken.push((claim, owner.clone()));
            Ok(())
        });
        let steps = steps.and_then(|()| self::steps(node, &read, &attachment, &found.cleared));
        let steps = steps.map_err(|fault: Fault| fault.while_doing(named))?;
        Ok(Foreseen { steps, warnings: read.warnings(&attachment), attachment })
    });
    each.collect()
}

/// What an ADD finds on record in the pod's namespace.
#[derive(Default)]
struct Found {
    /// What of its own attachments it undoes first; where what is there is no record, what such an attachment would have made.
    cleared: Vec<Record>,
    /// Others, which stand.
    standing: Vec<Owner>,
}

/// What an ADD of these finds on record.
///
/// # Errors
/// One of them stands, or nobody can tell.
fn found(node: &Node<'_>, attachments: &[Attachment], netns: NetnsId) -> Outcome<Found> {
    let mut found = Found::default();
    let Some(first) = attachments.first() else { return Ok(found) };
    let boot = node.probe.boot_id()?;
    for entry in node.journal.entries(&first.owner.container)? {
        match entry {
            Entry::Whole(record) => {
                let Attachment { owner, .. } = &record.attachment;
                let is_wanted = attachments.iter().any(|wanted| wanted.owner == *owner);
                match (record.phase, is_wanted) {
                    _ if !record.is_of(&boot, &netns) => {}
                    (Phase::Attached, true) => return Err(ifname_taken(&owner.ifname)),
                    (Phase::Attached, false) => found.standing.push(owner.clone()),
                    (Phase::Pending | Phase::Detaching, true) => found.cleared.push(*record),
                    (Phase::Pending | Phase::Detaching, false) => {}
                }
            }
            Entry::Broken(broken) => {
                let mut lost = attachments.iter().filter(|wanted| broken.may_be_of(&wanted.owner)).peekable();
                if broken.fault.kind() != FaultKind::Decode && lost.peek().is_some() {
                    return Err(broken.into_fault());
                }
                for wanted in lost {
                    found.cleared.push(del::trace(node, wanted.clone())?);
                }
            }
        }
    }
    Ok(found)
}

/// The plan of an attachment, where the pod has no interface of its name, or none once those records are undone.
fn steps(node: &Node<'_>, read: &Read, of: &Attachment, cleared: &[Record]) -> Outcome<Vec<Step>> {
    let steps = read.steps(node, of)?;
    if !runs_a_plugin_for_it(of) && !steps.iter().any(Step::makes_a_link) {
        return Ok(steps);
    }
    let owner = &of.owner;
    let mut its = cleared.iter().filter(|record| record.attachment.owner == *owner);
    match namesake(node, of)? {
        Some(link) if !its.any(|record| goes(record, &link)) => Err(ifname_taken(&owner.ifname)),
        Some(_) | None => Ok(steps),
    }
}

/// Whether the interface that has the name of an attachment goes when its record is undone: a virtual link by its mark,
/// that of a plugin or a device by its name.
fn goes(record: &Record, link: &LinkFacts) -> bool {
    record.steps.iter().any(|step| {
        if let Step::Link(made) = step {
            return [made.group, mark::condemned(made.group)].contains(&link.group);
        }
        matches!(step, Step::Exec(_) | Step::Vf(_))
    })
}
