//! The daemon behind a shim: whether it answers, what it waits for, and what it says of the next pod.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Finding, bad, ok};
use crate::host::stream::{Deadline, dial};
use crate::model::fault::{ErrorReply, Fault};
use crate::model::thick::{CNI, Question};
use crate::model::{FaultKind, Object};

/// Longest wait for a place in the daemon's queue, in seconds.
const CONNECTED: u32 = 5;
/// Longest wait for a part of an answer. A STATUS may run plugins.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer, in bytes.
const MAX_ANSWER: u64 = 64 << 10;

/// Whether the daemon at this socket answers, and what it waits for.
pub(super) fn look(socket: &Path) -> Finding {
    let fault = |what: String| Fault::new(FaultKind::Unavailable, what);
    match ask(socket, "GET /readyz", b"") {
        Ok((200, _)) => ok("daemon", format!("serves at {socket:?}")),
        Ok((code, text)) => {
            let fault = fault(format!("the daemon at {socket:?} is not ready ({code})")).because(text);
            bad("daemon", &fault.remedy("do what it says; its log says more"))
        }
        Err(cause) => {
            let fault = fault(format!("no daemon answers at {socket:?}")).because(cause);
            bad("daemon", &fault.remedy("start \"manifold daemon\", and look at its log"))
        }
    }
}

/// What the daemon answers to STATUS, as the shim would pass it on; `None` if it does not answer.
pub(super) fn status(
    socket: &Path,
    env: BTreeMap<String, String>,
    config: &Object,
) -> Option<Result<(), ErrorReply>> {
    let question = Question { env, config: STANDARD.encode(config.to_bytes()), attributes: None };
    let body = serde_json::to_vec(&question).ok()?;
    match ask(socket, &format!("POST {CNI}"), &body).ok()? {
        (200, _) => Some(Ok(())),
        (code, text) => Some(Err(serde_json::from_str(&text).unwrap_or_else(|_| {
            Fault::new(FaultKind::Unavailable, format!("the daemon answers {code}")).because(text).to_reply()
        }))),
    }
}

/// One request, and the answer's HTTP status code and text.
fn ask(socket: &Path, what: &str, body: &[u8]) -> io::Result<(u16, String)> {
    let mut stream = dial(socket, Deadline::after(CONNECTED))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let length = body.len();
    let head =
        format!("{what} HTTP/1.1\r\nHost: manifold\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer).map_err(|cause| {
        let silent = cause.kind() == io::ErrorKind::WouldBlock;
        if silent { io::Error::other(format!("it says nothing for {PATIENCE:?}")) } else { cause }
    })?;
    let (head, text) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let code =
        code.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what came is no HTTP answer"))?;
    Ok((code, text.trim().to_owned()))
}
