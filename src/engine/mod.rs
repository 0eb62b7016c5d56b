//! Floor 2: the verbs, and the ports through which they reach a node.

pub mod ports;
pub mod record;
