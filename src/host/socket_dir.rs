//! The directory of a socket. A pod may write into it, and into what is above it, so nothing here follows a link: the
//! directory is opened component by component, once, and what is in it is named relative to that.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat};
use nix::unistd::{Gid, UnlinkatFlags, fchown, fchownat, unlinkat};
use rustix::fs::{XattrFlags, fsetxattr};

use super::path_walk;
use super::stream::{Deadline, dial};
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};
use crate::plan::port::{SocketHome, SocketStep};

/// Mode of directories made here.
const MODE: u32 = 0o755;
/// What a group needs to make sockets and to connect to them; new sockets belong to it too.
const GROUP: u32 = 0o2070;
/// Whether everybody may make something in a directory.
const EVERYBODY: u32 = 0o002;
/// Then nobody replaces what is another's, and `fs.protected_symlinks` counts.
const STICKY: u32 = 0o1000;
/// Mode of a socket that its group may connect to.
const SOCKET: u32 = 0o770;
/// Mode of a note: there is no secret in it, and the application may be anybody.
const NOTE: u32 = 0o644;
/// The attribute with an SELinux context.
const CONTEXT: &str = "security.selinux";

/// A socket's directory, open.
#[derive(Debug)]
pub(super) struct SocketDir {
    fd: OwnedFd,
    path: PathBuf,
}

impl SocketDir {
    /// Opens the directory; one for a sandbox is made.
    ///
    /// # Errors
    /// A volume that is not there, or something that is no directory.
    pub(super) fn make(home: &SocketHome) -> Outcome<Self> {
        if let SocketHome::Own(..) = home {
            let path = home.path();
            let made = path_walk::make(&path, Mode::from_bits_truncate(MODE));
            return made.map(|fd| Self { fd, path: path.clone() }).map_err(|cause| unusable(&path, cause));
        }
        Self::open(home)?.ok_or_else(|| {
            Fault::new(FaultKind::Absent, format!("the directory for sockets {:?} is not there", home.path()))
                .remedy("see whether the pod has that volume, and whether \"kubeletDir\" is the kubelet's directory")
        })
    }

    /// Opens the directory; `None` if it is not there.
    ///
    /// # Errors
    /// Something else is there, or it may not be opened.
    pub(super) fn open(home: &SocketHome) -> Outcome<Option<Self>> {
        let path = home.path();
        match path_walk::open(&path) {
            Ok(fd) => Ok(Some(Self { fd, path })),
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(unusable(&path, cause)),
        }
    }

    /// Lets the members of a group make sockets and connect to them, and sets the SELinux context. What several may write
    /// into becomes sticky.
    ///
    /// # Errors
    /// The file system refuses.
    pub(super) fn share(&self, group: Option<u32>, label: Option<&str>) -> Outcome<()> {
        let refused = |what: &str, cause: io::Error| {
            Fault::new(FaultKind::Io, format!("cannot set the {what} of {:?}", self.path)).because(cause)
        };
        if let Some(group) = group {
            let shared = fchown(&self.fd, None, Some(Gid::from_raw(group)));
            shared.map_err(|cause| refused("group", cause.into()))?;
        }
        self.set_mode(group.is_some()).map_err(|cause| refused("mode", cause.into()))?;
        if let Some(label) = label {
            fsetxattr(&self.fd, CONTEXT, label.as_bytes(), XattrFlags::empty()).map_err(|cause| {
                refused("SELinux context", cause.into()).remedy("correct \"selinuxLabel\", or leave it out")
            })?;
        }
        Ok(())
    }

    fn set_mode(&self, for_group: bool) -> Result<(), Errno> {
        let was = fstat(&self.fd)?.st_mode & 0o7777;
        let group = if for_group { GROUP } else { 0 };
        let sticky = if for_group || was & EVERYBODY != 0 { STICKY } else { 0 };
        let mode = was | group | sticky;
        if mode == was { Ok(()) } else { fchmod(&self.fd, Mode::from_bits_truncate(mode)) }
    }

    /// Removes a socket that an earlier application left, in whose way a new one would be. One that may be another's stays
    /// while somebody listens.
    ///
    /// # Errors
    /// Something that is no socket has its name, or somebody listens at another's.
    pub(super) fn clear(&self, file: &str, anothers: bool) -> Outcome<()> {
        match self.seen(file)? {
            None => Ok(()),
            Some(seen) if kind(&seen) == SFlag::S_IFSOCK && anothers && self.has_listener(file)? => {
                Err(Fault::new(FaultKind::Exists, format!("somebody listens at {:?}", self.path.join(file)))
                    .remedy("end that program, or choose another name for the socket"))
            }
            Some(seen) if kind(&seen) == SFlag::S_IFSOCK => self.unlink(file),
            Some(_) => Err(Fault::new(
                FaultKind::Exists,
                format!("{:?} is there already, and is no socket", self.path.join(file)),
            )
            .remedy("remove it, or choose another name for the socket")),
        }
    }

    /// Removes a socket; anything else of its name stays, and one that may be another's while somebody listens.
    ///
    /// # Errors
    /// It still stands.
    pub(super) fn remove_socket(&self, file: &str, anothers: bool) -> Outcome<()> {
        match self.seen(file)? {
            Some(seen) if kind(&seen) == SFlag::S_IFSOCK && anothers && self.has_listener(file)? => Ok(()),
            Some(seen) if kind(&seen) == SFlag::S_IFSOCK => self.unlink(file),
            Some(_) | None => Ok(()),
        }
    }

    /// Removes a file that was written here, or half written, or a link that stands in its place.
    ///
    /// # Errors
    /// It still stands.
    pub(super) fn remove_file(&self, file: &str) -> Outcome<()> {
        for name in [young(file).as_str(), file] {
            match self.seen(name)? {
                Some(seen) if [SFlag::S_IFREG, SFlag::S_IFLNK].contains(&kind(&seen)) => self.unlink(name)?,
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// Lets a group connect to a socket, if one is there; whether one is. A link is not followed.
    ///
    /// # Errors
    /// The file system refuses.
    pub(super) fn share_socket(&self, file: &str, group: u32) -> Outcome<bool> {
        let refused = |cause: io::Error| {
            Fault::new(FaultKind::Io, format!("cannot give {:?} to group {group}", self.path.join(file)))
                .because(cause)
        };
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let socket = match openat(&self.fd, file, flags, Mode::empty()) {
            Ok(socket) => socket,
            Err(Errno::ENOENT) => return Ok(false),
            Err(cause) => return Err(refused(cause.into())),
        };
        let seen = fstat(&socket).map_err(|cause| refused(cause.into()))?;
        if kind(&seen) != SFlag::S_IFSOCK {
            return Ok(false);
        }
        // What was opened, whatever the name leads to by now.
        let opened = format!("/proc/self/fd/{}", socket.as_raw_fd());
        fchownat(&socket, "", None, Some(Gid::from_raw(group)), AtFlags::AT_EMPTY_PATH)
            .map_err(|cause| refused(cause.into()))?;
        fs::set_permissions(&opened, Permissions::from_mode(SOCKET)).map_err(refused)?;
        Ok(true)
    }

    /// Writes a file beside its place and moves it there: whoever reads sees all of it.
    ///
    /// # Errors
    /// It could not be written.
    pub(super) fn write(&self, file: &str, text: &[u8]) -> Outcome<()> {
        let young = young(file);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let written = self.unlink(&young).and_then(|()| {
            let write = || -> io::Result<()> {
                let mut to =
                    File::from(openat(&self.fd, young.as_str(), flags, Mode::from_bits_truncate(NOTE))?);
                to.write_all(text)?;
                // Whatever the umask is.
                fchmod(&to, Mode::from_bits_truncate(NOTE))?;
                Ok(renameat(&self.fd, young.as_str(), &self.fd, file)?)
            };
            write().map_err(|cause| {
                Fault::new(FaultKind::Io, format!("cannot write {:?}", self.path.join(file)))
                    .because(cause)
                    .remedy("make room in the volume, and remove what stands there")
            })
        });
        written.inspect_err(|_| drop(self.unlink(&young)))
    }

    /// Whether somebody listens at a socket. Only where the kernel refuses a connection, nobody does.
    fn has_listener(&self, file: &str) -> Outcome<bool> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let socket = match openat(&self.fd, file, flags, Mode::empty()) {
            Ok(socket) => socket,
            Err(Errno::ENOENT) => return Ok(false),
            Err(cause) => return Err(unusable(&self.path.join(file), cause.into())),
        };
        // What was opened, whatever the name leads to by now.
        let opened = format!("/proc/self/fd/{}", socket.as_raw_fd());
        let refused = |cause: io::Error| cause.kind() == ErrorKind::ConnectionRefused;
        Ok(!dial(Path::new(&opened), Deadline::after(0)).is_err_and(refused))
    }

    fn seen(&self, file: &str) -> Outcome<Option<FileStat>> {
        match fstatat(&self.fd, file, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(seen) => Ok(Some(seen)),
            Err(Errno::ENOENT) => Ok(None),
            Err(cause) => Err(unusable(&self.path.join(file), cause.into())),
        }
    }

    fn unlink(&self, file: &str) -> Outcome<()> {
        match unlinkat(&self.fd, file, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(cause) => Err(Fault::new(FaultKind::Io, format!("cannot remove {:?}", self.path.join(file)))
                .because(io::Error::from(cause))),
        }
    }
}

impl AsFd for SocketDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Makes the directory ready: there, shared, without an old socket, and found by a short link if it needs one.
pub(super) fn prepare(step: &SocketStep) -> Outcome<()> {
    let dir = SocketDir::make(&step.home)?;
    dir.share(step.group, step.label.as_deref())?;
    dir.clear(step.file.as_str(), step.named)?;
    let Some(link) = &step.link else { return Ok(()) };
    let refused = |cause: io::Error| {
        Fault::new(FaultKind::Io, format!("cannot make the link {link:?}"))
            .because(cause)
            .remedy("make its directory accessible, or set \"linkDir\" of Manifold's \"vhostUser\"")
    };
    if let Some(parent) = link.parent() {
        DirBuilder::new().recursive(true).mode(MODE).create(parent).map_err(refused)?;
    }
    remove_link(link, None)?;
    symlink(step.home.path(), link).map_err(refused)
}

/// Removes what is left of a socket: itself, the short link, and the directory if it was made for the sandbox and is
/// empty.
pub(super) fn clear(step: &SocketStep) -> Outcome<()> {
    if let Some(dir) = SocketDir::open(&step.home)? {
        dir.remove_socket(step.file.as_str(), step.named)?;
    }
    if let Some(link) = &step.link {
        remove_link(link, Some(&step.home.path()))?;
    }
    leave(&step.home)
}

/// Removes the directory if it was made for the sandbox and nothing is in it any more.
pub(super) fn leave(home: &SocketHome) -> Outcome<()> {
    let SocketHome::Own(base, name) = home else { return Ok(()) };
    let removed =
        path_walk::open(base).and_then(|base| Ok(unlinkat(&base, name.as_str(), UnlinkatFlags::RemoveDir)?));
    match removed {
        Ok(()) => Ok(()),
        Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => Ok(()),
        Err(cause) => {
            Err(Fault::new(FaultKind::Io, format!("cannot remove {:?}", home.path())).because(cause))
        }
    }
}

/// Whether the directory is there, and found by its short link.
pub(super) fn holds(step: &SocketStep) -> Outcome<()> {
    let drift = |what: String| Err(Fault::new(FaultKind::Drift, what).remedy("restart the pod"));
    if SocketDir::open(&step.home)?.is_none() {
        return drift(format!("the directory for sockets {:?} is gone", step.home.path()));
    }
    match &step.link {
        Some(link) if fs::read_link(link).ok() != Some(step.home.path()) => {
            drift(format!("link {link:?} leads elsewhere, or is gone"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Removes a symbolic link, if there is one; with `target`, only if it leads there.
fn remove_link(link: &Path, target: Option<&Path>) -> Outcome<()> {
    let ours = match fs::read_link(link) {
        Ok(leads) => target.is_none_or(|target| target == leads),
        // Nothing, or no link.
        Err(_) => false,
    };
    match if ours { fs::remove_file(link) } else { Ok(()) } {
        Err(cause) if cause.kind() != ErrorKind::NotFound => {
            Err(Fault::new(FaultKind::Io, format!("cannot remove the link {link:?}")).because(cause))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The name of a file while it is being written.
fn young(file: &str) -> String {
    format!(".{file}.new")
}

fn kind(seen: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(seen.st_mode & SFlag::S_IFMT.bits())
}

fn unusable(path: &Path, cause: io::Error) -> Fault {
    Fault::new(FaultKind::Io, format!("cannot use {path:?} for sockets"))
        .because(cause)
        .remedy("make it a directory that root can use, and name it without links")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixListener;

    fn step(folder: &Path) -> SocketStep {
        SocketStep {
            home: SocketHome::Own(folder.join("base"), "pod1".into()),
            file: "net1".parse().unwrap(),
            group: None,
            named: false,
            label: None,
            link: Some(folder.join("v/abc")),
        }
    }

    #[test]
    fn a_directory_is_made_shared_linked_and_gone_again() {
        let folder = tempfile::tempdir().unwrap();
        let step = SocketStep { group: Some(4242), ..step(folder.path()) };
        let path = step.home.path();

        prepare(&step).unwrap();
        holds(&step).unwrap();
        let seen = fs::metadata(&path).unwrap();
        assert_eq!((seen.gid(), seen.permissions().mode() & 0o7777), (4242, 0o3775));
        let socket = UnixListener::bind(folder.path().join("v/abc/net1")).unwrap();
        drop(socket);
        assert!(path.join("net1").exists(), "the link leads to the directory");

        // Again, as after a crash: the old socket is gone.
        prepare(&step).unwrap();
        assert!(!path.join("net1").exists());
        UnixListener::bind(path.join("net1")).unwrap();
        clear(&step).unwrap();
        clear(&step).unwrap();
        assert!(
            !path.exists()
                && !folder.path().join("v/abc").is_symlink()
                && folder.path().join("base").exists()
        );
    }

    #[test]
    fn a_directory_of_the_pods_stays_and_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().join("volume");
        let step = SocketStep { home: SocketHome::Volume(volume.clone()), link: None, ..step(folder.path()) };

        assert_eq!(prepare(&step).unwrap_err().kind(), FaultKind::Absent);
        fs::create_dir(&volume).unwrap();
        prepare(&step).unwrap();
        clear(&step).unwrap();

        assert!(volume.exists());
        fs::remove_dir(&volume).unwrap();
        clear(&step).unwrap();
        assert_eq!(holds(&step).unwrap_err().kind(), FaultKind::Drift);
    }

    #[test]
    fn a_socket_that_may_be_anothers_stays_while_somebody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let home = SocketHome::Volume(folder.path().to_owned());
        let step = SocketStep { home, link: None, named: true, ..step(folder.path()) };
        let path = folder.path().join("net1");

        let listener = UnixListener::bind(&path).unwrap();
        let fault = prepare(&step).unwrap_err();
        clear(&step).unwrap();
        assert_eq!(fault.kind(), FaultKind::Exists);
        assert!(fault.to_string().starts_with("somebody listens at ") && path.exists(), "{fault}");
        drop(listener);
        prepare(&step).unwrap();
        assert!(!path.exists(), "nobody listens any more");
        drop(UnixListener::bind(&path).unwrap());
        clear(&step).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_for_everybody_becomes_sticky_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().join("volume");
        fs::create_dir(&volume).unwrap();
        let step = SocketStep { home: SocketHome::Volume(volume.clone()), link: None, ..step(folder.path()) };

        for (before, after) in [(0o777, 0o1777), (0o2777, 0o3777), (0o755, 0o755)] {
            fs::set_permissions(&volume, Permissions::from_mode(before)).unwrap();
            prepare(&step).unwrap();
            assert_eq!(fs::metadata(&volume).unwrap().permissions().mode() & 0o7777, after);
        }
    }

    #[test]
    fn no_link_above_a_directory_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (secret, base) = (folder.path().join("secret"), folder.path().join("vh/evil/made"));
        fs::create_dir(&secret).unwrap();
        fs::create_dir(folder.path().join("vh")).unwrap();
        symlink(&secret, folder.path().join("vh/evil")).unwrap();
        let step = SocketStep { home: SocketHome::Own(base.clone(), "pod1".into()), ..step(folder.path()) };

        let own = prepare(&step).unwrap_err();
        assert_eq!(fs::read_dir(&secret).unwrap().count(), 0);
        fs::create_dir_all(secret.join("made/pod1")).unwrap();
        let volume = SocketDir::make(&SocketHome::Volume(base)).unwrap_err();

        for fault in [own, volume] {
            assert!(fault.to_string().ends_with("vh/evil\" is a link"), "{fault}");
        }
        assert!(leave(&step.home).is_err() && secret.join("made/pod1").exists());
    }

    #[test]
    fn no_link_in_a_pods_directory_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (volume, victim) = (folder.path().join("volume"), folder.path().join("victim"));
        fs::create_dir(&volume).unwrap();
        fs::write(&victim, "precious").unwrap();
        let step = SocketStep { home: SocketHome::Volume(volume.clone()), link: None, ..step(folder.path()) };
        let dir = SocketDir::make(&step.home).unwrap();

        symlink(&victim, volume.join("net1")).unwrap();
        assert_eq!(prepare(&step).unwrap_err().kind(), FaultKind::Exists);
        for name in ["note.json", ".note.json.new"] {
            symlink(&victim, volume.join(name)).unwrap();
        }
        dir.write("note.json", b"text").unwrap();
        clear(&step).unwrap();
        dir.remove_file("net1").unwrap();

        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(fs::read_to_string(volume.join("note.json")).unwrap(), "text");
        let twin = folder.path().join("twin");
        symlink(&volume, &twin).unwrap();
        let fault = SocketDir::make(&SocketHome::Volume(twin)).unwrap_err();
        assert!(fault.to_string().contains("cannot use"), "{fault}");
    }

    #[test]
    fn a_context_is_set_on_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        let label = "system_u:object_r:container_file_t:s0";
        let step = SocketStep { label: Some(label.into()), ..step(folder.path()) };

        prepare(&step).unwrap();

        let mut seen = vec![0; 256];
        let length = rustix::fs::getxattr(step.home.path(), CONTEXT, &mut seen).unwrap();
        assert_eq!(seen.get(..length), Some(label.as_bytes()));
    }
}
