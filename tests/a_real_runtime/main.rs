//! A real container runtime runs pods with Manifold as their CNI plugin: Debian's containerd with runc, spoken to as a
//! kubelet does, on a throw-away node. Nothing of it touches the machine's own containerd, files or network.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
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

mod cell;
mod cgroup;
mod cluster;
mod configuration;
mod deployed;
mod image;
mod installed;
mod killed;
mod pods;
mod protocol;
mod runtime;
mod two_networks;

/// The messages of `proto/cri/v1/api.proto`.
#[rustfmt::skip]
#[allow(clippy::allow_attributes_without_reason, unreachable_pub, dead_code, reason = "generated, see `protocol`")]
mod cri;
