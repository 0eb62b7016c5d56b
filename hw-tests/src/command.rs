//! Starting programs: the one place that does, each under a time limit.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::trouble::{Outcome, Trouble};

/// How long a program may take, in seconds, unless it is told otherwise.
const LIMIT: u32 = 20;

/// A program to run.
pub(crate) struct Program {
    command: Command,
    words: String,
    input: String,
}

/// What a program left behind.
pub(crate) struct Ran {
    /// Its exit status; `None` if a signal ended it.
    pub(crate) status: Option<i32>,
    /// Its standard output.
    pub(crate) output: String,
    /// Its standard error.
    pub(crate) complaint: String,
}

impl Program {
    /// A program and its arguments, bounded by the usual limit.
    pub(crate) fn new(words: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self::within(LIMIT, words)
    }

    /// A program and its arguments that may take so many seconds.
    pub(crate) fn within(seconds: u32, words: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
        let mut command = bare("timeout");
        command.args(["-k", "2", &seconds.to_string()]).args(&words);
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        Self { command, words: words.join(" "), input: String::new() }
    }

    /// Gives it a variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Gives it this on standard input.
    pub(crate) fn input(mut self, input: String) -> Self {
        self.input = input;
        self
    }

    /// Runs it in this folder.
    pub(crate) fn at(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Starts it; what it says goes into this file. Where it is given no input, the caller has its standard input.
    ///
    /// # Errors
    /// It could not be started.
    pub(crate) fn start(mut self, output: File) -> Outcome<Child> {
        let what = format!("cannot run {:?}", self.words);
        let complaint = output.try_clone().map_err(Trouble::doing(&what))?;
        let child = self.command.stdin(Stdio::piped()).stdout(output).stderr(complaint).spawn();
        let mut child = child.map_err(Trouble::doing(what))?;
        if !self.input.is_empty() {
            feed(&mut child, &self.input);
        }
        Ok(child)
    }

    /// Runs it to its end, however that may be.
    ///
    /// # Errors
    /// It could not be started.
    pub(crate) fn run(mut self) -> Outcome<Ran> {
        let what = format!("cannot run {:?}", self.words);
        let child = self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.map_err(Trouble::doing(&what))?;
        feed(&mut child, &self.input);
        let ended = child.wait_with_output().map_err(Trouble::doing(&what))?;
        Ok(Ran {
            status: ended.status.code(),
            output: String::from_utf8_lossy(&ended.stdout).into_owned(),
            complaint: String::from_utf8_lossy(&ended.stderr).into_owned(),
        })
    }

    /// Runs it and returns its output.
    ///
    /// # Errors
    /// It could not be started, or did not end well.
    pub(crate) fn output(self) -> Outcome<String> {
        let words = self.words.clone();
        let ran = self.run()?;
        match ran.status {
            Some(0) => Ok(ran.output),
            Some(124) => Err(Trouble::new(format!("{words:?} took too long"))),
            Some(127) => Err(Trouble::new(format!("{words:?}: the program is not installed"))),
            Some(_) | None => Err(Trouble::new(format!("{words:?} failed: {}", ran.complaint.trim()))),
        }
    }
}

/// A program that the caller runs itself, unbounded: to become another program.
#[expect(clippy::disallowed_methods, reason = "this module is where the test rig starts processes")]
pub(crate) fn bare(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// Writes the input. A program that ended without reading it is judged by its own exit status.
fn feed(child: &mut Child, input: &str) {
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).ok();
    }
}
