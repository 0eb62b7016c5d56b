//! Taking down what another program attached and left on file: a node changes its programs while its pods live on.

use super::Node;
use super::ports::{Entry, Patience};
use super::record::{Phase, Record};
use super::survey;
use super::undo::{self, undo};
use crate::model::fault::{Fault, Outcome};
use crate::model::{Attachment, CniResult, ContainerId, FaultKind, Owner};
use crate::plan::chain;
use crate::plan::facts::Question;
use crate::plan::step::Step;

/// An attachment that is on no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inherited {
    /// What it is.
    pub attachment: Attachment,
    /// What came out, if that is still known.
    pub result: Option<CniResult>,
    /// Who made it.
    pub maker: Maker,
}

/// Who made an attachment that is on no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// Another program, which ran every plugin.
    Another,
    /// Manifold, whose record is lost.
    Manifold,
}

/// Undoes such attachments of a sandbox, the last first. What Manifold has on record is not among them.
///
/// Their plugins are run again, for only they know what they made. Where one is not on the node any more, Manifold
/// undoes by itself what such a plugin makes, if it can.
///
/// # Errors
/// All that could not be undone, the first leading.
pub fn take_down(node: &Node<'_>, container: &ContainerId, all: Vec<Inherited>) -> Outcome<()> {
    let records = node.journal.lock(container, Patience::Wait)?;
    let entries = records.entries()?;
    let on_record = |owner: &Owner| {
        entries.iter().any(|entry| match entry {
            Entry::Whole(record) => record.attachment.owner == *owner,
            Entry::Broken(broken) => broken.ifname.as_ref() == Some(&owner.ifname),
        })
    };
    let boot = node.probe.boot_id()?;
    let made_up: Vec<Record> = all
        .into_iter()
        .filter(|one| !on_record(&one.attachment.owner))
        .map(|one| {
            let netns = one.attachment.netns.as_ref().and_then(|path| node.netns_id(path));
            let steps = steps(node, &one);
            let blank = Record::new(one.attachment, boot.clone(), Phase::Detaching);
            Record { netns, steps, result: one.result, ..blank }
        })
        .collect();
    let entries: Vec<_> = made_up.iter().map(undo::Entry::MadeUp).collect();
    Fault::gather(undo(node, records.as_ref(), &entries)).map_or(Ok(()), Err)
}

/// The steps to undo: each plugin, and where one is missing, what a native Kind would leave in its stead.
fn steps(node: &Node<'_>, one: &Inherited) -> Vec<Step> {
    let attachment = &one.attachment;
    let read = || survey::read(attachment);
    if let (Maker::Manifold, Ok(read)) = (one.maker, read()) {
        return read.traces(attachment);
    }
    let is_missing = |step: &Step| {
        let Step::Exec(exec) = step else { return false };
        let program = Question::Program(exec.program.clone());
        let found = node.probe.answer(&program, attachment.netns.as_ref());
        found.is_err_and(|fault| fault.kind() == FaultKind::Absent)
    };
    let run = chain::inherited(attachment);
    if !run.iter().any(is_missing) {
        return run;
    }
    match read() {
        Ok(read) => read
            .traces(attachment)
            .into_iter()
            .flat_map(|step| [step.unmarked(), Some(step)])
            .flatten()
            .collect(),
        // Nobody knows how to undo it; the plugin that is missing is named.
        Err(_) => run,
    }
}
