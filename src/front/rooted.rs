//! The door through which this program becomes a plugin in another root directory: see [`crate::host::exec::root`].

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::host::exec::root;

/// The root and the program, if this program was started to become that. The variables of a plugin's call are set then
/// as well, so this is asked first; a container runtime gives no words.
pub(super) fn wanted() -> Option<(PathBuf, PathBuf)> {
    let words: Vec<OsString> = env::args_os().skip(1).collect();
    root::told(&words)
}

/// Becomes it. If it cannot, the answer is that of a plugin that failed.
pub(super) fn run(root: &Path, program: &Path) -> ExitCode {
    let error = root::become_in(root, program).to_reply();
    // Numbers and texts: they cannot fail to be JSON. And there is nobody else to tell.
    let text = serde_json::to_vec(&error).unwrap_or_default();
    io::stdout().lock().write_all(&text).unwrap_or_default();
    ExitCode::FAILURE
}
