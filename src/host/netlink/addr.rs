//! Addresses over netlink (`rtnetlink(7)`, RTM_NEWADDR; kernel `if_addr.h`).

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use rtnetlink::AddressMessageBuilder;

use super::socket::{Request, Socket};
use crate::model::fault::Outcome;
use crate::plan::step::Dad;

/// `RTMGRP_IPV6_IFADDR`: changes of IPv6 addresses.
pub const IPV6_CHANGES: u32 = 0x100;
/// Longest wait for duplicate address detection, that of the reference plugins.
const DAD_LIMIT: Duration = Duration::from_secs(5);

/// The request that adds an address to a link.
pub fn add(index: u32, address: IpNetwork, dad: Dad) -> Request {
    let mut message = match address {
        IpNetwork::V4(net) => AddressMessageBuilder::<std::net::Ipv4Addr>::new()
            .index(index)
            .address(net.ip(), net.prefix())
            .build(),
        IpNetwork::V6(net) => {
            AddressMessageBuilder::<Ipv6Addr>::new().index(index).address(net.ip(), net.prefix()).build()
        }
    };
    if address.is_ipv6() {
        message.attributes.extend(dad_flags(dad).map(AddressAttribute::Flags));
    }
    Request::change(Message::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
}

fn dad_flags(dad: Dad) -> Option<AddressFlags> {
    match dad {
        Dad::Wait => None,
        Dad::Optimistic => Some(AddressFlags::Optimistic),
        Dad::Off => Some(AddressFlags::Nodad),
    }
}

/// The addresses of a link.
///
/// # Errors
/// The kernel could not be asked.
pub fn of_link(socket: &mut Socket, index: u32) -> Outcome<Vec<IpNetwork>> {
    let mut message = AddressMessage::default();
    message.header.index = index;
    let messages = socket.list(&Message::GetAddress(message), "addresses")?;
    Ok(messages.iter().filter_map(read).filter(|seen| seen.index == index).map(|seen| seen.address).collect())
}

/// What the kernel says of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Index of its link.
    pub index: u32,
    /// The address.
    pub address: IpNetwork,
    /// Whether duplicate address detection has not ended.
    pub tentative: bool,
    /// Whether somebody else has it.
    pub failed: bool,
}

/// Reads what the kernel says of an address; `None` of what is none.
pub fn read(message: &Message) -> Option<Seen> {
    let Message::NewAddress(message) = message else { return None };
    let find = |pick: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(pick);
    // On IPv4, ADDRESS is the peer of a point-to-point link; LOCAL is ours.
    let local = find(|a| if let AddressAttribute::Local(ip) = a { Some(*ip) } else { None });
    let address =
        local.or_else(|| find(|a| if let AddressAttribute::Address(ip) = a { Some(*ip) } else { None }))?;
    let wide = message
        .attributes
        .iter()
        .find_map(|a| if let AddressAttribute::Flags(f) = a { Some(*f) } else { None });
    let flags = wide.unwrap_or(AddressFlags::empty());
    let narrow = message.header.flags;
    Some(Seen {
        index: message.header.index,
        address: IpNetwork::new(address, message.header.prefix_len).ok()?,
        tentative: flags.contains(AddressFlags::Tentative) || narrow.contains(AddressHeaderFlags::Tentative),
        failed: flags.contains(AddressFlags::Dadfailed) || narrow.contains(AddressHeaderFlags::Dadfailed),
    })
}

/// What became of duplicate address detection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detection {
    /// Every address is ours.
    Passed,
    /// Somebody else has this one.
    Duplicate(IpNetwork),
    /// It did not end in time: the link may have no carrier.
    Undecided,
}

/// Waits until duplicate address detection has ended for every one of `waiting`.
///
/// `monitor` listens to [`IPV6_CHANGES`] in the pod's namespace since before the addresses were added.
///
/// # Errors
/// The kernel could not be heard.
pub fn await_detection(monitor: &mut Socket, index: u32, mut waiting: Vec<IpNetwork>) -> Outcome<Detection> {
    let end = Instant::now() + DAD_LIMIT;
    let mut duplicate = None;
    while !waiting.is_empty() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Detection::Undecided);
        }
        monitor.hear(left, |message| {
            let Some(seen) = read(&message).filter(|s| s.index == index && waiting.contains(&s.address))
            else {
                return;
            };
            if seen.failed {
                duplicate = Some(seen.address);
            }
            if seen.failed || !seen.tentative {
                waiting.retain(|a| *a != seen.address);
            }
        })?;
        if let Some(address) = duplicate {
            return Ok(Detection::Duplicate(address));
        }
    }
    Ok(Detection::Passed)
}

/// The family as netlink has it.
pub fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
