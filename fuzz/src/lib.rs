//! What a tenant, a plugin, a peer or a half-written file may have written, fed to the parsers that read it.
//!
//! A target is a function of bytes that panics where something is wrong: where a parser does, and where what it read does
//! not hold what it promises. `make fuzz` has libFuzzer look for such bytes; `tests/replay.rs` feeds it those that are
//! kept in `corpus`. Targets use nothing but the public interface of the library.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a finding is a panic"
)]

mod annotation;
mod config;
pub mod corpus;
mod document;
mod file;
mod http;
mod kubeconfig;
mod kubelet;
mod netlink;
mod ovsdb;
mod peer;
mod result;
mod stand;
mod vpp;

/// Something to fuzz.
#[derive(Debug)]
pub struct Target {
    /// Its name: of its file in `corpus`, and in the variable `FUZZ_TARGET`.
    pub name: &'static str,
    /// Feeds it; panics where something is wrong.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 11] = [
    Target { name: "annotation", run: annotation::run },
    Target { name: "config", run: config::run },
    Target { name: "document", run: document::run },
    Target { name: "file", run: file::run },
    Target { name: "http", run: http::run },
    Target { name: "kubeconfig", run: kubeconfig::run },
    Target { name: "kubelet", run: kubelet::run },
    Target { name: "netlink", run: netlink::run },
    Target { name: "ovsdb", run: ovsdb::run },
    Target { name: "result", run: result::run },
    Target { name: "vpp", run: vpp::run },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// The names of all targets.
pub fn names() -> String {
    TARGETS.map(|target| target.name).join(", ")
}
