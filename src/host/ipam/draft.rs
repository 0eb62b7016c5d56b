//! The birth of an address file: it appears under its name with its whole content, or not at all.

use std::io::{self, Write};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, renameat2};
use nix::unistd::linkat;

use super::folder::Folder;
use crate::model::fault::Outcome;

/// The name of a draft. There is one at a time, as drafts are made under the store's lock. The reference takes it for no
/// address; if a crash leaves it, the DEL of the attachment removes it, and so does the next draft.
const NAME: &str = ".manifold-draft";

/// A file written in full that has no address's name yet. It is removed when dropped, unless it was given one.
///
/// A file without any name (`O_TMPFILE`) would need no removing, but costs ext4 more than twice as much: it is put on a
/// list of the whole file system's and taken off again.
///
/// # Guarantees
/// A crash at any moment leaves no address file that does not name its owner.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    folder: &'a Folder,
    published: bool,
}

impl<'a> Draft<'a> {
    /// Writes a draft. The caller holds the store's lock.
    pub(super) fn write(folder: &'a Folder, text: &str) -> Outcome<Self> {
        let open = || folder.entry(NAME, OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY, 0o600);
        let opened = match open() {
            // One left by a crash may be an address's file as well: it is unlinked, never written to.
            Err(Errno::EEXIST) => {
                Self::clear(folder)?;
                open()
            }
            other => other,
        };
        let mut file = opened.map_err(|errno| folder.failed("write", NAME, errno))?;
        let draft = Self { folder, published: false };
        let written = file.write_all(text.as_bytes());
        written.map_err(|cause: io::Error| folder.failed("write", NAME, cause))?;
        Ok(draft)
    }

    /// Removes what a crash left. The caller holds the store's lock.
    pub(super) fn clear(folder: &Folder) -> Outcome<()> {
        folder.remove(NAME)
    }

    /// Gives the file an address's name, and answers whether the name was free. A draft is published once.
    pub(super) fn publish(&mut self, name: &str) -> Outcome<bool> {
        let dir = self.folder.dir();
        let renamed = match renameat2(dir, NAME, dir, name, RenameFlags::RENAME_NOREPLACE) {
            // NFS and FUSE cannot rename without replacing; the draft's own name goes when it is dropped.
            Err(Errno::EINVAL | Errno::ENOSYS) => linkat(dir, NAME, dir, name, AtFlags::empty()),
            renamed => renamed.inspect(|()| self.published = true),
        };
        match renamed {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            Err(errno) => Err(self.folder.failed("write", name, errno)),
        }
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.published {
            // What is left is removed by the next draft.
            drop(Self::clear(self.folder));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::ipam::folder::Content;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_draft_becomes_a_whole_file_or_leaves_a_taken_name_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::make(dir.path()).unwrap();
        std::fs::write(dir.path().join("10.0.0.1"), "another").unwrap();

        let mut draft = Draft::write(&folder, "c1\r\nnet1").unwrap();
        assert!(!draft.publish("10.0.0.1").unwrap());
        assert!(draft.publish("10.0.0.2").unwrap());
        drop(draft);

        let meta = std::fs::metadata(dir.path().join("10.0.0.2")).unwrap();
        assert_eq!(meta.mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read(dir.path().join("10.0.0.2")).unwrap(), b"c1\r\nnet1");
        assert_eq!(folder.read("10.0.0.1").unwrap(), Content::Text("another".into()));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "no draft is left");
    }

    #[test]
    fn a_draft_that_finds_no_name_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::make(dir.path()).unwrap();

        drop(Draft::write(&folder, "c1\r\nnet1").unwrap());

        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_draft_left_by_a_crash_is_replaced_and_its_address_keeps_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::make(dir.path()).unwrap();
        // So it is where names are linked, and the process died before it took the draft's own name away.
        let crashed = Draft::write(&folder, "c1\r\nnet1").unwrap();
        std::fs::hard_link(dir.path().join(NAME), dir.path().join("10.0.0.1")).unwrap();
        std::mem::forget(crashed);

        let mut next = Draft::write(&folder, "c2\r\nnet2").unwrap();
        assert!(next.publish("10.0.0.2").unwrap());
        drop(next);

        assert_eq!(folder.read("10.0.0.1").unwrap(), Content::Text("c1\r\nnet1".into()));
        assert_eq!(folder.read("10.0.0.2").unwrap(), Content::Text("c2\r\nnet2".into()));
        assert_eq!(folder.read(NAME).unwrap(), Content::Absent);
    }
}
