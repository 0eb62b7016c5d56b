//! Links that are devices: found, moved between namespaces and renamed, never made (`rtnetlink(7)`, RTM_GETLINK,
//! RTM_SETLINK; kernel `if_link.h`).

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage, Prop};
use rtnetlink::LinkUnspec;

use super::link;
use super::socket::{Request, Socket};
use crate::model::fault::Outcome;
use crate::model::{MacAddr, PciAddress};

/// What the kernel says of a device's link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// Index in its namespace.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Other names.
    pub altnames: Vec<String>,
    /// Alias.
    pub alias: String,
    /// Ethernet address.
    pub mac: Option<MacAddr>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Receives all multicast frames.
    pub allmulti: bool,
    /// Is Ethernet.
    pub ethernet: bool,
    /// Index of the bridge or bond it is a port of.
    pub controller: Option<u32>,
    /// Index of the link it sits on.
    pub parent: Option<u32>,
    /// The device on its bus, as sysfs names it (kernels from 5.14 on).
    pub bus_name: String,
}

impl Device {
    /// Whether it is the link of this PCI function.
    pub fn is_of(&self, pci: PciAddress) -> bool {
        self.bus_name == pci.to_string()
    }
}

/// Finds a link by name, other names included.
///
/// # Errors
/// The kernel could not be asked.
pub fn by_name(socket: &mut Socket, name: &str) -> Outcome<Option<Device>> {
    link::one(socket, LinkUnspec::new_with_name(name), read)
}

/// Finds a link by index.
///
/// # Errors
/// The kernel could not be asked.
pub fn by_index(socket: &mut Socket, index: u32) -> Outcome<Option<Device>> {
    link::one(socket, LinkUnspec::new_with_index(index), read)
}

/// All links of a namespace. Meant for a pod's, which has few.
///
/// # Errors
/// The kernel could not be asked.
pub fn all(socket: &mut Socket) -> Outcome<Vec<Device>> {
    link::every(socket, read)
}

/// Reads what the kernel says of a device's link; `None` of what is none.
pub fn read(message: &Message) -> Option<Device> {
    let Message::NewLink(message) = message else { return None };
    let flags = message.header.flags;
    let mut device = Device {
        index: message.header.index,
        up: flags.contains(LinkFlags::Up),
        allmulti: flags.contains(LinkFlags::Allmulti),
        ethernet: message.header.link_layer_type == LinkLayerType::Ether,
        ..Device::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => device.name.clone_from(name),
            LinkAttribute::IfAlias(alias) => device.alias.clone_from(alias),
            LinkAttribute::PropList(props) => device.altnames.extend(props.iter().filter_map(altname)),
            LinkAttribute::Address(bytes) => {
                device.mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().and_then(|b| MacAddr::new(b).ok());
            }
            LinkAttribute::Mtu(mtu) => device.mtu = *mtu,
            LinkAttribute::Controller(index) => device.controller = Some(*index),
            LinkAttribute::Link(index) => device.parent = Some(*index),
            LinkAttribute::ParentDevName(name) => device.bus_name.clone_from(name),
            _ => {}
        }
    }
    Some(device)
}

fn altname(prop: &Prop) -> Option<String> {
    match prop {
        Prop::AltIfName(name) => Some(name.clone()),
        _ => None,
    }
}

/// Changes to a link, all made in one request. The kernel makes them in the order of the fields, and one that is refused
/// leaves those before it made.
#[derive(Debug, Clone, Default)]
pub struct Change<'a> {
    /// Another namespace. The link is taken down, and loses its addresses.
    pub netns: Option<BorrowedFd<'a>>,
    /// Ethernet address.
    pub mac: Option<MacAddr>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// Name.
    pub name: Option<&'a str>,
    /// Alias.
    pub alias: Option<&'a str>,
    /// Whether it is up.
    pub up: Option<bool>,
    /// Whether it receives all multicast frames.
    pub allmulti: Option<bool>,
}

impl Change<'_> {
    /// The request that changes this link.
    pub fn request(&self, index: u32) -> Request {
        let mut builder = LinkUnspec::new_with_index(index);
        if let Some(netns) = self.netns {
            builder = builder.setns_by_fd(netns.as_raw_fd());
        }
        if let Some(mac) = self.mac {
            builder = builder.address(mac.bytes().to_vec());
        }
        if let Some(mtu) = self.mtu {
            builder = builder.mtu(mtu);
        }
        if let Some(name) = self.name {
            builder = builder.name(name.to_owned());
        }
        if let Some(alias) = self.alias {
            builder = builder.alias(alias);
        }
        let mut message = builder.build();
        for (flag, wanted) in [(LinkFlags::Up, self.up), (LinkFlags::Allmulti, self.allmulti)] {
            let Some(on) = wanted else { continue };
            message.header.change_mask |= flag;
            message.header.flags.set(flag, on);
        }
        Request::change(Message::SetLink(message), 0)
    }
}

/// The request that gives a link another name beside its own.
pub fn add_altname(index: u32, name: &str) -> Request {
    Request::change(
        Message::NewLinkProp(with_altname(index, name)),
        netlink_packet_core::NLM_F_CREATE | netlink_packet_core::NLM_F_EXCL,
    )
}

/// The request that takes another name away from a link.
pub fn remove_altname(index: u32, name: &str) -> Request {
    Request::change(Message::DelLinkProp(with_altname(index, name)), 0)
}

fn with_altname(index: u32, name: &str) -> LinkMessage {
    let props = LinkAttribute::PropList(vec![Prop::AltIfName(name.to_owned())]);
    LinkUnspec::new_with_index(index).append_extra_attribute(props).build()
}
