//! File locks with a bounded wait: `flock(2)`, which the reference plugins use too.
//!
//! The lock belongs to the open file description: it ends when the file is dropped or its process dies, and it keeps
//! threads of one process apart as well as processes, for each opens the file anew.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

/// Longest wait for a lock. Shorter than any runtime's limit for a call, longer than any holder works that runs no slow
/// plugin.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Threads that wait for locks, no more of them at a time than a bound.
pub struct Queue {
    waiting: AtomicUsize,
    most: usize,
}

/// Whoever waits for a file that is Manifold's or another program's of the node.
static NODES: Queue = Queue::new(256);
/// Whoever waits for a store of addresses. A tenant may choose where one is, and hold its lock for ever: that must not
/// take the threads of all others.
pub static STORES: Queue = Queue::new(64);

/// Locks an open file or directory for ourselves, at once if it is free; `path` names it in errors.
///
/// # Guarantees
/// Waits at most `limit`, in the kernel's queue: a call that tried again and again would starve beside the many
/// processes that wait in it. `flock(2)` knows no limit of time, so a thread of its own waits; when the limit is over it
/// is left behind and lets the lock go as soon as it gets it. There are at most 256 such threads.
///
/// # Errors
/// [`FaultKind::TryLater`] if somebody else holds it for longer.
pub fn exclusive(file: File, path: &Path, limit: Duration) -> Outcome<File> {
    exclusive_in(&NODES, file, path, limit)
}

/// The same, waiting in a queue of its own.
///
/// # Errors
/// As [`exclusive`].
pub fn exclusive_in(queue: &'static Queue, file: File, path: &Path, limit: Duration) -> Outcome<File> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(cause)) => Err(unlockable(path, cause)),
        Err(TryLockError::WouldBlock) if limit.is_zero() => Err(busy(path, "and there is no waiting for it")),
        Err(TryLockError::WouldBlock) => wait(queue, file, path, limit),
    }
}

impl Queue {
    const fn new(most: usize) -> Self {
        Self { waiting: AtomicUsize::new(0), most }
    }

    fn enter(&'static self) -> Option<Turn> {
        let one_more = |waiting| (waiting < self.most).then_some(waiting + 1);
        self.waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
            .then_some(Turn(self))
    }
}

/// One of the threads that may wait.
struct Turn(&'static Queue);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn wait(queue: &'static Queue, file: File, path: &Path, limit: Duration) -> Outcome<File> {
    let most = queue.most;
    let turn = queue.enter().ok_or_else(|| busy(path, &format!("and {most} calls wait already")))?;
    let (sender, receiver) = sync_channel(1);
    let waiting = thread::Builder::new().name("lock".into()).stack_size(64 << 10).spawn(move || {
        let _turn = turn;
        // Nobody may be there to receive the file any more: then it is closed, and the lock is free again.
        drop(sender.send(lock(&file).map(|()| file)));
    });
    waiting.map_err(|cause| unlockable(path, cause))?;
    match receiver.recv_timeout(limit) {
        Ok(Ok(file)) => Ok(file),
        Ok(Err(cause)) => Err(unlockable(path, cause)),
        Err(RecvTimeoutError::Timeout) => Err(busy(path, &format!("for longer than {limit:?}"))),
        Err(RecvTimeoutError::Disconnected) => {
            Err(unlockable(path, io::Error::other("the waiting thread ended")))
        }
    }
}

/// Locks, however many signals arrive meanwhile.
fn lock(file: &File) -> io::Result<()> {
    loop {
        match file.lock() {
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn busy(path: &Path, how: &str) -> Fault {
    Fault::new(FaultKind::TryLater, format!("{path:?} is locked by another process, {how}"))
        .remedy(format!("try again; if it lasts, see with \"fuser -v {}\" who holds it", path.display()))
}

fn unlockable(path: &Path, cause: io::Error) -> Fault {
    Fault::new(FaultKind::Io, format!("cannot lock {path:?}")).because(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> File {
        File::options().create(true).append(true).open(path).unwrap()
    }

    #[test]
    fn a_lock_that_is_held_too_long_says_try_later_and_is_free_afterwards() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path();
        let held = exclusive(open(path), path, Duration::ZERO).unwrap();

        for limit in [Duration::ZERO, Duration::from_millis(20)] {
            let fault = exclusive(open(path), path, limit).unwrap_err();
            assert_eq!(fault.kind(), FaultKind::TryLater);
        }

        // The thread left behind gets the lock in between and lets it go.
        drop(held);
        drop(exclusive(open(path), path, LIMIT).unwrap());
    }

    #[test]
    fn a_lock_that_is_held_for_ever_takes_no_more_threads_than_its_queue_has() {
        static SHORT: Queue = Queue::new(2);
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path();
        let held = exclusive(open(path), path, Duration::ZERO).unwrap();

        for waited in ["for longer than 5ms", "for longer than 5ms", "and 2 calls wait already"] {
            let limit = Duration::from_millis(5);
            let told = exclusive_in(&SHORT, open(path), path, limit).unwrap_err().to_string();
            assert!(told.ends_with(waited), "{told}");
        }

        drop(held);
        drop(exclusive(open(path), path, LIMIT).unwrap());
    }

    #[test]
    fn who_waits_gets_the_lock_when_it_is_let_go() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path();
        let held = exclusive(open(path), path, Duration::ZERO).unwrap();

        thread::scope(|scope| {
            let waiting = scope.spawn(|| exclusive(open(path), path, LIMIT).map(drop));
            while NODES.waiting.load(Ordering::Relaxed) == 0 {
                thread::yield_now();
            }
            drop(held);
            assert!(waiting.join().unwrap().is_ok());
        });
    }
}
