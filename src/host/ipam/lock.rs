//! The lock of a store: `flock(2)` on its file `lock`, as the reference plugin locks it.

use std::fs::File;
use std::time::Duration;

use nix::fcntl::OFlag;

use super::folder::Folder;
use crate::host::lock;
use crate::model::fault::Outcome;

/// Longest wait for a store's lock: longer than whoever works in a store holds it, the reference plugin among 60,000
/// addresses included (2 s), and shorter than a call may take. A tenant may choose where a store is, and lock it.
const LIMIT: Duration = Duration::from_secs(10);

/// Holds a store's lock while it lives.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, waiting no longer than [`LIMIT`].
    pub(super) fn hold(folder: &Folder) -> Outcome<Self> {
        let opened = folder.entry("lock", OFlag::O_RDONLY | OFlag::O_CREAT, 0o750);
        let file = opened.map_err(|errno| folder.failed("open", "lock", errno))?;
        let file = lock::exclusive_in(&lock::STORES, file, &folder.path().join("lock"), LIMIT)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FaultKind;

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
