//! Feeds every target what is kept for it in `corpus`: what the tests have of its kind, what was found to reach far, and
//! what once broke it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]

use std::collections::BTreeSet;

use fuzz::corpus;

#[test]
fn what_is_kept_breaks_nothing() {
    for target in &fuzz::TARGETS {
        let kept = corpus::kept(target.name).unwrap();
        assert!(kept.len() >= 3, "{}: its corpus is not there", target.name);
        for (input, number) in kept.iter().zip(1..) {
            let fed = std::panic::catch_unwind(|| (target.run)(input));
            assert!(fed.is_ok(), "line {number} of corpus/{} breaks it", target.name);
        }
    }
}

#[test]
fn what_is_kept_is_of_a_target_and_kept_once() {
    for entry in std::fs::read_dir(corpus::folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(fuzz::target(&name).is_some(), "{name} is none of {}", fuzz::names());
        let text = std::fs::read_to_string(corpus::folder().join(&name)).unwrap();
        let lines: Vec<String> =
            corpus::kept(&name).unwrap().iter().map(|input| corpus::line(input)).collect();
        assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), lines.len(), "{name} has one twice");
        assert!(text.lines().eq(lines), "a line of {name} has another spelling");
    }
}
