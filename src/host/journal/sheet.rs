//! The file of one sandbox's records.

use std::cell::{Cell, RefCell};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use serde::Serialize;

use super::{absent_is_done, failed, lines, make_dir, orphan};
use crate::engine::ports::{Broken, Entry, Records};
use crate::engine::record::{Phase, Record};
use crate::host::lock;
use crate::model::fault::{Fault, Outcome};
use crate::model::{ContainerId, FaultKind, IfName};

/// Most bytes of one sandbox. What is longer is not read: of half of it, half would be undone, and all forgotten.
const MAX_TEXT: usize = 16 << 20;
/// Most of them for what is made: the rest is for the marks of its undoing.
const MAX_MADE: usize = 15 << 20;
/// Room for the lines of a few interfaces, in bytes.
const USUAL: usize = 4096;

/// The file of a sandbox's records, open and locked, and what is in it.
pub(super) struct Sheet {
    path: PathBuf,
    aside: PathBuf,
    container: ContainerId,
    file: RefCell<Held>,
    text: RefCell<Vec<u8>>,
    /// Whether the file was empty when it was found, and not by ourselves: then what was in it is lost.
    lost: Cell<bool>,
}

impl Sheet {
    /// Locks the file of a sandbox, which is made if it is not there. What cannot be read goes to the directory `aside`.
    ///
    /// # Errors
    /// [`FaultKind::TryLater`] if somebody else has it for longer than `limit`.
    pub(super) fn lock(
        path: PathBuf,
        aside: PathBuf,
        container: &ContainerId,
        limit: Duration,
    ) -> Outcome<Self> {
        // The file may be taken away between opening and locking it, by a holder that emptied it.
        for _ in 0..16 {
            let Some((file, is_new)) = open(&path)? else { continue };
            let file = match lock::exclusive(file, &path, limit) {
                Err(fault) if fault.kind() == FaultKind::TryLater && orphan::is_left(&path) => {
                    take_over(&path, container).map_err(|_| fault)?
                }
                locked => locked?,
            };
            let Some(length) = length_at(&file, &path) else { continue };
            let mut text = Vec::with_capacity(USUAL);
            if length > 0 {
                read_all(&file, &mut text).map_err(|cause| failed("read the records", &path, cause))?;
            }
            return Ok(Self {
                lost: Cell::new(!is_new && text.is_empty()),
                file: RefCell::new(Held::of(file).map_err(|cause| failed("lock the records", &path, cause))?),
                text: RefCell::new(text),
                container: container.clone(),
                path,
                aside,
            });
        }
        Err(Fault::new(FaultKind::TryLater, format!("cannot lock {path:?}: others come and go"))
            .remedy("try again"))
    }

    fn append(&self, ifname: &IfName, content: &impl Serialize, most: usize) -> Outcome<()> {
        let failed = |cause| failed("write a record to", &self.path, cause);
        let mut text = self.text.borrow_mut();
        let before = text.len();
        // A write may have been cut short: what it left ends here.
        if text.last().is_some_and(|byte| *byte != b'\n') {
            text.push(b'\n');
        }
        let file = self.file.borrow();
        let put = lines::put(&mut text, ifname, content).map_err(io::Error::from);
        if text.len() > most {
            text.truncate(before);
            return Err(self.full(most));
        }
        let written = put.and_then(|()| (&file.0).write_all(text.get(before..).unwrap_or_default()));
        if let Err(cause) = written {
            text.truncate(before);
            // What cannot be taken back is passed over when it is read.
            if file.0.set_len(before as u64).is_err() {
                text.push(b' ');
            }
            return Err(failed(cause));
        }
        self.lost.set(false);
        Ok(())
    }

    fn full(&self, most: usize) -> Fault {
        let what = format!("the records of sandbox \"{}\" would be longer than {most} bytes", self.container);
        Fault::new(FaultKind::Config, what).remedy("select fewer networks, or shorten their configurations")
    }

    /// Leaves only these lines.
    fn leave(&self, kept: Vec<u8>) -> Outcome<()> {
        let failed = |cause| failed("remove a record from", &self.path, cause);
        let mut text = self.text.borrow_mut();
        if text.starts_with(&kept) {
            self.file.borrow().0.set_len(kept.len() as u64).map_err(failed)?;
        } else {
            let file = self.replace(&kept).map_err(failed)?;
            self.file.replace(file);
        }
        *text = kept;
        self.lost.set(false);
        Ok(())
    }

    /// Puts a new file in the place of ours, locked before it is there.
    fn replace(&self, text: &[u8]) -> io::Result<Held> {
        place(&self.draft(), &self.path, || Some(text.to_vec())).and_then(Held::of)
    }

    fn draft(&self) -> PathBuf {
        draft(&self.path, &self.container)
    }
}

/// Where a new file is made: no sandbox has such a name.
fn draft(path: &Path, container: &ContainerId) -> PathBuf {
    path.with_file_name(format!(".{container}"))
}

/// Puts a new file in the place of one whose lock nobody will let go, with what is in it.
fn take_over(path: &Path, container: &ContainerId) -> io::Result<File> {
    let mut file = place(&draft(path, container), path, || {
        let text = read(path).ok()?;
        // Meanwhile whoever waited before may have it.
        orphan::is_left(path).then_some(text)
    })?;
    file.rewind()?;
    Ok(file)
}

/// Makes a file in the place of another, locked before it is there.
fn place(draft: &Path, path: &Path, text: impl FnOnce() -> Option<Vec<u8>>) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let file = options.open(draft)?;
    file.try_lock()?;
    file.set_len(0)?;
    let text = text().ok_or(ErrorKind::WouldBlock);
    let placed = text.map_err(io::Error::from).and_then(|text| {
        (&file).write_all(&text)?;
        fs::rename(draft, path)
    });
    if placed.is_err() {
        fs::remove_file(draft).unwrap_or_default();
    }
    placed.map(|()| file)
}

/// A file that is locked. Plugins inherit it: if Manifold is killed, the lock is held until those it ran have ended, and
/// what they make meanwhile is undone after it was made.
struct Held(File);

impl Held {
    fn of(file: File) -> io::Result<Self> {
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(Self(file))
    }
}

impl Drop for Held {
    /// A plugin may have left a process behind, which has the file still: the lock is not its.
    fn drop(&mut self) {
        self.0.unlock().unwrap_or_default();
    }
}

impl Records for Sheet {
    fn entries(&self) -> Outcome<Vec<Entry>> {
        if self.lost.get() {
            let fault =
                Fault::new(FaultKind::Decode, format!("{:?} is empty: what was in it is lost", self.path));
            return Ok(vec![Entry::Broken(Broken {
                container: self.container.clone(),
                ifname: None,
                fault,
            })]);
        }
        Ok(lines::entries(&self.text.borrow(), &self.container))
    }

    fn put(&self, record: &Record) -> Outcome<()> {
        self.append(&record.attachment.owner.ifname, record, MAX_MADE)
    }

    fn mark(&self, record: &Record) -> Outcome<()> {
        let most = match record.phase {
            Phase::Pending | Phase::Attached => MAX_MADE,
            Phase::Detaching => MAX_TEXT,
        };
        self.append(&record.attachment.owner.ifname, &record.mark(), most)
    }

    fn remove(&self, ifnames: &[&IfName]) -> Outcome<()> {
        let is_meant = |ifname: Option<&IfName>| ifname.is_some_and(|ifname| ifnames.contains(&ifname));
        let (gone, kept) = lines::parted(&self.text.borrow(), is_meant);
        if gone.is_empty() { Ok(()) } else { self.leave(kept) }
    }

    fn set_aside(&self, ifname: Option<&IfName>) -> Outcome<()> {
        let (meant, others) = lines::parted(&self.text.borrow(), |of| of == ifname);
        // What was never written is nobody's loss.
        if !meant.is_empty() {
            make_dir(&self.aside)?;
            let name = match ifname {
                Some(ifname) => format!("{}.{ifname}.json", self.container),
                None => format!("{}.json", self.container),
            };
            let path = self.aside.join(name);
            write_anew(&path, &meant).map_err(|cause| failed("set a record aside in", &path, cause))?;
        }
        self.leave(others)
    }
}

impl Drop for Sheet {
    /// Takes the file away if nothing is in it. Whoever waits for it finds that out and makes it anew.
    fn drop(&mut self) {
        if self.text.borrow().is_empty() && !self.lost.get() {
            // A writer may have died with its draft.
            fs::remove_file(self.draft()).unwrap_or_default();
            fs::remove_file(&self.path).unwrap_or_default();
        }
    }
}

/// What is no file is not waited for, and a link leads nowhere.
const NO_SURPRISE: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;

/// All that is in a file of records now; nothing if it is not there.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    match OpenOptions::new().read(true).custom_flags(NO_SURPRISE).open(path) {
        Ok(file) => read_all(&file, &mut text)?,
        Err(cause) => absent_is_done(Err(cause))?,
    }
    Ok(text)
}

fn read_all(file: &File, text: &mut Vec<u8>) -> io::Result<()> {
    file.take(MAX_TEXT as u64 + 1).read_to_end(text)?;
    if text.len() > MAX_TEXT {
        return Err(io::Error::other(format!("it is longer than {MAX_TEXT} bytes")));
    }
    Ok(())
}

/// Opens a file of records and tells whether it is new; `None` if it has gone meanwhile.
fn open(path: &Path) -> Outcome<Option<(File, bool)>> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o600).custom_flags(NO_SURPRISE);
    let made = match options.create_new(true).open(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), make_dir)?;
            options.open(path)
        }
        made => made,
    };
    match made {
        Ok(file) => Ok(Some((file, true))),
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {
            match options.create_new(false).open(path) {
                Ok(file) if file.metadata().is_ok_and(|it| it.is_file()) => Ok(Some((file, false))),
                Ok(_) => Err(failed("open the records", path, io::Error::other("it is no file"))),
                Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
                Err(cause) => Err(failed("open the records", path, cause)),
            }
        }
        Err(cause) => Err(failed("make the records", path, cause)),
    }
}

/// How long an open file is, if it is the one at the path now.
fn length_at(file: &File, path: &Path) -> Option<u64> {
    let (open, now) = (file.metadata().ok()?, fs::symlink_metadata(path).ok()?);
    ((open.dev(), open.ino()) == (now.dev(), now.ino())).then_some(open.len())
}

fn write_anew(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)?;
    file.set_len(0)?;
    file.write_all(text)
}
