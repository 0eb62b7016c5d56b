//! The talk with a running program: its standard input is fed, its outputs are heard, until it is gone.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Child;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::excerpt::Excerpt;

/// Most a program may write on standard output, in bytes.
pub(super) const MAX_STDOUT: usize = 4 << 20;

/// How much is read at once, in bytes.
const CHUNK: usize = 16 << 10;

/// How many chunks are still read once the program is gone: a full pipe. Whoever it left behind may write for ever.
const LAST_CHUNKS: usize = 64;

/// Why a talk was broken off.
#[derive(Debug)]
pub(super) enum Break {
    /// The time was over.
    Limit,
    /// More than [`MAX_STDOUT`] came.
    TooMuch,
    /// A pipe failed.
    Pipe(io::Error),
}

impl From<io::Error> for Break {
    fn from(error: io::Error) -> Self {
        Self::Pipe(error)
    }
}

/// The ends of one talk that can become ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stdin,
    Stdout,
    Stderr,
    Gone,
}

/// The three pipes to a program. Each is closed as soon as nothing more goes through it.
#[derive(Debug)]
pub(super) struct Talk<'a> {
    stdin: Option<File>,
    unsaid: &'a [u8],
    stdout: Option<File>,
    stderr: Option<File>,
    /// What it wrote on standard output.
    pub(super) said: Vec<u8>,
    /// What it wrote on standard error.
    pub(super) muttered: Excerpt,
}

impl<'a> Talk<'a> {
    /// Takes the pipes of a process, to say `unsaid` to it.
    pub(super) fn with(child: &mut Child, unsaid: &'a [u8]) -> io::Result<Self> {
        Ok(Self {
            stdin: child.stdin.take().map(OwnedFd::from).map(unblocked).transpose()?,
            unsaid,
            stdout: child.stdout.take().map(OwnedFd::from).map(unblocked).transpose()?,
            stderr: child.stderr.take().map(OwnedFd::from).map(unblocked).transpose()?,
            said: Vec::new(),
            muttered: Excerpt::default(),
        })
    }

    /// Talks until the program is gone, which `gone` tells by its end of file.
    ///
    /// That its outputs are at their end does not count, as it may live on; nor that they are not, as a child of its
    /// may hold them open.
    pub(super) fn hold(&mut self, gone: BorrowedFd<'_>, deadline: Instant) -> Result<(), Break> {
        loop {
            let ready = self.await_ready(gone, deadline)?;
            if ready.contains(&End::Stdin) {
                self.feed()?;
            }
            if ready.contains(&End::Stdout) {
                self.hear()?;
            }
            if ready.contains(&End::Stderr) {
                self.overhear()?;
            }
            if ready.contains(&End::Gone) {
                return self.hear_out();
            }
        }
    }

    /// Waits until something can be done.
    fn await_ready(&self, gone: BorrowedFd<'_>, deadline: Instant) -> Result<Vec<End>, Break> {
        let mut ends = vec![End::Gone];
        let mut fds = vec![PollFd::new(gone, PollFlags::POLLIN)];
        let pipes = [
            (End::Stdin, &self.stdin, PollFlags::POLLOUT),
            (End::Stdout, &self.stdout, PollFlags::POLLIN),
            (End::Stderr, &self.stderr, PollFlags::POLLIN),
        ];
        for (end, pipe, events) in pipes {
            let Some(pipe) = pipe else { continue };
            ends.push(end);
            fds.push(PollFd::new(pipe.as_fd(), events));
        }
        if !wait(&mut fds, deadline)? {
            return Err(Break::Limit);
        }
        Ok(ends
            .into_iter()
            .zip(&fds)
            .filter(|(_, fd)| fd.any().unwrap_or(true))
            .map(|(end, _)| end)
            .collect())
    }

    /// Says as much as the pipe takes. A program that does not listen is no error: what it answers counts.
    fn feed(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.stdin else { return Ok(()) };
        match pipe.write(self.unsaid) {
            Ok(taken) => self.unsaid = self.unsaid.get(taken..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.unsaid = &[],
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
        if self.unsaid.is_empty() {
            self.stdin = None;
        }
        Ok(())
    }

    /// Reads one chunk of standard output; whether there was one.
    fn hear(&mut self) -> Result<bool, Break> {
        let said = &mut self.said;
        let more = read_chunk(&mut self.stdout, |bytes| said.extend_from_slice(bytes))?;
        if self.said.len() > MAX_STDOUT { Err(Break::TooMuch) } else { Ok(more) }
    }

    /// Reads one chunk of standard error; whether there was one.
    fn overhear(&mut self) -> io::Result<bool> {
        let muttered = &mut self.muttered;
        read_chunk(&mut self.stderr, |bytes| muttered.push(bytes))
    }

    /// Reads what the pipes still hold.
    fn hear_out(&mut self) -> Result<(), Break> {
        for _ in 0..LAST_CHUNKS {
            if !self.hear()? {
                break;
            }
        }
        for _ in 0..LAST_CHUNKS {
            if !self.overhear()? {
                break;
            }
        }
        Ok(())
    }
}

/// Waits until one of the ends is ready, or the deadline: then `false`.
pub(super) fn wait(fds: &mut [PollFd<'_>], deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        // Whole milliseconds, rounded up: rounded down, the last one would be spent spinning.
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Reads one chunk, and closes the pipe at its end; whether there was one.
fn read_chunk(pipe: &mut Option<File>, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
    let Some(open) = pipe else { return Ok(false) };
    let mut chunk = [0; CHUNK];
    match open.read(&mut chunk) {
        Ok(0) => *pipe = None,
        Ok(length) => {
            take(chunk.get(..length).unwrap_or_default());
            return Ok(true);
        }
        Err(error) if is_passing(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(false)
}

/// Whether the same may work at the next turn.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Our end of a pipe, made never to block. The program's end is another description and stays as it is.
fn unblocked(fd: OwnedFd) -> io::Result<File> {
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(File::from(fd))
}
