//! A connection to VPP's API: requests out, replies in, each wait with an end and each message with a limit.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::message::{self, Message};
use super::table::Table;
use super::wire::{self, HEADER, MAX_MESSAGE, Reader, Writer};
use crate::host::stream::{Deadline, dial, read_more};
use crate::host::{sessions, stream};
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

/// Most entries of a list: more than a VPP has interfaces.
const MAX_LIST: usize = 1 << 17;
/// What VPP shows us as among its clients.
const NAME: &str = "manifold";

/// A connection to a VPP.
#[derive(Debug)]
pub(super) struct Session {
    stream: UnixStream,
    place: PathBuf,
    unread: Vec<u8>,
    table: Table,
    /// What VPP calls us.
    client: u32,
    last_context: u32,
    lost: bool,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Unopened {
    /// No VPP runs: nobody listens, or there is not even a socket.
    NotRunning(Fault),
    /// Whether one runs is not known.
    Failed(Fault),
}

impl From<Unopened> for Fault {
    fn from(unopened: Unopened) -> Self {
        match unopened {
            Unopened::NotRunning(fault) | Unopened::Failed(fault) => fault,
        }
    }
}

/// What VPP answered to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// 0, or why not.
    pub(super) code: i32,
    /// What stands behind the code.
    pub(super) fields: Vec<u8>,
}

impl sessions::Session for Session {
    type Unopened = Unopened;

    /// Connects, and learns which messages VPP knows.
    fn open(place: &Path, deadline: Deadline) -> Result<Self, Unopened> {
        let stream = dial(place, deadline).map_err(|cause| unreachable(place, deadline, cause))?;
        let mut session = Self {
            stream,
            place: place.to_owned(),
            unread: Vec::new(),
            table: Table::default(),
            client: 0,
            last_context: 0,
            lost: false,
        };
        session.greet(deadline).map_err(Unopened::Failed)?;
        Ok(session)
    }

    fn is_lost(&self) -> bool {
        self.lost
    }
}

impl Session {
    fn greet(&mut self, deadline: Deadline) -> Outcome<()> {
        let context = self.next_context();
        self.write(&message::greeting(context, NAME)?, deadline)?;
        let fields = self.answer(message::GREETED, context, deadline)?;
        let mut reader = Reader::new(&fields);
        let response = reader.i32().ok_or_else(|| self.garbled())?;
        if response != 0 {
            let what = format!("VPP at {:?} takes no client", self.shown());
            return Err(Fault::new(FaultKind::Switch, what)
                .because(format!("it answers {response}"))
                .remedy("see VPP's log"));
        }
        let (index, table) = (reader.u32(), Table::read(&mut reader));
        (self.client, self.table) = index.zip(table).ok_or_else(|| self.garbled())?;
        Ok(())
    }

    /// Whether VPP knows a message.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.table.number(name).is_some()
    }

    /// Asks for something. That VPP refuses it is an answer.
    ///
    /// # Errors
    /// VPP does not know the request, does not answer in time, or not as it should.
    pub(super) fn ask(&mut self, asked: &Message, deadline: Deadline) -> Outcome<Reply> {
        self.number(asked.name)?;
        let reply = self.number(asked.reply)?;
        let context = self.send(asked, deadline)?;
        let fields = self.answer(reply, context, deadline)?;
        let mut reader = Reader::new(&fields);
        let code = reader.i32().ok_or_else(|| self.garbled())?;
        Ok(Reply { code, fields: reader.rest().to_vec() })
    }

    /// Asks for a list, and reads each entry of it.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub(super) fn list<T>(
        &mut self,
        asked: &Message,
        read: impl Fn(&[u8]) -> Option<T>,
        deadline: Deadline,
    ) -> Outcome<Vec<T>> {
        let ping = message::control_ping();
        self.number(asked.name)?;
        let (entry, end) = (self.number(asked.reply)?, self.number(ping.reply)?);
        let context = self.send(asked, deadline)?;
        // A list has no end: what is asked behind it is answered behind it.
        let last = self.send(&ping, deadline)?;
        let mut entries = Vec::new();
        loop {
            let (number, whose, fields) = self.message(deadline)?;
            match (number, whose) {
                (number, whose) if number == end && whose == last => return Ok(entries),
                (number, whose) if number == entry && whose == context && entries.len() < MAX_LIST => {
                    entries.push(read(&fields).ok_or_else(|| self.garbled())?);
                }
                (_, whose) if whose == context || whose == last => return Err(self.garbled()),
                _ => {}
            }
        }
    }

    fn number(&self, name: &str) -> Outcome<u16> {
        self.table.number(name).ok_or_else(|| {
            let what = format!("VPP at {:?} does not know {:?}", self.shown(), plain(name));
            Fault::new(FaultKind::Absent, what).remedy(
                "load the plugin that has it (\"plugins\" in VPP's startup.conf), or use VPP 21.06 or later",
            )
        })
    }

    fn next_context(&mut self) -> u32 {
        self.last_context = self.last_context.wrapping_add(1);
        self.last_context
    }

    fn send(&mut self, asked: &Message, deadline: Deadline) -> Outcome<u32> {
        let number = self.number(asked.name)?;
        let context = self.next_context();
        let mut body = Writer::default().u16(number).u32(self.client).u32(context).finish();
        body.extend(&asked.fields);
        self.write(&body, deadline)?;
        Ok(context)
    }

    fn write(&mut self, body: &[u8], deadline: Deadline) -> Outcome<()> {
        stream::write(&mut self.stream, &wire::framed(body), deadline)
            .map_err(|cause| self.broken(cause, deadline))
    }

    /// What stands behind the context of the message of this number and context. Other messages are passed over.
    fn answer(&mut self, number: u16, context: u32, deadline: Deadline) -> Outcome<Vec<u8>> {
        loop {
            let (other, whose, fields) = self.message(deadline)?;
            match (other == number, whose == context) {
                (true, true) => return Ok(fields),
                // An answer to the question, and another than was asked for.
                (false, true) => return Err(self.garbled()),
                (_, false) => {}
            }
        }
    }

    /// The next message: its number, its context, and what stands behind. Whether we are still there is answered.
    fn message(&mut self, deadline: Deadline) -> Outcome<(u16, u32, Vec<u8>)> {
        loop {
            let body = self.frame(deadline)?;
            let mut reader = Reader::new(&body);
            let number = reader.u16().ok_or_else(|| self.garbled())?;
            if number == message::GREETED {
                // The only one with a name of the client before its context.
                reader.skip(4).ok_or_else(|| self.garbled())?;
            }
            if self.table.number(message::KEEPALIVE) == Some(number) {
                self.keep_alive(reader, deadline)?;
                continue;
            }
            // What has no context is no answer.
            let Some(context) = reader.u32() else { continue };
            return Ok((number, context, reader.rest().to_vec()));
        }
    }

    fn keep_alive(&mut self, mut asked: Reader<'_>, deadline: Deadline) -> Outcome<()> {
        let context = asked.u32().and_then(|_client| asked.u32()).ok_or_else(|| self.garbled())?;
        let number = self.number(message::KEEPALIVE_REPLY)?;
        self.write(&Writer::default().u16(number).u32(context).u32(0).finish(), deadline)
    }

    /// The next message's bytes.
    fn frame(&mut self, deadline: Deadline) -> Outcome<Vec<u8>> {
        loop {
            let length = wire::length(&self.unread);
            if length.is_some_and(|length| length > MAX_MESSAGE) {
                self.lost = true;
                return Err(self.garbled());
            }
            if let Some(end) = length.map(|length| HEADER + length).filter(|end| *end <= self.unread.len()) {
                let rest = self.unread.split_off(end);
                let mut whole = std::mem::replace(&mut self.unread, rest);
                return Ok(whole.split_off(HEADER));
            }
            let more = read_more(&mut self.stream, &mut self.unread, deadline);
            more.map_err(|cause| self.broken(cause, deadline))?;
        }
    }

    fn broken(&mut self, cause: io::Error, deadline: Deadline) -> Fault {
        if matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
            return self.silent(deadline);
        }
        self.lost = true;
        Fault::new(FaultKind::TryLater, format!("VPP at {:?} went away", self.shown()))
            .because(cause)
            .remedy("none is needed if VPP is just being restarted: try again")
    }

    fn silent(&self, deadline: Deadline) -> Fault {
        deadline
            .missed(format!("VPP at {:?} did not answer", self.shown()))
            .remedy("see whether VPP is well (\"vppctl show version\"), and its log")
    }

    /// An answer that is none. Nothing behind it could be understood either.
    pub(super) fn garbled(&self) -> Fault {
        Fault::new(FaultKind::Decode, format!("what answers at {:?} is not VPP's API", self.shown()))
            .remedy("name the socket of VPP's \"socksvr\" in \"vppSocket\" of Manifold's \"vhostUser\"")
    }

    /// VPP's socket.
    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    pub(super) fn shown(&self) -> String {
        self.place.display().to_string()
    }
}

/// The name of a message without the digest of its layout.
fn plain(name: &str) -> &str {
    name.rsplit_once('_').map_or(name, |(name, _)| name)
}

fn unreachable(place: &Path, deadline: Deadline, cause: io::Error) -> Unopened {
    let shown = place.display().to_string();
    let kind = cause.kind();
    if kind == ErrorKind::NotFound {
        let fault = Fault::new(FaultKind::Absent, format!("VPP's API is not at {shown:?}"));
        return Unopened::NotRunning(fault.remedy(
            "start VPP with \"socksvr { default }\" in its startup.conf, or name its socket in \"vppSocket\" of \
             Manifold's \"vhostUser\"",
        ));
    }
    if kind == ErrorKind::ConnectionRefused {
        let fault = Fault::new(FaultKind::TryLater, format!("nobody listens at VPP's socket {shown:?}"));
        return Unopened::NotRunning(fault.because(cause).remedy("start VPP"));
    }
    if kind == ErrorKind::TimedOut {
        let fault = deadline.missed(format!("VPP at {shown:?} took no connection"));
        return Unopened::Failed(
            fault.remedy("see whether VPP is well (\"vppctl show version\"), and its log"),
        );
    }
    let fault = Fault::new(FaultKind::Io, format!("cannot connect to VPP at {shown:?}")).because(cause);
    Unopened::Failed(fault.remedy("run Manifold as root, and check \"vppSocket\" of its \"vhostUser\""))
}
