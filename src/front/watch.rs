//! `manifold status --watch`: shows what is attached, anew whenever records change.

use std::io::{self, ErrorKind, IsTerminal, Stdout, Write};
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::cli::Output;
use super::machine::Machine;
use super::status::{self, View};
use crate::host::changes::Changes;
use crate::model::fault::{Fault, FaultKind, Outcome};

/// How often it is looked at where nothing changes, in milliseconds: ages grow, and sandboxes go without a word.
const ROUND: u16 = 10_000;
/// How long is waited after a change, in milliseconds, so that a storm of them costs little.
const PAUSE: u16 = 200;
/// Takes what is on a terminal's screen away (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Why a wait is over.
enum Woken {
    /// Records changed.
    Changed,
    /// Nothing happened for so long.
    Time,
    /// It is to end, or nobody reads any more.
    Ended,
}

/// Where it is shown, and what was shown last.
struct Screen {
    stdout: Stdout,
    output: Output,
    terminal: bool,
    shown: Option<Vec<View>>,
}

/// Shows until a signal tells it to stop (SIGINT, SIGTERM, SIGHUP), or nobody reads any more.
///
/// # Errors
/// The records cannot be watched or read, or nothing can be shown.
pub(super) fn run(machine: &Machine, state_dir: &Path, output: Output) -> Outcome<()> {
    let ends = ends().map_err(|cause| failed(cause.into()))?;
    let changes = Changes::of(state_dir)?;
    let stdout = io::stdout();
    let mut screen = Screen { terminal: stdout.is_terminal(), stdout, output, shown: None };
    loop {
        changes.attend()?;
        match screen.show(status::views(machine)?) {
            Err(cause) if cause.kind() == ErrorKind::BrokenPipe => return Ok(()),
            shown => shown.map_err(failed)?,
        }
        let woken = match wait(&ends, Some(&changes), ROUND)? {
            Woken::Changed => wait(&ends, None, PAUSE)?,
            ended @ (Woken::Time | Woken::Ended) => ended,
        };
        if matches!(woken, Woken::Ended) {
            return Ok(());
        }
    }
}

/// The signals that end it, as something to wait for.
fn ends() -> nix::Result<SignalFd> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)
}

/// Waits for the end, for changes, or for this many milliseconds.
fn wait(ends: &SignalFd, changes: Option<&Changes>, milliseconds: u16) -> Outcome<Woken> {
    let stdout = io::stdout();
    // A descriptor for which nothing is asked tells only of a reader that went away.
    let reader = PollFd::new(stdout.as_fd(), PollFlags::empty());
    let mut awaited = vec![PollFd::new(ends.as_fd(), PollFlags::POLLIN), reader];
    awaited.extend(changes.map(|changes| PollFd::new(changes.as_fd(), PollFlags::POLLIN)));
    match poll(&mut awaited, PollTimeout::from(milliseconds)) {
        Ok(0) | Err(Errno::EINTR) => return Ok(Woken::Time),
        Ok(_) => {}
        Err(cause) => return Err(failed(cause.into())),
    }
    let happened = |one: &PollFd<'_>| one.any() == Some(true);
    let ended = awaited.iter().take(2).any(happened);
    Ok(if ended { Woken::Ended } else { Woken::Changed })
}

impl Screen {
    /// Shows it if it is not what was shown last; on a terminal in any case, for the ages.
    fn show(&mut self, views: Vec<View>) -> io::Result<()> {
        if !self.terminal && self.shown.as_ref() == Some(&views) {
            return Ok(());
        }
        let text = match self.output {
            Output::Json => serde_json::to_string(&views)? + "\n",
            Output::Table if self.terminal => format!("{CLEAR}{}\n", status::table(&views)),
            Output::Table => status::table(&views) + "\n\n",
        };
        self.shown = Some(views);
        self.stdout.write_all(text.as_bytes())?;
        self.stdout.flush()
    }
}

fn failed(cause: io::Error) -> Fault {
    Fault::new(FaultKind::Io, "cannot show what is attached").because(cause)
}
