//! A directory that a container runtime reads: its files in the runtime's order, and a file put there as a whole.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{file, lock};
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::object;

/// What the names of configurations end with.
const ENDS: [&str; 3] = ["conf", "conflist", "json"];
/// Longest configuration read, in bytes.
const MAX_CONF: u64 = object::MAX_BYTES as u64;

/// The configurations of a directory, in the order in which runtimes take them.
///
/// # Errors
/// It cannot be read.
pub fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(dir)?.filter_map(Result::ok).map(|entry| entry.path());
    let is_conf = |path: &PathBuf| {
        path.is_file() && path.extension().is_some_and(|end| ENDS.iter().any(|known| end == *known))
    };
    let mut files: Vec<PathBuf> = paths.filter(is_conf).collect();
    files.sort_unstable();
    Ok(files)
}

/// What is in a configuration.
///
/// # Errors
/// It cannot be read, or is longer than any configuration.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    file::read(path, MAX_CONF)
}

/// Puts a file in its place, whatever is there now.
///
/// # Guarantees
/// Whoever looks finds the old file or the new one, whole, also after a power failure. Whoever runs the old one goes on
/// running it. Others who do the same wait.
///
/// # Errors
/// It is not there; the old one is.
pub fn put(path: &Path, mode: u32, content: &mut dyn Read) -> Outcome<()> {
    let failed = |cause: io::Error| unwritable(path, cause);
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed(ErrorKind::InvalidFilename.into()));
    };
    DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(failed)?;
    let folder = File::open(dir).map_err(failed)?;
    let folder = lock::exclusive(folder, dir, lock::LIMIT)?;
    // No runtime reads a file that ends so. One that a crash left is written over.
    let young = dir.join(format!(".{}.new", name.to_string_lossy()));
    let written = write(&young, mode, content).and_then(|()| fs::rename(&young, path));
    if let Err(cause) = written {
        // It is written over by the next try anyway.
        fs::remove_file(&young).unwrap_or_default();
        return Err(failed(cause));
    }
    folder.sync_all().map_err(failed)
}

fn write(path: &Path, mode: u32, content: &mut dyn Read) -> io::Result<()> {
    // What stands there may be somebody's link to elsewhere.
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(cause),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    io::copy(content, &mut file)?;
    // The mask of this process is not to decide who may run a program.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.flush()?;
    file.sync_all()
}

/// Copies a program to its place, unless the same is there. Whether it was not.
///
/// # Errors
/// As [`put`]; the program cannot be read.
pub fn put_program(from: &Path, to: &Path) -> Outcome<bool> {
    let unreadable = |cause| Fault::new(FaultKind::Io, format!("cannot read {from:?}")).because(cause);
    let mut program = File::open(from).map_err(unreadable)?;
    if is_the_same(&program, to).map_err(unreadable)? {
        return Ok(false);
    }
    put(to, 0o755, &mut program).map(|()| true)
}

/// Whether another path leads to a program with the same content.
fn is_the_same(program: &File, other: &Path) -> io::Result<bool> {
    let own = program.metadata()?;
    let Ok(file) = File::open(other) else { return Ok(false) };
    let others = file.metadata()?;
    if (own.dev(), own.ino()) == (others.dev(), others.ino()) {
        return Ok(true);
    }
    if own.len() != others.len() || others.mode() & 0o111 == 0 {
        return Ok(false);
    }
    let mut one = io::BufReader::new(program.try_clone()?);
    let mut two = io::BufReader::new(file);
    let same = are_alike(&mut one, &mut two)?;
    // Both handles share one place in the file.
    io::Seek::rewind(&mut &*program)?;
    Ok(same)
}

fn are_alike(one: &mut dyn io::BufRead, two: &mut dyn io::BufRead) -> io::Result<bool> {
    loop {
        let (a, b) = (one.fill_buf()?, two.fill_buf()?);
        let length = a.len().min(b.len());
        if a.get(..length) != b.get(..length) {
            return Ok(false);
        }
        if length == 0 {
            return Ok(a.len() == b.len());
        }
        one.consume(length);
        two.consume(length);
    }
}

/// Removes a file. That it is gone already is no failure.
///
/// # Errors
/// It is still there.
pub fn remove(path: &Path) -> Outcome<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => {
            Err(Fault::new(FaultKind::Io, format!("cannot remove {path:?}")).because(cause))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn unwritable(path: &Path, cause: io::Error) -> Fault {
    Fault::new(FaultKind::Io, format!("cannot write {path:?}"))
        .because(cause)
        .remedy("make its directory writable, and see whether its disk is full")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_in_the_order_of_runtimes_and_no_others_are_named() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["10-b.conf", "05-a.conflist", "20.json", ".x.conf.new", "x.cilium_bak"] {
            fs::write(dir.path().join(name), "{}").unwrap();
        }
        fs::create_dir(dir.path().join("00-folder.conf")).unwrap();

        let names: Vec<_> =
            files(dir.path()).unwrap().iter().map(|path| path.file_name().unwrap().to_owned()).collect();

        assert_eq!(names, ["05-a.conflist", "10-b.conf", "20.json"]);
    }

    #[test]
    fn a_program_is_put_once_and_again_where_it_differs_or_cannot_be_run() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("bin/to"));
        fs::write(&from, vec![7; 100_000]).unwrap();

        assert!(put_program(&from, &to).unwrap());
        assert!(!put_program(&from, &to).unwrap());
        assert!(!put_program(&to, &to).unwrap());
        fs::set_permissions(&to, Permissions::from_mode(0o644)).unwrap();
        assert!(put_program(&from, &to).unwrap());
        let mut other = vec![7; 100_000];
        other[99_999] = 8;
        fs::write(&to, &other).unwrap();
        assert!(put_program(&from, &to).unwrap());

        assert_eq!(fs::read(&to).unwrap(), fs::read(&from).unwrap());
        assert_eq!(fs::metadata(&to).unwrap().mode() & 0o7777, 0o755);
        assert_eq!(fs::read_dir(dir.path().join("bin")).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_put_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00-x.conf");
        fs::create_dir(&path).unwrap();

        let fault = put(&path, 0o600, &mut &b"{}"[..]).unwrap_err();

        assert_eq!(fault.kind(), FaultKind::Io);
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
