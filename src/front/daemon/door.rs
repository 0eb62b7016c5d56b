//! The unix socket, and the place in which it is: one daemon at a time has both.

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt};
use tokio::net::UnixListener;

use crate::host::lock;
use crate::host::stream::{Deadline, dial};
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::thick::SOCKET;

/// The directory of the socket, locked: between looking who listens there and listening oneself, another daemon could
/// do the same. The lock ends with the process, however that ends, and leaves nothing.
pub(super) struct Place {
    folder: PathBuf,
    lock: File,
}

/// The socket, and where it was put.
pub(super) struct Door {
    pub(super) path: PathBuf,
    pub(super) listener: UnixListener,
    inode: Option<Inode>,
    place: Place,
}

/// What tells a file from every other: device and number.
type Inode = (u64, u64);

impl Place {
    /// Takes the directory, which is made if need be.
    ///
    /// # Errors
    /// Another daemon has it, or listens there without having it, as those of other programs do.
    pub(super) fn take(folder: &Path) -> Outcome<Self> {
        let path = folder.join(SOCKET);
        let failed = |cause| unusable(&path, cause);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let open = File::open(folder).map_err(failed)?;
        let lock = lock::exclusive(open, folder, Duration::ZERO).map_err(|fault| {
            if fault.kind() == FaultKind::TryLater { another(&path, listener(&path)) } else { fault }
        })?;
        let place = Self { folder: folder.to_owned(), lock };
        place.look()?;
        Ok(place)
    }

    fn socket(&self) -> PathBuf {
        self.folder.join(SOCKET)
    }

    /// Looks whether somebody listens there who does not lock the place.
    fn look(&self) -> Outcome<()> {
        match dial(&self.socket(), Deadline::after(0)) {
            Ok(stream) => Err(another(&self.socket(), process(&stream))),
            // Whoever hangs listens still.
            Err(cause) if cause.kind() == io::ErrorKind::TimedOut => Err(another(&self.socket(), None)),
            Err(_) => Ok(()),
        }
    }

    /// The same place once more, or the directory that has been put where it was.
    fn again(&self) -> Outcome<Self> {
        let here = self.lock.metadata().ok().map(|meta| inode(&meta));
        if here.is_none() || inode_at(&self.folder) != here {
            return Self::take(&self.folder);
        }
        self.look()?;
        let lock = self.lock.try_clone().map_err(|cause| unusable(&self.socket(), cause))?;
        Ok(Self { folder: self.folder.clone(), lock })
    }
}

impl Door {
    /// Listens in a place.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub(super) fn open(place: Place) -> Outcome<Self> {
        let path = place.socket();
        let failed = |cause| unusable(&path, cause);
        match fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(failed(cause)),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { inode: inode_at(&path), listener, path, place })
    }

    /// Puts the socket back where somebody replaced it or its directory.
    pub(super) fn mend(&mut self) {
        if self.inode.is_some() && inode_at(&self.path) == self.inode {
            return;
        }
        match self.place.again().and_then(Self::open) {
            Ok(door) => {
                tracing::warn!(socket = ?door.path, "the socket was gone from its place; it is there again");
                *self = door;
            }
            Err(fault) => tracing::warn!("{fault}"),
        }
    }

    /// Takes the socket away, unless it is another daemon's by now, and leaves the place to the next one.
    pub(super) fn shut(&self) {
        if inode_at(&self.path) == self.inode {
            fs::remove_file(&self.path).unwrap_or_default();
        }
        // If it cannot be, the end of the process does it.
        self.place.lock.unlock().unwrap_or_default();
    }
}

fn inode(meta: &Metadata) -> Inode {
    (meta.dev(), meta.ino())
}

fn inode_at(path: &Path) -> Option<Inode> {
    fs::symlink_metadata(path).ok().map(|meta| inode(&meta))
}

/// The process that listens at a socket, if there is one and it can be seen from here.
fn listener(path: &Path) -> Option<i32> {
    dial(path, Deadline::after(0)).ok().as_ref().and_then(process)
}

fn process(stream: &UnixStream) -> Option<i32> {
    // One of another PID namespace has no number here, which is told as 0.
    getsockopt(stream, sockopt::PeerCredentials).ok().map(|peer| peer.pid()).filter(|pid| *pid > 0)
}

fn another(path: &Path, process: Option<i32>) -> Fault {
    let who = process.map(|pid| format!(" (process {pid})")).unwrap_or_default();
    Fault::new(FaultKind::Exists, format!("another daemon{who} listens at {path:?}"))
        .remedy("stop it first, or give this one another \"socketDir\"")
}

fn unusable(path: &Path, cause: io::Error) -> Fault {
    Fault::new(FaultKind::Io, format!("cannot listen at {path:?}"))
        .because(cause)
        .remedy("make its directory writable, or set \"socketDir\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
    use std::os::fd::AsRawFd;
    use std::sync::mpsc::channel;
    use std::thread;

    #[test]
    fn one_who_hangs_keeps_the_place_and_nobody_waits_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(SOCKET);
        let other = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(other.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        // Room for one, which is taken.
        listen(&other, Backlog::new(0).unwrap()).unwrap();
        let _queued = UnixStream::connect(&path).unwrap();
        let (done, heard) = channel();

        let folder = dir.path().to_owned();
        thread::spawn(move || done.send(Place::take(&folder).map(drop)));

        let fault = heard.recv_timeout(Duration::from_secs(60)).expect("it does not wait for ever");
        assert_eq!(fault.unwrap_err().kind(), FaultKind::Exists);
    }
}
