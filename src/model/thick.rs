//! The words between a shim and the daemon: one HTTP request on a unix socket for each call. They are the peer's, so that
//! its shim and its controller for attachments of running pods speak with Manifold unchanged, and Manifold's shim with
//! its daemon.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::object::Object;

/// Where the daemon's socket is, unless the configuration says otherwise.
pub const SOCKET_DIR: &str = "/run/multus";
/// The socket's name in that directory.
pub const SOCKET: &str = "multus.sock";
/// The path of CNI calls.
pub const CNI: &str = "/cni";
/// The path of attachments of running pods.
pub const DELEGATE: &str = "/delegate";
/// Longest request, in bytes: a configuration in base64, and what is around it.
pub const MAX_REQUEST: usize = 8 << 20;
/// Longest answer, in bytes.
pub const MAX_ANSWER: usize = 8 << 20;

/// A call, as a shim passes it on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Variables of the call. A shim of ours sends those of CNI alone; others may send all they have.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Standard input, in base64.
    #[serde(default)]
    pub config: String,
    /// What an attachment of a running pod asks for.
    #[serde(rename = "interfaceAttributes", default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Attributes>,
}

/// What an attachment of a running pod asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Addresses, each with or without prefix length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
    /// An Ethernet address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Values for `args.cni` of the plugins.
    #[serde(rename = "cni-args", default, skip_serializing_if = "Option::is_none")]
    pub cni_args: Option<Object>,
}

/// What a call that went well is answered, if it has an answer at all.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reply {
    /// The result of an ADD, in CNI 1.1.0.
    #[serde(rename = "Result", default)]
    pub result: Option<Box<RawValue>>,
}

/// The layout of spooled calls this version writes.
pub const SPOOL_FORMAT: u32 = 1;

/// A DEL that could not be delivered, kept in a file until the daemon does it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spooled {
    /// Layout of the file, [`SPOOL_FORMAT`].
    pub format: u32,
    /// When it was kept, in seconds since 1970.
    pub since: u64,
    /// The variables of the call.
    pub env: BTreeMap<String, String>,
    /// Standard input.
    pub config: Object,
}
