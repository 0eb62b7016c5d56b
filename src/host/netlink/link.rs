//! Links over netlink (`rtnetlink(7)`, RTM_NEWLINK and its kin; kernel `if_link.h`).

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{
    AfSpecInet, AfSpecUnspec, InetDevConf, InfoMacVlan, LinkAttribute, LinkExtentMask, LinkMessage,
    MacVlanMode, VlanProtocol as WireProtocol,
};
use nix::libc;
use rtnetlink::{LinkDummy, LinkMacVlan, LinkMessageBuilder, LinkUnspec, LinkVlan};

use super::socket::{Refusal, Request, Socket};
use super::wire::{self, Attributes, Told, u16_at, u32_at};
use crate::model::fault::{Fault, Outcome};
use crate::model::{FaultKind, IfName, MacAddr};
use crate::plan::step::{LinkKind, LinkStep, MacvlanMode, VlanProtocol};

/// The name of a link that is asked for and never made.
const PROBE: &str = "manifold-probe";

/// What the kernel says of one link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Index in its namespace.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Alias; empty if it has none.
    pub alias: String,
    /// Ethernet address, where it has one of six bytes that a link can carry.
    pub mac: Option<MacAddr>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Link group.
    pub group: u32,
    /// Index of the link it sits on.
    pub parent: Option<u32>,
    /// Administratively up.
    pub up: bool,
    /// Carrier is there.
    pub carrier: bool,
    /// What it is, if it is of a kind Manifold makes.
    pub kind: Option<LinkKind>,
}

/// Finds a link by name.
///
/// # Errors
/// The kernel could not be asked.
pub fn by_name(socket: &mut Socket, name: &str) -> Outcome<Option<Seen>> {
    one(socket, LinkUnspec::new_with_name(name), read).map_err(|fault| unseen(fault, &name))
}

/// Finds a link by index.
///
/// # Errors
/// The kernel could not be asked.
pub fn by_index(socket: &mut Socket, index: u32) -> Outcome<Option<Seen>> {
    one(socket, LinkUnspec::new_with_index(index), read).map_err(|fault| unseen(fault, &index))
}

/// Says which link the kernel could not be asked about.
pub(super) fn unseen(fault: Fault, link: &dyn fmt::Debug) -> Fault {
    fault.while_doing(format!("cannot look link {link:?} up")).remedy("see the kernel's log on this node")
}

/// Finds one link, as `read` sees it.
pub(super) fn one<T>(
    socket: &mut Socket,
    builder: LinkMessageBuilder<LinkUnspec>,
    read: impl FnMut(&Told) -> Option<T>,
) -> Outcome<Option<T>> {
    let message = builder.append_extra_attribute(no_statistics()).build();
    match socket.ask(Request::one(libc::RTM_GETLINK, &message))? {
        Ok(told) => Ok(told.iter().find_map(read)),
        Err(refusal) if refusal.errno == libc::ENODEV => Ok(None),
        Err(refusal) => Err(Fault::new(FaultKind::Kernel, "the kernel does not tell of it").because(refusal)),
    }
}

/// All links of a namespace. Meant for a pod's, which has few.
///
/// # Errors
/// The kernel could not be asked.
pub fn all(socket: &mut Socket) -> Outcome<Vec<Seen>> {
    every(socket, read)
}

/// All links of a namespace, as `read` sees them.
pub(super) fn every<T>(socket: &mut Socket, read: impl FnMut(&Told) -> Option<T>) -> Outcome<Vec<T>> {
    let mut message = LinkMessage::default();
    message.attributes.push(no_statistics());
    let told = socket.list(&Request::all(libc::RTM_GETLINK, &message), "links")?;
    Ok(told.iter().filter_map(read).collect())
}

fn no_statistics() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}

/// Where a new link is born.
#[derive(Debug, Clone, Copy)]
pub enum Cradle<'a> {
    /// In the namespace of the socket.
    Here,
    /// In another one.
    There(BorrowedFd<'a>),
}

/// Makes a link, down, under its final name and with its group, in one request.
///
/// # Errors
/// [`FaultKind::Exists`] where the name, or the VLAN on its master, is taken; otherwise what the kernel said.
pub fn create(socket: &mut Socket, name: &IfName, step: &LinkStep, cradle: Cradle<'_>) -> Outcome<()> {
    let master = step.master.as_ref().map(|master| master.index).unwrap_or_default();
    let message = match &step.kind {
        LinkKind::Macvlan { mode, bc_queue_len } => {
            let mut builder = LinkMacVlan::new(name.as_str(), master, wire_mode(*mode));
            if let Some(length) = bc_queue_len {
                builder = builder.append_info_data(InfoMacVlan::BcQueueLen(*length));
            }
            finish(builder, step, cradle)
        }
        LinkKind::Vlan { id, protocol } => {
            let builder = LinkVlan::new(name.as_str(), master, *id);
            finish(builder.protocol(wire_protocol(*protocol)), step, cradle)
        }
        LinkKind::Dummy => finish(LinkDummy::new(name.as_str()), step, cradle),
    };
    let request = Request::change(libc::RTM_NEWLINK, &message, NLM_F_CREATE | NLM_F_EXCL);
    socket.ask(request)?.map(drop).map_err(|refusal| refused_birth(refusal, name, step))
}

/// Whether the kernel makes links of a kind that sits on another link. It is asked for one that sits on none, so nothing is
/// made: a kernel that knows the kind misses the link beneath it, another one says EOPNOTSUPP (`rtnl_newlink`).
///
/// # Errors
/// The kernel could not be asked.
pub fn is_made(socket: &mut Socket, kind: &LinkKind) -> Outcome<bool> {
    let message = match kind {
        LinkKind::Macvlan { mode, .. } => LinkMacVlan::new(PROBE, 0, wire_mode(*mode)).build(),
        LinkKind::Vlan { id, .. } => LinkVlan::new(PROBE, 0, *id).build(),
        // It sits on no other, and would be made.
        LinkKind::Dummy => return Ok(true),
    };
    let answer = socket.ask(Request::change(libc::RTM_NEWLINK, &message, NLM_F_CREATE | NLM_F_EXCL))?;
    Ok(!answer.is_err_and(|refusal| refusal.errno == libc::EOPNOTSUPP))
}

/// What every kind of link has in common.
fn finish<T>(builder: LinkMessageBuilder<T>, step: &LinkStep, cradle: Cradle<'_>) -> LinkMessage {
    let mut builder = builder.link_group(step.group);
    if let Some(mac) = step.mac {
        builder = builder.address(mac.bytes().to_vec());
    }
    if let Some(mtu) = step.mtu {
        builder = builder.mtu(mtu);
    }
    if let Cradle::There(netns) = cradle {
        builder = builder.setns_by_fd(netns.as_raw_fd());
    }
    builder.build()
}

/// Deletes one link. Absent counts as deleted.
///
/// # Errors
/// What the kernel said.
pub fn delete(socket: &mut Socket, index: u32) -> Outcome<()> {
    gone(socket, LinkUnspec::new_with_index(index).build(), format_args!("link {index}"))
}

/// Deletes every link of a group in one request, and so in the time of one. An empty group counts as deleted.
///
/// # Errors
/// What the kernel said; then no link was deleted.
pub fn delete_group(socket: &mut Socket, group: u32) -> Outcome<()> {
    let message = LinkMessageBuilder::<LinkUnspec>::default().link_group(group).build();
    gone(socket, message, format_args!("the links of group {group}"))
}

fn gone(socket: &mut Socket, message: LinkMessage, what: fmt::Arguments<'_>) -> Outcome<()> {
    match socket.ask(Request::change(libc::RTM_DELLINK, &message, 0))? {
        Err(refusal) if refusal.errno != libc::ENODEV => {
            Err(Fault::new(FaultKind::Kernel, format!("cannot delete {what}"))
                .because(refusal)
                .remedy("see the kernel's log on this node"))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Moves links to a group.
///
/// # Errors
/// What the kernel said of the first that it refused.
pub fn regroup(socket: &mut Socket, indices: &[u32], group: u32) -> Outcome<()> {
    let requests = indices.iter().map(|index| {
        let builder = LinkUnspec::new_with_index(*index).link_group(group);
        Request::change(libc::RTM_SETLINK, &builder.build(), 0)
    });
    for (answer, index) in socket.ask_all(requests.collect())?.into_iter().zip(indices) {
        answer.map_err(|refusal| {
            Fault::new(FaultKind::Kernel, format!("cannot mark link {index} for deletion"))
                .because(refusal)
                .remedy("see the kernel's log on this node")
        })?;
    }
    Ok(())
}

/// The request that gives a link its alias, and lets the kernel announce IPv4 addresses when it comes up
/// (`arp_notify`; kernel `IFLA_INET_CONF`).
pub fn introduce(index: u32, alias: &str, announce: bool) -> Request {
    let mut builder = LinkUnspec::new_with_index(index).alias(alias);
    if announce {
        let mut conf = InetDevConf::default();
        conf.arp_notify = 1;
        let inet = AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(conf)]);
        builder = builder.append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![inet]));
    }
    Request::change(libc::RTM_SETLINK, &builder.build(), 0)
}

/// The request that brings a link up.
pub fn raise(index: u32) -> Request {
    let message = LinkUnspec::new_with_index(index).up().build();
    Request::change(libc::RTM_SETLINK, &message, 0)
}

/// Reads what the kernel says of a link; `None` of what is none.
pub fn read(told: &Told) -> Option<Seen> {
    let link = wire::Link::read(told)?;
    let mut seen = Seen {
        index: link.index,
        up: link.has(libc::IFF_UP),
        carrier: link.has(libc::IFF_LOWER_UP),
        ..Seen::default()
    };
    for (attribute, value) in link.attributes {
        match attribute {
            libc::IFLA_IFNAME => seen.name = wire::text(value),
            libc::IFLA_IFALIAS => seen.alias = wire::text(value),
            libc::IFLA_ADDRESS => seen.mac = wire::mac(value),
            libc::IFLA_MTU => seen.mtu = u32_at(value, 0)?,
            libc::IFLA_GROUP => seen.group = u32_at(value, 0)?,
            libc::IFLA_LINK => seen.parent = u32_at(value, 0),
            libc::IFLA_LINKINFO => seen.kind = kind(value),
            _ => {}
        }
    }
    Some(seen)
}

/// Attributes of a macvlan and a vlan (`IFLA_MACVLAN_*`, `IFLA_VLAN_*`).
const MACVLAN_MODE: u16 = 1;
const MACVLAN_BC_QUEUE_LEN: u16 = 7;
const VLAN_ID: u16 = 1;
const VLAN_PROTOCOL: u16 = 5;
/// Ethertype of an 802.1ad tag.
const ETH_P_8021AD: u16 = 0x88a8;

/// What a link is, by its `IFLA_LINKINFO`.
fn kind(info: &[u8]) -> Option<LinkKind> {
    let find = |list, wanted| Attributes(list).find_map(|(kind, value)| (kind == wanted).then_some(value));
    let data = find(info, libc::IFLA_INFO_DATA).unwrap_or_default();
    match wire::text(find(info, libc::IFLA_INFO_KIND)?).as_str() {
        "dummy" => Some(LinkKind::Dummy),
        "macvlan" => Some(LinkKind::Macvlan {
            mode: seen_mode(u32_at(find(data, MACVLAN_MODE)?, 0)?)?,
            bc_queue_len: find(data, MACVLAN_BC_QUEUE_LEN).and_then(|length| u32_at(length, 0)),
        }),
        "vlan" => {
            let ad = find(data, VLAN_PROTOCOL).is_some_and(|it| it == ETH_P_8021AD.to_be_bytes());
            let protocol = if ad { VlanProtocol::Dot1Ad } else { VlanProtocol::Dot1Q };
            Some(LinkKind::Vlan { id: u16_at(find(data, VLAN_ID)?, 0)?, protocol })
        }
        _ => None,
    }
}

fn wire_mode(mode: MacvlanMode) -> MacVlanMode {
    match mode {
        MacvlanMode::Bridge => MacVlanMode::Bridge,
        MacvlanMode::Private => MacVlanMode::Private,
        MacvlanMode::Vepa => MacVlanMode::Vepa,
        MacvlanMode::Passthru => MacVlanMode::Passthrough,
        MacvlanMode::Source => MacVlanMode::Source,
    }
}

fn seen_mode(mode: u32) -> Option<MacvlanMode> {
    let known = [
        MacvlanMode::Bridge,
        MacvlanMode::Private,
        MacvlanMode::Vepa,
        MacvlanMode::Passthru,
        MacvlanMode::Source,
    ];
    known.into_iter().find(|known| u32::from(wire_mode(*known)) == mode)
}

fn wire_protocol(protocol: VlanProtocol) -> WireProtocol {
    match protocol {
        VlanProtocol::Dot1Q => WireProtocol::Ieee8021Q,
        VlanProtocol::Dot1Ad => WireProtocol::Ieee8021Ad,
    }
}

/// What to do where something of a link is there already.
fn taken(kind: &LinkKind) -> &'static str {
    match kind {
        LinkKind::Vlan { .. } => "free the interface name, or the id on the master: both can be had once",
        LinkKind::Dummy | LinkKind::Macvlan { .. } => "free the interface name in the pod, or choose another",
    }
}

/// What to do where the kernel knows no such links.
fn module(kind: &LinkKind) -> &'static str {
    match kind {
        LinkKind::Dummy => "\"modprobe dummy\" on this node",
        LinkKind::Macvlan { .. } => "\"modprobe macvlan\" on this node",
        LinkKind::Vlan { .. } => "\"modprobe 8021q\" on this node",
    }
}

/// Says what the kernel's refusal to make a link means.
fn refused_birth(refusal: Refusal, name: &IfName, step: &LinkStep) -> Fault {
    let master = step.master.as_ref().map(|master| master.name.as_str()).unwrap_or_default();
    let what = match &step.kind {
        LinkKind::Dummy => format!("cannot make dummy link {:?}", name.as_str()),
        LinkKind::Macvlan { .. } => format!("cannot make macvlan {:?} on {master:?}", name.as_str()),
        LinkKind::Vlan { id, .. } => {
            format!("cannot make vlan {:?} with id {id} on {master:?}", name.as_str())
        }
    };
    let (kind, remedy) = match refusal.errno {
        libc::EEXIST => (FaultKind::Exists, taken(&step.kind)),
        libc::ENODEV => (
            FaultKind::Absent,
            "the master has just gone from this node: bring it back or fix the network's \"master\"",
        ),
        libc::EBUSY => (
            FaultKind::Kernel,
            "the master is taken for itself by another link (ipvlan, a bridge, or macvlan in mode \"passthru\"): free it or choose another",
        ),
        libc::EINVAL => (
            FaultKind::Kernel,
            "the master does not take such a link now: check its type, its MTU, and that mode \"passthru\" is alone on it",
        ),
        libc::EOPNOTSUPP => (FaultKind::Kernel, module(&step.kind)),
        libc::EPERM => (FaultKind::Kernel, "run Manifold as root on the host"),
        _ => (FaultKind::Kernel, "see the kernel's log on this node"),
    };
    Fault::new(kind, what).because(refusal).remedy(remedy)
}

#[cfg(test)]
#[path = "link/tests.rs"]
mod tests;
