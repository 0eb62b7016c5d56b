//! A connection to a database: requests out, replies and notices in (RFC 7047, section 4), each wait with an end.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::reply::{self, Transacted};
use super::scan::Scanner;
use crate::host::stream::{Deadline, dial, read_more};
use crate::host::{sessions, stream};
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

/// Longest message read, in bytes.
const MAX_MESSAGE: usize = 32 << 20;
/// The database of a switch.
const DATABASE: &str = "Open_vSwitch";

/// A connection to a database.
#[derive(Debug)]
pub(super) struct Session {
    stream: UnixStream,
    place: PathBuf,
    unread: Vec<u8>,
    scanner: Scanner,
    last_id: u64,
    /// Replies that came while another was waited for.
    replies: Vec<(u64, Value)>,
    /// How far ovs-vswitchd is, once that is watched.
    seen: Option<i64>,
    watching: bool,
    lost: bool,
}

impl sessions::Session for Session {
    /// Nothing is there ([`FaultKind::Absent`]), nobody listens ([`FaultKind::TryLater`]), or it may not be used.
    type Unopened = Fault;

    fn open(place: &Path, deadline: Deadline) -> Outcome<Self> {
        let stream = dial(place, deadline).map_err(|cause| unreachable(place, deadline, cause))?;
        Ok(Self {
            stream,
            place: place.to_owned(),
            unread: Vec::new(),
            scanner: Scanner::default(),
            last_id: 0,
            replies: Vec::new(),
            seen: None,
            watching: false,
            lost: false,
        })
    }

    fn is_lost(&self) -> bool {
        self.lost
    }
}

impl Session {
    /// Where the database is.
    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// Does these operations, all or none.
    ///
    /// # Errors
    /// The database does not answer in time, or not as it should. That it refuses an operation is an answer.
    pub(super) fn transact(&mut self, operations: Vec<Value>, deadline: Deadline) -> Outcome<Transacted> {
        let count = operations.len();
        let id = self.send_transaction(operations, deadline)?;
        let result = self.reply(id, deadline)?;
        reply::transacted(result, count).ok_or_else(|| self.garbled())
    }

    /// The rows that one operation each selects.
    ///
    /// # Errors
    /// As [`Session::transact`], and that an operation is refused.
    pub(super) fn select(&mut self, operations: Vec<Value>, deadline: Deadline) -> Outcome<Vec<Vec<Value>>> {
        match self.transact(operations, deadline)? {
            Transacted::Done(results) => Ok(results.into_iter().map(reply::rows).collect()),
            Transacted::Refused(refusal) => Err(refusal.fault(&self.place)),
        }
    }

    /// As [`Session::transact`], where it is watched from before on how far ovs-vswitchd is.
    ///
    /// # Errors
    /// As [`Session::transact`].
    pub(super) fn transact_watched(
        &mut self,
        operations: Vec<Value>,
        deadline: Deadline,
    ) -> Outcome<Transacted> {
        if !self.watching {
            let columns = json!({"Open_vSwitch": {"columns": ["cur_cfg"]}});
            let id = self.send("monitor", json!([DATABASE, null, columns]), deadline)?;
            self.watching = true;
            // Both are under way before the first answer is waited for.
            let count = operations.len();
            let next = self.send_transaction(operations, deadline)?;
            let first = self.reply(id, deadline)?;
            self.note(&first);
            let result = self.reply(next, deadline)?;
            return reply::transacted(result, count).ok_or_else(|| self.garbled());
        }
        self.transact(operations, deadline)
    }

    /// Waits until ovs-vswitchd has taken up the configuration of this number.
    ///
    /// # Errors
    /// It has not until the deadline.
    pub(super) fn await_configuration(&mut self, number: i64, deadline: Deadline) -> Outcome<()> {
        while self.seen.is_none_or(|seen| seen < number) {
            if deadline.left().is_none() {
                return Err(deadline
                    .missed("ovs-vswitchd did not take the change up")
                    .remedy("see whether ovs-vswitchd runs, and its log"));
            }
            match self.message(deadline) {
                Ok(message) => self.receive(message, deadline)?,
                Err(fault) if fault.kind() == FaultKind::TimedOut => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    fn send_transaction(&mut self, operations: Vec<Value>, deadline: Deadline) -> Outcome<u64> {
        let mut params = vec![Value::from(DATABASE)];
        params.extend(operations);
        self.send("transact", Value::Array(params), deadline)
    }

    fn send(&mut self, method: &str, params: Value, deadline: Deadline) -> Outcome<u64> {
        self.last_id += 1;
        let id = self.last_id;
        self.write(&json!({"method": method, "params": params, "id": id}), deadline)?;
        Ok(id)
    }

    fn write(&mut self, message: &Value, deadline: Deadline) -> Outcome<()> {
        stream::write(&mut self.stream, message.to_string().as_bytes(), deadline)
            .map_err(|cause| self.broken(cause, deadline))
    }

    /// The result of a request.
    fn reply(&mut self, id: u64, deadline: Deadline) -> Outcome<Value> {
        loop {
            if let Some(at) = self.replies.iter().position(|(other, _)| *other == id) {
                let (_, reply) = self.replies.swap_remove(at);
                return match reply.get("error") {
                    None | Some(Value::Null) => Ok(reply.get("result").cloned().unwrap_or_default()),
                    Some(error) => Err(self.refused(error)),
                };
            }
            let message = self.message(deadline)?;
            self.receive(message, deadline)?;
        }
    }

    /// Takes in a message: answers an echo, notes how far ovs-vswitchd is, keeps a reply for who waits for it.
    fn receive(&mut self, message: Value, deadline: Deadline) -> Outcome<()> {
        match message.get("method").and_then(Value::as_str) {
            Some("echo") => {
                let (id, params) = (message.get("id"), message.get("params"));
                self.write(&json!({"id": id, "result": params, "error": null}), deadline)
            }
            Some("update") => {
                if let Some(update) = message.get("params").and_then(|params| params.get(1)) {
                    self.note(update);
                }
                Ok(())
            }
            Some(_) => Ok(()),
            None => {
                if let Some(id) = message.get("id").and_then(Value::as_u64) {
                    self.replies.push((id, message));
                }
                Ok(())
            }
        }
    }

    /// Notes how far ovs-vswitchd is.
    fn note(&mut self, update: &Value) {
        let rows = update.get("Open_vSwitch").and_then(Value::as_object);
        let number = |row: &Value| row.get("new")?.get("cur_cfg")?.as_i64();
        let told = rows.into_iter().flatten().filter_map(|(_, row)| number(row)).max();
        self.seen = self.seen.max(told);
    }

    /// The next message.
    fn message(&mut self, deadline: Deadline) -> Outcome<Value> {
        loop {
            if let Some(end) = self.scanner.end(&self.unread) {
                let rest = self.unread.split_off(end);
                let whole = std::mem::replace(&mut self.unread, rest);
                return serde_json::from_slice(&whole).map_err(|_| self.garbled());
            }
            if self.unread.len() > MAX_MESSAGE {
                self.lost = true;
                return Err(self.garbled());
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
        Fault::new(FaultKind::TryLater, format!("Open vSwitch's database at {:?} went away", self.shown()))
            .because(cause)
            .remedy("none is needed if ovsdb-server is just being restarted: try again")
    }

    fn silent(&self, deadline: Deadline) -> Fault {
        deadline
            .missed(format!("Open vSwitch's database at {:?} did not answer", self.shown()))
            .remedy("see whether ovsdb-server is well, and its log")
    }

    /// An answer that is none. Nothing behind it could be understood either.
    fn garbled(&self) -> Fault {
        Fault::new(
            FaultKind::Decode,
            format!("what answers at {:?} is not Open vSwitch's database", self.shown()),
        )
        .remedy("name the socket of ovsdb-server in \"ovsdbSocket\" of Manifold's \"vhostUser\"")
    }

    fn refused(&self, error: &Value) -> Fault {
        let words =
            error.get("error").and_then(Value::as_str).map_or_else(|| error.to_string(), str::to_owned);
        let words: String = words.chars().take(400).collect();
        Fault::new(
            FaultKind::Switch,
            format!("Open vSwitch's database at {:?} refuses the request", self.shown()),
        )
        .because(words)
        .remedy("use an Open vSwitch whose database \"ovsdb-client list-dbs\" shows as \"Open_vSwitch\"")
    }

    fn shown(&self) -> String {
        self.place.display().to_string()
    }
}

fn unreachable(place: &Path, deadline: Deadline, cause: io::Error) -> Fault {
    let shown = place.display().to_string();
    let kind = cause.kind();
    if kind == ErrorKind::NotFound {
        return Fault::new(FaultKind::Absent, format!("Open vSwitch's database is not at {shown:?}"))
            .remedy("start Open vSwitch, or name its socket in \"ovsdbSocket\" of Manifold's \"vhostUser\"");
    }
    if kind == ErrorKind::ConnectionRefused {
        return Fault::new(FaultKind::TryLater, format!("nobody listens at Open vSwitch's socket {shown:?}"))
            .because(cause)
            .remedy("start ovsdb-server");
    }
    if kind == ErrorKind::TimedOut {
        return deadline
            .missed(format!("Open vSwitch's database at {shown:?} took no connection"))
            .remedy("see whether ovsdb-server is well, and its log");
    }
    Fault::new(FaultKind::Io, format!("cannot connect to Open vSwitch's database at {shown:?}"))
        .because(cause)
        .remedy("run Manifold as root, and check \"ovsdbSocket\" of its \"vhostUser\"")
}
