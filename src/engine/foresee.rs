//! What an ADD would do, found out by looking alone.

use serde::Serialize;

use super::add::pod_netns;
use super::ports::{Entry, NetnsId, ifname_taken};
use super::record::{Phase, Record};
use super::survey::{self, Read, namesake, runs_a_plugin_for_it};
use super::{Node, del};
use crate::model::fault::{Fault, Outcome};
use crate::model::{Attachment, FaultKind};
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
/// What an ADD finds out before it changes anything, and an interface name that it would find taken.
pub fn foresee(node: &Node<'_>, attachments: Vec<Attachment>) -> Outcome<Vec<Foreseen>> {
    let reads: Vec<Read> = attachments.iter().map(survey::read).collect::<Outcome<_>>()?;
    reads.iter().zip(&attachments).try_for_each(|(read, of)| read.claims(of).map(drop))?;
    let Some(first) = attachments.first() else { return Ok(Vec::new()) };
    let netns = pod_netns(node, first)?;
    let cleared = cleared(node, &attachments, netns)?;
    let each = reads.into_iter().zip(attachments).map(|(read, attachment)| {
        let Attachment { owner, label, .. } = &attachment;
        let named = format!("cannot attach {:?} ({label})", owner.ifname.as_str());
        let steps = steps(node, &read, &attachment, &cleared);
        let steps = steps.map_err(|fault: Fault| fault.while_doing(named))?;
        Ok(Foreseen { steps, warnings: read.warnings(&attachment), attachment })
    });
    each.collect()
}

/// What an ADD of these finds on record in this namespace and undoes first; where what stands there is no record, what such
/// an attachment would have made.
///
/// # Errors
/// One of them stands, or nobody can tell.
fn cleared(node: &Node<'_>, attachments: &[Attachment], netns: NetnsId) -> Outcome<Vec<Record>> {
    let mut cleared = Vec::new();
    let Some(first) = attachments.first() else { return Ok(cleared) };
    let boot = node.probe.boot_id()?;
    for entry in node.journal.entries(&first.owner.container)? {
        match entry {
            Entry::Whole(record) => {
                let Attachment { owner, .. } = &record.attachment;
                let is_wanted = attachments.iter().any(|wanted| wanted.owner == *owner);
                if !is_wanted || !record.is_of(&boot, &netns) {
                    continue;
                }
                if record.phase == Phase::Attached {
                    return Err(ifname_taken(&owner.ifname));
                }
                cleared.push(*record);
            }
            Entry::Broken(broken) => {
                let mut lost = attachments.iter().filter(|wanted| broken.may_be_of(&wanted.owner)).peekable();
                if broken.fault.kind() != FaultKind::Decode && lost.peek().is_some() {
                    return Err(broken.into_fault());
                }
                for wanted in lost {
                    cleared.push(del::trace(node, wanted.clone())?);
                }
            }
        }
    }
    Ok(cleared)
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
