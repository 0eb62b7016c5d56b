//! A call as a container runtime makes it, ready to be made: nothing but the process is in the time that it takes.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;

use crate::command::bare;
use crate::plugin::Attachment;
use crate::trouble::{Outcome, Trouble, holds};

/// A program, its variables and its standard input.
pub(super) struct Caller {
    program: PathBuf,
    variables: Vec<(&'static str, String)>,
    input: String,
}

impl Caller {
    /// A call of the plugin under test.
    pub(super) fn new(attachment: &Attachment<'_>, command: &str) -> Self {
        let program = attachment.subject.program(&attachment.config);
        Self::of_program(program, attachment, (command, &attachment.input(None)))
    }

    /// A call of another program for the same pod.
    pub(super) fn of_program(
        program: PathBuf,
        attachment: &Attachment<'_>,
        (command, input): (&str, &Value),
    ) -> Self {
        let variables = attachment.variables(command).into_iter().collect();
        Self { program, variables, input: input.to_string() }
    }

    /// Makes it.
    ///
    /// # Errors
    /// The program could not be run, or refused.
    pub(super) fn run(&self) -> Outcome<()> {
        let what = format!("cannot run {:?}", self.program);
        let mut command = bare(&self.program);
        command.env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(Trouble::doing(&what))?;
        if let Some(mut stdin) = child.stdin.take() {
            // Not every command reads it; whether the call succeeded is seen below.
            stdin.write_all(self.input.as_bytes()).ok();
        }
        let ended = child.wait_with_output().map_err(Trouble::doing(&what))?;
        let said = String::from_utf8_lossy(&ended.stdout);
        holds(ended.status.success(), format!("{:?} failed: {said}", self.program))
    }
}
