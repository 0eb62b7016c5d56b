//! The file in which the program Manifold stands in for keeps the attachments of a sandbox: `<cache dir>/<container>`, a
//! JSON list with an object for each, in order.
//!
//! A node changes between the two while its pods live on. What that program left is read here, and what Manifold makes
//! is written here as that program would, so that each can take down the other's pods. An entry that speaks of an
//! attachment which is not there any more harms nobody: taking down what is gone succeeds.

mod entry;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub use entry::Delegate;
use entry::{asked_interface, delegate, entry, is_of};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::value::RawValue;

use super::file;
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::{Attachment, ContainerId, Owner};

/// Longest file read, in bytes.
const MAX_FILE: u64 = 16 << 20;
/// Most entries read of one file.
const MAX_ENTRIES: usize = 1024;
/// The directory new files are written in, and unreadable ones kept; no container has this name.
const NURSERY: &str = ".manifold";
/// A container of this name has no file: the directory of cached results stands there.
const RESULTS: &str = "results";

/// The files of sandboxes under one cache directory.
#[derive(Debug, Clone)]
pub struct Sandboxes {
    dir: PathBuf,
}

/// What stands in a sandbox's file.
#[derive(Debug)]
pub struct Sandbox {
    /// Its entries, each as far as it can be read.
    pub delegates: Vec<Outcome<Delegate>>,
}

impl Sandboxes {
    /// The files in this directory, such as `/var/lib/cni/multus`.
    pub fn new(cache_dir: &Path) -> Self {
        Self { dir: cache_dir.to_owned() }
    }

    /// What the file of a sandbox tells; `None` if there is no such file.
    ///
    /// # Errors
    /// A file that is too long or no list, or that cannot be read.
    pub fn read(&self, container: &ContainerId) -> Outcome<Option<Sandbox>> {
        let Some(entries) = self.entries(container)? else { return Ok(None) };
        let delegates = (1..).zip(&entries).map(|(number, entry)| {
            delegate(entry)
                .map_err(|fault| fault.while_doing(format!("entry {number} of {:?}", self.path(container))))
        });
        Ok(Some(Sandbox { delegates: delegates.collect() }))
    }

    /// Adds an attachment to the file of its sandbox, or replaces the entry for its interface.
    ///
    /// # Guarantees
    /// Whoever reads sees the old file or the new one, whole. Entries of others stay as they were written.
    ///
    /// # Errors
    /// It is not written; an earlier file stands.
    pub fn put(&self, attachment: &Attachment) -> Outcome<()> {
        let container = &attachment.owner.container;
        let mut entries = match self.entries(container) {
            Ok(entries) => entries.unwrap_or_default(),
            // What cannot be read is none of ours, and not worth refusing a pod for.
            Err(_) => {
                self.set_aside(container)?;
                Vec::new()
            }
        };
        entries.retain(|entry| !is_of(entry, &attachment.owner.ifname));
        entries.push(entry(attachment)?);
        self.write(container, &entries)
    }

    /// Removes the entry of an interface, and the file with its last entry. What is not there is removed already.
    ///
    /// An entry before one that is known by its place alone stays until the whole file goes.
    ///
    /// # Errors
    /// It still stands.
    pub fn remove(&self, owner: &Owner) -> Outcome<()> {
        let container = &owner.container;
        self.clear_nursery(container)?;
        // An unreadable file is dealt with by whoever takes the whole sandbox down.
        let Ok(Some(mut entries)) = self.entries(container) else { return Ok(()) };
        let Some(at) = entries.iter().position(|entry| is_of(entry, &owner.ifname)) else { return Ok(()) };
        if entries.iter().skip(at).any(|entry| asked_interface(entry).is_none()) {
            return Ok(());
        }
        entries.remove(at);
        if entries.is_empty() { self.forget(container) } else { self.write(container, &entries) }
    }

    /// Removes the file of a sandbox.
    ///
    /// # Errors
    /// It still stands.
    pub fn forget(&self, container: &ContainerId) -> Outcome<()> {
        file::gone(fs::remove_file(self.path(container)))
            .map_err(|cause| unusable("remove", container, cause))
    }

    /// Moves the file of a sandbox out of the way, where a person can look at it.
    ///
    /// # Errors
    /// It still stands.
    pub fn set_aside(&self, container: &ContainerId) -> Outcome<()> {
        let failed = |cause| unusable("set aside", container, cause);
        self.make_nursery().map_err(failed)?;
        let aside = self.dir.join(NURSERY).join(format!("{container}.unreadable"));
        file::gone(fs::rename(self.path(container), aside)).map_err(failed)
    }

    fn path(&self, container: &ContainerId) -> PathBuf {
        self.dir.join(container.as_str())
    }

    fn entries(&self, container: &ContainerId) -> Outcome<Option<Vec<Box<RawValue>>>> {
        let failed = |cause: Box<dyn std::error::Error + Send + Sync>| unusable("read", container, cause);
        let bytes = match file::read(&self.path(container), MAX_FILE) {
            Ok(bytes) => bytes,
            Err(error) if file::is_none(&error) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        };
        let entries: Vec<Box<RawValue>> =
            serde_json::from_slice(&bytes).map_err(|cause| failed(cause.into()))?;
        if entries.len() > MAX_ENTRIES {
            return Err(failed(
                format!("it has {} entries; at most {MAX_ENTRIES} are read", entries.len()).into(),
            ));
        }
        Ok(Some(entries))
    }

    /// Writes a file beside its place and moves it there. Only one call at a time writes for a container (the journal
    /// locks it), so what stands in the nursery is a crash's, and is written over.
    fn write(&self, container: &ContainerId, entries: &[Box<RawValue>]) -> Outcome<()> {
        if container.as_str() == RESULTS {
            return Ok(());
        }
        let failed = |cause: io::Error| unusable("write", container, cause);
        let bytes = serde_json::to_vec(entries).map_err(|cause| unusable("write", container, cause))?;
        self.make_nursery().map_err(failed)?;
        let young = self.dir.join(NURSERY).join(container.as_str());
        file::write(&young, 0o600, &bytes).map_err(failed)?;
        replace(&young, &self.path(container)).map_err(failed)
    }

    fn make_nursery(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(self.dir.join(NURSERY))
    }

    fn clear_nursery(&self, container: &ContainerId) -> Outcome<()> {
        file::gone(fs::remove_file(self.dir.join(NURSERY).join(container.as_str())))
            .map_err(|cause| unusable("remove", container, cause))
    }
}

/// Moves a new file to its place. Over an old one the two change places and the old one goes: ext4 sends a file that is
/// renamed over another to the disk first, while the caller waits. Where nothing stands, a rename does.
fn replace(young: &Path, place: &Path) -> io::Result<()> {
    match renameat2(AT_FDCWD, young, AT_FDCWD, place, RenameFlags::RENAME_EXCHANGE) {
        Ok(()) => fs::remove_file(young),
        Err(Errno::ENOENT | Errno::EINVAL | Errno::ENOSYS) => fs::rename(young, place),
        Err(errno) => Err(errno.into()),
    }
}

fn unusable(
    verb: &str,
    container: &ContainerId,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Fault {
    Fault::new(
        FaultKind::Io,
        format!("cannot {verb} the cached networks of sandbox {:?}", container.as_str()),
    )
    .because(cause)
    .remedy("look at the cache directory, \"cniDir\", and the space on its disk")
}
