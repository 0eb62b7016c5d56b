//! The desk: who is served now, who waits, and whether anybody is let in at all.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::metrics::Metrics;
use crate::front::context::{Context, Shared, Stopwatch};
use crate::front::install::Keeper;
use crate::front::readiness;
use crate::host::exec::Turns;
use crate::model::fault::Outcome;
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
    /// Had by a GC alone, or by all who attach what no runtime asked for: plugins free what they are not told of. A runtime
    /// calls for no ADD beside its own GC.
    collecting: RwLock<()>,
    places: Arc<Semaphore>,
    /// Those of the places that whoever makes something may have: all but a quarter, from 4 on.
    makers: Arc<Semaphore>,
    turns: Arc<Turns>,
    waiting: AtomicUsize,
    working: AtomicUsize,
    closing: AtomicBool,
    left: Notify,
}

/// What a job is, for whoever lets it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// It makes something, or may take long: some places are not for it, so that what takes down is not shut out.
    Makes,
    /// It takes down, or looks.
    Other,
    /// Somebody wants to know how things are now, and does not wait long.
    Status,
}

/// How long a STATUS waits for a place.
const SOON: Duration = Duration::from_secs(5);

/// How a job ended.
pub(super) enum Ended<T> {
    /// It was done.
    Done(T),
    /// The daemon is closing: nothing was done.
    Closed,
    /// There was no place in time: nothing was done.
    Busy,
    /// It broke off; what it did is on record.
    Broken,
}

impl Desk {
    /// A desk with so many places.
    pub(super) fn new(settings: DaemonSettings, places: usize, cluster: Option<Arc<Shared>>) -> Self {
        Self {
            cluster,
            uncertified: Mutex::default(),
            collecting: RwLock::default(),
            places: Arc::new(Semaphore::new(places)),
            makers: Arc::new(Semaphore::new(places - places / 4)),
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

    /// Waits for the default network, if a file is named that tells of it. It takes no place: as long as that network is
    /// not up, pods must be able to go.
    ///
    /// # Errors
    /// It is not up in time.
    pub(super) async fn ready(&self, file: Option<&Path>) -> Outcome<()> {
        let _waiting = Count::up(&self.waiting);
        readiness::wait_aside(file, || self.is_closing()).await
    }

    /// Does a job on a thread of its own, as soon as there is a place.
    ///
    /// # Guarantees
    /// A caller that goes away while it waits is forgotten. A job that has begun is finished, whoever is there to hear
    /// of it: an ADD whose caller went away is on record, and taken down by the DEL that follows.
    pub(super) async fn serve<T: Send + 'static>(
        self: &Arc<Self>,
        sort: Sort,
        job: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Ended<T> {
        let place = {
            let _waiting = Count::up(&self.waiting);
            match sort {
                Sort::Makes | Sort::Other => self.place(sort).await,
                Sort::Status => match timeout(SOON, self.place(sort)).await {
                    Ok(place) => place,
                    Err(_) => return Ended::Busy,
                },
            }
        };
        let (Ok(place), false) = (place, self.is_closing()) else { return Ended::Closed };
        let desk = Arc::clone(self);
        let working = Working::begin(Arc::clone(self), place);
        let done = spawn_blocking(move || {
            let _working = working;
            job(&desk)
        });
        done.await.map_or(Ended::Broken, Ended::Done)
    }

    /// Waits for a place.
    async fn place(&self, sort: Sort) -> Result<Place, AcquireError> {
        let maker = match sort {
            Sort::Makes => Some(Arc::clone(&self.makers).acquire_owned().await?),
            Sort::Other | Sort::Status => None,
        };
        Ok(Place { _maker: maker, _place: Arc::clone(&self.places).acquire_owned().await? })
    }

    /// Keeps a GC waiting while it lives.
    pub(super) fn attaching(&self) -> RwLockReadGuard<'_, ()> {
        self.collecting.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps all others waiting who attach what no runtime asked for, while it lives.
    pub(super) fn collecting(&self) -> RwLockWriteGuard<'_, ()> {
        self.collecting.write().unwrap_or_else(PoisonError::into_inner)
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
        self.makers.close();
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

/// A place that is taken; it is free again when this is dropped.
struct Place {
    _maker: Option<OwnedSemaphorePermit>,
    _place: OwnedSemaphorePermit,
}

/// A job that is done; dropped also by one that broke off.
struct Working {
    desk: Arc<Desk>,
    _place: Place,
}

impl Working {
    fn begin(desk: Arc<Desk>, place: Place) -> Self {
        desk.working.fetch_add(1, Ordering::Relaxed);
        Self { desk, _place: place }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.desk.working.fetch_sub(1, Ordering::Relaxed);
        self.desk.left.notify_waiters();
    }
}
