//! The sockets of one call: one on the host, one in the pod, each opened when first needed.

use std::cell::RefCell;

use super::socket::Socket;
use crate::host::netns::Netns;
use crate::model::NetnsPath;
use crate::model::fault::Outcome;

/// Sockets that live as long as the call they serve: one in the pod's network namespace keeps that namespace alive.
#[derive(Default)]
pub struct Sockets {
    host: RefCell<Option<Socket>>,
    pod: RefCell<Option<Pod>>,
}

/// A pod's network namespace, open, with a socket in it.
pub struct Pod {
    /// The namespace.
    pub netns: Netns,
    /// The socket.
    pub socket: Socket,
    path: NetnsPath,
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
            Some(pod) if pod.path == *path => work(pod),
            Some(_) | None => {
                let netns = Netns::open_existing(path)?;
                let socket = netns.socket()?;
                work(slot.insert(Pod { netns, socket, path: path.clone() }))
            }
        }
    }
}
