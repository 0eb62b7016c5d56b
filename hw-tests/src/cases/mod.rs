//! The cases, one file per subject.

pub(crate) mod compat;
pub(crate) mod machine;
pub(crate) mod macvlan;
pub(crate) mod sriov;
pub(crate) mod vhost_user;
pub(crate) mod vlan;
