//! Tells when records change, by inotify(7) on the journal's directory.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use super::watch::Watch;
use crate::model::fault::{Fault, FaultKind, Outcome};

/// How often the place of the records is looked for anew, where directories come and go meanwhile.
const TRIES: u32 = 16;

/// The changes of the journal beneath a directory. Its descriptor can be read from once something has changed.
#[derive(Debug)]
pub struct Changes {
    watch: Watch,
    records: PathBuf,
}

impl Changes {
    /// Those of the journal beneath `root`, which need not be there yet.
    ///
    /// # Errors
    /// The kernel has no more watches to give.
    pub fn of(root: &Path) -> Outcome<Self> {
        let root = std::path::absolute(root)
            .map_err(|cause| Fault::new(FaultKind::Io, format!("cannot watch {root:?}")).because(cause))?;
        Ok(Self { watch: Watch::new()?, records: root.join("records") })
    }

    /// Forgets what has changed so far, and attends to the directory of the records, or what is there of it.
    ///
    /// # Guarantees
    /// Whatever is read after this, and changes after it was read, is told of.
    ///
    /// # Errors
    /// The kernel has no more watches to give.
    pub fn attend(&self) -> Outcome<()> {
        self.watch.drain();
        for _ in 0..TRIES {
            let Some(top) = self.nearest() else { return Ok(()) };
            // What is made before its parent is attended to is there when it is looked for again.
            if self.watch.add(top)? && self.nearest() == Some(top) {
                break;
            }
        }
        Ok(())
    }

    /// The directory of the records, or the nearest one above it that is there.
    fn nearest(&self) -> Option<&Path> {
        self.records.ancestors().find(|path| path.is_dir())
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}
