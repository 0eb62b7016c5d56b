//! Something that listens where VPP's API would, with faults. What it answers is another's matter.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use super::recording::{GREETED, Recording};

/// How soon it is looked again whether something has come about.
pub(crate) const PAUSE: Duration = Duration::from_millis(2);

/// A request: its name without the digest of its layout, and what stands behind client and context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) name: String,
    pub(crate) fields: Vec<u8>,
}

/// An answer: its whole name, and what stands behind the context.
pub(crate) type Told = (String, Vec<u8>);

/// Answers requests.
pub(crate) trait Answers: Send {
    fn answer(&mut self, request: &Request) -> Vec<Told>;
}

/// What goes wrong at a request of some name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is not answered.
    Silence,
    /// The connection ends instead of the first answer.
    Close,
    /// The connection ends amid the first answer.
    CloseAmid,
    /// The connection ends behind the first answer.
    CloseBehind,
    /// The answer says that it is longer than any message.
    Endless,
    /// The answer is another message's.
    OtherMessage,
    /// The answer ends too early.
    Short,
    /// VPP asks whether the client is still there, and waits for the answer.
    KeepAlive,
    /// Answers come byte by byte.
    Dribble,
    /// It is done, and not answered before the peer behaves otherwise.
    Held,
}

/// How the peer behaves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manners {
    /// Messages that are not in its table.
    pub(crate) unknown: Vec<&'static str>,
    /// What goes wrong, and how often.
    pub(crate) trouble: Option<(&'static str, Trouble, u32)>,
}

struct State<A> {
    answers: A,
    manners: Manners,
    heard: Vec<Request>,
    connections: Vec<UnixStream>,
    /// Whether nobody is to listen any more.
    ended: bool,
}

/// The peer.
pub(crate) struct Peer<A> {
    socket: PathBuf,
    state: Arc<Mutex<State<A>>>,
}

impl<A: Answers + 'static> Peer<A> {
    pub(crate) fn start(socket: &Path, answers: A, manners: Manners) -> Self {
        let state = State { answers, manners, heard: Vec::new(), connections: Vec::new(), ended: false };
        let peer = Self { socket: socket.to_owned(), state: Arc::new(Mutex::new(state)) };
        peer.listen();
        peer
    }

    /// Listens, as after a start.
    pub(crate) fn listen(&self) {
        drop(std::fs::remove_file(&self.socket));
        self.state().ended = false;
        let listener = UnixListener::bind(&self.socket).unwrap();
        let state = Arc::clone(&self.state);
        thread::spawn(move || serve(&listener, &state));
    }

    /// Ends, as a killed VPP does: its socket stays, and nobody listens at it.
    pub(crate) fn kill(&self) {
        self.state().ended = true;
        // The first only wakes the listener.
        while UnixStream::connect(&self.socket).is_ok() {}
        for stream in self.state().connections.drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    fn state(&self) -> MutexGuard<'_, State<A>> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The requests so far.
    pub(crate) fn heard(&self) -> Vec<Request> {
        self.state().heard.clone()
    }

    /// The names of the requests so far, without what ends lists.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.heard().into_iter().map(|request| request.name);
        names.filter(|name| name != "control_ping").collect()
    }

    /// Looks at what answers, or changes it.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut A) -> T) -> T {
        look(&mut self.state().answers)
    }

    pub(crate) fn behave(&self, manners: Manners) {
        self.state().manners = manners;
    }
}

impl<A> Drop for Peer<A> {
    fn drop(&mut self) {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).ended = true;
        drop(UnixStream::connect(&self.socket));
    }
}

fn serve<A: Answers + 'static>(listener: &UnixListener, state: &Arc<Mutex<State<A>>>) {
    for stream in listener.incoming().map_while(Result::ok) {
        let mut all = state.lock().unwrap();
        if all.ended {
            return;
        }
        all.connections.push(stream.try_clone().unwrap());
        let state = Arc::clone(state);
        thread::spawn(move || {
            converse(&stream, &state);
            drop(stream.shutdown(Shutdown::Both));
        });
    }
}

fn converse<A: Answers>(mut stream: &UnixStream, state: &Mutex<State<A>>) -> Option<()> {
    let recording = Recording::load();
    loop {
        let body = read(stream)?;
        let number = u16::from_be_bytes([body[0], body[1]]);
        if number == 15 {
            let unknown = state.lock().ok()?.manners.unknown.clone();
            let context = &body[2..6];
            stream.write_all(&framed(&recording.greeting(context, &unknown))).ok()?;
            continue;
        }
        assert_eq!(body[2..6], GREETED.to_be_bytes(), "the client was told another name");
        let context = body[6..10].to_vec();
        let request = Request { name: recording.plain_name(number), fields: body[10..].to_vec() };
        let mut all = state.lock().ok()?;
        all.heard.push(request.clone());
        let trouble = match &mut all.manners.trouble {
            Some((name, trouble, times)) if *name == request.name && *times > 0 => {
                *times -= 1;
                Some(*trouble)
            }
            Some(_) | None => None,
        };
        let answers = all.answers.answer(&request);
        drop(all);
        while trouble == Some(Trouble::Held) && is_held(state) {
            thread::sleep(PAUSE);
        }
        let frames: Vec<Vec<u8>> = answers
            .into_iter()
            .map(|(name, fields)| [&recording.number(&name).to_be_bytes(), &context[..], &fields].concat())
            .collect();
        say(stream, &recording, frames, trouble)?;
    }
}

/// Whether answers are still held back.
fn is_held<A>(state: &Mutex<State<A>>) -> bool {
    let all = state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    !all.ended && matches!(all.manners.trouble, Some((_, Trouble::Held, _)))
}

/// Sends the answers, as far as nothing goes wrong; `None` ends the connection.
fn say(
    mut stream: &UnixStream,
    recording: &Recording,
    mut frames: Vec<Vec<u8>>,
    trouble: Option<Trouble>,
) -> Option<()> {
    let whole = |frames: &[Vec<u8>]| frames.iter().flat_map(|frame| framed(frame)).collect::<Vec<u8>>();
    match trouble {
        None | Some(Trouble::Held) => stream.write_all(&whole(&frames)).ok(),
        Some(Trouble::Silence) => Some(()),
        Some(Trouble::Close) => None,
        Some(Trouble::CloseAmid) => {
            let bytes = framed(&frames[0]);
            stream.write_all(&bytes[..bytes.len() - 3]).ok()?;
            None
        }
        Some(Trouble::CloseBehind) => {
            stream.write_all(&framed(&frames[0])).ok()?;
            None
        }
        Some(Trouble::Endless) => {
            let mut bytes = framed(&frames[0]);
            bytes[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
            stream.write_all(&bytes).ok()
        }
        Some(Trouble::OtherMessage) => {
            frames[0][..2].copy_from_slice(&recording.number("memif_details_da34feb9").to_be_bytes());
            stream.write_all(&whole(&frames)).ok()
        }
        Some(Trouble::Short) => {
            frames[0].truncate(8);
            stream.write_all(&whole(&frames)).ok()
        }
        Some(Trouble::KeepAlive) => {
            let asked = recording.number("memclnt_keepalive_51077d14").to_be_bytes();
            let asked = [&asked, &GREETED.to_be_bytes()[..], &77_u32.to_be_bytes()].concat();
            stream.write_all(&framed(&asked)).ok()?;
            let told = read(stream)?;
            let wanted = recording.number("memclnt_keepalive_reply_e8d4e804").to_be_bytes();
            // Its number, our context, and a code that says all is well.
            assert_eq!(told, [&wanted, &77_u32.to_be_bytes()[..], &[0; 4]].concat());
            stream.write_all(&whole(&frames)).ok()
        }
        Some(Trouble::Dribble) => whole(&frames).chunks(1).try_for_each(|byte| stream.write_all(byte)).ok(),
    }
}

fn read(mut stream: &UnixStream) -> Option<Vec<u8>> {
    let mut header = [0; 16];
    stream.read_exact(&mut header).ok()?;
    assert_eq!((&header[..8], &header[12..]), ([0; 8].as_slice(), [0; 4].as_slice()));
    let length = u32::from_be_bytes(header[8..12].try_into().unwrap());
    let mut body = vec![0; length.try_into().unwrap()];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[0; 8], &length[..], &[0; 4], body].concat()
}
