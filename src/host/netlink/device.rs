//! Links that are devices: found, moved between namespaces and renamed, never made (`rtnetlink(7)`, RTM_GETLINK,
//! RTM_SETLINK; kernel `if_link.h`).

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, Prop};
use nix::libc;
use rtnetlink::LinkUnspec;

use super::link;
use super::socket::{Request, Socket};
use super::wire::{self, Attributes, Told, u32_at};
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
    /// Index of the link it sits on, if that is in its namespace.
    pub parent: Option<u32>,
    /// Was made by somebody, as veths and VLANs are: most devices were not.
    pub made: bool,
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
    link::one(socket, LinkUnspec::new_with_name(name), read).map_err(|fault| link::unseen(fault, &name))
}

/// Finds a link by index.
///
/// # Errors
/// The kernel could not be asked.
pub fn by_index(socket: &mut Socket, index: u32) -> Outcome<Option<Device>> {
    link::one(socket, LinkUnspec::new_with_index(index), read).map_err(|fault| link::unseen(fault, &index))
}

/// All links of a namespace. Meant for a pod's, which has few.
///
/// # Errors
/// The kernel could not be asked.
pub fn all(socket: &mut Socket) -> Outcome<Vec<Device>> {
    link::every(socket, read)
}

/// Reads what the kernel says of a device's link; `None` of what is none.
pub fn read(told: &Told) -> Option<Device> {
    let link = wire::Link::read(told)?;
    let mut device = Device {
        index: link.index,
        up: link.has(libc::IFF_UP),
        allmulti: link.has(libc::IFF_ALLMULTI),
        ethernet: link.hardware == libc::ARPHRD_ETHER,
        ..Device::default()
    };
    let mut far = false;
    for (kind, value) in link.attributes {
        match kind {
            libc::IFLA_IFNAME => device.name = wire::text(value),
            libc::IFLA_IFALIAS => device.alias = wire::text(value),
            libc::IFLA_PROP_LIST => device.altnames.extend(altnames(value)),
            libc::IFLA_ADDRESS => device.mac = wire::mac(value),
            libc::IFLA_MTU => device.mtu = u32_at(value, 0)?,
            libc::IFLA_MASTER => device.controller = u32_at(value, 0),
            libc::IFLA_LINK => device.parent = u32_at(value, 0),
            libc::IFLA_LINK_NETNSID => far = true,
            libc::IFLA_LINKINFO => {
                device.made = Attributes(value).any(|(kind, _)| kind == libc::IFLA_INFO_KIND);
            }
            libc::IFLA_PARENT_DEV_NAME => device.bus_name = wire::text(value),
            _ => {}
        }
    }
    // The index is one of another namespace.
    device.parent = device.parent.filter(|_| !far);
    Some(device)
}

fn altnames(list: &[u8]) -> impl Iterator<Item = String> + '_ {
    let names = Attributes(list).filter(|(kind, _)| *kind == libc::IFLA_ALT_IFNAME);
    names.map(|(_, name)| wire::text(name))
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
        Request::change(libc::RTM_SETLINK, &message, 0)
    }
}

/// `RTM_NEWLINKPROP`, `RTM_DELLINKPROP`.
const NEW_PROP: u16 = 108;
const DEL_PROP: u16 = 109;

/// The request that gives a link another name beside its own.
pub fn add_altname(index: u32, name: &str) -> Request {
    Request::change(NEW_PROP, &with_altname(index, name), NLM_F_CREATE | NLM_F_EXCL)
}

/// The request that takes another name away from a link.
pub fn remove_altname(index: u32, name: &str) -> Request {
    Request::change(DEL_PROP, &with_altname(index, name), 0)
}

fn with_altname(index: u32, name: &str) -> LinkMessage {
    let props = LinkAttribute::PropList(vec![Prop::AltIfName(name.to_owned())]);
    LinkUnspec::new_with_index(index).append_extra_attribute(props).build()
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::{InfoKind, LinkInfo, LinkLayerType};

    use super::*;

    #[test]
    fn a_device_is_read_with_its_other_names_and_its_place() {
        let mac = "02:00:00:00:00:07".parse::<MacAddr>().unwrap();
        let mut message = LinkUnspec::new_with_index(7)
            .name("eth7".to_owned())
            .alias("mine")
            .address(mac.bytes().to_vec())
            .mtu(9000)
            .append_extra_attribute(LinkAttribute::Controller(3))
            .append_extra_attribute(LinkAttribute::Link(4))
            .append_extra_attribute(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]))
            .append_extra_attribute(LinkAttribute::PropList(
                ["a", "b"].map(|name| Prop::AltIfName(name.to_owned())).to_vec(),
            ))
            .append_extra_attribute(LinkAttribute::ParentDevName("0000:03:00.1".to_owned()))
            .build();
        message.header.flags = LinkFlags::Up | LinkFlags::Allmulti;
        message.header.link_layer_type = LinkLayerType::Ether;

        let seen = read(&Told { kind: libc::RTM_NEWLINK, body: wire::body(&message) }).unwrap();

        let expected = Device {
            index: 7,
            name: "eth7".to_owned(),
            altnames: vec!["a".to_owned(), "b".to_owned()],
            alias: "mine".to_owned(),
            mac: Some(mac),
            mtu: 9000,
            up: true,
            allmulti: true,
            ethernet: true,
            controller: Some(3),
            parent: Some(4),
            made: true,
            bus_name: "0000:03:00.1".to_owned(),
        };
        assert_eq!(seen, expected);

        message.attributes.push(LinkAttribute::LinkNetNsId(0));
        let far = read(&Told { kind: libc::RTM_NEWLINK, body: wire::body(&message) }).unwrap();
        assert_eq!(far, Device { parent: None, ..expected });
    }
}
