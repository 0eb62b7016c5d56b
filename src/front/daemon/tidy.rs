//! Keeping the node clean: DELs that could not be delivered are done, and what belongs to a pod that is gone is undone. At
//! the start, and then again and again.

mod cache;
pub(super) mod once;
pub(super) mod spool;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::{Instant as Then, sleep_until};

use self::cache::Leftovers;
use self::spool::Kept;
use super::desk::{Desk, Ended, Sort};
use crate::engine::gc;
use crate::engine::scope::Scope;
use crate::front::machine::Machine;
use crate::model::fault::Fault;

/// Most DELs done in one round, and most attachments of pods that are gone undone in it, so that calls that come meanwhile get their turn.
const MOST: usize = 64;
/// Longest round of DELs.
const ROUND: Duration = Duration::from_secs(20);
/// How old a DEL must be that did not get to its place. To keep one takes no longer than a moment.
const DRAFT: Duration = Duration::from_secs(600);

/// Starts the rounds. Each takes a place at the desk like a call.
pub(super) fn start(desk: &Arc<Desk>) {
    let desk = Arc::clone(desk);
    drop(tokio::spawn(async move {
        let mut seen = Seen::default();
        loop {
            let more = match desk.serve(Sort::Makes, |desk| round(desk, seen)).await {
                Ended::Done((more, now)) => {
                    seen = now;
                    more
                }
                // The log has it; what was seen is lost, and seen again.
                Ended::Broken | Ended::Busy => {
                    seen = Seen::default();
                    false
                }
                Ended::Closed => return,
            };
            let pause = match (more, desk.settings.housekeeping) {
                (true, _) => Duration::from_millis(100),
                (false, Duration::ZERO) => return,
                // Nodes that started together need not stay in step.
                (false, pause) => pause + Duration::from_millis(u64::from(std::process::id()) % 1000),
            };
            sleep_until(Then::now() + pause).await;
        }
    }));
}

/// What a round leaves to the next.
#[derive(Default)]
struct Seen {
    /// Cached results that are of nobody.
    leftovers: Leftovers,
    /// The last DEL that was tried, where others stand behind it that have not had their turn.
    tried: Option<Kept>,
    /// Kept DELs of formats that are not ours, of which the log has been told.
    foreign: BTreeSet<PathBuf>,
}

/// One round; whether more is to be done at once, and what the next one is to know.
fn round(desk: &Desk, mut seen: Seen) -> (bool, Seen) {
    seen.tried = empty_the_spool(desk, &mut seen);
    let mut more = seen.tried.is_some();
    let context = desk.context();
    let machine = Machine::new(&desk.settings.places, &[], &context);
    // What could not be undone stays on record, and is tried again in the next round.
    match gc::sweep(&machine.node(), &Scope::Any, gc::Valid::Living, MOST) {
        Ok(swept) => {
            more |= swept.more;
            desk.metrics.undone(swept.undone, swept.faults.len());
            if let Some(fault) = Fault::gather(swept.faults) {
                tracing::warn!("tidying up: {fault}");
            }
        }
        Err(fault) => tracing::warn!("tidying up: {fault}"),
    }
    desk.metrics.laps(&context.stopwatch.unwrap_or_default().laps());
    seen.leftovers.clear(desk, &machine);
    desk.metrics.tidied.inc();
    (more, seen)
}

/// Does the DELs that were kept, the oldest first, from behind the one that was tried last. Answers with the last one
/// tried, if others are left that have not had their turn: those that fail have the next one after all others.
fn empty_the_spool(desk: &Desk, seen: &mut Seen) -> Option<Kept> {
    let end = Instant::now() + ROUND;
    let tried = seen.tried.take();
    let state = &desk.settings.places.state_dir;
    spool::clear_drafts(state, SystemTime::now().checked_sub(DRAFT).unwrap_or(SystemTime::UNIX_EPOCH));
    let kept = spool::kept(state).into_iter().filter(|kept| tried.as_ref().is_none_or(|tried| kept > tried));
    let mut last = None;
    for (done, kept) in kept.enumerate() {
        if done >= MOST || Instant::now() >= end || desk.is_closing() {
            return last.or(tried.clone());
        }
        try_again(desk, &kept.path, &mut seen.foreign);
        last = Some(kept);
    }
    None
}

/// Does a DEL that was kept. The log has it if that fails; then it stays for the next round.
fn try_again(desk: &Desk, path: &Path, foreign: &mut BTreeSet<PathBuf>) {
    if let Ok(Some(format)) = once::finish(desk, path, Duration::ZERO)
        && foreign.insert(path.to_owned())
    {
        tracing::warn!("the DEL in {path:?} is of format {format}, which this version does not know");
    }
}
