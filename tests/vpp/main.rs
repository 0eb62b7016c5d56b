//! Interfaces of VPP: the client of its API against what a real VPP was recorded to answer, and against peers that fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test may panic, and starts programs"
)]

mod client;
mod peer;
mod recording;
