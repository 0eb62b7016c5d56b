//! Routes over netlink (`rtnetlink(7)`, RTM_NEWROUTE).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
};
use nix::libc;

use super::addr::family;
use super::socket::{Request, Socket};
use super::wire::{self, Attributes, Told, u16_at, u32_at};
use crate::model::fault::Outcome;
use crate::model::result::Route;

/// The request that adds a route through a link; `gateway` is used where the route names none.
///
/// Created without replacing and without `NLM_F_EXCL`, as the reference plugins do.
pub fn add(index: u32, route: &Route, gateway: Option<IpAddr>) -> Request {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family(route.dst.ip());
    header.destination_prefix_length = route.dst.prefix();
    header.protocol = RouteProtocol::Boot;
    header.kind = RouteType::Unicast;
    header.scope = RouteScope::from(route.scope.unwrap_or_default());
    header.table = RouteHeader::RT_TABLE_MAIN;
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Oif(index));
    if route.dst.prefix() > 0 {
        attributes.push(RouteAttribute::Destination(route.dst.network().into()));
    }
    attributes.extend(next_hop(route, gateway).map(|gw| RouteAttribute::Gateway(gw.into())));
    attributes.extend(route.priority.filter(|p| *p > 0).map(RouteAttribute::Priority));
    attributes.extend(route.table.map(RouteAttribute::Table));
    let metrics: Vec<RouteMetric> =
        route.mtu.map(RouteMetric::Mtu).into_iter().chain(route.advmss.map(RouteMetric::Advmss)).collect();
    if !metrics.is_empty() {
        attributes.push(RouteAttribute::Metrics(metrics));
    }
    Request::change(libc::RTM_NEWROUTE, &message, NLM_F_CREATE)
}

/// The request that deletes a route which was seen, and only the next hop seen if it has several.
pub fn delete(seen: &Seen) -> Request {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family(seen.dst.ip());
    header.destination_prefix_length = seen.dst.prefix();
    header.scope = RouteScope::NoWhere;
    header.table = RouteHeader::RT_TABLE_UNSPEC;
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Oif(seen.oif));
    attributes.push(RouteAttribute::Table(seen.table));
    if seen.dst.prefix() > 0 {
        attributes.push(RouteAttribute::Destination(seen.dst.network().into()));
    }
    attributes.extend(seen.gw.map(|gw| RouteAttribute::Gateway(gw.into())));
    attributes.extend(Some(seen.priority).filter(|p| *p > 0).map(RouteAttribute::Priority));
    Request::change(libc::RTM_DELROUTE, &message, 0)
}

/// The next hop of a route: its own, or the family's gateway. A route of narrower scope than universe has none but its
/// own: what it leads to is on the link.
pub fn next_hop(route: &Route, gateway: Option<IpAddr>) -> Option<IpAddr> {
    let universe = route.scope.unwrap_or_default() == 0;
    route.gw.or_else(|| gateway.filter(|gw| universe && gw.is_ipv4() == route.dst.is_ipv4()))
}

/// The table of routes that name none (kernel `RT_TABLE_MAIN`).
pub const MAIN: u32 = 254;

/// What the kernel says of one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Destination.
    pub dst: IpNetwork,
    /// Next hop.
    pub gw: Option<IpAddr>,
    /// Index of the link it leaves by.
    pub oif: u32,
    /// Table.
    pub table: u32,
    /// Metric.
    pub priority: u32,
}

impl Seen {
    /// Whether it is a default route of the main table.
    pub fn is_default(&self) -> bool {
        self.dst.prefix() == 0 && self.table == MAIN
    }
}

/// The routes of a namespace that leave by one link, in all tables.
///
/// # Errors
/// The kernel could not be asked.
pub fn of_link(socket: &mut Socket, index: u32) -> Outcome<Vec<Seen>> {
    let mut message = RouteMessage::default();
    message.attributes.push(RouteAttribute::Oif(index));
    let mut routes = list(socket, message)?;
    // The kernel lists a route of several next hops if any of them leaves by the link.
    routes.retain(|route| route.oif == index);
    Ok(routes)
}

/// The link the default route of the main table leaves by, IPv4 before IPv6, the lowest metric first.
///
/// # Errors
/// The kernel could not be asked.
pub fn default_link(socket: &mut Socket) -> Outcome<Option<u32>> {
    let mut routes = list(socket, RouteMessage::default())?;
    routes.retain(|r| r.is_default() && r.oif != 0);
    routes.sort_by_key(|r| (r.dst.is_ipv6(), r.priority));
    Ok(routes.first().map(|r| r.oif))
}

fn list(socket: &mut Socket, message: RouteMessage) -> Outcome<Vec<Seen>> {
    let told = socket.list(&Request::all(libc::RTM_GETROUTE, &message), "routes")?;
    Ok(told.iter().flat_map(read).collect())
}

/// Reads a route, once for each of its next hops: IPv6 makes one route of those that differ in nothing else.
pub fn read(told: &Told) -> Vec<Seen> {
    let Some((seen, hops)) = read_one(told) else { return Vec::new() };
    match hops {
        None => vec![seen],
        Some(hops) => Hops(hops).map(|(oif, gw)| Seen { oif, gw, ..seen.clone() }).collect(),
    }
}

/// Reads a route: a header of 12 bytes (`struct rtmsg`), then attributes; its next hops, if it has several, are as they came.
fn read_one(told: &Told) -> Option<(Seen, Option<&[u8]>)> {
    let [family, prefix, _, _, table, _, _, kind, ..] = *told.body.as_slice() else { return None };
    if told.kind != libc::RTM_NEWROUTE || kind != libc::RTN_UNICAST {
        return None;
    }
    let any = match i32::from(family) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let dst = IpNetwork::new(any, prefix).ok()?;
    let mut seen = Seen { dst, gw: None, oif: 0, table: u32::from(table), priority: 0 };
    let mut hops = None;
    for (kind, value) in Attributes(told.body.get(12..)?) {
        match kind {
            libc::RTA_DST => seen.dst = IpNetwork::new(wire::ip(value)?, prefix).ok()?,
            libc::RTA_GATEWAY => seen.gw = wire::ip(value),
            libc::RTA_OIF => seen.oif = u32_at(value, 0)?,
            libc::RTA_TABLE => seen.table = u32_at(value, 0)?,
            libc::RTA_PRIORITY => seen.priority = u32_at(value, 0)?,
            libc::RTA_MULTIPATH => hops = Some(value),
            _ => {}
        }
    }
    Some((seen, hops))
}

/// Next hops that follow each other (`struct rtnexthop`, 8 bytes, and attributes): the link of each, and its gateway.
struct Hops<'a>(&'a [u8]);

impl Iterator for Hops<'_> {
    type Item = (u32, Option<IpAddr>);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0)?);
        let mut attributes = Attributes(self.0.get(8..length)?);
        let gateway =
            attributes.find_map(|(kind, value)| (kind == libc::RTA_GATEWAY).then(|| wire::ip(value)));
        let hop = (u32_at(self.0, 4)?, gateway.flatten());
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(hop)
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::AddressFamily;
    use netlink_packet_route::route::RouteNextHop;
    use proptest::prelude::*;

    use super::*;

    fn told(message: &RouteMessage) -> Told {
        Told { kind: libc::RTM_NEWROUTE, body: wire::body(message) }
    }

    fn message(family: AddressFamily, attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        message.header.kind = RouteType::Unicast;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.attributes = attributes;
        message
    }

    #[test]
    fn a_route_is_read_once_for_each_of_its_next_hops() {
        let hop = |index, gateway: Option<&str>| {
            let mut hop = RouteNextHop::default();
            hop.interface_index = index;
            let gateway = gateway.map(|gateway| gateway.parse::<IpAddr>().unwrap().into());
            hop.attributes.extend(gateway.map(RouteAttribute::Gateway));
            hop
        };
        let hops = vec![hop(3, Some("fe80::1")), hop(4, None)];
        let attributes = vec![RouteAttribute::Priority(9), RouteAttribute::MultiPath(hops)];

        let seen = read(&told(&message(AddressFamily::Inet6, attributes)));

        let of = |oif, gw: Option<&str>| Seen {
            dst: "::/0".parse().unwrap(),
            gw: gw.map(|gw| gw.parse().unwrap()),
            oif,
            table: 254,
            priority: 9,
        };
        assert_eq!(seen, [of(3, Some("fe80::1")), of(4, None)]);
    }

    #[test]
    fn what_is_deleted_is_read_as_it_was_seen() {
        let gateway: IpAddr = "10.0.0.1".parse().unwrap();
        let seen =
            Seen { dst: "10.9.0.0/16".parse().unwrap(), gw: Some(gateway), oif: 7, table: 300, priority: 5 };
        let mut message = message(AddressFamily::Inet, Vec::new());
        message.header.destination_prefix_length = 16;
        let mut body = wire::body(&message);
        body.extend(&delete(&seen).body()[12..]);

        assert_eq!(read(&Told { kind: libc::RTM_NEWROUTE, body }), [seen]);
    }

    #[test]
    fn what_leads_nowhere_is_no_route() {
        let mut black = message(AddressFamily::Inet, Vec::new());
        black.header.kind = RouteType::BlackHole;

        assert_eq!(read(&told(&black)), []);
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(body in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _seen = read(&Told { kind: libc::RTM_NEWROUTE, body });
        }
    }
}
