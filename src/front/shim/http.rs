//! One HTTP/1.1 request on a unix socket (RFC 9112): a body is posted, the connection ends with the answer.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::model::thick::MAX_ANSWER;

/// Longest wait for a part of the answer. A runtime gives a call four minutes; what is still running then will be asked
/// for again.
const LIMIT: Duration = Duration::from_secs(300);
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

/// Posts a body and reads the answer.
pub(super) fn post(socket: &Path, path: &str, body: &[u8]) -> Result<Answer, Failure> {
    let mut stream = UnixStream::connect(socket).map_err(Failure::NotTaken)?;
    let timeouts = stream.set_read_timeout(Some(LIMIT)).and_then(|()| stream.set_write_timeout(Some(LIMIT)));
    timeouts.map_err(Failure::NotTaken)?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: manifold\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut request = head.into_bytes();
    request.extend_from_slice(body);
    // A daemon that has enough of connections may close this one before it is read.
    stream.write_all(&request).map_err(Failure::NotTaken)?;
    let mut bytes = Vec::new();
    let limit = (MAX_HEAD + 2 * MAX_ANSWER) as u64;
    stream.take(limit).read_to_end(&mut bytes).map_err(Failure::CutOff)?;
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
