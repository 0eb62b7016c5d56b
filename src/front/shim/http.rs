//! One HTTP/1.1 request on a unix socket (RFC 9112): a body is posted, the connection ends with the answer.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::model::thick::MAX_ANSWER;

/// Longest head of an answer, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub code: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Why nothing came back.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody took the call: it may be tried again, and nothing was done.
    NotTaken(io::Error),
    /// It was taken, and whether it was done is not known.
    CutOff(io::Error),
}

/// How long is waited for a daemon that is there and does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Until it has room for the call.
    pub(super) taken: Duration,
    /// Until there is a part of the answer.
    pub(super) answered: Duration,
}

/// Posts a body and reads the answer.
pub(super) fn post(socket: &Path, path: &str, body: &[u8], limits: Limits) -> Result<Answer, Failure> {
    let Limits { taken, answered } = limits;
    let not_taken = |cause| Failure::NotTaken(late(cause, taken));
    let mut stream = open(socket, taken).map_err(not_taken)?;
    stream.set_read_timeout(Some(answered)).map_err(Failure::NotTaken)?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: manifold\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut request = head.into_bytes();
    request.extend_from_slice(body);
    // A daemon that has enough of connections may close this one before it is read.
    stream.write_all(&request).map_err(not_taken)?;
    let mut bytes = Vec::new();
    let limit = (MAX_HEAD + 2 * MAX_ANSWER) as u64;
    let read = stream.take(limit).read_to_end(&mut bytes);
    read.map_err(|cause| Failure::CutOff(late(cause, answered)))?;
    if bytes.is_empty() {
        return Err(Failure::CutOff(io::ErrorKind::UnexpectedEof.into()));
    }
    let answer = parse(&bytes).ok_or_else(|| {
        Failure::CutOff(io::Error::new(io::ErrorKind::InvalidData, "what came is no whole HTTP answer"))
    })?;
    // A daemon that is about to stop, or not ready yet, says so and does nothing.
    match answer.code {
        503 => Err(Failure::NotTaken(io::Error::other("it is stopping, or not ready yet"))),
        _ => Ok(answer),
    }
}

/// Connects. One that hangs takes up no connections, and where its queue is full the kernel waits for as long as may be
/// waited to send.
fn open(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(limit))?;
    connect(&socket, &address)?;
    Ok(socket.into())
}

/// The kernel's word for a wait that was long enough is no word for people.
fn late(cause: io::Error, limit: Duration) -> io::Error {
    if cause.kind() != io::ErrorKind::WouldBlock {
        return cause;
    }
    io::Error::new(io::ErrorKind::TimedOut, format!("it does nothing for {} s", limit.as_secs()))
}

/// The answer in these bytes, if they are a whole one. It is never longer than [`MAX_ANSWER`].
pub fn parse(bytes: &[u8]) -> Option<Answer> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(bytes).ok()? else { return None };
    let field = |name: &str| head.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value);
    let rest = bytes.get(length..)?;
    let body = if field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
        unchunked(rest)?
    } else if let Some(length) = field("content-length") {
        rest.get(..std::str::from_utf8(length).ok()?.trim().parse().ok()?)?.to_vec()
    } else {
        rest.to_vec()
    };
    (body.len() <= MAX_ANSWER).then_some(Answer { code: head.code?, body })
}

/// A body that was sent in chunks, of lengths not known before (RFC 9112, section 7.1).
fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let httparse::Status::Complete((start, length)) = httparse::parse_chunk_size(bytes).ok()? else {
            return None;
        };
        let length = usize::try_from(length).ok()?;
        if length == 0 {
            return Some(body);
        }
        let chunk = bytes.get(start..)?;
        body.extend_from_slice(chunk.get(..length)?);
        bytes = chunk.get(length..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustix::net::{bind, listen};
    use std::os::fd::OwnedFd;
    use std::sync::mpsc::channel;

    /// What comes of a call to a daemon that never takes one up, with this many before it.
    fn asked_behind(others: usize) -> Failure {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let daemon: OwnedFd =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        bind(&daemon, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        // Room for one.
        listen(&daemon, 0).unwrap();
        let before: Vec<_> = (0..others).map(|_| UnixStream::connect(&path).unwrap()).collect();
        let (done, heard) = channel();
        std::thread::spawn(move || {
            let short = Duration::from_millis(50);
            done.send(post(&path, "/cni", b"{}", Limits { taken: short, answered: short }))
        });
        let answer = heard.recv_timeout(Duration::from_secs(60)).expect("it does not wait for ever");
        drop((before, daemon));
        answer.unwrap_err()
    }

    #[test]
    fn a_daemon_that_hangs_is_not_waited_for() {
        match asked_behind(0) {
            Failure::CutOff(cause) => assert_eq!(cause.to_string(), "it does nothing for 0 s"),
            Failure::NotTaken(cause) => panic!("{cause}"),
        }
    }

    #[test]
    fn a_daemon_that_hangs_and_has_no_room_has_not_taken_the_call() {
        match asked_behind(1) {
            Failure::NotTaken(cause) => assert_eq!(cause.to_string(), "it does nothing for 0 s"),
            Failure::CutOff(cause) => panic!("{cause}"),
        }
    }

    #[test]
    fn bodies_of_every_kind_are_read() {
        for text in [
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nhello",
        ] {
            assert_eq!(
                parse(text.as_bytes()).unwrap(),
                Answer { code: 400, body: b"hello".to_vec() },
                "{text}"
            );
        }
    }

    #[test]
    fn half_an_answer_is_none() {
        for text in [
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
            "nonsense",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(parse(&bytes));
            drop(unchunked(&bytes));
        }
    }
}
