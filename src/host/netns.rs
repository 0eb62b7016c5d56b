//! Network namespaces: the only place that enters one.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use nix::libc;
use nix::sched::CloneFlags;
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

use super::netlink::Socket;
use crate::engine::ports::{NetnsId, NetnsState};
use crate::model::fault::{Fault, Outcome};
use crate::model::{FaultKind, NetnsPath};

/// The namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// An open network namespace.
#[derive(Debug)]
pub struct Netns {
    file: File,
    path: NetnsPath,
}

impl Netns {
    /// Opens the namespace at a path; `None` if nothing is there. That it is one of network shows when it is entered.
    ///
    /// # Errors
    /// What is there is no namespace, or may not be opened.
    pub fn open(path: &NetnsPath) -> Outcome<Option<Self>> {
        let file = match File::open(path.as_path()) {
            Ok(file) => file,
            Err(cause) if is_gone(&cause) => return Ok(None),
            Err(cause) => return Err(unreadable(path.as_path(), cause)),
        };
        let kind = fstatfs(&file).map_err(|cause| unreadable(path.as_path(), cause.into()))?;
        // A bind mount over a plain file that was never mounted, or was unmounted, is that plain file: nobody's
        // namespace, and nothing to undo in it.
        if kind.filesystem_type() != NSFS_MAGIC {
            return Err(no_netns(path));
        }
        Ok(Some(Self { file, path: path.clone() }))
    }

    /// As [`Netns::open`], where the namespace must be there.
    ///
    /// # Errors
    /// As [`Netns::open`], and that nothing is there.
    pub fn open_existing(path: &NetnsPath) -> Outcome<Self> {
        Self::open(path)?.ok_or_else(|| {
            Fault::new(
                FaultKind::Environment,
                format!("network namespace {:?} does not exist", path.as_str()),
            )
            .remedy("make the namespace before the interface")
        })
    }

    /// Opens the namespace of the calling thread: to move links to, to compare with, to come back to.
    ///
    /// # Errors
    /// It may not be opened.
    pub fn own() -> Outcome<File> {
        File::open(OWN).map_err(|cause| unreadable(Path::new(OWN), cause))
    }

    /// Where it is.
    pub fn path(&self) -> &NetnsPath {
        &self.path
    }

    /// Which namespace it is, seen from the calling thread's, which is `home`. Its cookie is not told.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn state(&self, home: &File) -> Outcome<NetnsState> {
        let there = identity(&self.file).map_err(|cause| unreadable(self.path.as_path(), cause))?;
        let own = identity(home).map_err(|cause| unreadable(Path::new(OWN), cause))?;
        Ok(if there == own { NetnsState::Own } else { NetnsState::There(there) })
    }

    /// Whether both are the same: they are open, so neither has the number of one that is gone.
    pub fn is(&self, other: &Self) -> bool {
        matches!((identity(&self.file), identity(&other.file)), (Ok(this), Ok(that)) if this == that)
    }

    /// Runs `work` on a scratch thread inside the namespace and waits for it.
    ///
    /// # Guarantees
    /// The calling thread never leaves its own namespace, whatever `work` does.
    ///
    /// # Errors
    /// The namespace could not be entered, or `work` died.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Outcome<T> {
        let failed = |what: &str| {
            Fault::new(FaultKind::Kernel, format!("cannot {what} network namespace {:?}", self.path.as_str()))
        };
        let run = || enter(self.file.as_fd()).map(|()| work());
        thread::scope(|scope| {
            let thread = thread::Builder::new().spawn_scoped(scope, run);
            let thread = thread.map_err(|cause| failed("start a thread for").because(cause))?;
            let done = thread.join().map_err(|_| failed("finish the work in"))?;
            done.map_err(|cause| self.not_entered(cause))
        })
    }

    /// A netlink socket in the namespace.
    ///
    /// The calling thread goes there and comes back: two system calls, where a scratch thread costs a stack, an arena of
    /// the allocator and two switches. Between going and coming nothing runs but the
    /// opening of the socket.
    ///
    /// # Guarantees
    /// The calling thread is in its own namespace when this returns. If the kernel will not let it come back, the program
    /// ends: nothing may go on in a thread that is in a pod's namespace.
    ///
    /// # Errors
    /// The namespace could not be entered, or as [`Socket::open`].
    pub fn socket(&self) -> Outcome<Socket> {
        self.socket_from(&Self::own()?)
    }

    /// The same, where the calling thread's namespace is open already, as `home`.
    ///
    /// # Errors
    /// As [`Netns::socket`].
    pub fn socket_from(&self, home: &File) -> Outcome<Socket> {
        enter(self.file.as_fd()).map_err(|cause| self.not_entered(cause))?;
        let socket = Socket::open();
        match enter(home.as_fd()) {
            Ok(()) => socket,
            Err(_) => std::process::abort(),
        }
    }

    fn not_entered(&self, cause: nix::Error) -> Fault {
        // It is of another kind.
        if cause == nix::Error::EINVAL {
            return no_netns(&self.path);
        }
        Fault::new(FaultKind::Kernel, format!("cannot enter network namespace {:?}", self.path.as_str()))
            .because(cause)
            .remedy("run Manifold as root on the host")
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that enters a namespace")]
fn enter(netns: BorrowedFd<'_>) -> nix::Result<()> {
    nix::sched::setns(netns, CloneFlags::CLONE_NEWNET)
}

fn identity(file: &File) -> std::io::Result<NetnsId> {
    let meta = file.metadata()?;
    Ok(NetnsId { dev: meta.dev(), ino: meta.ino(), cookie: None })
}

/// Whether an error says that nothing is at the path: also a process that died while its `/proc` entry was opened.
fn is_gone(cause: &std::io::Error) -> bool {
    matches!(cause.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ESRCH))
}

fn no_netns(path: &NetnsPath) -> Fault {
    Fault::new(FaultKind::Environment, format!("{:?} is not a network namespace", path.as_str()))
        .remedy("give the path of a namespace, such as one made by \"ip netns add\"")
}

fn unreadable(path: &Path, cause: std::io::Error) -> Fault {
    Fault::new(FaultKind::Io, format!("cannot open network namespace {path:?}"))
        .because(cause)
        .remedy("give the path of a network namespace, and run Manifold as root on the host")
}
