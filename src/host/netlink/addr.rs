//! Addresses over netlink (`rtnetlink(7)`, RTM_NEWADDR; kernel `if_addr.h`).

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use nix::libc;
use rtnetlink::AddressMessageBuilder;

use super::socket::{Request, Socket};
use super::wire::{self, Attributes, Told, u32_at};
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
    Request::change(libc::RTM_NEWADDR, &message, NLM_F_CREATE | NLM_F_EXCL)
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
    let told = socket.list(&Request::all(libc::RTM_GETADDR, &message), "addresses")?;
    Ok(told.iter().filter_map(read).filter(|seen| seen.index == index).map(|seen| seen.address).collect())
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

/// Reads what the kernel says of an address; `None` of what is none: a header of 8 bytes (`struct ifaddrmsg`), then
/// attributes.
pub fn read(told: &Told) -> Option<Seen> {
    if told.kind != libc::RTM_NEWADDR {
        return None;
    }
    let [_, prefix, narrow, ..] = told.body.as_slice() else { return None };
    let (mut local, mut peer, mut flags) = (None, None, u32::from(*narrow));
    for (kind, value) in Attributes(told.body.get(8..)?) {
        match kind {
            libc::IFA_LOCAL => local = wire::ip(value),
            libc::IFA_ADDRESS => peer = wire::ip(value),
            libc::IFA_FLAGS => flags |= u32_at(value, 0)?,
            _ => {}
        }
    }
    Some(Seen {
        index: u32_at(&told.body, 4)?,
        // On IPv4, ADDRESS is the peer of a point-to-point link; LOCAL is ours.
        address: IpNetwork::new(local.or(peer)?, *prefix).ok()?,
        tentative: flags & libc::IFA_F_TENTATIVE != 0,
        failed: flags & libc::IFA_F_DADFAILED != 0,
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
        monitor.hear(left, |told| {
            let Some(seen) = read(told).filter(|s| s.index == index && waiting.contains(&s.address)) else {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(local: Option<&str>, address: &str, prefix: u8, flags: AddressFlags) -> Told {
        let mut message = AddressMessage::default();
        (message.header.index, message.header.prefix_len) = (7, prefix);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        message.attributes.push(AddressAttribute::Address(ip(address)));
        message.attributes.extend(local.map(|local| AddressAttribute::Local(ip(local))));
        message.attributes.push(AddressAttribute::Flags(flags));
        Told { kind: libc::RTM_NEWADDR, body: wire::body(&message) }
    }

    #[test]
    fn an_address_is_the_local_one_and_never_the_peers() {
        let seen = read(&told(Some("10.0.0.2"), "10.0.0.9", 24, AddressFlags::Permanent)).unwrap();

        assert_eq!((seen.index, seen.address), (7, "10.0.0.2/24".parse().unwrap()));
        assert!(!seen.tentative && !seen.failed);
    }

    #[test]
    fn what_became_of_detection_is_read() {
        for (flags, tentative, failed) in
            [(AddressFlags::Tentative, true, false), (AddressFlags::Dadfailed, false, true)]
        {
            let seen = read(&told(None, "fd00::2", 64, flags)).unwrap();

            assert_eq!((seen.tentative, seen.failed), (tentative, failed));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(body in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _seen = read(&Told { kind: libc::RTM_NEWADDR, body }).is_some();
        }
    }
}
