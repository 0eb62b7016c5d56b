//! What a call shares with others that the same process serves: nothing, in a process that serves one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::host::exec::Turns;

/// What a call shares, and where it tells how long its parts took.
#[derive(Clone, Default)]
pub(super) struct Context {
    /// How many plugins run at a time.
    pub(super) turns: Option<Arc<Turns>>,
    /// Where durations are noted.
    pub(super) stopwatch: Option<Arc<Stopwatch>>,
}

/// How long the parts of a call took.
#[derive(Debug, Default)]
pub(super) struct Stopwatch(Mutex<Vec<Lap>>);

/// One part of a call.
#[derive(Debug, Clone)]
pub(super) struct Lap {
    /// What was done: `survey`, `apply`, `revert`, `check`.
    pub(super) phase: &'static str,
    /// On what: a kind of link or step, or a plugin.
    pub(super) kind: String,
    /// How long it took.
    pub(super) took: Duration,
}

impl Stopwatch {
    pub(super) fn note(&self, lap: Lap) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(lap);
    }

    /// All laps so far.
    pub(super) fn laps(&self) -> Vec<Lap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
