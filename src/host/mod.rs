//! Floor 3: the real node. Adapters for netlink, files and processes; they do what they are told and choose nothing.

pub mod exec;
pub mod ipam;
