//! One run of one program: started in a group of its own, watched to its end, and past its limit killed with all of
//! its group.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::answer::on_stderr;
use super::excerpt::Excerpt;
use super::root::command;
use super::talk::{Break, MAX_STDOUT, Talk, wait};
use crate::model::fault::{Fault, FaultKind, Outcome};

/// Longest limit; a longer one is as good as none.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the kernel is given to end what was killed.
const GRACE: Duration = Duration::from_secs(5);

/// Pauses between attempts to start a file that somebody is writing to, in milliseconds.
pub(super) const BUSY_PAUSES: [u64; 5] = [10, 50, 250, 1000, 2000];

/// What to run. Environment and input may hold secrets: no `Debug`.
pub(super) struct Order<'a> {
    /// The executable.
    pub(super) program: &'a Path,
    /// The root directory that it is beneath, if that is another.
    pub(super) root: Option<&'a Path>,
    /// Its whole environment; of two values for one name the later counts.
    pub(super) environment: Vec<(OsString, OsString)>,
    /// What it reads.
    pub(super) stdin: &'a [u8],
    /// How long it may run.
    pub(super) limit: Duration,
}

/// How a run ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Exit status or signal.
    pub(super) status: ExitStatus,
    /// All it wrote on standard output.
    pub(super) stdout: Vec<u8>,
    /// The ends of what it wrote on standard error.
    pub(super) stderr: Excerpt,
}

/// A thread that waits for a process and buries it.
///
/// The kernel tells only a waiting thread of the parent that a process has ended (or the holder of a pidfd, which
/// safe code cannot open). The thread notices the end, closes its side of `gone`, and leaves the body until the other
/// side of `child` hangs up.
struct Watch {
    child: Sender<Child>,
    gone: PipeReader,
    thread: JoinHandle<io::Result<ExitStatus>>,
}

/// A process that runs, or has ended and is not buried.
///
/// # Guarantees
/// As long as this lives the process is not buried, so that its id, which is also its group's, is nobody else's.
/// Dropped, it kills the group. Whatever happens, the thread buries the process.
struct Running {
    group: Pid,
    gone: PipeReader,
    unburied: Option<Unburied>,
}

/// The groups of all processes that run, or have ended and are not buried.
static GROUPS: Mutex<BTreeSet<Pid>> = Mutex::new(BTreeSet::new());

/// The entry of a group. It goes before its process is buried, whose id is somebody else's then.
struct Listed(Pid);

impl Listed {
    fn new(group: Pid) -> Self {
        GROUPS.lock().unwrap_or_else(PoisonError::into_inner).insert(group);
        Self(group)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        GROUPS.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// Kills all that runs, for a program that ends and does not wait for it: nobody else would ever end what hangs.
pub(super) fn kill_all() {
    let groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
    groups.iter().for_each(|group| killpg(*group, Signal::SIGKILL).unwrap_or_default());
}

/// Hung up on, the thread buries the process.
struct Unburied {
    listed: Listed,
    hold: Sender<Child>,
    thread: JoinHandle<io::Result<ExitStatus>>,
}

/// Runs a program to its end.
///
/// # Errors
/// It could not be started; it wrote too much; [`FaultKind::TimedOut`]. That it failed is no error here.
pub(super) fn run(order: &Order<'_>) -> Outcome<Ended> {
    let deadline = Instant::now() + order.limit.min(LONGEST);
    let watch = Watch::prepare().map_err(unwatched)?;
    let mut child = match start(order, deadline) {
        Ok(child) => child,
        Err(fault) => return Err(fault.along_with(watch.dismiss().err())),
    };
    let talk = Talk::with(&mut child, order.stdin);
    let mut running = Running::watched(watch, child)?;
    let mut talk = talk.map_err(unwatched)?;

    match talk.hold(running.gone.as_fd(), deadline) {
        Ok(()) => {
            let status = running.bury().map_err(unwatched)?;
            Ok(Ended { status, stdout: talk.said, stderr: talk.muttered })
        }
        Err(cause) => {
            let fault = broken_off(cause, order.limit, &talk.muttered);
            Err(fault.along_with(running.kill().err()))
        }
    }
}

/// Starts a program. Only a thread's own children are in its network namespace: this runs on the caller's.
fn start(order: &Order<'_>, deadline: Instant) -> Outcome<Child> {
    let mut pauses = BUSY_PAUSES.into_iter().map(Duration::from_millis);
    loop {
        let started = command(order.program, order.root)
            .env_clear()
            .envs(order.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let error = match started {
            Ok(child) => return Ok(child),
            Err(error) => error,
        };
        // An installer is writing the file, or another thread was just starting a program while it was open.
        let busy = error.kind() == io::ErrorKind::ExecutableFileBusy;
        let Some(pause) = pauses.next().filter(|_| busy && Instant::now() < deadline) else {
            return Err(unstarted(error));
        };
        let until = deadline.min(Instant::now() + pause);
        wait(&mut [], until).map_err(unwatched)?;
    }
}

impl Watch {
    /// Makes the thread before there is a process: afterwards nothing may fail without killing it.
    fn prepare() -> io::Result<Self> {
        let (gone, living) = io::pipe()?;
        let (child, children) = channel();
        let thread = std::thread::Builder::new().name("plugin".to_owned());
        let thread = thread.spawn(move || watch(&children, living))?;
        Ok(Self { child, gone, thread })
    }

    /// Sends the thread home: there is nothing to watch.
    fn dismiss(self) -> Outcome<()> {
        drop(self.child);
        self.thread.join().map(drop).map_err(|_| Fault::new(FaultKind::Io, "its watch broke"))
    }
}

/// The watching thread. Ends at once if no child ever comes.
fn watch(children: &Receiver<Child>, living: PipeWriter) -> io::Result<ExitStatus> {
    let mut child = children.recv().map_err(io::Error::other)?;
    let pid = pid_of(&child)?;
    while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
    drop(living);
    // Comes back when the other side hangs up: it sends no second child.
    drop(children.recv());
    child.wait()
}

impl Running {
    /// Hands a process to its watch.
    fn watched(watch: Watch, child: Child) -> Outcome<Self> {
        let Watch { child: hold, gone, thread } = watch;
        let group = pid_of(&child).map_err(unwatched)?;
        let listed = Listed::new(group);
        hold.send(child).map_err(|_| Fault::new(FaultKind::Io, "cannot talk to it: its watch is gone"))?;
        Ok(Self { group, gone, unburied: Some(Unburied { listed, hold, thread }) })
    }

    /// Buries a process that has ended. If it failed, what it left of its group is killed: an IPAM plugin that lost
    /// its caller would keep the lock of its store.
    fn bury(&mut self) -> io::Result<ExitStatus> {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        match waitid(Id::Pid(self.group), look) {
            // ECHILD: the kernel buried it itself, as SIGCHLD is ignored here. Its id may be somebody else's by now.
            Ok(WaitStatus::Exited(_, 0)) | Err(Errno::ECHILD) => {}
            Ok(_) | Err(_) => self.kill_group(),
        }
        let Some(Unburied { listed, hold, thread }) = self.unburied.take() else {
            return Err(io::Error::other("it is buried already"));
        };
        drop(listed);
        drop(hold);
        thread.join().unwrap_or_else(|_| Err(io::Error::other("its watch broke")))
    }

    /// Kills the group and buries the process, if it ends in time; if not, the thread buries it when it does.
    fn kill(&mut self) -> Outcome<()> {
        self.kill_group();
        let mut gone = [PollFd::new(self.gone.as_fd(), PollFlags::POLLIN)];
        if wait(&mut gone, Instant::now() + GRACE).map_err(unwatched)? {
            return self.bury().map(drop).map_err(unwatched);
        }
        self.unburied = None;
        let what = format!("it was killed and has not ended after {GRACE:?}: it hangs in the kernel");
        Err(Fault::new(FaultKind::TimedOut, what))
    }

    /// SIGKILL for all of the group. What this may fail for shows later: the process does not end.
    fn kill_group(&self) {
        killpg(self.group, Signal::SIGKILL).unwrap_or_default();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.unburied.is_some() {
            self.kill_group();
        }
    }
}

fn pid_of(child: &Child) -> io::Result<Pid> {
    i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)
}

fn unwatched(cause: io::Error) -> Fault {
    Fault::new(FaultKind::Io, "cannot talk to it").because(cause)
}

fn unstarted(cause: io::Error) -> Fault {
    let remedy = if cause.kind() == io::ErrorKind::ExecutableFileBusy {
        "somebody is writing to the file: wait until it is installed"
    } else {
        "make the file a program this node can execute"
    };
    Fault::new(FaultKind::Plugin, "cannot start it").because(cause).remedy(remedy)
}

fn broken_off(cause: Break, limit: Duration, stderr: &Excerpt) -> Fault {
    let said = on_stderr(stderr);
    match cause {
        Break::Limit => {
            let what = format!("it has not ended after {limit:?} and was killed with its children{said}");
            Fault::new(FaultKind::TimedOut, what).remedy("look what it waits for; the node may be overloaded")
        }
        Break::TooMuch => {
            let what = format!("it wrote more than {MAX_STDOUT} bytes and was killed{said}");
            Fault::new(FaultKind::Plugin, what)
        }
        Break::Pipe(cause) => unwatched(cause),
    }
}
