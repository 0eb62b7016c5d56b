//! The directory of a store and its entries.

use std::fs::{DirBuilder, DirEntry, File};
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::birth;
use crate::model::fault::{Fault, FaultKind, Outcome};

/// Longest entry read, in bytes: a container id and an interface name are far shorter.
const MAX_ENTRY: u64 = 4096;

/// An open store directory. Entries are reached through it, so a directory that is moved away meanwhile is not mixed
/// up with one made anew in its place.
#[derive(Debug)]
pub(super) struct Folder {
    dir: File,
    path: PathBuf,
}

/// What stands under a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing.
    Absent,
    /// Something that is no file: a symbolic link, a directory, a device.
    Foreign,
    /// An address's file whose maker died before it wrote.
    Unfinished,
    /// A file with this text, white space around it taken off.
    Text(String),
}

impl Folder {
    /// Opens a store, if it is there.
    pub(super) fn open(path: &Path) -> Outcome<Option<Self>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match open(path, flags, Mode::empty()) {
            Ok(dir) => Ok(Some(Self { dir: dir.into(), path: path.to_owned() })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(failed("open", path, errno)),
        }
    }

    /// Opens a store, made if it is not there.
    pub(super) fn make(path: &Path) -> Outcome<Self> {
        if let Some(folder) = Self::open(path)? {
            return Ok(folder);
        }
        let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
        made.map_err(|cause| failed("make", path, cause))?;
        Self::open(path)?.ok_or_else(|| failed("open", path, Errno::ENOENT))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens an entry, never through a symbolic link, and never waiting for the other end of a pipe.
    pub(super) fn entry(&self, name: &str, flags: OFlag, mode: u32) -> Result<File, Errno> {
        let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        openat(&self.dir, name, flags, Mode::from_bits_truncate(mode)).map(File::from)
    }

    /// Reads an entry.
    pub(super) fn read(&self, name: &str) -> Outcome<Content> {
        let file = match self.entry(name, OFlag::O_RDONLY, 0) {
            Ok(file) => file,
            Err(Errno::ENOENT) => return Ok(Content::Absent),
            Err(Errno::ELOOP | Errno::ENXIO) => return Ok(Content::Foreign),
            Err(errno) => return Err(self.failed("read", name, errno)),
        };
        Self::content(&file).map_err(|cause| self.failed("read", name, cause))
    }

    /// What stands in an open entry.
    pub(super) fn content(file: &File) -> io::Result<Content> {
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Ok(Content::Foreign);
        }
        if birth::is_unfinished(&meta) {
            return Ok(Content::Unfinished);
        }
        let mut bytes = Vec::new();
        file.take(MAX_ENTRY).read_to_end(&mut bytes)?;
        Ok(Content::Text(String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    /// Removes an entry, if it is there.
    pub(super) fn remove(&self, name: &str) -> Outcome<()> {
        match unlinkat(&self.dir, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(self.failed("remove", name, errno)),
        }
    }

    /// The entries that are named like an address; none of them is opened.
    pub(super) fn addresses(&self) -> Outcome<Vec<(String, IpAddr)>> {
        let address = |entry: io::Result<DirEntry>| -> io::Result<Option<(String, IpAddr)>> {
            let name = entry?.file_name().into_string().unwrap_or_default();
            let address = name.parse::<IpAddr>().ok();
            Ok(address.map(|address| (name, address.to_canonical())))
        };
        let entries = std::fs::read_dir(format!("/proc/self/fd/{}", self.dir.as_raw_fd()));
        let found = entries.and_then(|entries| entries.filter_map(|e| address(e).transpose()).collect());
        found.map_err(|cause| failed("list", &self.path, cause))
    }

    /// A failure on an entry.
    pub(super) fn failed(&self, verb: &str, name: &str, cause: impl Into<io::Error>) -> Fault {
        failed(verb, &self.path.join(name), cause)
    }
}

fn failed(verb: &str, path: &Path, cause: impl Into<io::Error>) -> Fault {
    Fault::new(FaultKind::Io, format!("cannot {verb} {path:?}")).because(cause.into()).remedy(
        "see that the addresses' store (\"dataDir\" in \"ipam\") is a directory that can be read and written",
    )
}
