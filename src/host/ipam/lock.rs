//! The lock of a store: `flock(2)` on its file `lock`, as the reference plugin locks it.

use std::fs::{File, TryLockError};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use nix::fcntl::OFlag;

use super::folder::Folder;
use crate::model::fault::{Fault, FaultKind, Outcome};

/// How long to wait for the lock.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most threads that wait at a time.
const MAX_WAITING: usize = 256;

/// How many threads wait now, for any store: a bound on the process's threads, which are the process's own.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Holds a store's lock while it lives. The file is opened anew each time: the lock belongs to the open file, and so
/// keeps threads of one process apart as well as processes.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock.
    ///
    /// # Guarantees
    /// Waits at most 10 s, in the kernel's queue: a call that tried again and again would starve beside the many
    /// processes that wait in it. `flock(2)` knows no limit of time, so a thread of its own waits; when the limit is
    /// over it is left behind and lets the lock go as soon as it gets it. There are at most 256 such threads.
    pub(super) fn hold(folder: &Folder) -> Outcome<Self> {
        Self::hold_within(folder, PATIENCE)
    }

    fn hold_within(folder: &Folder, patience: Duration) -> Outcome<Self> {
        let opened = folder.entry("lock", OFlag::O_RDONLY | OFlag::O_CREAT, 0o750);
        let file = opened.map_err(|errno| folder.failed("open", "lock", errno))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => wait(file, folder, patience),
            Err(TryLockError::Error(cause)) => Err(folder.failed("lock", "lock", cause)),
        }
    }
}

/// One of the threads that may wait.
struct Turn;

impl Turn {
    fn take() -> Option<Self> {
        let one_more = |waiting| (waiting < MAX_WAITING).then_some(waiting + 1);
        WAITING.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok().then_some(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
}

fn wait(file: File, folder: &Folder, patience: Duration) -> Outcome<Lock> {
    let turn =
        Turn::take().ok_or_else(|| busy(folder, format!("{MAX_WAITING} calls wait for it already")))?;
    let (sender, receiver) = sync_channel(1);
    let waiting = thread::Builder::new().name("store-lock".into()).stack_size(64 << 10).spawn(move || {
        let _turn = turn;
        // Nobody may be there to receive the file any more: then it is closed, and the lock is free again.
        drop(sender.send(lock(&file).map(|()| file)));
    });
    waiting.map_err(|cause| folder.failed("wait for", "lock", cause))?;
    match receiver.recv_timeout(patience) {
        Ok(Ok(file)) => Ok(Lock { _file: file }),
        Ok(Err(cause)) => Err(folder.failed("lock", "lock", cause)),
        Err(RecvTimeoutError::Timeout) => Err(busy(folder, format!("waited {patience:?} for it"))),
        Err(RecvTimeoutError::Disconnected) => {
            Err(folder.failed("wait for", "lock", io::Error::other("the waiting thread ended")))
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

fn busy(folder: &Folder, why: String) -> Fault {
    let path = folder.path().join("lock");
    Fault::new(FaultKind::TryLater, format!("the addresses' store is locked by {path:?}"))
        .because(why)
        .remedy(format!("try again; if it lasts, see with \"fuser -v {}\" who holds it", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_held_too_long_says_try_later_and_is_free_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::make(dir.path()).unwrap();
        let held = Lock::hold(&folder).unwrap();

        let fault = Lock::hold_within(&folder, Duration::from_millis(20)).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::TryLater);
        assert!(fault.to_string().contains("20ms"), "{fault}");

        // The thread left behind gets the lock in between and lets it go.
        drop(held);
        drop(Lock::hold(&folder).unwrap());
    }

    #[test]
    fn who_waits_gets_the_lock_when_it_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::make(dir.path()).unwrap();
        let held = Lock::hold(&folder).unwrap();

        thread::scope(|scope| {
            let waiting = scope.spawn(|| Lock::hold(&folder).map(drop));
            while WAITING.load(Ordering::Relaxed) == 0 {
                thread::yield_now();
            }
            drop(held);
            assert!(waiting.join().unwrap().is_ok());
        });
    }

    #[test]
    fn a_lock_that_is_a_symbolic_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::make(dir.path()).unwrap();
        let elsewhere = dir.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, dir.path().join("lock")).unwrap();

        assert_eq!(Lock::hold(&folder).unwrap_err().kind(), FaultKind::Io);
        assert!(!elsewhere.exists());
    }
}
