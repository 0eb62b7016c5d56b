//! One Manifold at a time at a bridge domain: VPP cannot be asked to put an interface into one only if it is there.
//!
//! The lock is a file beneath the directory of records, one for each VPP and domain, which stays: it can be taken where
//! the disk is full, and whoever waits for it waits for the same file as all others.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use nix::libc;

use crate::host::lock;
use crate::host::stream::Deadline;
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};
use crate::plan::mark;

/// Where the files are, beneath the directory of records.
const FOLDER: &str = "vpp";

/// Holds others with the same directory of records off a bridge domain while it lives.
#[derive(Debug)]
pub(super) struct Turn {
    _file: File,
}

impl Turn {
    /// Waits for others, no longer than until `deadline`; `api` is VPP's socket, `number` the domain's.
    ///
    /// # Errors
    /// [`FaultKind::TryLater`] if somebody works on the domain for longer; or the lock's file cannot be made.
    pub(super) fn take(api: &Path, number: u32, state_dir: &Path, deadline: Deadline) -> Outcome<Self> {
        // One socket may be named by several paths.
        let api = fs::canonicalize(api).unwrap_or_else(|_| api.to_owned());
        let folder = state_dir.join(FOLDER);
        let path = folder.join(format!("{}-{number}.lock", mark::digest(&api.to_string_lossy())));
        let file = match open(&path) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => make(&folder).and_then(|()| open(&path)),
            opened => opened,
        };
        let file = file.map_err(|cause| {
            Fault::new(FaultKind::Io, format!("cannot open {path:?}, the lock of bridge domain {number}"))
                .because(cause)
                .remedy("look at that file, and at the space on its disk")
        })?;
        let file = lock::exclusive(file, &path, deadline.left().unwrap_or_default())?;
        Ok(Self { _file: file })
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
