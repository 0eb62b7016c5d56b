//! The daemon's answer, as the runtime is given it.

use super::http::Answer;
use crate::model::FaultKind;
use crate::model::call::Command;
use crate::model::dialect;
use crate::model::fault::{ErrorReply, Fault};
use crate::model::thick::Reply;
use crate::model::version::CniVersion;

/// Code of an error that came without one: what the reference library gives to errors that have no code.
const NO_CODE: u32 = 999;
/// Longest text of an error that is passed on, in characters.
const MAX_TEXT: usize = 4096;

/// The result of an ADD in the runtime's version, nothing for other verbs, or the error.
///
/// # Errors
/// What the daemon answers is no result, or it is an error.
pub fn read(verb: Command, version: CniVersion, answer: &Answer) -> Result<Vec<u8>, ErrorReply> {
    if answer.code != 200 {
        return Err(error(answer));
    }
    if verb != Command::Add {
        return Ok(Vec::new());
    }
    let told = |fault: Fault| fault.while_doing("cannot read the daemon's answer").to_reply();
    let reply: Reply = serde_json::from_slice(&answer.body)
        .map_err(|cause| told(Fault::new(FaultKind::Decode, "it is no result").because(cause)))?;
    let result = reply.result.as_ref().map_or("null", |raw| raw.get());
    let result = dialect::read(result.as_bytes(), CniVersion::NEWEST).map_err(told)?;
    dialect::write(&result, version).map_err(told)
}

/// An error object if it is one; the peer's daemon answers mostly in words.
fn error(answer: &Answer) -> ErrorReply {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(&answer.body);
        let text: String = text.trim().chars().take(MAX_TEXT).collect();
        let msg = if text.is_empty() { format!("the daemon answers {}", answer.code) } else { text };
        ErrorReply { code: NO_CODE, msg, details: String::new() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, body: &str) -> Answer {
        Answer { code, body: body.into() }
    }

    #[test]
    fn a_result_is_given_in_the_runtimes_version() {
        let body = r#"{"Result":{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"/n"}],"ips":[{"interface":0,"address":"10.1.0.2/24"}]}}"#;

        let text = read(Command::Add, CniVersion::V0_4_0, &answer(200, body)).unwrap();

        let result: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((&result["cniVersion"], &result["ips"][0]["version"]), (&"0.4.0".into(), &"4".into()));
        assert!(read(Command::Del, CniVersion::V0_4_0, &answer(200, "")).unwrap().is_empty());
    }

    #[test]
    fn an_error_keeps_its_code_and_words_without_one_get_one() {
        let coded = read(Command::Add, CniVersion::NEWEST, &answer(400, r#"{"code":11,"msg":"later"}"#));
        assert_eq!(coded.unwrap_err().code, 11);
        let words = read(Command::Del, CniVersion::NEWEST, &answer(400, "ContainerID:\"x\" ERRORED: no\n"));
        assert_eq!(words.unwrap_err().msg, "ContainerID:\"x\" ERRORED: no");
        let nothing = read(Command::Status, CniVersion::NEWEST, &answer(404, ""));
        assert_eq!(nothing.unwrap_err().msg, "the daemon answers 404");
    }
}
