//! Files of this node that others read and write as well.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc;

/// All of a file.
///
/// # Errors
/// It cannot be read; [`ErrorKind::FileTooLarge`]: it is longer than `most` bytes, of which no part would do.
pub(super) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it is longer than {most} bytes")));
    }
    Ok(bytes)
}

/// All of a file that a tenant may have named: only a regular one is opened, for opening a device has effects and a FIFO
/// waits for its other end; and no more is read than its length says, for what the kernel makes up while it is read may
/// never end.
///
/// # Errors
/// As [`read`]; [`ErrorKind::InvalidInput`]: it is no regular file.
pub(super) fn read_named(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let found = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)?;
    let meta = found.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    if meta.len() > most {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it is longer than {most} bytes")));
    }
    let mut bytes = Vec::new();
    let same = format!("/proc/self/fd/{}", found.as_raw_fd());
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(same)?;
    file.take(meta.len()).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a new file, whatever stands there.
///
/// # Errors
/// It is not there.
pub(super) fn write(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let open = || OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = match open() {
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(path).and_then(|()| open())?
        }
        opened => opened?,
    };
    file.write_all(bytes).inspect_err(|_| fs::remove_file(path).unwrap_or_default())
}

/// Writes a file beside its place, as `young`, and moves it there: whoever reads sees the old one or the new one, whole.
///
/// # Errors
/// The old one is there, and no young one.
pub(super) fn put(young: &Path, place: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    write(young, mode, bytes)?;
    fs::rename(young, place).inspect_err(|_| fs::remove_file(young).unwrap_or_default())
}

/// Whether there is no file of that name; a directory is none, and too long a name cannot be one.
pub(super) fn is_none(error: &io::Error) -> bool {
    use ErrorKind::{InvalidFilename, IsADirectory, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | IsADirectory | NotADirectory | InvalidFilename)
}

/// What is gone already is no failure.
pub(super) fn gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if is_none(&error) => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn what_is_put_is_a_new_file_and_nothing_stays_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let (young, place, elsewhere) =
            (dir.path().join(".f"), dir.path().join("f"), dir.path().join("elsewhere"));
        fs::write(&elsewhere, "theirs").unwrap();
        symlink(&elsewhere, &young).unwrap();
        symlink(&elsewhere, &place).unwrap();

        put(&young, &place, 0o600, b"ours").unwrap();

        assert_eq!(
            (read(&place, 4).unwrap(), read(&elsewhere, 9).unwrap()),
            (b"ours".into(), b"theirs".into())
        );
        let meta = fs::symlink_metadata(&place).unwrap();
        assert!(meta.is_file() && meta.permissions().mode() & 0o777 == 0o600);
        fs::remove_file(&place).unwrap();
        fs::create_dir(&place).unwrap();
        put(&young, &place, 0o600, b"ours").unwrap_err();
        assert!(!young.exists());
    }

    #[test]
    fn of_what_a_tenant_names_only_regular_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, fifo) = (dir.path().join("f"), dir.path().join("l"), dir.path().join("fifo"));
        fs::write(&file, "text").unwrap();
        symlink(&file, &link).unwrap();
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();

        assert_eq!(read_named(&link, 4).unwrap(), b"text");
        assert_eq!(read_named(&file, 3).unwrap_err().kind(), ErrorKind::FileTooLarge);
        for other in [fifo.as_path(), Path::new("/dev/null"), dir.path()] {
            assert_eq!(read_named(other, 9).unwrap_err().kind(), ErrorKind::InvalidInput, "{other:?}");
        }
        // It would tell of the kernel's log for ever.
        assert_eq!(read_named(Path::new("/proc/kmsg"), 9).unwrap(), b"");
    }

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "12345").unwrap();

        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(read(&path, 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
        for none in
            [dir.path().join("g"), path.join("g"), dir.path().join("g".repeat(256)), dir.path().into()]
        {
            assert!(is_none(&read(&none, 9).unwrap_err()), "{none:?}");
        }
    }
}
