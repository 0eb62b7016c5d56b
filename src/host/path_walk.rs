//! Directories that are opened component by component, so that no link which a pod made on the way is followed.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open as open_path, openat, readlinkat};
use nix::sys::stat::{Mode, mkdirat};

/// Directories of the node whose links are followed: `/var/run` is one, and the kubelet's directory on some nodes. Who
/// may write into these needs no link any more.
const TRUSTED: [&str; 3] = ["/", "/var", "/var/lib"];
/// Most links of one path, as the kernel has it (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// Opens a directory.
///
/// # Errors
/// It is not there, is none, or is behind a link.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    walk(path, None)
}

/// Opens a directory, and makes with this mode what is missing of its path.
///
/// # Errors
/// As [`open`], and what the file system refuses.
pub(super) fn make(path: &Path, mode: Mode) -> io::Result<OwnedFd> {
    walk(path, Some(mode))
}

/// How far a path was walked.
enum Way {
    /// To its end.
    Ended(OwnedFd),
    /// To a link, by which it goes on so.
    Turned(PathBuf),
}

fn walk(path: &Path, make: Option<Mode>) -> io::Result<OwnedFd> {
    let mut path = path.to_owned();
    for _ in 0..=MAX_LINKS {
        match follow(&path, make)? {
            Way::Ended(directory) => return Ok(directory),
            Way::Turned(path_now) => path = path_now,
        }
    }
    Err(Errno::ELOOP.into())
}

fn follow(path: &Path, make: Option<Mode>) -> io::Result<Way> {
    let mut at = open_path("/", flags(), Mode::empty())?;
    let mut here = PathBuf::from("/");
    let mut parts = path.components();
    while let Some(part) = parts.next() {
        let name = match part {
            Component::Normal(name) => name,
            Component::RootDir | Component::CurDir => continue,
            Component::ParentDir | Component::Prefix(_) => return Err(Errno::EINVAL.into()),
        };
        at = match enter(&at, name, make) {
            Ok(next) => next,
            Err(Errno::ENOTDIR | Errno::ELOOP) => return turn(&at, &here, name, parts.as_path()),
            Err(cause) => return Err(cause.into()),
        };
        here.push(name);
    }
    Ok(Way::Ended(at))
}

fn flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

/// Opens a directory in another.
fn enter(at: &OwnedFd, name: &OsStr, make: Option<Mode>) -> Result<OwnedFd, Errno> {
    match (openat(at, name, flags(), Mode::empty()), make) {
        (Err(Errno::ENOENT), Some(mode)) => match mkdirat(at, name, mode) {
            Ok(()) | Err(Errno::EEXIST) => openat(at, name, flags(), Mode::empty()),
            Err(cause) => Err(cause),
        },
        (opened, _) => opened,
    }
}

/// Where a path goes on behind what is no directory.
fn turn(at: &OwnedFd, here: &Path, name: &OsStr, rest: &Path) -> io::Result<Way> {
    // What is no link has no target.
    let Ok(target) = readlinkat(at, name) else { return Err(Errno::ENOTDIR.into()) };
    if TRUSTED.iter().any(|trusted| here == Path::new(trusted)) {
        return Ok(Way::Turned(straight(&here.join(target).join(rest))));
    }
    Err(io::Error::other(format!("{:?} is a link", here.join(name))))
}

/// The path without what climbs in it.
fn straight(path: &Path) -> PathBuf {
    let mut straight = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => straight.push(name),
            Component::ParentDir => drop(straight.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    straight
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_missing_is_made_but_never_behind_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        let mode = Mode::from_bits_truncate(0o755);
        fs::create_dir(at("secret")).unwrap();
        symlink(at("secret"), at("evil")).unwrap();
        fs::write(at("file"), "").unwrap();

        make(&at("a/b/c"), mode).unwrap();
        open(&at("a/b/c")).unwrap();
        let refused = make(&at("evil/made"), mode).unwrap_err().to_string();

        assert!(at("a/b/c").is_dir());
        assert_eq!(refused, format!("{:?} is a link", at("evil")));
        assert_eq!(fs::read_dir(at("secret")).unwrap().count(), 0);
        assert_eq!(open(&at("evil")).unwrap_err().to_string(), refused);
        assert_eq!(open(&at("file/x")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert_eq!(open(&at("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn links_of_the_nodes_own_directories_are_followed() {
        // The kernel's: every node has it, or is no Linux.
        let link = fs::read_link("/var/run").ok();

        assert_eq!(open(Path::new("/var/run")).is_ok(), Path::new("/var/run").is_dir(), "{link:?}");
        assert_eq!(straight(Path::new("/var/../run/./vhost")), Path::new("/run/vhost"));
    }
}
