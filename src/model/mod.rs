//! Floor 0: the words. Values here cannot be wrong: whatever is parsed is checked where it is parsed.
//!
//! Nothing on this floor touches a file, a socket, a clock or a process.

pub mod args;
pub mod aside;
pub mod attachment;
pub mod call;
pub mod cidr;
pub mod device;
pub mod device_info;
pub mod dialect;
pub mod event;
pub mod fault;
pub mod folded;
pub mod ids;
pub mod json;
pub mod mac;
pub mod network;
pub mod object;
pub mod path;
pub mod pci;
pub mod pod;
pub mod result;
pub mod selection;
pub mod settings;
pub mod sockets;
pub mod status;
pub mod thick;
pub mod version;
pub mod vhost_user;
mod wording;

pub use attachment::{Attachment, Called, Owner, Role, Routing};
pub use call::{Call, Request};
pub use device::Device;
pub use device_info::DeviceInfo;
pub use fault::{Fault, FaultKind};
pub use ids::{ContainerId, IfName, NetnsPath, NetworkName, PluginType};
pub use mac::MacAddr;
pub use network::{Network, PluginConf};
pub use object::Object;
pub use pci::PciAddress;
pub use result::CniResult;
pub use selection::Selection;
pub use sockets::SocketGround;
pub use status::NetworkStatus;
pub use version::CniVersion;
