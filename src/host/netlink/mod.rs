//! Netlink: one small blocking socket per network namespace, and what is said over it.
//!
//! The messages are built with the types of `netlink-packet-route` and the builders of `rtnetlink`; they are sent and
//! awaited here, because only so are requests batched, replies counted and the kernel's own words (extended
//! acknowledgements) kept. What comes is read from its bytes ([`wire`]).

pub mod addr;
pub mod answer;
pub mod device;
pub mod link;
pub mod route;
pub mod socket;
pub mod sockets;
pub mod vf;
pub mod wire;

pub use socket::{Request, Socket};
pub use sockets::Sockets;
