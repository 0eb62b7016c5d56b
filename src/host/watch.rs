//! Directories that are watched: whoever waits is told that something changed in one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::model::fault::{Fault, FaultKind, Outcome};

/// Directories that are watched.
///
/// What changed is not told: whoever hears of a change looks anew. A directory that is not there is not watched, nor is
/// one that took its place, until it is named again.
#[derive(Debug)]
pub struct Watch(Inotify);

impl Watch {
    /// A watch over nothing yet.
    ///
    /// # Errors
    /// The kernel gives none: a limit is reached.
    pub fn new() -> Outcome<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC);
        inotify.map(Self).map_err(|cause| {
            Fault::new(FaultKind::Kernel, "cannot watch directories")
                .because(io::Error::from(cause))
                .remedy("raise the sysctl \"fs.inotify.max_user_instances\"")
        })
    }

    /// Watches these directories from now on, as far as they are there. Naming one again changes nothing.
    pub fn name(&self, dirs: &[PathBuf]) {
        // What cannot be watched is named again, and may be watched then.
        dirs.iter().for_each(|dir| self.add(dir).map(drop).unwrap_or_default());
    }

    /// Watches a directory from now on; `false` if it is not there.
    ///
    /// # Errors
    /// The kernel has no more watches to give.
    pub fn add(&self, dir: &Path) -> Outcome<bool> {
        let changes = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        match self.0.add_watch(dir, changes) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
            Err(cause) => Err(Fault::new(FaultKind::Io, format!("cannot watch {dir:?}"))
                .because(io::Error::from(cause))
                .remedy("raise the sysctl \"fs.inotify.max_user_watches\"")),
        }
    }

    /// Forgets the changes so far. Whether there were any.
    pub fn drain(&self) -> bool {
        let mut any = false;
        loop {
            match self.0.read_events() {
                Ok(events) => any |= !events.is_empty(),
                Err(Errno::EINTR) => {}
                // EAGAIN: there are no more. Anything else will not get better by asking again.
                Err(_) => return any,
            }
        }
    }
}

impl AsFd for Watch {
    /// Can be read from once something has changed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits for a change, at most so long; without a watch, just so long. A signal may end it early.
pub fn wait(watch: Option<&Watch>, limit: Duration) {
    let mut fds: Vec<PollFd<'_>> =
        watch.iter().map(|watch| PollFd::new(watch.0.as_fd(), PollFlags::POLLIN)).collect();
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    poll(&mut fds, limit).map(drop).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_changes_in_a_directory_is_heard_once_and_what_is_read_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let watch = Watch::new().unwrap();
        watch.name(&[dir.path().join("absent"), dir.path().to_owned(), dir.path().to_owned()]);

        fs::write(&file, "text").unwrap();
        wait(Some(&watch), Duration::from_secs(60));
        assert!(watch.drain());
        fs::read(&file).unwrap();
        assert!(!watch.drain());
        fs::rename(&file, dir.path().join("other")).unwrap();
        assert!(watch.drain());
        fs::remove_file(dir.path().join("other")).unwrap();
        assert!(watch.drain());
    }

    #[test]
    fn a_directory_that_took_anothers_place_is_watched_when_it_is_named_again() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let watch = Watch::new().unwrap();
        watch.name(std::slice::from_ref(&inner));
        fs::remove_dir(&inner).unwrap();
        fs::create_dir(&inner).unwrap();
        watch.drain();

        watch.name(std::slice::from_ref(&inner));
        fs::write(inner.join("file"), "").unwrap();

        assert!(watch.drain());
    }
}
