//! ADD: all attachments of a pod, or none.

use super::ports::{Entry, NetnsId, NetnsState, Patience, Records, Site, ifname_taken};
use super::record::{Phase, Record};
use super::survey::{self, Read};
use super::undo::{self, undo};
use super::{Node, claim, del};
use crate::model::fault::{Fault, Outcome};
use crate::model::{Attachment, CniResult, DeviceInfo, FaultKind, Owner};
use crate::plan::claim::Claim;
use crate::plan::port::NoteStep;
use crate::plan::step::Progress;

/// An attachment that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// What was asked.
    pub attachment: Attachment,
    /// What came out.
    pub result: CniResult,
    /// What is known of the device behind it.
    pub device_info: Option<DeviceInfo>,
    /// What its application is told, if it is a socket.
    pub note: Option<NoteStep>,
    /// What was read of its configuration and has no effect.
    unused: Vec<String>,
}

impl Attached {
    /// What was written in its configuration, or asked for by the pod, and has no effect, for whoever tells it.
    pub fn warnings(&self) -> Vec<String> {
        survey::warnings(&self.attachment, self.unused.clone())
    }
}

/// Makes the attachments of one pod, in order.
///
/// # Guarantees
/// Every configuration is read before the first change. If any attachment fails, all that this call made is undone
/// again, and what could not be undone is still on record and named along with the cause. What an earlier call for the
/// same sandbox left unfinished is undone first, and so is what an earlier call for the same interface may have made whose
/// record was never written or is damaged. What is left of another interface and cannot be undone stays on record, for DEL.
///
/// # Errors
/// The first failure.
pub fn add(node: &Node<'_>, attachments: Vec<Attachment>) -> Outcome<Vec<Attached>> {
    add_to(node, attachments, Sandbox::Any)
}

/// Makes attachments beside those that a sandbox has.
///
/// # Errors
/// As [`add`]; and where the sandbox has none (any more): it is being taken down.
pub fn add_beside(node: &Node<'_>, attachments: Vec<Attachment>) -> Outcome<Vec<Attached>> {
    add_to(node, attachments, Sandbox::Attached)
}

/// A node, and the records of the sandbox that is worked on.
#[derive(Clone, Copy)]
struct Desk<'a> {
    node: &'a Node<'a>,
    records: &'a dyn Records,
}

/// Which sandboxes will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sandbox {
    /// Any.
    Any,
    /// One that has attachments.
    Attached,
}

fn add_to(node: &Node<'_>, attachments: Vec<Attachment>, sandbox: Sandbox) -> Outcome<Vec<Attached>> {
    let reads: Vec<Read> = attachments.iter().map(survey::read).collect::<Outcome<_>>()?;
    let claims = reads.iter().zip(&attachments).map(|(read, of)| read.claims(of));
    let claims: Vec<Vec<Claim>> = claims.collect::<Outcome<_>>()?;
    let Some(first) = attachments.first() else { return Ok(Vec::new()) };
    let netns = pod_netns(node, first)?;
    let boot = node.probe.boot_id()?;
    let container = first.owner.container.clone();
    let records = node.journal.lock(&container, Patience::Wait)?;
    let desk = Desk { node, records: records.as_ref() };
    let first_free = clear_the_way(desk, &attachments, &boot, netns)?;
    if sandbox == Sandbox::Attached && first_free == 0 {
        return Err(Fault::new(
            FaultKind::TryLater,
            format!("sandbox {:?} has no attachment (any more)", container.as_str()),
        )
        .remedy("none is needed if it is being taken down"));
    }

    let mut made: Vec<Record> = Vec::with_capacity(reads.len());
    let each = reads.iter().zip(claims).zip(attachments);
    for (order, ((read, claims), attachment)) in (first_free..).zip(each) {
        let blank = Record::new(attachment, boot.clone(), Phase::Pending);
        let blank = Record { order, netns: Some(netns), claims, ..blank };
        match attach(desk, read, blank) {
            Ok(record) => made.push(record),
            Err(fault) => {
                let entries: Vec<_> = made.iter().map(undo::Entry::Journalled).collect();
                return Err(fault.along_with(undo(node, desk.records, &entries)));
            }
        }
    }
    Ok(made
        .into_iter()
        .zip(&reads)
        .map(|(r, read)| Attached {
            note: r.note().cloned(),
            attachment: r.attachment,
            result: r.result.unwrap_or_default(),
            device_info: r.device_info,
            unused: read.unused(),
        })
        .collect())
}

/// The pod's network namespace, which must be there and not our own.
pub(super) fn pod_netns(node: &Node<'_>, attachment: &Attachment) -> Outcome<NetnsId> {
    let missing = |what: String| {
        Fault::new(FaultKind::Environment, what).remedy("name the pod's namespace (CNI_NETNS, --netns)")
    };
    let Some(path) = &attachment.netns else {
        return Err(missing("no network namespace is given".to_owned()));
    };
    match node.probe.netns(path)? {
        NetnsState::There(id) => Ok(id),
        NetnsState::Gone | NetnsState::Unseen => {
            Err(missing(format!("network namespace {:?} does not exist", path.as_str())))
        }
        NetnsState::Own => Err(Fault::new(
            FaultKind::OwnNetns,
            format!("network namespace {:?} is the host's own", path.as_str()),
        )
        .remedy("give the pod's namespace in CNI_NETNS; a pod with hostNetwork gets no attachments")),
    }
}

/// Undoes what earlier calls for this sandbox left unfinished, or made in a namespace that is gone, and what may stand
/// behind a record of the same interface that is none. Answers with the first place in order that is free.
fn clear_the_way(desk: Desk<'_>, attachments: &[Attachment], boot: &str, netns: NetnsId) -> Outcome<u32> {
    let is_wanted = |owner: &Owner| attachments.iter().any(|wanted| wanted.owner == *owner);
    let mut stale = Vec::new();
    let mut damage = Vec::new();
    let mut first_free = 0;
    for entry in desk.records.entries()? {
        match entry {
            Entry::Broken(broken) if broken.fault.kind() == FaultKind::Decode => damage.push(broken),
            // It may be of a version that knows what to do.
            Entry::Broken(broken) => {
                if attachments.iter().any(|wanted| broken.may_be_of(&wanted.owner)) {
                    return Err(broken.into_fault());
                }
            }
            Entry::Whole(record) if record.phase == Phase::Attached && record.is_of(boot, &netns) => {
                if is_wanted(&record.attachment.owner) {
                    return Err(ifname_taken(&record.attachment.owner.ifname));
                }
                first_free = first_free.max(record.order.saturating_add(1));
            }
            Entry::Whole(record) => stale.push(record),
        }
    }
    // Damage that is of none of these interfaces is left to DEL, which sets it aside.
    let damaged = |wanted: &&Attachment| damage.iter().any(|broken| broken.may_be_of(&wanted.owner));
    let lost = attachments.iter().filter(damaged).map(|wanted| del::trace(desk.node, wanted.clone()));
    let lost: Vec<Record> = lost.collect::<Outcome<_>>()?;
    let (ours, others): (Vec<_>, Vec<_>) =
        stale.into_iter().partition(|record| is_wanted(&record.attachment.owner));
    // They are not in the way: their records stay, and DEL tries again.
    drop(undo(desk.node, desk.records, &journalled(&others)));
    let mut entries = journalled(&ours);
    entries.extend(lost.iter().map(undo::Entry::MadeUp));
    match Fault::gather(undo(desk.node, desk.records, &entries)) {
        Some(fault) => Err(fault.while_doing("cannot undo what an earlier ADD of this sandbox left")),
        None => Ok(first_free),
    }
}

fn journalled(records: &[Box<Record>]) -> Vec<undo::Entry<'_>> {
    records.iter().map(|record| undo::Entry::Journalled(record)).collect()
}

/// Makes one attachment: claim, survey, plan, record, apply, mark.
fn attach(desk: Desk<'_>, read: &Read, blank: Record) -> Outcome<Record> {
    let mut record = blank;
    match claim_plan_and_apply(desk, read, &mut record) {
        Ok(()) => Ok(record),
        Err(fault) => {
            let attachment = &record.attachment;
            let named =
                format!("cannot attach {:?} ({})", attachment.owner.ifname.as_str(), attachment.label);
            Err(fault.while_doing(named).along_with(undo(
                desk.node,
                desk.records,
                &[undo::Entry::Journalled(&record)],
            )))
        }
    }
}

fn claim_plan_and_apply(Desk { node, records }: Desk<'_>, read: &Read, record: &mut Record) -> Outcome<()> {
    if !record.claims.is_empty() {
        // A claim is an effect too: whoever finds it after a crash must find its record.
        records.put(record)?;
        claim::take(node, &record.claims, &record.attachment.owner)?;
    }
    record.steps = read.plan(node, &record.attachment)?;
    records.put(record)?;
    apply(node, record)?;
    records.mark(record)
}

/// Applies the steps in order; then the record says that it is attached. On refusal the record keeps the steps that were tried.
fn apply(node: &Node<'_>, record: &mut Record) -> Outcome<()> {
    let mut progress = Progress::default();
    for tried in 0..record.steps.len() {
        let Some(step) = record.steps.get_mut(tried) else { break };
        let site =
            Site { attachment: &record.attachment, netns: record.attachment.netns.as_ref(), result: None };
        if let Err(fault) = node.hands.apply(site, step, &mut progress) {
            record.result = progress.result;
            record.steps.truncate(tried + 1);
            return Err(fault);
        }
    }
    record.result = Some(progress.result.unwrap_or_default());
    record.device_info = progress.device_info;
    record.phase = Phase::Attached;
    Ok(())
}
