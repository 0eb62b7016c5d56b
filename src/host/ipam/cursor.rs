//! Where the round through a set is: its file `last_reserved_ip.<number>`, as the reference writes it.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::FileExt;

use nix::fcntl::OFlag;

use super::folder::Folder;
use crate::model::fault::Outcome;
use crate::plan::ipam::address::go_text;

/// Longest content that is an address, in bytes, with white space around it.
const MAX_TEXT: usize = 64;

/// The cursor of one set. The store's lock is held.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    folder: &'a Folder,
    name: String,
    /// The file and its length in bytes, where it was read already and is one.
    file: Option<(File, u64)>,
}

impl<'a> Cursor<'a> {
    /// That of the set with this number, from 0.
    pub(super) fn new(folder: &'a Folder, set: usize) -> Self {
        Self { folder, name: format!("last_reserved_ip.{set}"), file: None }
    }

    /// The address taken last. A cursor that cannot be read costs its place in the round, nothing else.
    pub(super) fn last(&mut self) -> Option<IpAddr> {
        let file = self.open(OFlag::O_RDWR).ok()?;
        let mut bytes = [0; MAX_TEXT];
        let length = file.0.read_at(&mut bytes, 0).ok()?;
        self.file = Some(file);
        let text = std::str::from_utf8(bytes.get(..length)?).ok()?;
        text.trim().parse().ok().map(|address: IpAddr| address.to_canonical())
    }

    /// Remembers the address taken last. The file is written in place, as by the reference, and never empty on the way:
    /// ext4 takes an emptied file for a careless replacement and sends it to the disk when it is closed, while the caller
    /// waits.
    pub(super) fn set(&mut self, address: &IpAddr) -> Outcome<()> {
        let text = go_text(address);
        let known = self.file.take().map(Ok);
        let file = known.unwrap_or_else(|| self.open(OFlag::O_WRONLY | OFlag::O_CREAT));
        let written = file.and_then(|(file, before)| {
            file.write_all_at(text.as_bytes(), 0)?;
            let length = text.len() as u64;
            if before > length { file.set_len(length) } else { Ok(()) }
        });
        written.map_err(|cause| self.folder.failed("write", &self.name, cause))
    }

    fn open(&self, flags: OFlag) -> io::Result<(File, u64)> {
        let file = self.folder.entry(&self.name, flags, 0o600)?;
        let meta = file.metadata()?;
        if meta.is_file() { Ok((file, meta.len())) } else { Err(io::ErrorKind::InvalidInput.into()) }
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
