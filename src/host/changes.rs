//! Tells when records change, by inotify(7) on the journal's directories.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::model::fault::{Fault, FaultKind, Outcome};

/// How often the place of the records is looked for anew, where directories come and go meanwhile.
const TRIES: u32 = 16;

/// The changes of the journal beneath a directory. Its descriptor can be read from once something has changed.
#[derive(Debug)]
pub struct Changes {
    inotify: Inotify,
    records: PathBuf,
}

impl Changes {
    /// Those of the journal beneath `root`, which need not be there yet.
    ///
    /// # Errors
    /// The kernel has no more watches to give.
    pub fn of(root: &Path) -> Outcome<Self> {
        let records = std::path::absolute(root).map_err(|cause| failed(root, cause))?.join("records");
        let flags = InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC;
        let inotify = Inotify::init(flags).map_err(|cause| failed(&records, cause.into()))?;
        Ok(Self { inotify, records })
    }

    /// Forgets what has changed so far, and attends to all directories that are there now.
    ///
    /// # Guarantees
    /// Whatever is read after this, and changes after it was read, is told of.
    ///
    /// # Errors
    /// The kernel has no more watches to give.
    pub fn attend(&self) -> Outcome<()> {
        while matches!(self.inotify.read_events(), Ok(events) if !events.is_empty()) {}
        for _ in 0..TRIES {
            let Some(top) = self.nearest() else { return Ok(()) };
            // What is made before its parent is attended to is there when it is looked for again.
            if self.watch(top)? && self.nearest() == Some(top) {
                break;
            }
        }
        // Those that are made from now on are a change of their parent.
        for directory in fs::read_dir(&self.records).into_iter().flatten().filter_map(Result::ok) {
            self.watch(&directory.path())?;
        }
        Ok(())
    }

    /// The directory of the records, or the nearest one above it that is there.
    fn nearest(&self) -> Option<&Path> {
        self.records.ancestors().find(|path| path.is_dir())
    }

    /// Whether the path is there to be watched.
    fn watch(&self, path: &Path) -> Outcome<bool> {
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        match self.inotify.add_watch(path, flags) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
            Err(cause) => Err(failed(path, cause.into())),
        }
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn failed(path: &Path, cause: io::Error) -> Fault {
    Fault::new(FaultKind::Io, format!("cannot watch {path:?}"))
        .because(cause)
        .remedy("raise \"fs.inotify.max_user_instances\" and \"fs.inotify.max_user_watches\" (sysctl), or look without --watch")
}
