//! Where the round through a set is: its file `last_reserved_ip.<number>`, as the reference writes it.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::FileExt;

use nix::fcntl::OFlag;

use super::folder::{Content, Folder};
use crate::model::fault::Outcome;
use crate::plan::ipam::address::go_text;

/// The cursor of one set. The store's lock is held.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    folder: &'a Folder,
    name: String,
    /// The file, where it was read already and is one.
    file: Option<File>,
}

impl<'a> Cursor<'a> {
    /// That of the set with this number, from 0.
    pub(super) fn new(folder: &'a Folder, set: usize) -> Self {
        Self { folder, name: format!("last_reserved_ip.{set}"), file: None }
    }

    /// The address taken last. A cursor that cannot be read costs its place in the round, nothing else.
    pub(super) fn last(&mut self) -> Option<IpAddr> {
        let file = self.folder.entry(&self.name, OFlag::O_RDWR, 0).ok()?;
        let Ok(Content::Text(text)) = Folder::content(&file) else { return None };
        self.file = Some(file);
        text.parse().ok().map(|address: IpAddr| address.to_canonical())
    }

    /// Remembers the address taken last. The file is written in place, as by the reference, and never empty on the way:
    /// ext4 takes an emptied file for a careless replacement and sends it to the disk when it is closed, while the caller
    /// waits.
    pub(super) fn set(&mut self, address: &IpAddr) -> Outcome<()> {
        let text = go_text(address);
        let open = || self.folder.entry(&self.name, OFlag::O_WRONLY | OFlag::O_CREAT, 0o600);
        let file = self.file.take().map_or_else(|| open().map_err(io::Error::from), Ok);
        let written = file.and_then(|file| {
            file.write_all_at(text.as_bytes(), 0)?;
            let length = text.len() as u64;
            if file.metadata()?.len() > length { file.set_len(length) } else { Ok(()) }
        });
        written.map_err(|cause| self.folder.failed("write", &self.name, cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_last_address_also_where_that_is_shorter() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::make(dir.path()).unwrap();
        for text in ["10.0.0.200", "10.0.0.3", "fd00::1"] {
            let address: IpAddr = text.parse().unwrap();

            Cursor::new(&folder, 1).set(&address).unwrap();

            let mut cursor = Cursor::new(&folder, 1);
            assert_eq!(cursor.last(), Some(address));
            cursor.set(&address).unwrap();
            assert_eq!(std::fs::read_to_string(dir.path().join("last_reserved_ip.1")).unwrap(), text);
        }
    }

    #[test]
    fn what_is_no_file_has_no_place_in_the_round_and_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::make(dir.path()).unwrap();
        let elsewhere = dir.path().join("elsewhere");
        std::fs::write(&elsewhere, "10.0.0.9").unwrap();
        std::os::unix::fs::symlink(&elsewhere, dir.path().join("last_reserved_ip.0")).unwrap();
        nix::unistd::mkfifo(&dir.path().join("last_reserved_ip.1"), nix::sys::stat::Mode::S_IRWXU).unwrap();

        for set in [0, 1] {
            let mut cursor = Cursor::new(&folder, set);
            assert_eq!(cursor.last(), None);
            assert!(cursor.set(&"10.0.0.1".parse().unwrap()).is_err());
        }
        assert_eq!(std::fs::read_to_string(elsewhere).unwrap(), "10.0.0.9");
    }
}
