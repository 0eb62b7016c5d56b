//! Starting programs: the one place that does, each under a time limit.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::Outcome;

/// How long a program may take, in seconds: an emulated machine is slow.
const LIMIT: &str = "60";

/// What a program left behind.
pub(crate) struct Ran {
    /// Its exit status; `None` if a signal ended it.
    pub(crate) status: Option<i32>,
    /// Its standard output.
    pub(crate) output: String,
    /// Its standard error.
    pub(crate) complaint: String,
}

/// Runs a program to its end, with these variables and this on standard input, in the network namespace of the calling
/// thread.
pub(crate) fn run(words: &[impl AsRef<OsStr>], variables: &[(&str, String)], input: &[u8]) -> Outcome<Ran> {
    let shown: Vec<OsString> = words.iter().map(|word| word.as_ref().to_owned()).collect();
    let trouble = |cause: std::io::Error| format!("cannot run {shown:?}: {cause}");
    #[expect(clippy::disallowed_methods, reason = "this module is where the suite starts processes")]
    let mut command = Command::new("timeout");
    command.args(["-k", "2", LIMIT]).args(words);
    command.envs(variables.iter().map(|(name, value)| (*name, value)));
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(trouble)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ended without reading it is judged by its own exit status.
        stdin.write_all(input).ok();
    }
    let ended = child.wait_with_output().map_err(trouble)?;
    Ok(Ran {
        status: ended.status.code(),
        output: String::from_utf8_lossy(&ended.stdout).into_owned(),
        complaint: String::from_utf8_lossy(&ended.stderr).into_owned(),
    })
}

/// Runs `ip` in the network namespace of the calling thread; the arguments are parted by blanks.
pub(crate) fn ip(arguments: &str) -> Outcome<String> {
    let words: Vec<&str> = std::iter::once("ip").chain(arguments.split_whitespace()).collect();
    let ran = run(&words, &[], b"")?;
    match ran.status {
        Some(0) => Ok(ran.output),
        Some(_) | None => Err(format!("\"ip {arguments}\" failed: {}", ran.complaint.trim())),
    }
}
