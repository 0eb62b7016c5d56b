//! A socket that the switch made, lent to a pod: under a second name, or where that cannot be, as a mount on an empty file.
//! Both end when the switch is restarted, for then it makes another.
//!
//! The pod may change its directory meanwhile. The directory is opened once, and everything in it is named relative to that;
//! what is mounted goes onto the very file that was made, whatever has its name by then.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstatat};
use nix::unistd::{Gid, UnlinkatFlags, fchownat, linkat, unlinkat};

use crate::host::path_walk;
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

/// What a group needs to connect to a socket.
const SHARED: u32 = 0o770;

/// Gives the pod the socket that the switch made, as `wanted`.
///
/// # Errors
/// The file system refuses, or a mount made here would not reach the pod.
pub(super) fn give(made: &Path, wanted: &Path, group: Option<u32>) -> Outcome<()> {
    let remedy = "let the application make the socket: \"mode\": \"server\"";
    let subject = || format!("cannot give the pod the switch's socket {made:?} as {wanted:?}");
    let refused =
        |cause: Errno| Fault::new(FaultKind::Io, subject()).because(io::Error::from(cause)).remedy(remedy);
    if let Some(group) = group {
        share(made, group).map_err(refused)?;
    }
    let (directory, name) = opened(wanted).map_err(refused)?;
    match linkat(AT_FDCWD, made, &directory, &name, AtFlags::empty()) {
        Err(Errno::EXDEV) => {}
        done => return done.map_err(refused),
    }
    if !reaches_the_pod(&directory) {
        return Err(Fault::new(
            FaultKind::Unsupported,
            format!("{}: it is on another file system, and mounts made here are not seen outside", subject()),
        )
        .remedy(format!("{remedy}; or mount the volumes with mountPropagation Bidirectional")));
    }
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(&directory, &name, flags, Mode::from_bits_truncate(0o600)).map_err(refused)?;
    mount(Some(made), &of(&file), None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(refused)
}

/// Takes such a mount and its empty file away; a second name is taken away with the socket.
///
/// # Errors
/// It is still mounted.
pub(super) fn take_back(socket: &Path) -> Outcome<()> {
    let refused = |cause: Errno| {
        Fault::new(FaultKind::Io, format!("cannot unmount {socket:?}")).because(io::Error::from(cause))
    };
    let (directory, name) = match opened(socket) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
        opened => opened.map_err(refused)?,
    };
    match umount2(&of(&directory).join(&name), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => match fstatat(&directory, &name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(seen) if SFlag::from_bits_truncate(seen.st_mode) == SFlag::S_IFREG && seen.st_size == 0 => {
                unlinkat(&directory, &name, UnlinkatFlags::NoRemoveDir).map_err(refused)
            }
            Ok(_) | Err(_) => Ok(()),
        },
        // Not mounted, or gone.
        Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        Err(cause) => Err(refused(cause)),
    }
}

fn share(made: &Path, group: u32) -> Result<(), Errno> {
    fchownat(AT_FDCWD, made, None, Some(Gid::from_raw(group)), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_bits_truncate(SHARED);
    match fchmodat(AT_FDCWD, made, mode, FchmodatFlags::NoFollowSymlink) {
        Err(Errno::ENOTSUP) => Ok(()),
        done => done,
    }
}

/// The directory of a path, open, and the name in it.
fn opened(path: &Path) -> Result<(File, PathBuf), Errno> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::EINVAL) };
    match path_walk::open(directory) {
        Ok(directory) => Ok((directory.into(), name.into())),
        Err(cause) => Err(Errno::from_raw(cause.raw_os_error().unwrap_or_default())),
    }
}

/// The name by which the kernel knows an open file, wherever it is by now.
fn of(file: &impl AsFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()).into()
}

/// Whether what is mounted in a directory is seen by the node: it is mounted there, or by way of a shared mount (proc(5),
/// `mountinfo`).
fn reaches_the_pod(directory: &File) -> bool {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    if namespace("self").is_some_and(|ours| namespace("1") == Some(ours)) {
        return true;
    }
    let read = |path: String| fs::read_to_string(path).unwrap_or_default();
    let information = read(format!("/proc/self/fdinfo/{}", directory.as_raw_fd()));
    let Some(id) = information.lines().find_map(|line| line.strip_prefix("mnt_id:")) else { return false };
    let mounts = read("/proc/self/mountinfo".to_owned());
    let mount = mounts.lines().find(|mount| mount.split(' ').next() == Some(id.trim()));
    // The optional fields are between the sixth and a single hyphen.
    mount.is_some_and(|mount| {
        mount.split(' ').skip(6).take_while(|field| *field != "-").any(|field| field.starts_with("shared:"))
    })
}
