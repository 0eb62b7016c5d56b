//! Floor 3: the real node. Adapters for netlink, files and processes; they do what they are told and choose nothing.

pub mod cache;
pub mod changes;
pub mod conf_dir;
mod device_info;
pub mod directory;
pub mod exec;
mod file;
pub mod hands;
pub mod ipam;
pub mod journal;
pub mod kube;
pub mod kubelet;
pub mod lock;
pub mod netlink;
pub mod netns;
pub mod ovsdb;
pub mod path_walk;
pub mod peer;
pub mod probe;
pub mod rights;
mod sessions;
mod socket_dir;
pub mod stream;
pub mod sysfs;
pub mod vf_registry;
pub mod vpp;
pub mod watch;
