//! Connections to sockets of this node whose every wait has an end.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::model::FaultKind;
use crate::model::fault::Fault;

/// How soon a full queue of connections is tried again, in milliseconds.
const BACKLOG: u8 = 5;

/// Most bytes read at a time.
const PIECE: usize = 64 << 10;

/// When a wait ends.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    seconds: u32,
}

impl Deadline {
    /// So many seconds from now.
    pub fn after(seconds: u32) -> Self {
        Self { at: Instant::now() + Duration::from_secs(seconds.into()), seconds }
    }

    /// What is left, which is never nothing.
    pub(super) fn left(self) -> Option<Duration> {
        let left = self.at.saturating_duration_since(Instant::now());
        (left > Duration::ZERO).then_some(left)
    }

    /// A wait that ended here.
    pub(super) fn missed(self, what: impl Into<String>) -> Fault {
        Fault::new(FaultKind::TimedOut, format!("{} in {} s", what.into(), self.seconds))
    }
}

/// Connects, with an end: a plain `connect(2)` waits for ever where the queue of the one who listens is full.
///
/// # Errors
/// [`ErrorKind::TimedOut`]: somebody listens there, who takes nobody up. Others: nobody can be reached there.
pub fn dial(place: &Path, deadline: Deadline) -> io::Result<UnixStream> {
    let address = UnixAddr::new(place)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    loop {
        match connect(socket.as_raw_fd(), &address) {
            Ok(()) => break,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if deadline.left().is_some() => {
                poll(&mut [], PollTimeout::from(BACKLOG)).map(drop)?;
            }
            Err(Errno::EAGAIN) => return Err(ErrorKind::TimedOut.into()),
            Err(cause) => return Err(cause.into()),
        }
    }
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Writes all of it.
///
/// # Errors
/// [`ErrorKind::TimedOut`] or [`ErrorKind::WouldBlock`]: not all of it was taken in time.
pub(super) fn write(stream: &mut UnixStream, bytes: &[u8], deadline: Deadline) -> io::Result<()> {
    stream.set_write_timeout(Some(deadline.left().unwrap_or(Duration::from_millis(1))))?;
    stream.write_all(bytes)
}

/// Reads what comes next, behind what is there; it waits for something to come.
///
/// # Errors
/// [`ErrorKind::TimedOut`] or [`ErrorKind::WouldBlock`]: nothing came in time. [`ErrorKind::UnexpectedEof`]: the other
/// end is closed.
pub(super) fn read_more(stream: &mut UnixStream, unread: &mut Vec<u8>, deadline: Deadline) -> io::Result<()> {
    let mut piece = [0; PIECE];
    loop {
        stream.set_read_timeout(Some(deadline.left().ok_or(ErrorKind::TimedOut)?))?;
        match stream.read(&mut piece) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                unread.extend_from_slice(piece.get(..count).unwrap_or_default());
                return Ok(());
            }
            Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
}
