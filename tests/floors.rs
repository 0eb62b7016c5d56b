//! Holds the floors of `src/lib.rs`: arrows point down only.
//!
//! Reads every source file, leaves out comments and literals, follows each path that starts at `crate`, `super`,
//! `self`, `manifold` or another crate, and compares where it leads with where it stands. Test modules are held to
//! the same: a decision that needs a node to be tested is on the wrong floor.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test may panic"
)]

use std::path::{Path, PathBuf};

/// The floors and how high they lie; two of the same height may not name each other.
const FLOORS: &[(&str, u8)] =
    &[("model", 0), ("plan", 1), ("engine", 2), ("host", 3), ("sim", 3), ("front", 4)];

/// The floors that decide, and never act.
const PURE: u8 = 2;

/// What acts on the machine, or asks it.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "k8s_openapi",
    "kube",
    "libc",
    "netlink_packet_core",
    "netlink_packet_route",
    "netlink_proto",
    "netlink_sys",
    "nix",
    "prost",
    "rtnetlink",
    "tokio",
    "tonic",
    "tracing",
    "tracing_subscriber",
];

#[test]
fn arrows_point_down_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&root);
    let modules: Vec<Vec<String>> =
        files.iter().map(|file| module(file.strip_prefix(&root).unwrap())).collect();

    let upward: Vec<String> = files
        .iter()
        .flat_map(|file| violations(file.strip_prefix(&root).unwrap(), &read(file), &modules))
        .collect();

    assert!(files.len() > FLOORS.len(), "the sources were not found");
    assert!(upward.is_empty(), "upward arrows:\n{}", upward.join("\n"));
}

#[test]
fn every_upward_arrow_is_seen() {
    let planted = [
        ("model/mac.rs", "use crate::plan::step::Step;", "plan::step::Step"),
        ("plan/step.rs", "fn f() { crate::engine::add::run() }", "engine::add::run"),
        ("plan/step.rs", "use super::super::host;", "host"),
        ("plan/kinds/vlan.rs", "use super::super::super::host::exec;", "host::exec"),
        ("plan/step.rs", "mod tests { use super::super::super::sim::Node; }", "sim::Node"),
        ("plan/step.rs", "use crate::{model::Mac, engine::{ports::Probe}};", "engine::ports::Probe"),
        ("plan/step.rs", "use crate::*;", "*"),
        ("engine/add.rs", "use crate::host as h;", "host"),
        ("engine/add.rs", "use manifold::front::cli;", "front::cli"),
        ("host/exec.rs", "use crate::sim::Node;", "sim::Node"),
        ("sim/mod.rs", "impl crate::host::Hands for X {}", "host::Hands"),
        ("host/exec.rs", "use crate::front::stdio;", "front::stdio"),
        ("model/mac.rs", "use crate::Shortcut;", "Shortcut"),
        ("plan/kinds/vlan.rs", "use super::macvlan::config;", "plan::kinds::macvlan::config"),
        ("plan/kinds/vlan.rs", "use crate::plan::kinds::{macvlan, vlan};", "plan::kinds::macvlan"),
        ("plan/kinds/vlan/config.rs", "use super::super::macvlan;", "plan::kinds::macvlan"),
    ];
    for (file, source, path) in planted {
        let seen = violations(Path::new(file), source, &kinds());

        assert!(seen.len() == 1 && seen[0].ends_with(&format!(" {path}")), "{file}: {source}: {seen:?}");
    }
}

#[test]
fn every_reach_outside_is_seen_on_the_pure_floors() {
    let planted = [
        ("model/mac.rs", "use std::fs;", "std::fs"),
        ("plan/step.rs", "use std::{fmt, fs::File};", "std::fs::File"),
        ("plan/step.rs", "fn now() { ::std::time::SystemTime::now(); }", "std::time::SystemTime::now"),
        ("engine/add.rs", "use std::time::{self, Duration};", "std::time"),
        ("engine/add.rs", "use std::time::*;", "std::time"),
        ("engine/add.rs", "use std::net::{IpAddr, UdpSocket};", "std::net::UdpSocket"),
        ("engine/add.rs", "fn f() { tracing::warn!(\"x\") }", "tracing::warn"),
        ("engine/add.rs", "use tokio;", "tokio"),
        ("engine/add.rs", "use std::{thread::sleep as wait};", "std::thread::sleep"),
        ("plan/step.rs", "let c = '\"'; std::process::exit(1); let d = '\"';", "std::process::exit"),
        ("plan/step.rs", "fn f<'a>(x: &'a str) { nix::sched::setns(x) }", "nix::sched::setns"),
        ("plan/step.rs", "const A: &str = r#\"\"\"#; use std::env;", "std::env"),
        ("plan/step.rs", "/* /* nested */ */ use std::env;", "std::env"),
    ];
    for (file, source, path) in planted {
        let seen = violations(Path::new(file), source, &kinds());

        assert!(seen.len() == 1 && seen[0].ends_with(&format!(" {path}")), "{file}: {source}: {seen:?}");
    }
}

#[test]
fn what_is_allowed_is_not_taken_for_an_arrow() {
    let fine = [
        ("plan/step.rs", "use crate::model::{Mac, fault::Fault}; use super::facts; use self::x::y;"),
        (
            "plan/kinds/vlan.rs",
            "use super::super::step::Step; use super::vlan::x; use crate::plan::kinds::Kind;",
        ),
        ("plan/kinds/mod.rs", "mod vlan; use self::vlan::Vlan; use crate::plan::kinds::macvlan;"),
        ("plan/step.rs", "mod tests { use super::*; use super::super::facts; }"),
        ("engine/add.rs", "use std::net::{IpAddr, Ipv4Addr}; use std::time::Duration; use std::io::Error;"),
        (
            "engine/add.rs",
            "// use crate::host;\n/* std::fs */ /// `crate::front`\nconst S: &str = \"std::fs\";",
        ),
        ("engine/add.rs", "const S: &str = r#\"a \" crate::host::x\"#; const B: &[u8] = b\"nix::x\\\"\";"),
        ("engine/add.rs", "fn f(kube: u8, x: &T) -> u8 { x.tokio::<u8>(); Kind::nix::<T>(); kube }"),
        ("host/exec.rs", "use std::fs; use nix::sched; use crate::engine::ports::Hands;"),
        ("front/mod.rs", "use crate::host; use crate::sim; use tokio::net;"),
        ("main.rs", "use manifold::front; use manifold::host;"),
        ("lib.rs", "pub mod front; pub mod host;"),
    ];
    for (file, source) in fine {
        let seen = violations(Path::new(file), source, &kinds());

        assert!(seen.is_empty(), "{file}: {source}: {seen:?}");
    }
}

fn kinds() -> Vec<Vec<String>> {
    ["plan/kinds/vlan.rs", "plan/kinds/macvlan.rs"].map(|file| module(Path::new(file))).to_vec()
}

// ---------------------------------------------------------------- the rules

/// What this file names that it may not; `modules` are all modules there are.
fn violations(file: &Path, source: &str, modules: &[Vec<String>]) -> Vec<String> {
    let Some(here) = module(file).first().and_then(|name| floor(name)).map(|_| module(file)) else {
        return Vec::new();
    };
    let paths = paths(&tokens(source), &here);
    let bad = paths.into_iter().filter_map(|path| Some((objection(&here, &path, modules)?, path)));
    bad.map(|(why, path)| {
        format!("src/{}:{}: {why}: {}", file.display(), path.line, path.segments.join("::"))
    })
    .collect()
}

/// Why a module may not name this path.
fn objection(here: &[String], path: &Named, modules: &[Vec<String>]) -> Option<String> {
    let (own, height) = floor(&here[0])?;
    if !path.ours {
        return (height <= PURE && acts(&path.segments)).then(|| format!("{own} acts on nothing"));
    }
    let Some((other, above)) = path.segments.first().and_then(|first| floor(first)) else {
        return Some("not on any floor".into());
    };
    if above > height || (above == height && other != own) {
        return Some(format!("{own} may not name {other}"));
    }
    let kind = |of: &[String]| {
        of.starts_with(&["plan".into(), "kinds".into()]).then(|| of.get(2).cloned()).flatten()
    };
    let (mine, theirs) = (kind(here)?, kind(&path.segments)?);
    let known = modules.iter().any(|module| kind(module).as_ref() == Some(&theirs));
    (known && mine != theirs).then(|| format!("kind {mine} may not name another"))
}

fn floor(name: &str) -> Option<(&'static str, u8)> {
    FLOORS.iter().copied().find(|(floor, _)| *floor == name)
}

/// Whether a path of another crate leads to something that acts, or is a module with such things in it.
fn acts(segments: &[String]) -> bool {
    IMPURE.iter().any(|impure| {
        let impure: Vec<&str> = impure.split("::").collect();
        let common = impure.iter().zip(segments).take_while(|(a, b)| a == b).count();
        common == impure.len() || (common == segments.len() && common > 1)
    })
}

// ---------------------------------------------------------------- files

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
    found
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}

/// The module that a file below `src` holds.
fn module(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib") {
        parts.pop();
    }
    parts
}

// ---------------------------------------------------------------- paths

/// A path that some source names.
#[derive(Debug)]
struct Named {
    /// Whether it leads into this crate; its segments are counted from the root of whichever crate it leads into.
    ours: bool,
    segments: Vec<String>,
    line: usize,
}

/// Every path of more than one segment, and every import.
fn paths(tokens: &[Token], here: &[String]) -> Vec<Named> {
    let mut found = Vec::new();
    let (mut at, mut depth) = (0, 0);
    // The modules opened by `mod name {`, and the depth of braces they stand at.
    let mut inline: Vec<(String, usize)> = Vec::new();
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.pop_if(|(_, opened)| *opened == depth);
            }
            "mod" if text(tokens, at + 2) == "{" => inline.push((text(tokens, at + 1).to_owned(), depth)),
            _ if token.starts_path(tokens, at) => {
                let imported =
                    text(tokens, at.wrapping_sub(1)) == "use" || text(tokens, at.wrapping_sub(2)) == "use";
                let scope: Vec<String> =
                    here.iter().chain(inline.iter().map(|(name, _)| name)).cloned().collect();
                let mut leaves = Vec::new();
                at = tree(tokens, at, Vec::new(), &mut leaves);
                let leaves = leaves.into_iter().filter(|leaf| imported || leaf.len() > 1);
                found.extend(leaves.map(|leaf| resolve(leaf, scope.clone(), token.line)));
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Follows one path, or a tree of them in braces; returns where it ends.
fn tree(tokens: &[Token], mut at: usize, mut path: Vec<String>, leaves: &mut Vec<Vec<String>>) -> usize {
    loop {
        match text(tokens, at) {
            "{" => return branches(tokens, at + 1, &path, leaves),
            word if is_word(word) || word == "*" => path.push(word.into()),
            _ => break,
        }
        at += 1;
        if text(tokens, at) != "::" {
            break;
        }
        at += 1;
    }
    leaves.push(path);
    // What it is called from here on does not matter.
    if text(tokens, at) == "as" { at + 2 } else { at }
}

/// Follows what stands in braces behind a path; returns where the braces end.
fn branches(tokens: &[Token], mut at: usize, path: &[String], leaves: &mut Vec<Vec<String>>) -> usize {
    while !matches!(text(tokens, at), "}" | "") {
        at = match text(tokens, at) {
            word if is_word(word) || word == "{" || word == "*" => tree(tokens, at, path.to_vec(), leaves),
            _ => at + 1,
        };
    }
    at + 1
}

fn resolve(segments: Vec<String>, mut scope: Vec<String>, line: usize) -> Named {
    let mut rest = segments.as_slice();
    let ours = match rest[0].as_str() {
        "crate" | "manifold" => {
            scope.clear();
            true
        }
        "self" => true,
        "super" => {
            while rest.get(1).is_some_and(|next| next == "super") {
                scope.pop();
                rest = &rest[1..];
            }
            scope.pop();
            true
        }
        _ => false,
    };
    let mut path = if ours { [scope.as_slice(), &rest[1..]].concat() } else { rest.to_vec() };
    // `module::{self}` and `module::*` mean the module; `crate::*` means whatever is there.
    path.pop_if(|last| last == "self");
    if path.len() > 1 {
        path.pop_if(|last| last == "*");
    }
    Named { ours, segments: path, line }
}

// ---------------------------------------------------------------- tokens

/// A word, `::`, or one other character, and the line it stands on.
struct Token {
    text: String,
    line: usize,
}

impl Token {
    /// Whether a path starts here: a word that is no keyword and does not go on from another one.
    fn starts_path(&self, tokens: &[Token], at: usize) -> bool {
        let (last, but_one) = (text(tokens, at.wrapping_sub(1)), text(tokens, at.wrapping_sub(2)));
        let goes_on = match last {
            "." => true,
            "::" => but_one == ">" || (is_word(but_one) && but_one != "use"),
            _ => false,
        };
        is_word(&self.text) && !goes_on && !["use", "mod", "as"].contains(&self.text.as_str())
    }
}

fn text(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| &token.text)
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The tokens of a source, without comments and literals.
fn tokens(source: &str) -> Vec<Token> {
    let (mut found, mut rest, mut line) = (Vec::new(), source, 1);
    while let Some(first) = rest.chars().next() {
        let length = comment(rest).or_else(|| literal(rest)).unwrap_or_else(|| {
            let length = if is_word(rest) {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            if !first.is_whitespace() {
                found.push(Token { text: rest[..length].into(), line });
            }
            length
        });
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

/// The length of the comment that a source starts with.
fn comment(source: &str) -> Option<usize> {
    if source.starts_with("//") {
        return Some(source.find('\n').unwrap_or(source.len()));
    }
    if !source.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < source.len() {
        let here = &source.as_bytes()[at..];
        let step = match (here.starts_with(b"/*"), here.starts_with(b"*/")) {
            (true, _) => (1, 2),
            (_, true) => (-1, 2),
            _ => (0, 1),
        };
        depth += step.0;
        at += step.1;
        if depth == 0 {
            break;
        }
    }
    Some(at.min(source.len()))
}

/// The length of the string or character that a source starts with.
fn literal(source: &str) -> Option<usize> {
    let body = source.trim_start_matches(['b', 'c']);
    let prefix = source.len() - body.len();
    if let Some(raw) = body.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let inner = raw[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = inner.find(&end).map_or(inner.len(), |at| at + end.len());
        return Some(prefix + 1 + hashes + 1 + length);
    }
    if body.starts_with('"') {
        return Some(prefix + quoted(body, '"'));
    }
    let mut after = body.strip_prefix('\'')?.chars();
    // `'a'` and `'\n'` are characters, `'a` is a lifetime.
    let escaped = after.next()? == '\\';
    (escaped || after.next()? == '\'').then(|| prefix + quoted(body, '\''))
}

/// The length of a literal up to the quote that ends it.
fn quoted(body: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in body.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    body.len()
}
