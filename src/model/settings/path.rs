//! Paths that a configuration names.

use std::path::PathBuf;

use crate::model::fault::{Fault, FaultKind, Outcome};

/// A path; an empty one counts as absent.
pub(super) fn given(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// The same, which must be absolute.
///
/// # Errors
/// It is not.
pub(super) fn absolute(key: &str, path: Option<PathBuf>) -> Outcome<Option<PathBuf>> {
    match given(path) {
        Some(path) if !path.is_absolute() => {
            Err(Fault::new(FaultKind::Config, format!("{key:?} is {path:?}")).remedy("give an absolute path"))
        }
        path => Ok(path),
    }
}
