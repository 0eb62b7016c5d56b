//! What a call shares with others that the same process serves: nothing, in a process that serves one.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::Sender;

use crate::host::exec::Turns;
use crate::host::kube::{News, Tried, Trunk, Watched};
use crate::model::pod::{NETWORKS, Pod};

/// What a call shares, and where it tells how long its parts took.
#[derive(Clone, Default)]
pub(super) struct Context {
    /// How many plugins run at a time.
    pub(super) turns: Option<Arc<Turns>>,
    /// The root directory that plugins are run in, if it is not that of this process.
    pub(super) root: Option<PathBuf>,
    /// Where durations are noted.
    pub(super) stopwatch: Option<Arc<Stopwatch>>,
    /// The way to the cluster.
    pub(super) cluster: Option<Arc<Shared>>,
}

/// The way to the cluster that the calls of a process share, and what was told on it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) trunk: Arc<Trunk>,
    pub(super) watched: Arc<Watched>,
    /// Who hears of pods that select other networks than they have.
    pub(super) ear: Sender<News>,
}

impl Shared {
    /// Tells that a pod was attached with the networks it selected then. What it selects may have changed meanwhile.
    pub(super) fn attached(&self, then: &Pod) {
        let Some(now) = self.watched.pod(&then.name) else { return };
        if now.annotations.get(NETWORKS) != then.annotations.get(NETWORKS) {
            // Where too many wait, the next change or the next start finds it.
            self.ear.try_send(News::Selects(now.name)).unwrap_or_default();
        }
    }
}

/// How long the parts of a call took.
#[derive(Debug, Default)]
pub(super) struct Stopwatch {
    laps: Mutex<Vec<Lap>>,
    tries: Mutex<Vec<Tried>>,
}

/// One part of a call.
#[derive(Debug, Clone)]
pub(super) struct Lap {
    /// What was done: `survey`, `apply`, `revert`, `check`; in the log also `ask`.
    pub(super) phase: &'static str,
    /// On what: a kind of link or step, or a plugin.
    pub(super) kind: String,
    /// How long it took.
    pub(super) took: Duration,
}

impl Lap {
    /// A try of a request to the API server, as the log has it.
    pub(super) fn asked(tried: &Tried) -> Self {
        Self { phase: "ask", kind: format!("{} {}", tried.verb, tried.resource), took: tried.took }
    }
}

impl Stopwatch {
    pub(super) fn note(&self, lap: Lap) {
        self.laps.lock().unwrap_or_else(PoisonError::into_inner).push(lap);
    }

    /// Notes a try of a request to the API server.
    pub(super) fn tried(&self, tried: Tried) {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner).push(tried);
    }

    /// All laps so far.
    pub(super) fn laps(&self) -> Vec<Lap> {
        self.laps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All tries of requests to the API server so far.
    pub(super) fn tries(&self) -> Vec<Tried> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
