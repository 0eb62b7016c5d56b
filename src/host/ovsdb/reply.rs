//! What a transaction answers (RFC 7047, section 4.1.3): one result for each operation, or why none was done.

use std::path::Path;

use serde_json::Value;

use crate::model::FaultKind;
use crate::model::fault::Fault;

/// What became of a transaction.
#[derive(Debug)]
pub(super) enum Transacted {
    /// All was done; one result for each operation.
    Done(Vec<Value>),
    /// Nothing was.
    Refused(Refusal),
}

/// Why nothing was done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Which operation is refused; one behind the last stands for the whole.
    pub(super) operation: usize,
    /// In one word: `timed out` where a guard did not hold.
    pub(super) error: String,
    /// More of it.
    pub(super) details: String,
}

impl Refusal {
    /// As a failure.
    pub(super) fn fault(self, place: &Path) -> Fault {
        let Self { error, details, .. } = self;
        let words: String = format!("{error}: {details}").trim_end_matches(": ").chars().take(400).collect();
        let shown = place.display().to_string();
        Fault::new(FaultKind::Switch, format!("Open vSwitch's database at {shown:?} refuses the change"))
            .because(words)
            .remedy("correct the value that is named in the network")
    }
}

/// Reads the answer to a transaction of so many operations; `None` if it is none.
pub(super) fn transacted(result: Value, count: usize) -> Option<Transacted> {
    let Value::Array(results) = result else { return None };
    let text =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let refused = results.iter().position(|result| result.get("error").is_some_and(|e| !e.is_null()));
    if let Some((operation, result)) = refused.and_then(|at| results.get(at).map(|result| (at, result))) {
        let (error, details) = (text(result, "error"), text(result, "details"));
        return Some(Transacted::Refused(Refusal { operation, error, details }));
    }
    (results.len() == count).then_some(Transacted::Done(results))
}

/// The rows in the result of a `select`.
pub(super) fn rows(result: Value) -> Vec<Value> {
    let Value::Object(mut fields) = result else { return Vec::new() };
    if let Some(Value::Array(rows)) = fields.remove("rows") { rows } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(result: Value, count: usize) -> Refusal {
        match transacted(result, count) {
            Some(Transacted::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refused_operation_is_named_wherever_it_stands() {
        let guard = json!([{}, {"error": "timed out", "details": "\"where\" clause test failed"}, null]);
        assert_eq!((refusal(guard, 3).operation), 1);
        // What is found wrong when the whole is committed stands behind the last.
        let whole = json!([{}, {}, {"error": "constraint violation", "details": "x"}]);
        assert_eq!(refusal(whole, 2).operation, 2);
    }

    #[test]
    fn an_answer_of_another_length_is_none() {
        assert!(transacted(json!([{}]), 2).is_none() && transacted(json!({}), 0).is_none());
        assert!(matches!(transacted(json!([{}, {"count": 1}]), 2), Some(Transacted::Done(_))));
    }
}
