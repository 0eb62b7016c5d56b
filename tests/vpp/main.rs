//! Interfaces of VPP: the client of its API against what a real VPP was recorded to answer, and against peers that fail;
//! and a pod's interface from ADD to DEL, against a small VPP that keeps what it is asked for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test may panic, and starts programs"
)]

#[path = "../common/api_server/mod.rs"]
mod api_server;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/scene.rs"]
mod scene;
#[path = "../common/strace.rs"]
mod strace;

mod client;
mod cluster;
mod life;
mod peer;
mod real;
mod recording;
mod rivals;
mod stage;
mod stand_in;
mod trouble;
mod witness;

use common::Pod;
use peer::{Manners, Peer, Trouble};
use scene::{Answer, Call, Scene};
use serde_json::{Value, json};
use stand_in::StandIn;

/// The name of a sandbox's directory.
fn short(container: &str) -> String {
    manifold::plan::mark::short_id(&container.parse().unwrap())
}

/// Says why a test does not run here.
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}
