//! Keeping the node clean: DELs that could not be delivered are done, and what belongs to a pod that is gone is undone. At
//! the start, and then again and again.

mod cache;

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{Instant as Then, sleep_until};

use self::cache::Leftovers;
use super::call;
use super::desk::{Desk, Ended, Sort};
use crate::engine::gc;
use crate::engine::scope::Scope;
use crate::front::machine::Machine;
use crate::model::fault::Fault;
use crate::model::thick::{MAX_REQUEST, SPOOL_FORMAT, Spooled};

/// Most DELs done in one round, and most attachments of pods that are gone undone in it, so that calls that come meanwhile get their turn.
const MOST: usize = 64;
/// Longest round of DELs.
const ROUND: Duration = Duration::from_secs(20);

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
                (false, 0) => return,
                // Nodes that started together need not stay in step.
                (false, seconds) => {
                    Duration::from_secs(seconds) + Duration::from_millis(u64::from(std::process::id()) % 1000)
                }
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
    tried: Option<Turn>,
}

/// One round; whether more is to be done at once, and what the next one is to know.
fn round(desk: &Desk, mut seen: Seen) -> (bool, Seen) {
    seen.tried = empty_the_spool(desk, seen.tried);
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

/// Where a DEL that was kept stands among the others: when it was kept, and its file.
type Turn = (u64, PathBuf);

/// Does the DELs that were kept, the oldest first, from behind the one that was tried last. Answers with the last one
/// tried, if others are left that have not had their turn: those that fail have the next one after all others.
fn empty_the_spool(desk: &Desk, tried: Option<Turn>) -> Option<Turn> {
    let end = Instant::now() + ROUND;
    let kept = spooled(&desk.settings.places.state_dir.join("spool"));
    let behind = |turn: &Turn| tried.as_ref().is_none_or(|tried| turn > tried);
    let mut last = None;
    for (done, ((since, path), spooled)) in kept.iter().filter(|(turn, _)| behind(turn)).enumerate() {
        if done >= MOST || Instant::now() >= end || desk.is_closing() {
            return last.or(tried);
        }
        last = Some((*since, path.clone()));
        match call::again(desk, &spooled.env, spooled.config.clone()) {
            Ok(()) => {
                desk.metrics.spooled_done.inc();
                if let Err(cause) = fs::remove_file(path) {
                    tracing::warn!("cannot remove {path:?}, whose DEL is done: {cause}");
                }
            }
            // The log has it; it stays for the next round.
            Err(_) => {
                desk.metrics.spooled_failed.inc();
            }
        }
    }
    None
}

/// What is kept, the oldest first. What is none is set aside by a name that is not read again.
fn spooled(folder: &Path) -> Vec<(Turn, Spooled)> {
    let names = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let paths = names.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.ends_with(".json") && !name.starts_with('.')
    });
    let mut kept = Vec::new();
    for path in paths {
        match read(&path) {
            Ok(spooled) if spooled.format == SPOOL_FORMAT => kept.push(((spooled.since, path), spooled)),
            Ok(_) => {}
            Err(cause) if cause.kind() == ErrorKind::NotFound => {}
            Err(cause) => {
                tracing::warn!("{path:?} is no DEL that was kept: {cause}");
                fs::rename(&path, path.with_extension("unreadable")).unwrap_or_default();
            }
        }
    }
    kept.sort_by(|(one, _), (other, _)| one.cmp(other));
    kept
}

fn read(path: &Path) -> io::Result<Spooled> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_REQUEST as u64).read_to_end(&mut bytes)?;
    serde_json::from_slice(&bytes).map_err(io::Error::from)
}
