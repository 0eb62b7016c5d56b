//! The sockets of one call: one on the host, one in the pod, each opened when first needed.

use std::cell::{OnceCell, RefCell};
use std::fs::File;
use std::path::Path;

use super::socket::Socket;
use crate::engine::ports::{NetnsId, NetnsState};
use crate::host::netns::Netns;
use crate::model::fault::Outcome;
use crate::model::{FaultKind, NetnsPath};

/// Sockets that live as long as the call they serve: one in the pod's network namespace keeps that namespace alive.
#[derive(Default)]
pub struct Sockets {
    host: RefCell<Option<Socket>>,
    pod: RefCell<Option<Pod>>,
    /// The calling thread's own.
    home: OnceCell<File>,
}

/// A pod's network namespace, open, with a socket in it.
pub struct Pod {
    /// The namespace.
    pub netns: Netns,
    /// The socket.
    pub socket: Socket,
}

impl Sockets {
    /// Works with the host's socket.
    ///
    /// # Errors
    /// No socket could be had, or the work's own.
    pub fn host<T>(&self, work: impl FnOnce(&mut Socket) -> Outcome<T>) -> Outcome<T> {
        let mut slot = self.host.borrow_mut();
        match slot.as_mut() {
            Some(socket) => work(socket),
            None => work(slot.insert(Socket::open()?)),
        }
    }

    /// Works with the socket in a pod's namespace.
    ///
    /// # Errors
    /// The namespace is not there or cannot be entered, or the work's own.
    pub fn pod<T>(&self, path: &NetnsPath, work: impl FnOnce(&mut Pod) -> Outcome<T>) -> Outcome<T> {
        let mut slot = self.pod.borrow_mut();
        match slot.as_mut() {
            Some(pod) if pod.netns.path() == path => work(pod),
            Some(_) | None => {
                let netns = Netns::open_existing(path)?;
                let socket = netns.socket_from(self.home()?)?;
                work(slot.insert(Pod { netns, socket }))
            }
        }
    }

    /// What stands at a path now. If that is a pod's namespace, it is the one that is worked in from then on.
    ///
    /// # Errors
    /// As [`Netns::open`], and a namespace of another kind.
    pub fn look(&self, path: &NetnsPath) -> Outcome<NetnsState> {
        let Some(netns) = Netns::open(path)? else { return Ok(missing(path.as_path())) };
        match netns.state(self.home()?)? {
            NetnsState::There(id) => Ok(NetnsState::There(NetnsId { cookie: self.cookie(netns)?, ..id })),
            state @ (NetnsState::Gone | NetnsState::Unseen | NetnsState::Own) => Ok(state),
        }
    }

    /// The cookie of a namespace. Whoever may not enter it, as one who only looks, is not told.
    ///
    /// # Errors
    /// It is none of network: the kernel says so to whoever enters it, without being asked.
    fn cookie(&self, netns: Netns) -> Outcome<Option<u64>> {
        let mut slot = self.pod.borrow_mut();
        if let Some(pod) =
            slot.as_ref().filter(|pod| pod.netns.path() == netns.path() && pod.netns.is(&netns))
        {
            return Ok(pod.socket.netns_cookie());
        }
        *slot = None;
        match netns.socket_from(self.home()?) {
            Ok(socket) => Ok(slot.insert(Pod { netns, socket }).socket.netns_cookie()),
            Err(fault) if fault.kind() == FaultKind::Environment => Err(fault),
            Err(_) => Ok(None),
        }
    }

    fn home(&self) -> Outcome<&File> {
        match self.home.get() {
            Some(home) => Ok(home),
            None => {
                let home = Netns::own()?;
                Ok(self.home.get_or_init(|| home))
            }
        }
    }
}

/// What it means that nothing is at a path. A process that is gone takes its directory along.
fn missing(path: &Path) -> NetnsState {
    let is_seen = path.starts_with("/proc") || path.parent().is_none_or(Path::is_dir);
    if is_seen { NetnsState::Gone } else { NetnsState::Unseen }
}
