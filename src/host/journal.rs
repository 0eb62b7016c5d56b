//! The journal on disk: one JSON file per attachment.
//!
//! ```text
//! <root>/records/<container>/<ifname>.json    a record; the directory is the container's lock
//! <root>/claims/<claim>                       a symbolic link to the record that has it
//! <root>/aside/<container>.<ifname>.json      what was found in a record's place and is none
//! ```
//!
//! A record is one line of JSON. A later state of it is appended as another line, and the last whole line counts: a
//! process that dies at any point leaves the old state or the new one, and no inode is made but the first. They are not
//! flushed to the disk: after a power failure every namespace and link is gone anyway, and an address whose record was
//! lost is found by its owner's name (`docs/decisions/0003-records-are-not-flushed.md`).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::libc;

use super::lock;
use crate::engine::ports::{Entry, Guard, Holder, Journal, Patience};
use crate::engine::record::{FORMAT, Record};
use crate::model::fault::{Fault, Outcome};
use crate::model::{ContainerId, FaultKind, IfName, Owner};
use crate::plan::claim::Claim;

/// Longest record read, in bytes.
const MAX_RECORD: u64 = 16 << 20;
/// Most entries read of one container.
const MAX_ENTRIES: usize = 1024;

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

    /// When the record of an attachment came to its present state.
    pub fn since(&self, owner: &Owner) -> Option<SystemTime> {
        fs::symlink_metadata(self.record_path(owner)).and_then(|meta| meta.modified()).ok()
    }

    fn container_dir(&self, container: &ContainerId) -> PathBuf {
        self.root.join("records").join(container.as_str())
    }

    fn record_path(&self, owner: &Owner) -> PathBuf {
        self.container_dir(&owner.container).join(format!("{}.json", owner.ifname))
    }

    fn claim_path(&self, claim: &Claim) -> PathBuf {
        self.root.join("claims").join(claim.as_str())
    }
}

/// An open directory with a lock on it.
struct Locked {
    path: PathBuf,
    _directory: File,
}

impl Guard for Locked {}

impl Drop for Locked {
    /// Takes the directory away if no record is in it. Whoever waits for it finds that out and makes it anew.
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.path));
    }
}

impl Journal for FileJournal {
    fn lock(&self, container: &ContainerId, patience: Patience) -> Outcome<Box<dyn Guard>> {
        let path = self.container_dir(container);
        let limit = match patience {
            Patience::Wait => lock::LIMIT,
            Patience::Try => Duration::ZERO,
        };
        // The directory may be taken away between opening and locking it, by a holder that emptied it.
        for _ in 0..16 {
            make_dir(&path)?;
            let Some(directory) = open_dir(&path)? else { continue };
            let directory = lock::exclusive(directory, &path, limit)?;
            if is_at(&directory, &path) {
                return Ok(Box::new(Locked { path, _directory: directory }));
            }
        }
        Err(Fault::new(FaultKind::TryLater, format!("cannot lock {path:?}: others come and go"))
            .remedy("try again"))
    }

    fn entries(&self, container: &ContainerId) -> Outcome<Vec<Entry>> {
        let mut entries = Vec::new();
        for name in names(&self.container_dir(container))? {
            let Some(ifname) = name.strip_suffix(".json").and_then(|n| n.parse::<IfName>().ok()) else {
                continue;
            };
            let owner = Owner { container: container.clone(), ifname };
            entries.push(match read(&self.record_path(&owner), &owner) {
                Ok(record) => Entry::Whole(Box::new(record)),
                // Whoever looks without the lock may come when it is just taken away.
                Err(_) if !self.record_path(&owner).exists() => continue,
                Err(fault) => Entry::Broken(owner, fault),
            });
        }
        entries.sort_by_key(|entry| match entry {
            Entry::Whole(record) => (record.order, record.attachment.owner.ifname.clone()),
            Entry::Broken(owner, _) => (u32::MAX, owner.ifname.clone()),
        });
        Ok(entries)
    }

    fn put(&self, record: &Record) -> Outcome<()> {
        let path = self.record_path(&record.attachment.owner);
        let failed = |cause: io::Error| {
            Fault::new(FaultKind::Io, format!("cannot write record {path:?}"))
                .because(cause)
                .remedy("make room, or make it writable")
        };
        let mut line = serde_json::to_vec(record).map_err(|cause| failed(cause.into()))?;
        // A configuration is kept as it was written, with its line ends. Outside of texts, where JSON escapes them, they
        // mean nothing: as blanks they leave the record on its line.
        line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        append(&path, &line).map_err(failed)
    }

    fn remove(&self, owner: &Owner) -> Outcome<()> {
        let path = self.record_path(owner);
        absent_is_done(fs::remove_file(&path)).map_err(|cause| unremovable(&path, cause))
    }

    fn set_aside(&self, owner: &Owner) -> Outcome<()> {
        let path = self.record_path(owner);
        // Made, and never written: whoever did it died in between, and did nothing else.
        if fs::symlink_metadata(&path).is_ok_and(|meta| meta.len() == 0) {
            return self.remove(owner);
        }
        let aside = self.root.join("aside");
        make_dir(&aside)?;
        let target = aside.join(format!("{}.{}.json", owner.container, owner.ifname));
        absent_is_done(fs::rename(&path, target)).map_err(|cause| unremovable(&path, cause))
    }

    fn containers(&self) -> Outcome<Vec<ContainerId>> {
        Ok(names(&self.root.join("records"))?.into_iter().filter_map(|name| name.parse().ok()).collect())
    }

    fn claim(&self, claim: &Claim, owner: &Owner) -> Outcome<Holder> {
        let path = self.claim_path(claim);
        let failed = |cause: io::Error| {
            Fault::new(FaultKind::Io, format!("cannot claim {:?} in {path:?}", claim.as_str())).because(cause)
        };
        let target = format!("../records/{}/{}.json", owner.container, owner.ifname);
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
            Err(cause) => {
                Err(Fault::new(FaultKind::Io, format!("cannot read the claim {path:?}")).because(cause))
            }
        }
    }

    fn release(&self, claim: &Claim, owner: &Owner) -> Outcome<()> {
        let path = self.claim_path(claim);
        match holder(&path) {
            Ok(Some(holder)) if holder == *owner => {
                absent_is_done(fs::remove_file(&path)).map_err(|cause| unremovable(&path, cause))
            }
            Ok(_) => Ok(()),
            Err(cause) => absent_is_done(Err(cause)).map_err(|cause| unremovable(&path, cause)),
        }
    }
}

/// Who a claim's link names. `None` for a link of another shape, which nobody of ours made.
fn holder(path: &Path) -> io::Result<Option<Owner>> {
    let target = fs::read_link(path)?;
    let text = target.to_string_lossy();
    let owner = text
        .strip_prefix("../records/")
        .and_then(|t| t.strip_suffix(".json"))
        .and_then(|t| t.split_once('/'));
    Ok(owner.and_then(|(container, ifname)| {
        Some(Owner { container: container.parse().ok()?, ifname: ifname.parse().ok()? })
    }))
}

fn read(path: &Path, owner: &Owner) -> Outcome<Record> {
    let unreadable =
        |cause: io::Error| Fault::new(FaultKind::Io, format!("cannot read record {path:?}")).because(cause);
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_RECORD).read_to_end(&mut bytes).map_err(unreadable)?;
    let lines = bytes.split(|byte| *byte == b'\n').rev().filter(|line| !line.is_empty());
    let mut states = lines.map(serde_json::from_slice::<Record>);
    let undecodable = |cause: Box<dyn std::error::Error + Send + Sync>| {
        Fault::new(FaultKind::Decode, format!("{path:?} is no record")).because(cause)
    };
    let record = match states.next() {
        None => return Err(undecodable("it is empty".into())),
        Some(Ok(record)) => record,
        // The last line was cut short; the one before it counts.
        Some(Err(cause)) => states.find_map(Result::ok).ok_or_else(|| undecodable(cause.into()))?,
    };
    if record.format != FORMAT {
        return Err(Fault::new(FaultKind::Version, format!("record {path:?} has format {}", record.format))
            .remedy("finish with the version of Manifold that wrote it"));
    }
    if record.attachment.owner != *owner {
        return Err(Fault::new(
            FaultKind::Decode,
            format!("record {path:?} is of {}", record.attachment.owner),
        ));
    }
    Ok(record)
}

/// Appends a line to a file, which is made if it is not there.
fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)?;
    // A write may have been cut short by a crash: what it left ends here.
    let mark: &[u8] = if file.metadata()?.len() == 0 { b"" } else { b"\n" };
    file.write_all(&[mark, line, b"\n"].concat())
}

/// The names in a directory, in order; an absent directory has none.
fn names(path: &Path) -> Outcome<Vec<String>> {
    let unreadable =
        |cause: io::Error| Fault::new(FaultKind::Io, format!("cannot list {path:?}")).because(cause);
    let listing = match fs::read_dir(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(unreadable)?,
    };
    let mut names = Vec::new();
    for entry in listing {
        names.extend(entry.map_err(unreadable)?.file_name().into_string());
    }
    names.sort_unstable();
    names.truncate(if path.ends_with("records") { names.len() } else { MAX_ENTRIES });
    Ok(names)
}

/// Makes a directory that only root may enter, with its parents.
fn make_dir(path: &Path) -> Outcome<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(_) => DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|cause| {
            Fault::new(FaultKind::Io, format!("cannot make directory {path:?}"))
                .because(cause)
                .remedy("make its parent writable, or set \"stateDir\"")
        }),
    }
}

/// Opens a directory; `None` if it is not there any more.
fn open_dir(path: &Path) -> Outcome<Option<File>> {
    match OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Fault::new(FaultKind::Io, format!("cannot open {path:?}")).because(cause)),
    }
}

/// Whether an open directory is the one at the path now.
fn is_at(directory: &File, path: &Path) -> bool {
    let here = directory.metadata().and_then(|open| Ok((open, fs::symlink_metadata(path)?)));
    here.is_ok_and(|(open, now)| (open.dev(), open.ino()) == (now.dev(), now.ino()))
}

fn absent_is_done(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn unremovable(path: &Path, cause: io::Error) -> Fault {
    Fault::new(FaultKind::Io, format!("cannot remove {path:?}"))
        .because(cause)
        .remedy("make its directory writable")
}
