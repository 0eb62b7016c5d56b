//! A blocking rtnetlink socket (`netlink(7)`, `rtnetlink(7)`).

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::wire::{self, Pending};
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

/// Longest wait for the kernel's answer. Deleting links waits for grace periods, and a storm waits for the RTNL lock.
const LIMIT: Duration = Duration::from_secs(30);
/// Room for one datagram; the kernel never sends more than 32 KiB at once to a reader that offers that much.
const ROOM: usize = 32 * 1024;
/// How often a list is asked for that changes while it is read.
const TRIES: usize = 16;

/// A socket, bound to the network namespace of the thread that opened it.
///
/// It keeps that namespace alive, so it is not to be held longer than an operation takes.
pub struct Socket {
    inner: netlink_sys::Socket,
    sequence: u32,
    buffer: Vec<u8>,
    /// Whether a list changed while it was received.
    torn: bool,
}

/// One request: a message and the flags beside `NLM_F_REQUEST`.
#[derive(Clone)]
pub struct Request {
    message: Message,
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
pub type Answer = Result<Vec<Message>, Refusal>;

impl Request {
    /// A request that changes something and is acknowledged.
    pub fn change(message: Message, flags: u16) -> Self {
        Self { message, flags: flags | NLM_F_ACK }
    }

    /// A request for one object.
    pub fn one(message: Message) -> Self {
        Self { message, flags: 0 }
    }

    fn all(message: Message) -> Self {
        Self { message, flags: NLM_F_DUMP }
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
        let socket = Self { inner, sequence: 0, buffer: Vec::with_capacity(ROOM), torn: false };
        socket.wait_at_most(LIMIT)?;
        Ok(socket)
    }

    /// Bounds every wait for the kernel from now on.
    fn wait_at_most(&self, limit: Duration) -> Outcome<()> {
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

    /// Asks for all objects that match.
    ///
    /// # Guarantees
    /// The list is whole: one that the kernel marks as having changed while it was sent (`NLM_F_DUMP_INTR`) is asked
    /// for again.
    ///
    /// # Errors
    /// The socket failed, or the kernel refused, or the list kept changing.
    pub fn list(&mut self, message: &Message, what: &str) -> Outcome<Vec<Message>> {
        let failed = || Fault::new(FaultKind::Kernel, format!("cannot list {what}"));
        for _ in 0..TRIES {
            self.torn = false;
            let answer =
                self.ask(Request::all(message.clone()))?.map_err(|refusal| failed().because(refusal))?;
            if !self.torn {
                return Ok(answer);
            }
        }
        Err(failed().because(format!("it changed {TRIES} times while it was read")).remedy("try again"))
    }

    /// Sends all requests in one datagram and waits for every answer.
    ///
    /// A batch is not a transaction: the kernel takes every request, whatever became of those before it.
    ///
    /// # Errors
    /// The socket failed. Refusals are answers.
    pub fn ask_all(&mut self, requests: Vec<Request>) -> Outcome<Vec<Answer>> {
        if requests.is_empty() {
            // The kernel refuses an empty datagram.
            return Ok(Vec::new());
        }
        let first = self.sequence.wrapping_add(1);
        let mut open = Vec::with_capacity(requests.len());
        let mut wire = Vec::new();
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            let dump = request.flags & NLM_F_DUMP == NLM_F_DUMP;
            open.push(Pending::new(dump || request.flags & NLM_F_ACK != 0));
            let mut header = NetlinkHeader::default();
            header.flags = request.flags | NLM_F_REQUEST;
            header.sequence_number = self.sequence;
            append(&mut wire, NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request.message)));
        }
        self.inner.send(&wire, 0).map_err(|cause| broken("send to", cause))?;
        while open.iter().any(|pending| !pending.is_done()) {
            self.receive(|header, payload| {
                deliver(&mut open, header.sequence_number.wrapping_sub(first), payload)
            })?;
        }
        Ok(open.into_iter().map(Pending::answer).collect())
    }

    /// Asks for one object and gives it as the kernel sent it, without the netlink header: for what the types of
    /// `netlink-packet-route` cannot tell, and for objects of any length.
    ///
    /// # Errors
    /// The socket failed. A refusal is an answer.
    pub fn ask_for_bytes(&mut self, message: Message) -> Outcome<Result<Vec<u8>, Refusal>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        (header.flags, header.sequence_number) = (NLM_F_REQUEST, self.sequence);
        let mut wire = Vec::new();
        append(&mut wire, NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message)));
        self.inner.send(&wire, 0).map_err(|cause| broken("send to", cause))?;
        loop {
            // One that is late is passed over: its request's wait has ended.
            if let Some(answer) = wire::object(&self.receive_whole()?, self.sequence)? {
                return Ok(answer);
            }
        }
    }

    /// Receives one datagram, of any length.
    fn receive_whole(&mut self) -> Outcome<Vec<u8>> {
        let fd = self.inner.as_fd().as_raw_fd();
        let length = loop {
            match recv(fd, &mut [], MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC) {
                Err(nix::errno::Errno::EINTR) => {}
                peeked => break peeked.map_err(|cause| broken("receive from", cause.into()))?,
            }
        };
        let mut datagram = Vec::with_capacity(length);
        self.inner.recv(&mut datagram, 0).map_err(|cause| broken("receive from", cause))?;
        Ok(datagram)
    }

    /// Waits for the next datagram, at most so long, and hands over the messages in it. `false` if none came.
    ///
    /// # Errors
    /// The socket failed.
    pub fn hear(&mut self, limit: Duration, mut heard: impl FnMut(Message)) -> Outcome<bool> {
        self.wait_at_most(limit)?;
        let came = self.receive(|_, payload| {
            if let NetlinkPayload::InnerMessage(message) = payload {
                heard(message);
            }
        });
        match came {
            Err(fault) if fault.kind() == FaultKind::TimedOut => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Receives one datagram and hands over each message in it.
    fn receive(&mut self, mut each: impl FnMut(&NetlinkHeader, NetlinkPayload<Message>)) -> Outcome<()> {
        self.buffer.clear();
        while let Err(cause) = self.inner.recv(&mut self.buffer, 0) {
            if cause.kind() != std::io::ErrorKind::Interrupted {
                return Err(broken("receive from", cause));
            }
        }
        let torn = &mut self.torn;
        wire::messages(&self.buffer, |header, payload| {
            *torn |= header.flags & NLM_F_DUMP_INTR != 0;
            each(header, payload);
        })
    }
}

/// Hands an answer to the request it belongs to. One that belongs to none is late: its request's wait has ended.
fn deliver(open: &mut [Pending], place: u32, payload: NetlinkPayload<Message>) {
    let place = usize::try_from(place).unwrap_or(usize::MAX);
    if let Some(pending) = open.get_mut(place) {
        pending.take(payload);
    }
}

/// Appends a message to what is about to be sent, at the alignment netlink wants.
fn append(wire: &mut Vec<u8>, mut message: NetlinkMessage<Message>) {
    message.finalize();
    let start = wire.len();
    wire.resize(start + message.buffer_len().next_multiple_of(4), 0);
    if let Some(place) = wire.get_mut(start..) {
        message.serialize(place);
    }
}

fn broken(what: &str, cause: std::io::Error) -> Fault {
    match cause.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            Fault::new(FaultKind::TimedOut, format!("the kernel did not answer within {} s", LIMIT.as_secs()))
                .remedy("look for a process that holds the kernel's network lock for long, then try again")
        }
        _ => Fault::new(FaultKind::Kernel, format!("cannot {what} the netlink socket")).because(cause),
    }
}
