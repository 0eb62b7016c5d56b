//! A lock that nobody will let go: Manifold was killed, and what a plugin left behind has the file of the records still.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::sys::stat::{major, minor};

/// How long nothing was written to records that nobody works on any more: longer than a plugin may run.
const STILL: Duration = Duration::from_secs(150);

/// Whether the file at this path is locked by a process that has ended, and no plugin can be at work for it.
pub(super) fn is_left(path: &Path) -> bool {
    let Ok(meta) = fs::symlink_metadata(path) else { return false };
    let still = meta.modified().is_ok_and(|then| then.elapsed().is_ok_and(|ago| ago >= STILL));
    let file = format!("{:02x}:{:02x}:{}", major(meta.dev()), minor(meta.dev()), meta.ino());
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    still && locks.lines().any(|lock| holder(lock, &file).is_some_and(has_ended))
}

/// The process that took a lock on a file, as a line of `/proc/locks` tells; that of one who waits begins otherwise.
fn holder<'a>(lock: &'a str, file: &str) -> Option<&'a str> {
    let words: Vec<&str> = lock.split_whitespace().collect();
    match words.as_slice() {
        [_, "FLOCK", "ADVISORY", "WRITE", process, locked, ..] if *locked == file => Some(process),
        _ => None,
    }
}

/// Whether there is no such process; not known of one that cannot be seen from here.
fn has_ended(process: &str) -> bool {
    let is_number = process.parse::<u32>().is_ok_and(|number| number > 0);
    is_number && !Path::new("/proc").join(process).exists()
}
