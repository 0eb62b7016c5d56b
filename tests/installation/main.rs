//! The configuration that the container runtime takes, written and kept by the real program in real directories.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test may panic, and starts programs"
)]

mod kept;
mod node;
mod once;
mod unready;
