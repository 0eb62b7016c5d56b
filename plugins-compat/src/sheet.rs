//! The sheet on which everything seen in a scene is noted, and how two of them are compared.

use std::fmt;

use serde_json::{Map, Value};

use crate::Outcome;
use crate::case::Difference;

/// What was seen, by label.
#[derive(Default)]
pub(crate) struct Sheet(Map<String, Value>);

/// A place where two sheets differ.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    at: String,
    reference: Option<Value>,
    ours: Option<Value>,
}

impl Sheet {
    /// Notes what was seen.
    ///
    /// # Errors
    /// The label is taken: the scene is written wrongly.
    pub(crate) fn note(&mut self, label: &str, seen: Value) -> Outcome<()> {
        match self.0.insert(label.to_owned(), seen) {
            None => Ok(()),
            Some(_) => Err(format!("two things on the sheet are called {label:?}")),
        }
    }

    /// What it says, for people.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string_pretty(&self.0).unwrap_or_default()
    }
}

/// What is wrong between two sheets: a difference that is not declared, or a declared one that does not show. One that
/// is tolerated need not show.
pub(crate) fn wrong(
    (reference, ours): (&Sheet, &Sheet),
    declared: &[Difference],
    tolerated: &[Difference],
) -> Vec<String> {
    let mut findings = Vec::new();
    compare_keys("", &reference.0, &ours.0, &mut findings);
    let known = |finding: &&Finding| declared.iter().chain(tolerated).any(|d| finding.is(d));
    let undeclared = findings.iter().filter(|finding| !known(finding));
    let unseen = declared.iter().filter(|d| !findings.iter().any(|finding| finding.is(d)));
    let unseen = unseen.map(|d| format!("{}: the declared difference does not show", d.at));
    undeclared.map(Finding::to_string).chain(unseen).collect()
}

fn compare(at: &str, reference: &Value, ours: &Value, findings: &mut Vec<Finding>) {
    match (reference, ours) {
        (Value::Object(a), Value::Object(b)) => compare_keys(at, a, b, findings),
        (a, b) if a == b => {}
        (a, b) => {
            findings.push(Finding { at: at.into(), reference: Some(a.clone()), ours: Some(b.clone()) });
        }
    }
}

fn compare_keys(at: &str, a: &Map<String, Value>, b: &Map<String, Value>, findings: &mut Vec<Finding>) {
    let below = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}/{key}") };
    for (key, value) in a {
        match b.get(key) {
            Some(other) => compare(&below(key), value, other, findings),
            None => {
                findings.push(Finding { at: below(key), reference: Some(value.clone()), ours: None });
            }
        }
    }
    for (key, value) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
        findings.push(Finding { at: below(key), reference: None, ours: Some(value.clone()) });
    }
}

impl Finding {
    fn is(&self, declared: &Difference) -> bool {
        let here = match declared.at.strip_prefix('*') {
            Some(rest) => {
                self.at.split_once('/').is_some_and(|(_, below)| rest.strip_prefix('/') == Some(below))
            }
            None => self.at == declared.at,
        };
        let says = |text: &str| serde_json::from_str::<Value>(text).ok();
        here && self.reference == says(declared.reference) && self.ours == says(declared.ours)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Value>| value.as_ref().map_or("nothing".to_owned(), Value::to_string);
        write!(f, "{}: reference has {}, ours has {}", self.at, shown(&self.reference), shown(&self.ours))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DECLARED: &[Difference] =
        &[Difference { at: "*/up", reference: "true", ours: "", why: "for the test" }];

    fn sheet(seen: Value) -> Sheet {
        let mut sheet = Sheet::default();
        sheet.note("look", seen).unwrap();
        sheet
    }

    fn found(reference: Value, ours: Value) -> Vec<String> {
        wrong((&sheet(reference), &sheet(ours)), &[], &[])
    }

    #[test]
    fn equal_sheets_are_right() {
        assert_eq!(found(json!({"a": [1]}), json!({"a": [1]})), Vec::<String>::new());
    }

    #[test]
    fn a_difference_is_named_with_both_sides() {
        assert_eq!(
            found(json!({"a": {"b": 1}}), json!({"a": {"b": 2, "c": 3}})),
            ["look/a/b: reference has 1, ours has 2", "look/a/c: reference has nothing, ours has 3"]
        );
    }

    #[test]
    fn a_declared_difference_must_show_as_it_was_declared() {
        let declared = |reference, ours| wrong((&sheet(reference), &sheet(ours)), DECLARED, &[]);

        assert_eq!(declared(json!({"up": true}), json!({})), Vec::<String>::new());
        assert_eq!(declared(json!({}), json!({})).len(), 1);
        assert_eq!(declared(json!({"up": false}), json!({})).len(), 2);
        assert_eq!(declared(json!({"down": true}), json!({})).len(), 2);
    }

    #[test]
    fn a_tolerated_difference_need_not_show() {
        let tolerated = |reference, ours| wrong((&sheet(reference), &sheet(ours)), &[], DECLARED);

        assert_eq!(tolerated(json!({"up": true}), json!({})), Vec::<String>::new());
        assert_eq!(tolerated(json!({}), json!({})), Vec::<String>::new());
        assert_eq!(tolerated(json!({"up": false}), json!({})).len(), 1);
    }
}
