//! Paths that a configuration names.

use std::path::{Component, Path, PathBuf};

use super::fault::{Fault, FaultKind, Outcome};

/// Longest path, in bytes: what is put beneath it must fit into `PATH_MAX` of the kernel (4096) as well.
const MAX_BYTES: usize = 3072;

/// A path; an empty one counts as absent.
pub fn given(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// An absolute path; `key` names it in the error.
///
/// # Errors
/// It is relative, too long, or has a zero byte in it.
pub fn absolute(key: &str, path: PathBuf) -> Outcome<PathBuf> {
    if is_absolute(&path) { Ok(path) } else { Err(wrong(key, &path).remedy("give an absolute path")) }
}

/// An absolute path that does not climb, so that it stays beneath any directory it is put under.
///
/// # Errors
/// As [`absolute`], and a path with `..` in it.
pub fn plain(key: &str, path: PathBuf) -> Outcome<PathBuf> {
    let climbs = path.components().any(|part| part == Component::ParentDir);
    if is_absolute(&path) && !climbs {
        return Ok(path);
    }
    Err(wrong(key, &path).remedy("give an absolute path without \"..\""))
}

/// As [`absolute`], of one that may be absent.
///
/// # Errors
/// As [`absolute`].
pub fn given_absolute(key: &str, path: Option<PathBuf>) -> Outcome<Option<PathBuf>> {
    given(path).map(|path| absolute(key, path)).transpose()
}

/// As [`plain`], of one that may be absent.
///
/// # Errors
/// As [`plain`].
pub fn given_plain(key: &str, path: Option<PathBuf>) -> Outcome<Option<PathBuf>> {
    given(path).map(|path| plain(key, path)).transpose()
}

fn is_absolute(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    path.is_absolute() && bytes.len() <= MAX_BYTES && !bytes.contains(&0)
}

fn wrong(key: &str, path: &Path) -> Fault {
    let shown: String = path.to_string_lossy().chars().take(120).collect();
    Fault::new(FaultKind::Config, format!("{key:?} is {shown:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_paths_of_usual_length_are_taken() {
        for good in ["/", "/a", "/a/../b", "/a//b/."] {
            assert_eq!(absolute("k", good.into()).unwrap(), PathBuf::from(good));
        }
        let long = format!("/{}", "a".repeat(MAX_BYTES));
        for bad in ["", "a", "./a", "../a", "/a\0b", long.as_str()] {
            assert!(absolute("k", bad.into()).is_err() && plain("k", bad.into()).is_err(), "{bad}");
        }
        assert!(absolute("k", long.into()).unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn what_is_put_beneath_a_directory_does_not_climb_out_of_it() {
        assert_eq!(plain("k", "/a/b".into()).unwrap(), PathBuf::from("/a/b"));

        let told = plain("k", "/a/../b".into()).unwrap_err();

        assert_eq!(told.to_string(), "\"k\" is \"/a/../b\"");
    }
}
