//! What a plugin's end means: its result, or its failure told so that a person can act on it.

use serde::Deserialize;

use super::excerpt::Excerpt;
use super::process::Ended;
use crate::model::Object;
use crate::model::fault::{Fault, FaultKind, Outcome};

/// Longest message, and longest details, taken from a plugin's error object, in bytes.
const MAX_TEXT: usize = 8192;

/// The error object of a plugin (specification 1.1.0, section 5, "Error"), keys in lower case for
/// [`Object::decode`].
#[derive(Deserialize)]
struct Refusal {
    code: Option<u32>,
    msg: Option<String>,
    #[serde(default)]
    details: String,
}

/// Passes on a run that succeeded.
///
/// # Errors
/// The plugin's own error object with its code and details; without one, what it wrote, or how it ended.
pub(super) fn judge(ended: Ended) -> Outcome<Ended> {
    if ended.status.success() {
        return Ok(ended);
    }
    Err(refused(&ended.stdout, &ended.stderr).unwrap_or_else(|| unexplained(&ended)))
}

/// What a plugin that failed says on standard output, with what it says on standard error, if it is an error object.
pub fn refused(stdout: &[u8], stderr: &Excerpt) -> Option<Fault> {
    refusal(stdout).map(|refusal| refusal.into_fault(stderr))
}

/// `; on stderr it wrote "…"`, if it wrote anything.
pub(super) fn on_stderr(stderr: &Excerpt) -> String {
    if stderr.is_empty() { String::new() } else { format!("; on stderr it wrote {stderr}") }
}

/// The error object, if that is what was written. It is the last of several documents: a plugin built on the
/// reference library prints its result, and an error behind it, when the pod's namespace was its own.
fn refusal(stdout: &[u8]) -> Option<Refusal> {
    let documents = serde_json::Deserializer::from_slice(stdout).into_iter::<Object>();
    let last = documents.collect::<Result<Vec<_>, _>>().ok()?.pop()?;
    let refusal: Refusal = last.decode("the plugin's error").ok()?;
    (refusal.code.is_some() || refusal.msg.is_some()).then_some(refusal)
}

impl Refusal {
    fn into_fault(self, stderr: &Excerpt) -> Fault {
        let msg = self.msg.filter(|msg| !msg.trim().is_empty());
        let msg = msg.map_or_else(|| "it gave no message".to_owned(), |msg| clipped(&msg));
        let kind = FaultKind::Delegate(self.code.unwrap_or_default());
        let fault = Fault::new(kind, msg + &on_stderr(stderr));
        if self.details.trim().is_empty() { fault } else { fault.remedy(clipped(&self.details)) }
    }
}

/// A failure without an error object.
fn unexplained(ended: &Ended) -> Fault {
    let stdout = Excerpt::of(&ended.stdout);
    let wrote = match (stdout.is_empty(), ended.stderr.is_empty()) {
        (true, true) => " and wrote nothing".to_owned(),
        (true, false) => on_stderr(&ended.stderr),
        (false, _) => format!("; on stdout it wrote {stdout}{}", on_stderr(&ended.stderr)),
    };
    Fault::new(FaultKind::Plugin, format!("it ended with {}{wrote}", ended.status))
}

/// A text without the white space around it, cut at [`MAX_TEXT`].
fn clipped(text: &str) -> String {
    let text = text.trim();
    if text.len() <= MAX_TEXT {
        return text.to_owned();
    }
    let end =
        text.char_indices().map(|(at, _)| at).take_while(|at| *at <= MAX_TEXT).last().unwrap_or_default();
    let kept = text.get(..end).unwrap_or_default();
    format!("{kept} ({} bytes left out)", text.len() - kept.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn failed(stdout: &[u8], stderr: &[u8]) -> Fault {
        let status = ExitStatus::from_raw(1 << 8);
        judge(Ended { status, stdout: stdout.to_vec(), stderr: Excerpt::of(stderr) }).unwrap_err()
    }

    #[test]
    fn code_message_and_details_are_passed_on_in_any_letter_case() {
        let fault = failed(br#"{"Code":11,"MSG":"busy","details":"try again","cniVersion":"1.0.0"}"#, b"");

        assert_eq!(fault.kind(), FaultKind::Delegate(11));
        assert_eq!(fault.to_string(), "busy");
        assert_eq!(fault.advice(), Some("try again"));
    }

    #[test]
    fn what_was_said_on_stderr_follows_the_message() {
        let fault = failed(br#"{"code":999,"msg":"no"}"#, b"line 1\nline 2\n");

        assert_eq!(fault.to_string(), "no; on stderr it wrote \"line 1\\nline 2\"");
        assert_eq!(fault.advice(), None);
    }

    #[test]
    fn the_error_behind_a_result_counts() {
        let fault = failed(br#"{"cniVersion":"1.0.0"}{"code":8,"msg":"same netns"}"#, b"");
        assert_eq!(fault.kind(), FaultKind::Delegate(8));
    }

    #[test]
    fn code_0_is_kept_and_an_absent_message_is_told() {
        let fault = failed(br#"{"code":0,"msg":""}"#, b"");

        assert_eq!(fault.kind(), FaultKind::Delegate(0));
        assert_eq!(fault.to_string(), "it gave no message");
    }

    #[test]
    fn what_is_no_error_object_is_quoted() {
        for stdout in ["panic!", "{}", "[1]", r#"{"code":-1,"msg":"x"}"#, r#"{"cniVersion":"1.0.0"}"#] {
            let fault = failed(stdout.as_bytes(), b"oops");

            assert_eq!(fault.kind(), FaultKind::Plugin);
            let expected = format!(
                "it ended with exit status: 1; on stdout it wrote {stdout:?}; on stderr it wrote \"oops\""
            );
            assert_eq!(fault.to_string(), expected);
        }
    }

    #[test]
    fn a_silent_failure_tells_how_it_ended() {
        let status = ExitStatus::from_raw(9);
        let fault = judge(Ended { status, stdout: Vec::new(), stderr: Excerpt::default() }).unwrap_err();

        assert_eq!(failed(b"", b"").to_string(), "it ended with exit status: 1 and wrote nothing");
        assert_eq!(fault.to_string(), "it ended with signal: 9 (SIGKILL) and wrote nothing");
    }

    #[test]
    fn an_endless_message_is_cut() {
        let text = serde_json::json!({"code": 1, "msg": "\u{fc}".repeat(MAX_TEXT)}).to_string();
        let fault = failed(text.as_bytes(), b"");
        assert!(fault.to_string().ends_with("\u{fc} (8192 bytes left out)"), "{fault}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_succeed(stdout in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(!failed(&stdout, b"").to_string().is_empty());
        }
    }
}
