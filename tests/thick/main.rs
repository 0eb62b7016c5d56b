//! The daemon and its shim, over the real socket: a node and pods in network namespaces, plugins of the distribution.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test may panic, and starts programs"
)]

mod alone;
#[path = "../common/api_server/mod.rs"]
mod api_server;
mod bounds;
mod cache;
mod calls;
mod certified;
mod collected;
#[path = "../common/mod.rs"]
mod common;
mod doctor;
mod hard_ends;
mod kept;
#[path = "../common/kubelet/mod.rs"]
mod kubelet;
mod live;
mod mingled;
mod peer_client;
mod rooted;
#[path = "../common/scene.rs"]
mod scene;
mod seen;
mod stage;
mod watched;
