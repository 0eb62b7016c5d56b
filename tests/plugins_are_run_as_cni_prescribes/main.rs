//! Plugins are run as CNI prescribes: the reference plugins in network namespaces of their own, and scripts that look
//! at what they are given or misbehave.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test may panic"
)]

#[path = "../common/mod.rs"]
mod common;
mod misbehaviour;
mod protocol;
mod reference;
mod scene;
