//! DELs that shims have kept, as they lie in `<stateDir>/spool`.

use std::fs::{self, DirEntry, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;

use crate::model::thick::{MAX_REQUEST, SPOOL_FORMAT, Spooled};

/// The file of a kept DEL. The older one comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kept {
    since: SystemTime,
    pub(super) path: PathBuf,
}

/// What such a file holds.
#[derive(Debug)]
pub(super) enum Content {
    /// A DEL.
    Del(Box<Spooled>),
    /// Something of another format than ours.
    Foreign(u32),
}

/// The names of kept DELs: neither those that are being written, nor what turned out to be none.
pub(in crate::front::daemon) fn names(state: &Path) -> impl Iterator<Item = String> {
    entries(state).map(|(name, _)| name).filter(|name| is_kept(name))
}

/// Kept DELs, the oldest first.
pub(super) fn kept(state: &Path) -> Vec<Kept> {
    let mut kept: Vec<Kept> = entries(state)
        .filter(|(name, _)| is_kept(name))
        .filter_map(|(_, entry)| Some(Kept { since: changed(&entry)?, path: entry.path() }))
        .collect();
    kept.sort_unstable();
    kept
}

/// Removes what was written for the last time before this moment, and did not get to its place: its writer is gone.
pub(super) fn clear_drafts(state: &Path, before: SystemTime) {
    for (name, entry) in entries(state) {
        if name.starts_with('.') && changed(&entry).is_some_and(|at| at < before) {
            // What cannot be removed now is tried in the next round.
            fs::remove_file(entry.path()).unwrap_or_default();
        }
    }
}

/// What a file holds.
///
/// # Errors
/// It cannot be read, or is no DEL.
pub(super) fn read(file: &File) -> io::Result<Content> {
    #[derive(Deserialize)]
    struct Layout {
        format: u32,
    }
    let mut bytes = Vec::new();
    file.take(MAX_REQUEST as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_REQUEST {
        return Err(io::Error::other(format!("it is longer than {MAX_REQUEST} bytes")));
    }
    match serde_json::from_slice::<Layout>(&bytes)?.format {
        SPOOL_FORMAT => Ok(Content::Del(serde_json::from_slice(&bytes)?)),
        format => Ok(Content::Foreign(format)),
    }
}

/// The file of this name.
pub(super) fn path(state: &Path, name: &str) -> PathBuf {
    folder(state).join(name)
}

fn folder(state: &Path) -> PathBuf {
    state.join("spool")
}

fn entries(state: &Path) -> impl Iterator<Item = (String, DirEntry)> {
    let all = fs::read_dir(folder(state)).into_iter().flatten().filter_map(Result::ok);
    all.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry))
}

fn is_kept(name: &str) -> bool {
    name.ends_with(".json") && !name.starts_with('.')
}

fn changed(entry: &DirEntry) -> Option<SystemTime> {
    entry.metadata().ok()?.modified().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A spool with these files, each a second younger than the one before it.
    fn state(files: &[(&str, &str)]) -> tempfile::TempDir {
        let state = tempfile::tempdir().unwrap();
        fs::create_dir(state.path().join("spool")).unwrap();
        for ((name, text), second) in files.iter().zip(1..) {
            let path = state.path().join("spool").join(name);
            fs::write(&path, text).unwrap();
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
        }
        state
    }

    #[test]
    fn dels_are_told_from_what_is_none_and_the_oldest_is_first() {
        let all = ["c.eth0.json", ".77-d.eth0.json", "b.eth0.unreadable", "a.eth0.json"];
        let state = state(&all.map(|name| (name, "")));

        let order = kept(state.path());

        let order: Vec<_> = order.iter().map(|kept| kept.path.file_name().unwrap()).collect();
        assert_eq!(order, ["c.eth0.json", "a.eth0.json"]);
        assert_eq!(names(state.path()).count(), 2);
        assert_eq!(names(Path::new("/nowhere")).count(), 0);
    }

    #[test]
    fn only_drafts_of_writers_that_are_gone_are_cleared() {
        let state = state(&["c.eth0.json", ".1-c.eth0.json", ".2-c.eth0.json"].map(|name| (name, "")));

        clear_drafts(state.path(), SystemTime::UNIX_EPOCH + Duration::from_secs(3));

        let mut left: Vec<_> = entries(state.path()).map(|(name, _)| name).collect();
        left.sort_unstable();
        assert_eq!(left, [".2-c.eth0.json", "c.eth0.json"]);
    }

    #[test]
    fn what_a_later_version_keeps_is_known_by_its_format_alone() {
        let state = state(&[
            ("ours.json", r#"{"format":1,"since":1,"env":{},"config":{}}"#),
            ("later.json", r#"{"format":2,"what":"?"}"#),
            ("half.json", r#"{"format":1,"since":1,"#),
            ("none.json", "{}"),
        ]);
        let read = |name: &str| read(&File::open(state.path().join("spool").join(name)).unwrap());

        assert!(matches!(read("ours.json").unwrap(), Content::Del(del) if del.since == 1));
        assert!(matches!(read("later.json").unwrap(), Content::Foreign(2)));
        for name in ["half.json", "none.json"] {
            read(name).unwrap_err();
        }
    }
}
