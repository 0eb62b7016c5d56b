//! Manifold gives a Kubernetes pod several network interfaces.
//!
//! > An ADD is *received*, *resolved* to attachments, its devices *claimed*, the node *surveyed*, a plan of reversible
//! > steps *planned*, the plan *recorded*, then *applied* and *answered*. DEL reverts the recorded plan, CHECK asks
//! > whether it still holds, GC, the daemon and the next ADD revert what should not be there.
//! > One record, a few verbs, no second code path.
//!
//! The floors, arrows point down only (`tests/floors.rs` holds them to it):
//!
//! | floor | holds | may name |
//! |---|---|---|
//! | [`front`] | the doors: stdin and stdout, the command line | everything below |
//! | [`host`] | the real node: netlink, files, processes, the API server; [`sim`] is its twin | engine, plan, model |
//! | [`engine`] | the verbs: add, del, check, gc, status; the ports they need | plan, model |
//! | [`plan`] | the decisions: kinds, address choice, steps | model |
//! | [`model`] | the words | nothing |
//!
//! Start reading at [`engine::add`], then [`plan::step`], then `host/hands/mod.rs`.

pub mod engine;
#[cfg(any(feature = "node", feature = "shim"))]
pub mod front;
#[cfg(feature = "node")]
pub mod host;
pub mod model;
pub mod plan;
#[cfg(feature = "sim")]
pub mod sim;
