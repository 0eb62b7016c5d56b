//! The birth of an address file, which is its address's taking: a moment between its name and its content cannot be
//! avoided without a second entry in the directory, so a file that has none yet says so by its mode.

use std::fs::Metadata;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fchmod};

use super::folder::Folder;
use crate::model::fault::Outcome;

/// The mode of an address's file.
const MODE: u32 = 0o600;
/// The bit that says, of an empty file, that its content is yet to come: the sticky bit, which means nothing for files.
const UNFINISHED: u32 = 0o1000;

/// Makes an address's file with this content, and answers whether the name was free. The caller holds the store's lock.
///
/// # Guarantees
/// A crash at any moment leaves the whole file, or one that [`is_unfinished`]; an error leaves none.
pub(super) fn make(folder: &Folder, name: &str, text: &str) -> Outcome<bool> {
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY;
    let mut file = match folder.entry(name, flags, MODE | UNFINISHED) {
        Ok(file) => file,
        Err(Errno::EEXIST) => return Ok(false),
        Err(errno) => return Err(folder.failed("write", name, errno)),
    };
    if let Err(cause) = file.write_all(text.as_bytes()) {
        let cause: io::Error = cause;
        return Err(folder.failed("write", name, cause).along_with(folder.remove(name).err()));
    }
    // Where modes cannot be changed the bit stays, and says nothing of a file that has content.
    fchmod(&file, Mode::from_bits_truncate(MODE)).unwrap_or_default();
    Ok(true)
}

/// Whether an address's file was made by a call that came no further. Who holds the store's lock knows that it will not.
pub(super) fn is_unfinished(file: &Metadata) -> bool {
    file.size() == 0 && file.mode() & UNFINISHED != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_made_whole_or_the_taken_name_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::make(dir.path()).unwrap();
        fs::write(dir.path().join("10.0.0.1"), "another").unwrap();

        assert!(!make(&folder, "10.0.0.1", "c1\r\nnet1").unwrap());
        assert!(make(&folder, "10.0.0.2", "c1\r\nnet1").unwrap());

        let meta = fs::metadata(dir.path().join("10.0.0.2")).unwrap();
        assert_eq!(meta.mode() & 0o7777, MODE);
        assert_eq!(fs::read(dir.path().join("10.0.0.2")).unwrap(), b"c1\r\nnet1");
        assert_eq!(fs::read(dir.path().join("10.0.0.1")).unwrap(), b"another");
    }

    #[test]
    fn only_an_empty_file_with_the_mark_is_unfinished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("10.0.0.1");
        for (text, mode, unfinished) in
            [("", MODE | UNFINISHED, true), ("", MODE, false), ("c1", MODE | UNFINISHED, false)]
        {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();

            assert_eq!(
                is_unfinished(&File::open(&path).unwrap().metadata().unwrap()),
                unfinished,
                "{mode:o}"
            );
        }
    }
}
