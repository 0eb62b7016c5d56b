//! Stores of addresses on this node.
//!
//! A store is a directory that the reference plugin `host-local` shares, byte for byte: either may take or give back
//! addresses beside the other.
//!
//! | entry | content | mode |
//! |---|---|---|
//! | `<address>` as [`crate::plan::ipam::address::go_text`] prints it | container id, CR, LF, interface | 0600 |
//! | `last_reserved_ip.<number of the range set>` | an address | 0600 |
//! | `lock` | nothing; `flock(2)`ed during each operation | 0750 |
//!
//! Older files hold the container id alone; one whose maker died before it wrote is empty, with mode 1600. No entry is ever opened through a symbolic link.

mod birth;
mod cursor;
mod folder;
mod lock;
pub mod store;
mod taking;
