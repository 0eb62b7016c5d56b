//! The birth of an address file: it appears under its name with its whole content, or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::linkat;

use super::folder::Folder;
use crate::model::fault::Outcome;

/// The name of a draft on a file system without unnamed files. There is one at a time, as drafts are made under the
/// store's lock. The reference takes it for no address; if a crash leaves it, its content, where there is any, is its
/// owner's, so that the reference removes it on DEL, and the next draft here does in any case.
const NAME: &str = ".manifold-draft";

/// A file written in full that has no address's name yet.
///
/// # Guarantees
/// A crash at any moment leaves no address file that does not name its owner.
#[derive(Debug)]
pub(super) enum Draft<'a> {
    /// A file without any name (`O_TMPFILE`): gone with the process that opened it.
    Unnamed(&'a Folder, File),
    /// A file under [`NAME`], removed when the draft is dropped.
    Named(&'a Folder),
}

impl<'a> Draft<'a> {
    /// Writes a draft. The caller holds the store's lock.
    pub(super) fn write(folder: &'a Folder, text: &str) -> Outcome<Self> {
        match folder.entry(".", OFlag::O_TMPFILE | OFlag::O_WRONLY, 0o600) {
            Ok(mut file) => {
                file.write_all(text.as_bytes()).map_err(|cause| folder.failed("write", "", cause))?;
                Ok(Self::Unnamed(folder, file))
            }
            // NFS, FUSE and older overlay file systems have no unnamed files.
            Err(Errno::EOPNOTSUPP | Errno::EISDIR) => Self::write_named(folder, text),
            Err(errno) => Err(folder.failed("write to", "", errno)),
        }
    }

    fn write_named(folder: &'a Folder, text: &str) -> Outcome<Self> {
        // One left by a crash may be an address's file as well: it is unlinked, never written to.
        folder.remove(NAME)?;
        let draft = Self::Named(folder);
        let opened = folder.entry(NAME, OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY, 0o600);
        let written = opened.map_err(io::Error::from).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|cause| folder.failed("write", NAME, cause))?;
        Ok(draft)
    }

    /// Gives the file a name, and answers whether the name was free. A draft is published once.
    pub(super) fn publish(&self, name: &str) -> Outcome<bool> {
        let (folder, linked) = match self {
            Self::Unnamed(folder, file) => {
                let source = format!("/proc/self/fd/{}", file.as_raw_fd());
                let follow = AtFlags::AT_SYMLINK_FOLLOW;
                (folder, linkat(AT_FDCWD, source.as_str(), folder.dir(), name, follow))
            }
            Self::Named(folder) => (folder, linkat(folder.dir(), NAME, folder.dir(), name, AtFlags::empty())),
        };
        match linked {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            Err(errno) => Err(folder.failed("write", name, errno)),
        }
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if let Self::Named(folder) = self {
            // What is left is removed by the next draft.
            drop(folder.remove(NAME));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::ipam::folder::Content;
    use std::os::unix::fs::MetadataExt;

    fn both(folder: &Folder) -> [Draft<'_>; 2] {
        let unnamed = Draft::write(folder, "c1\r\nnet1").unwrap();
        assert!(matches!(unnamed, Draft::Unnamed(..)), "this file system has unnamed files");
        [unnamed, Draft::write_named(folder, "c1\r\nnet1").unwrap()]
    }

    #[test]
    fn a_draft_becomes_a_whole_file_or_leaves_a_taken_name_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::make(dir.path()).unwrap();
        folder.overwrite("10.0.0.1", "another").unwrap();

        for (draft, name) in both(&folder).iter().zip(["10.0.0.2", "10.0.0.3"]) {
            assert!(!draft.publish("10.0.0.1").unwrap());
            assert!(draft.publish(name).unwrap());

            let meta = std::fs::metadata(dir.path().join(name)).unwrap();
            assert_eq!(meta.mode() & 0o7777, 0o600);
            assert_eq!(std::fs::read(dir.path().join(name)).unwrap(), b"c1\r\nnet1");
        }

        assert_eq!(folder.read("10.0.0.1").unwrap(), Content::Text("another".into()));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3, "no draft is left");
    }

    #[test]
    fn a_draft_left_by_a_crash_is_replaced_and_its_address_keeps_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::make(dir.path()).unwrap();
        let crashed = Draft::write_named(&folder, "c1\r\nnet1").unwrap();
        assert!(crashed.publish("10.0.0.1").unwrap());
        std::mem::forget(crashed);

        let next = Draft::write_named(&folder, "c2\r\nnet2").unwrap();
        assert!(next.publish("10.0.0.2").unwrap());
        drop(next);

        assert_eq!(folder.read("10.0.0.1").unwrap(), Content::Text("c1\r\nnet1".into()));
        assert_eq!(folder.read("10.0.0.2").unwrap(), Content::Text("c2\r\nnet2".into()));
        assert_eq!(folder.read(NAME).unwrap(), Content::Absent);
    }
}
