//! The journal on disk: one file of JSON lines per sandbox.
//!
//! ```text
//! <root>/records/<container>.json     the records of a sandbox; the file is its lock
//! <root>/claims/<claim>               a symbolic link that names the record which has it
//! <root>/aside/<container>…           what was found in the place of records and is none, or could not be undone
//! ```
//!
//! What becomes of a record is appended as another line, so a process that dies at any point leaves the old state or the
//! new one, and a sandbox has one inode. Nothing is flushed to the disk: after a power failure every namespace and link is
//! gone anyway, and an address whose record was lost is found by its owner's name
//! (`docs/decisions/0003-records-are-not-flushed.md`).

mod lines;
mod orphan;
mod sheet;

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{AccessFlags, access};
use sheet::Sheet;

use super::lock;
use crate::engine::ports::{Broken, Entry, Holder, Journal, Patience, Records};
use crate::model::fault::{Fault, Outcome};
use crate::model::{ContainerId, FaultKind, Owner};
use crate::plan::claim::Claim;

/// The journal beneath a directory.
#[derive(Debug, Clone)]
pub struct FileJournal {
    root: PathBuf,
}

impl FileJournal {
    /// The journal beneath `root`, which is made when first written to.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The entries of a container, for people: where its file cannot be read, that is one of them, and hides no other
    /// container.
    pub fn told(&self, container: &ContainerId) -> Vec<Entry> {
        self.entries(container).unwrap_or_else(|fault| {
            vec![Entry::Broken(Broken { container: container.clone(), ifname: None, fault })]
        })
    }

    /// When the record of an attachment came to its present state.
    pub fn since(&self, owner: &Owner) -> Option<SystemTime> {
        let text = sheet::read(&self.records_path(&owner.container)).ok()?;
        let seconds = lines::since(&text, &owner.ifname)?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }

    fn records_path(&self, container: &ContainerId) -> PathBuf {
        self.root.join("records").join(format!("{container}.json"))
    }

    fn claim_path(&self, claim: &Claim) -> PathBuf {
        self.root.join("claims").join(claim.as_str())
    }
}

impl Journal for FileJournal {
    fn lock(&self, container: &ContainerId, patience: Patience) -> Outcome<Box<dyn Records + '_>> {
        let limit = match patience {
            Patience::Wait => lock::LIMIT,
            Patience::Try => Duration::ZERO,
        };
        let (path, aside) = (self.records_path(container), self.root.join("aside"));
        Ok(Box::new(Sheet::lock(path, aside, container, limit)?))
    }

    fn is_writable(&self, container: &ContainerId) -> Outcome<()> {
        let folder = self.root.join("records");
        if folder.is_dir() {
            // Taking and leaving a lock proves it.
            return self.lock(container, Patience::Try).map(drop);
        }
        // The first that writes makes the directory, and whoever only asks does not.
        let there = folder.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
        let may = AccessFlags::W_OK | AccessFlags::X_OK;
        let made = if there.is_dir() { access(there, may) } else { Err(Errno::ENOTDIR) };
        made.map_err(|cause| failed("make the directory", &folder, cause.into()))
    }

    fn entries(&self, container: &ContainerId) -> Outcome<Vec<Entry>> {
        let path = self.records_path(container);
        let text = sheet::read(&path).map_err(|cause| failed("read the records", &path, cause))?;
        Ok(lines::entries(&text, container))
    }

    fn containers(&self) -> Outcome<Vec<ContainerId>> {
        let path = self.root.join("records");
        let unreadable = |cause| failed("list the records in", &path, cause);
        let listing = match fs::read_dir(&path) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(unreadable)?,
        };
        let mut containers: Vec<ContainerId> = Vec::new();
        for entry in listing {
            let name = entry.map_err(unreadable)?.file_name();
            let container = name.to_str().and_then(|name| name.strip_suffix(".json"));
            containers.extend(container.and_then(|container| container.parse().ok()));
        }
        containers.sort_unstable();
        Ok(containers)
    }

    fn claim(&self, claim: &Claim, owner: &Owner) -> Outcome<Holder> {
        let path = self.claim_path(claim);
        let failed = |cause: io::Error| failed("make the claim", &path, cause);
        let target = format!("{RECORDS}{}{IFNAME}{}", owner.container, owner.ifname);
        let made = match symlink(&target, &path) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => {
                make_dir(&self.root.join("claims"))?;
                symlink(&target, &path)
            }
            other => other,
        };
        match made {
            Ok(()) => Ok(Holder::You),
            Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {
                let holder = holder(&path).map_err(failed)?;
                Ok(holder.filter(|h| h != owner).map_or(Holder::You, Holder::Other))
            }
            Err(cause) => Err(failed(cause)),
        }
    }

    fn holder(&self, claim: &Claim) -> Outcome<Option<Owner>> {
        let path = self.claim_path(claim);
        match holder(&path) {
            Ok(holder) => Ok(holder),
            Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(cause) => Err(failed("read the claim", &path, cause)),
        }
    }

    fn release(&self, claim: &Claim, owner: &Owner) -> Outcome<()> {
        let path = self.claim_path(claim);
        match holder(&path) {
            Ok(Some(holder)) if holder == *owner => absent_is_done(fs::remove_file(&path))
                .map_err(|cause| failed("remove the claim", &path, cause)),
            Ok(_) => Ok(()),
            Err(cause) => {
                absent_is_done(Err(cause)).map_err(|cause| failed("remove the claim", &path, cause))
            }
        }
    }
}

/// What a claim's link names: the file of the records, and the interface in it.
const RECORDS: &str = "../records/";
const IFNAME: &str = ".json#";

/// Who a claim's link names. `None` for a link of another shape, which nobody of ours made.
fn holder(path: &Path) -> io::Result<Option<Owner>> {
    let target = fs::read_link(path)?;
    let text = target.to_string_lossy();
    let owner = text.strip_prefix(RECORDS).and_then(|t| t.split_once(IFNAME));
    Ok(owner.and_then(|(container, ifname)| {
        Some(Owner { container: container.parse().ok()?, ifname: ifname.parse().ok()? })
    }))
}

/// Makes a directory that only root may enter, with its parents.
fn make_dir(path: &Path) -> Outcome<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|cause| failed("make the directory", path, cause))
}

fn absent_is_done(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// What cannot be done to the journal, and what helps.
fn failed(what: &str, path: &Path, cause: io::Error) -> Fault {
    let remedy = match cause.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => "make room on its file system",
        Some(libc::EACCES | libc::EPERM) => "run it as root, or set \"stateDir\" to where it may write",
        Some(libc::EROFS) => "set \"stateDir\" to a place that can be written to",
        _ => "look what is there, and whether its file system is sound",
    };
    Fault::new(FaultKind::Io, format!("cannot {what} {path:?}")).because(cause).remedy(remedy)
}

#[cfg(test)]
mod tests;
