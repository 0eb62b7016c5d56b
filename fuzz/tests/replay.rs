//! Feeds every target what is kept for it in `corpus`: what the tests have of its kind, what was found to reach far, and
//! what once broke it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]

use std::path::Path;

#[test]
fn what_is_kept_breaks_nothing() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");

    for target in &fuzz::TARGETS {
        let listing = std::fs::read_dir(corpus.join(target.name)).unwrap();
        let mut files: Vec<_> = listing.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= 3, "{}: its corpus is not there", target.name);
        for file in files {
            let data = std::fs::read(&file).unwrap();
            let fed = std::panic::catch_unwind(|| (target.run)(&data));
            assert!(fed.is_ok(), "{} breaks {}", file.display(), target.name);
        }
    }
}

#[test]
fn a_corpus_is_of_a_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");

    for entry in std::fs::read_dir(corpus).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(fuzz::target(&name).is_some(), "{name} is none of {}", fuzz::names());
    }
}
