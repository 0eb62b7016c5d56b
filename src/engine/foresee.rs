//! What an ADD would do, found out by looking alone.

use serde::Serialize;

use super::Node;
use super::add::pod_netns;
use super::ports::{Entry, ifname_taken};
use super::record::Phase;
use super::survey::{self, Read};
use crate::model::Attachment;
use crate::model::fault::{Fault, Outcome};
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
    let reads: Vec<Read> = attachments.into_iter().map(survey::read).collect::<Outcome<_>>()?;
    reads.iter().try_for_each(|read| read.claims().map(drop))?;
    let Some(first) = reads.first() else { return Ok(Vec::new()) };
    let netns = pod_netns(node, &first.attachment)?;
    let entries = node.journal.entries(&first.attachment.owner.container)?;
    let each = reads.into_iter().map(|read| {
        let owner = &read.attachment.owner;
        let held = entries.iter().find_map(|entry| match entry {
            Entry::Whole(record) if record.attachment.owner == *owner => Some(record),
            Entry::Whole(_) | Entry::Broken(_) => None,
        });
        let stands =
            held.is_some_and(|record| record.phase == Phase::Attached && record.netns == Some(netns));
        if stands {
            return Err(ifname_taken(&owner.ifname));
        }
        let named = format!("cannot attach {:?} ({})", owner.ifname.as_str(), read.attachment.label);
        let steps = read.plan(node).and_then(|steps| {
            // What is on record and does not stand, an ADD takes down first.
            if held.is_none() && steps.iter().any(Step::makes_a_link) {
                read.find_name_free(node)?;
            }
            Ok(steps)
        });
        let steps = steps.map_err(|fault: Fault| fault.while_doing(named))?;
        Ok(Foreseen { steps, warnings: read.warnings(), attachment: read.attachment })
    });
    each.collect()
}
