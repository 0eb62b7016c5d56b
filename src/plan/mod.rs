//! Floor 1: the decisions. Given what was asked and what was seen on the node, what shall be done?
//!
//! Pure: every function here gives the same answer to the same question, and no question makes one panic.

pub mod chain;
pub mod claim;
pub mod default_route;
pub mod device_file;
pub mod devices;
mod explain;
pub mod facts;
pub mod in_vain;
pub mod ipam;
pub mod keys;
pub mod kind;
pub mod kinds;
pub mod live;
pub mod mark;
pub mod note;
pub mod port;
pub mod resolve;
pub mod runtime_conf;
pub mod socket_place;
pub mod step;
pub mod vf;
pub mod vhost_user;
pub mod virtual_link;
pub mod vpp;
