//! A blocking rtnetlink socket (`netlink(7)`, `rtnetlink(7)`).

use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use netlink_packet_core::{Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::libc;
use nix::sys::socket::{MsgFlags, getsockopt, recv, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::answer::{self, Pending, Said};
use super::wire::{self, Message, Told};
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

/// Longest wait for the kernel's answer. Deleting links waits for grace periods, and a storm waits for the RTNL lock.
const LIMIT: Duration = Duration::from_secs(30);
/// Room for one datagram; the kernel never sends more than 32 KiB at once to a reader that offers that much.
const ROOM: usize = 32 * 1024;
/// Most requests in one datagram. The kernel queues every acknowledgement before the first is read, and the queue has
/// room for some 250 (`net.core.rmem_default`).
const BATCH: usize = 64;
/// How often a list is asked for that changes while it is read.
const TRIES: usize = 16;

/// A socket, bound to the network namespace of the thread that opened it.
///
/// It keeps that namespace alive, so it is not to be held longer than an operation takes.
pub struct Socket {
    inner: netlink_sys::Socket,
    sequence: u32,
    buffer: Vec<u8>,
    /// Longest wait for the kernel.
    limit: Duration,
    /// Whether a list changed while it was received.
    torn: bool,
}

/// The socket option that tells which network namespace a socket is in, by a number that no other has in the same boot.
#[derive(Debug, Clone, Copy)]
struct NetnsCookie;

nix::getsockopt_impl!(NetnsCookie, libc::SOL_SOCKET, libc::SO_NETNS_COOKIE, u64, sockopt::GetStruct<u64>);

/// One request: a message's type and body, and the flags beside `NLM_F_REQUEST`.
#[derive(Clone)]
pub struct Request {
    kind: u16,
    body: Vec<u8>,
    flags: u16,
}

/// A refusal by the kernel: the error number and, where the kernel gave some, its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", std::io::Error::from_raw_os_error(*.errno), .words.as_ref().map(|w| format!(" ({w})")).unwrap_or_default())]
pub struct Refusal {
    /// A positive `errno`.
    pub errno: i32,
    /// The text of the extended acknowledgement (`NLMSGERR_ATTR_MSG`).
    pub words: Option<String>,
}

/// The answer to one request: what the kernel sent, or its refusal.
pub type Answer = Result<Vec<Told>, Refusal>;

impl Request {
    /// A request of type `kind` that changes something and is acknowledged.
    pub fn change(kind: u16, message: &impl Emitable, flags: u16) -> Self {
        Self { kind, body: wire::body(message), flags: flags | NLM_F_ACK }
    }

    /// A request of type `kind` for one object.
    pub fn one(kind: u16, message: &impl Emitable) -> Self {
        Self { kind, body: wire::body(message), flags: 0 }
    }

    /// A request of type `kind` for all objects that match.
    pub fn all(kind: u16, message: &impl Emitable) -> Self {
        Self { kind, body: wire::body(message), flags: NLM_F_DUMP }
    }

    /// The body, attributes and all.
    #[cfg(test)]
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    fn message(&self, sequence: u32) -> Message<'_> {
        Message { kind: self.kind, flags: self.flags | NLM_F_REQUEST, sequence, body: &self.body }
    }

    fn is_list(&self) -> bool {
        self.flags & NLM_F_DUMP == NLM_F_DUMP
    }
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel gave none.
    pub fn open() -> Outcome<Self> {
        Self::listening(0)
    }

    /// The cookie of its network namespace; none on kernels before 5.14.
    pub fn netns_cookie(&self) -> Option<u64> {
        getsockopt(&self.inner, NetnsCookie).ok()
    }

    /// Opens a socket that also hears of changes: `groups` is a mask of `RTMGRP_*`.
    ///
    /// # Errors
    /// The kernel gave none.
    pub fn listening(groups: u32) -> Outcome<Self> {
        let failed = |cause: std::io::Error| {
            Fault::new(FaultKind::Kernel, "cannot open a netlink socket").because(cause)
        };
        let mut inner = netlink_sys::Socket::new(NETLINK_ROUTE).map_err(failed)?;
        inner.bind(&netlink_sys::SocketAddr::new(0, groups)).map_err(failed)?;
        inner.set_ext_ack(true).map_err(failed)?;
        inner.set_cap_ack(true).map_err(failed)?;
        inner.set_netlink_get_strict_chk(true).map_err(failed)?;
        let buffer = Vec::with_capacity(ROOM);
        let mut socket = Self { inner, sequence: 0, buffer, limit: LIMIT, torn: false };
        socket.wait_at_most(LIMIT)?;
        Ok(socket)
    }

    /// Bounds every wait for the kernel from now on.
    fn wait_at_most(&mut self, limit: Duration) -> Outcome<()> {
        self.limit = limit;
        let limit = TimeVal::microseconds(i64::try_from(limit.as_micros().max(1)).unwrap_or(i64::MAX));
        setsockopt(&self.inner.as_fd(), sockopt::ReceiveTimeout, &limit).map_err(|cause| {
            Fault::new(FaultKind::Kernel, "cannot bound the wait for netlink").because(cause)
        })
    }

    /// Sends one request and waits for its answer.
    ///
    /// # Errors
    /// The socket failed. A refusal is an answer.
    pub fn ask(&mut self, request: Request) -> Outcome<Answer> {
        let mut answers = self.ask_all(vec![request])?;
        Ok(answers.pop().unwrap_or(Ok(Vec::new())))
    }

    /// Asks for all objects that match, by [`Request::all`].
    ///
    /// # Guarantees
    /// The list is whole: one that the kernel marks as having changed while it was sent (`NLM_F_DUMP_INTR`) is asked
    /// for again, and one that it broke off is none. Of a link that is not there (`ENODEV`) there is nothing.
    ///
    /// # Errors
    /// The socket failed, or the kernel refused, or the list kept changing.
    pub fn list(&mut self, request: &Request, what: &str) -> Outcome<Vec<Told>> {
        let failed = || Fault::new(FaultKind::Kernel, format!("cannot list {what}"));
        for _ in 0..TRIES {
            self.torn = false;
            match self.ask(request.clone())? {
                Err(refusal) if refusal.errno == libc::ENODEV => return Ok(Vec::new()),
                Err(refusal) => return Err(failed().because(refusal)),
                Ok(answer) if !self.torn => return Ok(answer),
                Ok(_) => {}
            }
        }
        Err(failed().because(format!("it changed {TRIES} times while it was read")).remedy("try again"))
    }

    /// Sends all requests, in order and in as few datagrams as there is room for their answers, and waits for every
    /// answer.
    ///
    /// They are not a transaction: the kernel takes every request, whatever became of those before it.
    ///
    /// # Errors
    /// The socket failed. Refusals are answers.
    pub fn ask_all(&mut self, requests: Vec<Request>) -> Outcome<Vec<Answer>> {
        let mut answers = Vec::with_capacity(requests.len());
        for batch in requests.chunks(BATCH) {
            answers.extend(self.ask_at_once(batch)?);
        }
        Ok(answers)
    }

    /// Sends requests in one datagram and waits for every answer.
    fn ask_at_once(&mut self, requests: &[Request]) -> Outcome<impl Iterator<Item = Answer> + use<>> {
        let first = self.sequence.wrapping_add(1);
        let mut open = Vec::with_capacity(requests.len());
        let mut wire = Vec::new();
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            open.push(Pending::new(request.is_list() || request.flags & NLM_F_ACK != 0));
            request.message(self.sequence).append_to(&mut wire);
        }
        self.inner.send(&wire, 0).map_err(|cause| broken("send to", cause))?;
        while open.iter().any(|pending| !pending.is_done()) {
            self.receive(|message| deliver(&mut open, message.sequence.wrapping_sub(first), message))?;
        }
        Ok(open.into_iter().map(Pending::answer))
    }

    /// Asks for one object that may be of any length.
    ///
    /// # Errors
    /// The socket failed. A refusal is an answer.
    pub fn ask_for_long(&mut self, request: &Request) -> Outcome<Result<Vec<u8>, Refusal>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut wire = Vec::new();
        request.message(self.sequence).append_to(&mut wire);
        self.inner.send(&wire, 0).map_err(|cause| broken("send to", cause))?;
        loop {
            // One that is late is passed over: its request's wait has ended.
            if let Some(answer) = answer::object(&self.receive_whole()?, self.sequence)? {
                return Ok(answer);
            }
        }
    }

    /// Receives one datagram, of any length.
    fn receive_whole(&mut self) -> Outcome<Vec<u8>> {
        let fd = self.inner.as_fd().as_raw_fd();
        let mut since = None;
        loop {
            let length = match recv(fd, &mut [], MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC) {
                Err(nix::errno::Errno::EINTR) => continue,
                peeked => peeked.map_err(|cause| broken("receive from", cause.into()))?,
            };
            let mut datagram = Vec::with_capacity(length);
            if self.take_next(&mut datagram, &mut since)? {
                return Ok(datagram);
            }
        }
    }

    /// Takes the next datagram; `false` if it is not the kernel's. Whoever may in a pod's namespace can send us what
    /// looks like an answer; `since` keeps the first such, for they are not to keep us waiting for ever.
    fn take_next(&self, datagram: &mut Vec<u8>, since: &mut Option<Instant>) -> Outcome<bool> {
        datagram.clear();
        match self.inner.recv_from(datagram, 0) {
            // The kernel is port 0, and nobody else is.
            Ok((_, sender)) if sender.port_number() == 0 => return Ok(true),
            Err(cause) if cause.kind() != ErrorKind::Interrupted => {
                return Err(broken("receive from", cause));
            }
            Ok(_) | Err(_) => {}
        }
        match since.get_or_insert_with(Instant::now).elapsed() < self.limit {
            true => Ok(false),
            false => Err(broken("receive from", ErrorKind::TimedOut.into())),
        }
    }

    /// Waits for the next datagram, at most so long, and hands over the messages in it. `false` if none came.
    ///
    /// # Errors
    /// The socket failed.
    pub fn hear(&mut self, limit: Duration, mut heard: impl FnMut(&Told)) -> Outcome<bool> {
        self.wait_at_most(limit)?;
        let came = self.receive(|message| {
            if let Said::Object(told) = Said::by(message) {
                heard(&told);
            }
        });
        match came {
            Err(fault) if fault.kind() == FaultKind::TimedOut => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Receives one datagram and hands over each message in it.
    fn receive(&mut self, mut each: impl FnMut(Message<'_>)) -> Outcome<()> {
        let (mut buffer, mut since) = (std::mem::take(&mut self.buffer), None);
        while !self.take_next(&mut buffer, &mut since)? {}
        self.buffer = buffer;
        let torn = &mut self.torn;
        answer::messages(&self.buffer, |message| {
            *torn |= message.flags & NLM_F_DUMP_INTR != 0;
            each(message);
        })
    }
}

/// Hands an answer to the request it belongs to. One that belongs to none is late: its request's wait has ended.
fn deliver(open: &mut [Pending], place: u32, message: Message<'_>) {
    let place = usize::try_from(place).unwrap_or(usize::MAX);
    if let Some(pending) = open.get_mut(place) {
        pending.take(message);
    }
}

fn broken(what: &str, cause: std::io::Error) -> Fault {
    if matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
        let what = format!("the kernel did not answer within {} s", LIMIT.as_secs());
        return Fault::new(FaultKind::TimedOut, what)
            .remedy("look for a process that holds the kernel's network lock for long, then try again");
    }
    Fault::new(FaultKind::Kernel, format!("cannot {what} the netlink socket")).because(cause)
}
