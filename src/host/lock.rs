//! File locks with a bounded wait: `flock(2)`, which the reference plugins use too.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

/// Longest wait for a lock. Shorter than any runtime's limit for a call, longer than any holder works.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Locks an open file or directory for ourselves, at once if it is free.
///
/// The lock is of the open file description: it ends when `file` is dropped, or its process dies.
///
/// # Errors
/// [`FaultKind::TryLater`] if somebody else holds it for longer than `limit`.
pub fn exclusive(file: File, path: &Path, limit: Duration) -> Outcome<File> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(cause)) => Err(unlockable(path, cause)),
        Err(TryLockError::WouldBlock) if limit.is_zero() => Err(held(path, limit)),
        Err(TryLockError::WouldBlock) => wait(file, path, limit),
    }
}

/// Waits on a thread of its own: `flock` knows no time limit. A thread that outlives the limit ends, and lets go, as
/// soon as it gets the lock.
fn wait(file: File, path: &Path, limit: Duration) -> Outcome<File> {
    let (sender, receiver) = mpsc::channel();
    let waiter = move || drop(sender.send(file.lock().map(|()| file)));
    thread::Builder::new().spawn(waiter).map_err(|cause| unlockable(path, cause))?;
    match receiver.recv_timeout(limit) {
        Ok(Ok(file)) => Ok(file),
        Ok(Err(cause)) => Err(unlockable(path, cause)),
        Err(_) => Err(held(path, limit)),
    }
}

fn held(path: &Path, limit: Duration) -> Fault {
    Fault::new(
        FaultKind::TryLater,
        format!("{path:?} is locked by another process, for longer than {} s", limit.as_secs()),
    )
    .remedy("try again; if it lasts, find the holder with \"lslocks\"")
}

fn unlockable(path: &Path, cause: std::io::Error) -> Fault {
    Fault::new(FaultKind::Io, format!("cannot lock {path:?}")).because(cause)
}
