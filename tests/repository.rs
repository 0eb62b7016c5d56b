//! Holds the repository to what it says about itself: files that the documents name exist, no address of a registry
//! is written into a script, nothing is left to do later in the sources.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test may panic")]

use std::path::{Path, PathBuf};

/// What a file name in a document ends with, if its first part does not tell already.
const KINDS: &[&str] = &["md", "proto", "rs", "sh", "toml", "yaml"];

#[test]
fn every_file_that_a_document_names_exists() {
    let documents: Vec<PathBuf> = files().into_iter().filter(|file| is_document(file)).collect();

    let dangling: Vec<String> = documents
        .iter()
        .flat_map(|document| {
            let text = std::fs::read_to_string(root().join(document)).unwrap();
            let lost = named(&text).into_iter().filter(|name| !stands(document, name));
            lost.map(|name| format!("{}: {name}", document.display())).collect::<Vec<_>>()
        })
        .collect();

    assert!(documents.iter().any(|file| file == Path::new("README.md")), "there is no README.md");
    assert!(dangling.is_empty(), "named, but not there:\n{}", dangling.join("\n"));
}

#[test]
fn a_dangling_name_is_seen() {
    let text = "See `src/lib.rs:12`, [the guide](docs/no-guide.md#start) and\n`host/nowhere.rs`.\n\
                Not `/etc/cni/net.d/x.yaml`, `k8s.v1.cni.cncf.io/networks`, `docs/NNNN-*.md`, `a b/c.rs`,\n\
                [a site](https://example.com/x.md) or `target/release/manifold`.\n\
                ```\nmodel/no-such.rs\n```\n";

    let names = named(text);

    assert_eq!(names, ["src/lib.rs", "docs/no-guide.md", "host/nowhere.rs"]);
    let readme = Path::new("README.md");
    assert!(stands(readme, "src/lib.rs") && stands(readme, "model/fault.rs"));
    assert!(!stands(readme, "docs/no-guide.md") && !stands(readme, "host/nowhere.rs"));
}

/// The documents that are the reference of Manifold's own keys.
const REFERENCE: [&str; 3] = ["docs/configuration.md", "docs/thick.md", "docs/vhost-user.md"];

#[test]
fn every_key_that_is_read_is_in_the_reference_and_none_else() {
    let reference = REFERENCE.map(|file| std::fs::read_to_string(root().join(file)).unwrap()).concat();
    let (documented, read) = (quoted(&reference), keys_read());

    let missing: Vec<&String> = read.iter().filter(|key| !documented.contains(key)).collect();
    assert!(read.len() > 30, "the keys were not found: {read:?}");
    assert!(missing.is_empty(), "read, but in no reference: {missing:?}");

    // What every CNI configuration has, and what is read as a whole and not as one of the keys of a struct.
    let others = ["type", "name", "delegates", "capabilities", "vhostuser"].map(str::to_owned);
    let own = own_keys(&std::fs::read_to_string(root().join("docs/configuration.md")).unwrap());
    let unread: Vec<&String> =
        own.iter().filter(|key| !read.contains(key) && !others.contains(key)).collect();
    assert!(own.len() > 20, "the table was not found: {own:?}");
    assert!(unread.is_empty(), "in the reference, but never read: {unread:?}");
}

/// The fields of the structs that Manifold's configuration is decoded into: its keys, in lower case.
fn keys_read() -> Vec<String> {
    let sources = files().into_iter().filter(|file| file.starts_with("src/model/settings"));
    let texts: String = sources.map(|file| std::fs::read_to_string(root().join(file)).unwrap()).collect();
    let structs = texts.split("\nstruct ").skip(1).filter_map(|rest| rest.split_once(" {"));
    let keys = structs.filter(|(name, _)| name.ends_with("Keys") || *name == "Options");
    let bodies = keys.filter_map(|(_, rest)| rest.split("\n}").next());
    let fields = bodies.flat_map(|body| body.lines().filter_map(|line| line.trim().split_once(": ")));
    fields
        .map(|(name, _)| name.trim_start_matches("pub ").to_owned())
        .filter(|name| !name.contains([' ', '/']))
        .collect()
}

/// What stands between back quotes or quotes, in lower case.
fn quoted(text: &str) -> Vec<String> {
    text.split(['`', '"']).map(str::to_ascii_lowercase).collect()
}

/// The keys that the first column of the table of Manifold's own keys names, in lower case.
fn own_keys(text: &str) -> Vec<String> {
    let section = text.split("## Manifold's own keys").nth(1).and_then(|rest| rest.split("\n## ").next());
    let rows = section.unwrap_or_default().lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split(" | ").next()).flat_map(|cell| cell.split('`').step_by(2));
    names.map(str::to_ascii_lowercase).collect()
}

#[test]
fn no_script_names_an_address() {
    let scheme = concat!("http", "s?://").replace("s?", "");
    let secure = scheme.replace("http", "https");

    let scripts: Vec<PathBuf> = files().into_iter().filter(|file| is_script(file)).collect();
    let naming: Vec<&PathBuf> = scripts
        .iter()
        .filter(|file| {
            let text = std::fs::read_to_string(root().join(file)).unwrap();
            text.contains(&scheme) || text.contains(&secure)
        })
        .collect();

    assert!(scripts.iter().any(|file| file == Path::new(".ci/deps")), "the scripts were not found");
    assert!(naming.is_empty(), "addresses are written in {naming:?}");
}

#[test]
fn nothing_is_left_to_do_later() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

    let sources: Vec<PathBuf> = files().into_iter().filter(|file| has_kind(file, &["rs"])).collect();
    let marked: Vec<&PathBuf> = sources
        .iter()
        .filter(|file| {
            let text = std::fs::read_to_string(root().join(file)).unwrap();
            marks.iter().any(|mark| text.contains(mark))
        })
        .collect();

    assert!(sources.iter().any(|file| file == Path::new("src/lib.rs")), "the sources were not found");
    assert!(marked.is_empty(), "something is left to do in {marked:?}");
}

#[test]
fn the_changelog_has_a_place_for_what_comes() {
    let text = std::fs::read_to_string(root().join("CHANGELOG.md")).unwrap();

    assert!(text.contains("\n## Unreleased\n"), "CHANGELOG.md has no section \"Unreleased\"");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files of the repository, relative to its root.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(root(), &mut found);
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let below = path.strip_prefix(root()).unwrap();
        if path.is_symlink() || below == Path::new("target") || below == Path::new(".git") {
            continue;
        }
        if path.is_dir() { collect(&path, found) } else { found.push(below.to_path_buf()) }
    }
}

fn has_kind(file: &Path, kinds: &[&str]) -> bool {
    file.extension().is_some_and(|kind| kinds.iter().any(|one| kind == *one))
}

fn is_document(file: &Path) -> bool {
    has_kind(file, &["md"]) && (file.starts_with("docs") || file.ends_with("README.md"))
}

/// Whether a program or a tool's configuration is in it.
fn is_script(file: &Path) -> bool {
    let first = std::fs::read(root().join(file)).unwrap();
    first.starts_with(b"#!")
        || has_kind(file, &["sh", "toml"])
        || file.ends_with("Makefile")
        || file.starts_with(".ci")
}

/// The files that a document names: in backticks, or as the aim of a link.
fn named(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        let quoted = line.split('`').skip(1).step_by(2);
        let linked = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        found.extend(quoted.chain(linked).filter_map(file_name).map(str::to_owned));
    }
    found
}

/// The lines outside of code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The name of a file of this repository, without line number and anchor, if that is what the words are.
fn file_name(words: &str) -> Option<&str> {
    let name = words.split(['#', ':']).next()?;
    let first = name.split('/').next()?;
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    let kept = first != "target" && !first.is_empty() && !name.contains("NNNN") && !words.contains("://");
    let ours = root().join(first).is_dir() || has_kind(Path::new(name), KINDS);
    (name.contains('/') && plain && kept && ours).then_some(name)
}

/// Whether a document's name for a file holds: from the root, from `src`, or from where the document is.
fn stands(document: &Path, name: &str) -> bool {
    let beside = document.parent().unwrap_or(Path::new(""));
    [Path::new(""), Path::new("src"), beside].iter().any(|from| root().join(from).join(name).exists())
}
