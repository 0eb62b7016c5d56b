//! Somebody at the other end of a socket, who answers what the input says.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;

/// What the peer says to a connection: it reads requests and writes answers until it has none left.
pub(crate) trait Script: Send {
    /// The length of the first request in these bytes, once it is whole.
    fn request(&mut self, unread: &[u8]) -> Option<usize>;

    /// What is answered to a request, or said to somebody who waits without one; `None` ends the connection.
    fn answer(&mut self, request: &[u8]) -> Option<Vec<u8>>;

    /// Whether nothing is left to say.
    fn is_over(&self) -> bool;
}

/// How long somebody may wait for what was not said to the end. It is no part of any outcome: without it, whoever asks
/// would wait as long as he has patience.
const PAUSE: Duration = Duration::from_millis(10);

/// Works with a peer that listens at a socket; every connection goes on in the script where the one before it ended.
pub(crate) fn with(script: &mut dyn Script, work: impl FnOnce(&Path)) {
    let folder = folder();
    let place = folder.path().join("s");
    let listener = UnixListener::bind(&place).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (door, done) = (&listener, &done);
        scope.spawn(move || {
            while let Some((stream, _)) = door.accept().ok().filter(|_| !done.load(Ordering::SeqCst)) {
                converse(stream, script);
            }
        });
        work(&place);
        // The last to come hears nothing: it ends the wait for others.
        done.store(true, Ordering::SeqCst);
        UnixStream::connect(&place).unwrap();
    });
}

/// One connection.
fn converse(mut stream: UnixStream, script: &mut dyn Script) {
    stream.set_read_timeout(Some(PAUSE)).unwrap();
    let (mut unread, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => unread.extend_from_slice(&piece[..count]),
            // All that is left is said at once: a pause for each would be nothing but waiting.
            Err(cause) if cause.kind() == ErrorKind::WouldBlock => {
                while say(&mut stream, script.answer(&unread), script.is_over()) && !script.is_over() {}
                return;
            }
            Err(_) => return,
        }
        while let Some(length) = script.request(&unread) {
            let rest = unread.split_off(length);
            let answer = script.answer(&unread);
            unread = rest;
            if !say(&mut stream, answer, script.is_over()) {
                return;
            }
        }
    }
}

/// Whether it was said.
fn say(stream: &mut UnixStream, answer: Option<Vec<u8>>, last: bool) -> bool {
    let said = answer.is_some_and(|bytes| stream.write_all(&bytes).is_ok());
    if last || !said {
        stream.shutdown(if said { Shutdown::Write } else { Shutdown::Both }).unwrap_or_default();
    }
    said
}

/// A folder for one run, in memory where the machine has such a place.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { TempDir::new().unwrap() }
}
