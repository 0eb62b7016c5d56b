//! Cached results of sandboxes that are gone: what a lost record, or a crash amid a write, leaves in the cache for good.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use super::spool;
use crate::engine::ports::{Journal, NetnsState, Patience};
use crate::front::daemon::desk::Desk;
use crate::front::machine::Machine;
use crate::host::cache::{Ours, ResultCache};
use crate::host::peer::Sandboxes;
use crate::model::ContainerId;
use crate::model::fault::Outcome;

/// Most files looked at in one round; the next goes on behind them.
const LOOKED_AT: usize = 256;
/// Most files removed in one round.
const REMOVED: usize = 64;
/// Most files remembered as being of nobody; others wait until these are gone.
const REMEMBERED: usize = 4096;
/// How old a file must be that did not get to its place. A write takes no longer than a moment.
const AGE: Duration = Duration::from_secs(600);

/// The files that are of nobody, each with the moment it was first seen to be.
#[derive(Default)]
pub(super) struct Leftovers {
    since: BTreeMap<String, Instant>,
    /// The last file that was looked at, where there are more behind it.
    behind: Option<String>,
}

impl Leftovers {
    /// Looks at some files, and removes those that were of nobody for long enough.
    pub(super) fn clear(&mut self, desk: &Desk, machine: &Machine) {
        match self.cleared(desk, machine) {
            Ok(0) => {}
            Ok(cleared) => tracing::info!("{cleared} cached results of sandboxes that are gone are removed"),
            Err(fault) => tracing::warn!("clearing the cache: {fault}"),
        }
    }

    fn cleared(&mut self, desk: &Desk, machine: &Machine) -> Outcome<usize> {
        let cache = ResultCache::new(&desk.settings.places.cache_dir);
        let mut cleared = 0;
        for name in self.of_nobody(desk, machine, &cache)? {
            if remove(desk, machine, &cache, &name)? {
                self.since.remove(&name);
                desk.metrics.cache_cleared.inc();
                cleared += 1;
            }
        }
        let before = SystemTime::now().checked_sub(AGE).unwrap_or(SystemTime::UNIX_EPOCH);
        let broken = cache.clear_nursery(before, REMOVED.saturating_sub(cleared))?;
        desk.metrics.cache_cleared.inc_by(broken as u64);
        Ok(cleared + broken)
    }

    /// The files that have been of nobody for the time that the configuration gives them.
    fn of_nobody(&mut self, desk: &Desk, machine: &Machine, cache: &ResultCache) -> Outcome<Vec<String>> {
        let names = cache.names(self.behind.as_deref(), LOOKED_AT)?;
        let (first, last) = (self.behind.take(), names.last().filter(|_| names.len() == LOOKED_AT));
        // Of the files between the first and the last that are looked at, others are not there any more.
        self.since.retain(|name, _| {
            let passed = first.as_ref().is_some_and(|first| name <= first);
            let ahead = last.is_some_and(|last| name > last);
            passed || ahead || names.binary_search(name).is_ok()
        });
        self.behind = last.cloned();
        let now = Instant::now();
        for name in names {
            if !cache.ours(&name).is_some_and(|ours| is_of_nobody(desk, machine, &ours)) {
                self.since.remove(&name);
            } else if self.since.len() < REMEMBERED {
                self.since.entry(name).or_insert(now);
            }
        }
        let grace = desk.settings.cache_grace;
        let due = self.since.iter().filter(|(_, since)| now.duration_since(**since) >= grace);
        Ok(due.map(|(name, _)| name.clone()).take(REMOVED).collect())
    }
}

/// Removes a file if it is still of nobody; no call works on its sandbox meanwhile. Whether it is removed.
fn remove(desk: &Desk, machine: &Machine, cache: &ResultCache, name: &str) -> Outcome<bool> {
    let Some(ours) = cache.ours(name) else { return Ok(false) };
    let Ok(_lock) = machine.journal.lock(&ours.owner.container, Patience::Try) else { return Ok(false) };
    if cache.ours(name).as_ref() != Some(&ours) || !is_of_nobody(desk, machine, &ours) {
        return Ok(false);
    }
    cache.remove(&ours.owner, &ours.network).map(|()| true)
}

/// Whether the namespace of a result is gone, and nothing else tells of its sandbox: then nobody will ask for it. A DEL that
/// is to come would find in it what no record tells.
fn is_of_nobody(desk: &Desk, machine: &Machine, ours: &Ours) -> bool {
    let places = &desk.settings.places;
    let container = &ours.owner.container;
    let gone = ours
        .netns
        .as_ref()
        .is_some_and(|path| matches!(machine.node().probe.netns(path), Ok(NetnsState::Gone)));
    let unrecorded = || machine.journal.entries(container).is_ok_and(|entries| entries.is_empty());
    let unlisted = || matches!(Sandboxes::new(&places.cache_dir).read(container), Ok(None));
    gone && unrecorded() && unlisted() && !is_spooled(desk, container)
}

/// Whether a DEL of the sandbox is kept.
fn is_spooled(desk: &Desk, container: &ContainerId) -> bool {
    let of = format!("{container}.");
    spool::names(&desk.settings.places.state_dir).any(|name| name.starts_with(&of))
}
