//! The desk: who is served now, who waits, and whether anybody is let in at all.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_blocking;

use super::metrics::Metrics;
use crate::front::context::{Context, Shared, Stopwatch};
use crate::front::install::Keeper;
use crate::host::exec::Turns;
use crate::model::settings::DaemonSettings;

/// What all calls of a daemon share.
pub(super) struct Desk {
    /// The daemon's configuration.
    pub(super) settings: DaemonSettings,
    /// What is counted.
    pub(super) metrics: Metrics,
    /// Who keeps the runtime's configuration, if anybody does.
    pub(super) keeper: Option<Arc<Keeper>>,
    /// The way to the cluster, if there is one.
    pub(super) cluster: Option<Arc<Shared>>,
    /// Why there is no certificate of this node, where one is asked for.
    pub(super) uncertified: Mutex<Option<String>>,
    places: Semaphore,
    turns: Arc<Turns>,
    waiting: AtomicUsize,
    working: AtomicUsize,
    closing: AtomicBool,
    left: Notify,
}

/// How a job ended.
pub(super) enum Ended<T> {
    /// It was done.
    Done(T),
    /// The daemon is closing: nothing was done.
    Closed,
    /// It broke off; what it did is on record.
    Broken,
}

impl Desk {
    /// A desk with so many places.
    pub(super) fn new(settings: DaemonSettings, places: usize, cluster: Option<Arc<Shared>>) -> Self {
        Self {
            cluster,
            uncertified: Mutex::default(),
            places: Semaphore::new(places),
            turns: Arc::new(Turns::new(settings.plugins)),
            metrics: Metrics::default(),
            keeper: settings.installation.clone().map(|installation| Arc::new(Keeper::new(installation))),
            settings,
            waiting: AtomicUsize::new(0),
            working: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            left: Notify::new(),
        }
    }

    /// What a call shares with others; its durations are its own.
    pub(super) fn context(&self) -> Context {
        Context {
            turns: Some(Arc::clone(&self.turns)),
            root: self.settings.root.clone(),
            stopwatch: Some(Arc::new(Stopwatch::default())),
            cluster: self.cluster.clone(),
        }
    }

    /// Does a job on a thread of its own, as soon as there is a place.
    ///
    /// # Guarantees
    /// A caller that goes away while it waits is forgotten. A job that has begun is finished, whoever is there to hear
    /// of it: an ADD whose caller went away is on record, and taken down by the DEL that follows.
    pub(super) async fn serve<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Ended<T> {
        let place = {
            let _waiting = Count::up(&self.waiting);
            self.places.acquire().await
        };
        let (Ok(place), false) = (place, self.is_closing()) else { return Ended::Closed };
        place.forget();
        let desk = Arc::clone(self);
        let working = Working::begin(Arc::clone(self));
        let done = spawn_blocking(move || {
            let _working = working;
            job(&desk)
        });
        done.await.map_or(Ended::Broken, Ended::Done)
    }

    /// How many wait, and how many are served.
    pub(super) fn crowd(&self) -> (usize, usize) {
        (self.waiting.load(Ordering::Relaxed), self.working.load(Ordering::Relaxed))
    }

    /// Whether nobody is let in any more.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Why a pod would not get its networks now, as far as the daemon knows; `None` if it would.
    pub(super) fn trouble(&self) -> Option<String> {
        if self.is_closing() {
            return Some("stopping".to_owned());
        }
        let uncertified = self.uncertified.lock().unwrap_or_else(PoisonError::into_inner).clone();
        uncertified.or_else(|| self.keeper.as_ref().and_then(|keeper| keeper.trouble()))
    }

    /// Lets nobody in any more.
    pub(super) fn refuse(&self) {
        self.closing.store(true, Ordering::Release);
        self.places.close();
    }

    /// Waits until all who are served are gone, or the time is over. Answers with how many are still there.
    pub(super) async fn close(&self, until: Instant) -> usize {
        self.refuse();
        let deadline = tokio::time::Instant::from_std(until);
        loop {
            let left = self.left.notified();
            let (_, working) = self.crowd();
            if working == 0 || tokio::time::timeout_at(deadline, left).await.is_err() {
                return working;
            }
        }
    }
}

/// Counts one more while it lives.
struct Count<'a>(&'a AtomicUsize);

impl<'a> Count<'a> {
    fn up(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place that is taken; it is free again when this is dropped, also by a job that broke off.
struct Working(Arc<Desk>);

impl Working {
    fn begin(desk: Arc<Desk>) -> Self {
        desk.working.fetch_add(1, Ordering::Relaxed);
        Self(desk)
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.working.fetch_sub(1, Ordering::Relaxed);
        self.0.places.add_permits(1);
        self.0.left.notify_waiters();
    }
}
