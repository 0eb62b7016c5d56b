//! Plugins beneath another root directory, where a daemon sees the node's file system at a place of its own.
//!
//! The root of a process can be changed between fork and exec only by code that is not known to be safe. So this program
//! is started instead of the plugin, changes its own root and becomes the plugin: same process, same group, same pipes.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{chdir, chroot};

use super::process::BUSY_PAUSES;
use super::talk::wait;
use crate::model::fault::{Fault, FaultKind};

/// The word by which this program is told to become another: `exec-in-root ROOT PROGRAM`.
pub const WORD: &str = "exec-in-root";
/// This program, whatever became of its file.
const SELF: &str = "/proc/self/exe";

/// The words of a command line that tell this program to become another: the root, and the program in it.
#[must_use]
pub fn told(words: &[impl AsRef<OsStr>]) -> Option<(PathBuf, PathBuf)> {
    match words {
        [word, root, program] if word.as_ref() == WORD => {
            Some((root.as_ref().into(), program.as_ref().into()))
        }
        _ => None,
    }
}

/// The command that starts a program, in another root if there is one.
#[allow(clippy::disallowed_methods, reason = "the one place that starts processes")]
pub(super) fn command(program: &Path, root: Option<&Path>) -> Command {
    let Some(root) = root else { return Command::new(program) };
    let mut command = Command::new(SELF);
    command.arg(WORD).arg(root).arg(program);
    command
}

/// Becomes a program in another root, with this process's environment. Comes back only if it cannot.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "nothing is started: this process becomes another")]
pub fn become_in(root: &Path, program: &Path) -> Fault {
    if let Err(cause) = chroot(root).and_then(|()| chdir("/")) {
        return Fault::new(FaultKind::Plugin, format!("cannot make {root:?} the root directory"))
            .because(io::Error::from(cause))
            .remedy("correct \"chrootDir\", and let the daemon have CAP_SYS_CHROOT");
    }
    let mut pauses = BUSY_PAUSES.into_iter().map(Duration::from_millis);
    loop {
        let cause = Command::new(program).exec();
        // An installer is writing the file.
        let busy = cause.kind() == io::ErrorKind::ExecutableFileBusy;
        let Some(pause) = pauses.next().filter(|_| busy) else {
            return Fault::new(FaultKind::Plugin, format!("cannot start it in {root:?}"))
                .because(cause)
                .remedy("make the file a program that can be executed there, with the libraries it needs");
        };
        wait(&mut [], Instant::now() + pause).map(drop).unwrap_or_default();
    }
}

/// Whether a path leads to a regular file, symbolic links followed as a process with that root would.
pub(super) fn is_file(path: &Path, root: Option<&Path>) -> bool {
    let is_regular = |mode: u32| SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()) == SFlag::S_IFREG;
    mode(path, root).is_some_and(is_regular)
}

/// Whether somebody may execute the file to which a path leads.
pub(super) fn is_executable(path: &Path, root: Option<&Path>) -> bool {
    mode(path, root).is_some_and(|mode| mode & 0o111 != 0)
}

fn mode(path: &Path, root: Option<&Path>) -> Option<u32> {
    let Some(root) = root else { return path.metadata().ok().map(|meta| meta.mode()) };
    let top = open(root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    openat2(top, path, how).and_then(fstat).ok().map(|stat| stat.st_mode)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn links_are_followed_within_the_root() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("usr/lib/cni")).unwrap();
        fs::create_dir_all(root.path().join("opt/cni")).unwrap();
        fs::write(root.path().join("usr/lib/cni/bridge"), "").unwrap();
        symlink("/usr/lib/cni", root.path().join("opt/cni/bin")).unwrap();
        symlink("/../../../../../../../../../etc/passwd", root.path().join("usr/lib/cni/out")).unwrap();

        let seen = |path: &str| is_file(Path::new(path), Some(root.path()));

        assert!(seen("/opt/cni/bin/bridge"));
        let executable = || is_executable(Path::new("/opt/cni/bin/bridge"), Some(root.path()));
        assert!(!executable());
        fs::set_permissions(root.path().join("usr/lib/cni/bridge"), fs::Permissions::from_mode(0o755))
            .unwrap();
        assert!(executable());
        assert!(!seen("/opt/cni/bin") && !seen("/opt/cni/bin/none") && !seen("/opt/cni/bin/out"));
        assert!(is_file(&root.path().join("usr/lib/cni/out"), None));
        assert!(!is_file(Path::new("/x"), Some(&root.path().join("absent"))));
    }

    #[test]
    fn only_the_very_words_make_it_another_program() {
        assert_eq!(told(&["exec-in-root", "/r", "/p"]), Some(("/r".into(), "/p".into())));
        for words in
            [&["exec-in-root", "/r"][..], &["exec-in-root", "/r", "/p", "x"], &["list", "/r", "/p"], &[]]
        {
            assert_eq!(told(words), None);
        }
    }
}
