//! Routes over netlink (`rtnetlink(7)`, RTM_NEWROUTE).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteNextHop, RouteProtocol,
    RouteScope, RouteType,
};

use super::addr::family;
use super::socket::{Request, Socket};
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
    Request::change(Message::NewRoute(message), NLM_F_CREATE)
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
    Request::change(Message::DelRoute(message), 0)
}

/// The next hop of a route: its own, or the family's gateway. A route of narrower scope than universe has none but its
/// own: what it leads to is on the link.
pub fn next_hop(route: &Route, gateway: Option<IpAddr>) -> Option<IpAddr> {
    let universe = route.scope.unwrap_or_default() == 0;
    route.gw.or_else(|| gateway.filter(|gw| universe && gw.is_ipv4() == route.dst.is_ipv4()))
}

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
        self.dst.prefix() == 0 && self.table == u32::from(RouteHeader::RT_TABLE_MAIN)
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
    let messages = socket.list(&Message::GetRoute(message), "routes")?;
    Ok(messages.iter().flat_map(read).collect())
}

/// Reads a route, once for each of its next hops: IPv6 makes one route of those that differ in nothing else.
pub fn read(message: &Message) -> Vec<Seen> {
    let Message::NewRoute(message) = message else { return Vec::new() };
    let Some(seen) = read_one(message) else { return Vec::new() };
    let hops = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => Some(hops),
        _ => None,
    });
    let Some(hops) = hops else { return vec![seen] };
    let through = |hop: &RouteNextHop| Seen {
        oif: hop.interface_index,
        gw: hop.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Gateway(address) => ip(address),
            _ => None,
        }),
        ..seen.clone()
    };
    hops.iter().map(through).collect()
}

fn read_one(message: &RouteMessage) -> Option<Seen> {
    if message.header.kind != RouteType::Unicast {
        return None;
    }
    let any = match message.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut seen = Seen {
        dst: IpNetwork::new(any, message.header.destination_prefix_length).ok()?,
        gw: None,
        oif: 0,
        table: u32::from(message.header.table),
        priority: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => {
                seen.dst = IpNetwork::new(ip(address)?, seen.dst.prefix()).ok()?
            }
            RouteAttribute::Gateway(address) => seen.gw = ip(address),
            RouteAttribute::Oif(index) => seen.oif = *index,
            RouteAttribute::Table(table) => seen.table = *table,
            RouteAttribute::Priority(metric) => seen.priority = *metric,
            _ => {}
        }
    }
    Some(seen)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}
