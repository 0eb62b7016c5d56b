//! The log file. It is replaced when it has grown to its limit; those replaced are `<path>.1`, the newest, and up.
//!
//! Calls are short and many: each opens the file when it has something to say, so one that another call has replaced is
//! never written for long.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use file_rotate::compression::Compression;
use file_rotate::suffix::AppendCount;
use file_rotate::{ContentLimit, FileRotate};
use nix::libc::O_NONBLOCK;
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};

use crate::model::settings::LogFile;

const MIB: u64 = 1 << 20;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct RotatedFile {
    settings: LogFile,
}

impl RotatedFile {
    pub(super) fn new(settings: LogFile) -> Self {
        Self { settings }
    }

    pub(super) fn path(&self) -> &Path {
        &self.settings.path
    }

    /// Appends a line, after replacing a file that would grow beyond its limit.
    ///
    /// # Guarantees
    /// Whoever writes or replaces at the same time, no line is torn.
    ///
    /// # Errors
    /// The line is not written; or it is, and the file could not be replaced.
    pub(super) fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut file = self.open()?;
        let mut replaced = Ok(());
        if self.is_full(&file, line.len() as u64)? {
            replaced = self.replace(line.len() as u64);
            file = self.open()?;
        }
        file.write_all(line).and(replaced)
    }

    fn open(&self) -> io::Result<File> {
        let open = || {
            let mut options = OpenOptions::new();
            // A pipe that nobody reads is not waited for.
            options.create(true).append(true).mode(0o600).custom_flags(O_NONBLOCK).open(self.path())
        };
        match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(self.folder())?;
                open()
            }
            other => other,
        }
    }

    fn folder(&self) -> &Path {
        self.path().parent().unwrap_or(Path::new("/"))
    }

    /// Whether the file has no room for so many bytes more. What is no plain file never fills.
    fn is_full(&self, file: &File, more: u64) -> io::Result<bool> {
        let about = file.metadata()?;
        let limit = self.settings.max_size.saturating_mul(MIB);
        Ok(about.is_file() && about.len() > 0 && about.len().saturating_add(more) > limit)
    }

    /// Replaces the file, unless another process does or has done so.
    fn replace(&self, more: u64) -> io::Result<()> {
        let folder = File::open(self.folder())?;
        match folder.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if !self.is_full(&self.open()?, more)? {
            return Ok(());
        }
        let replaced = thread::scope(|scope| {
            // The library asserts what others can change beneath it, and a log is not worth a call.
            let failed = |_| Err(io::Error::other("it could not be replaced"));
            scope.spawn(|| self.rotate()).join().unwrap_or_else(failed)
        })?;
        self.forget(replaced)
    }

    /// Replaces the file; the paths of those replaced. For a thread of its own: compressed files are made with the mode
    /// of the process, and what other threads make meanwhile is to keep theirs.
    fn rotate(&self) -> io::Result<Vec<PathBuf>> {
        unshare(CloneFlags::CLONE_FS)?;
        umask(Mode::from_bits_truncate(0o077));
        let kept = if self.settings.max_backups == 0 { usize::MAX } else { self.settings.max_backups };
        let compression = if self.settings.compress { Compression::OnRotate(0) } else { Compression::None };
        let mut options = OpenOptions::new();
        options.read(true).create(true).append(true).mode(0o600);
        let suffixes = AppendCount::new(kept);
        let mut rotate =
            FileRotate::new(self.path(), suffixes, ContentLimit::None, compression, Some(options));
        rotate.rotate()?;
        Ok(rotate.log_paths())
    }

    /// Removes those replaced that are too old.
    fn forget(&self, replaced: Vec<PathBuf>) -> io::Result<()> {
        let days = u32::try_from(self.settings.max_age).unwrap_or(u32::MAX);
        let Some(oldest) = SystemTime::now().checked_sub(DAY * days).filter(|_| days > 0) else {
            return Ok(());
        };
        for path in replaced {
            if fs::metadata(&path)?.modified()? < oldest {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn replacing_a_file_leaves_the_umask_of_other_threads_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let settings =
            LogFile { path: path.clone(), max_size: 1, max_backups: 0, max_age: 0, compress: true };
        let log = RotatedFile::new(settings);
        fs::write(&path, vec![b'x'; 8 << 20]).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let seen = |n: usize| {
            let made = folder.path().join(format!("made-{n}"));
            DirBuilder::new().mode(0o755).create(&made).unwrap();
            mode(&made)
        };
        let usual = seen(0);

        let others: Vec<u32> = thread::scope(|scope| {
            let replaced = scope.spawn(|| log.append(b"line\n"));
            let seen = (1..).take_while(|_| !replaced.is_finished()).map(seen).collect();
            replaced.join().unwrap().unwrap();
            seen
        });

        assert!(others.iter().all(|mode| *mode == usual), "{usual:o}: {others:?}");
        assert_eq!(mode(&folder.path().join("log.1.gz")), 0o600);
    }
}
