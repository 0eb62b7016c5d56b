//! Results as the reference library prints them: fields stand in the order their keys are written in.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Serialize;

use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::result::{self, CniResult, Dns};
use crate::model::version::CniVersion;

/// A result in the form of one version.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Form {
    /// 1.0.0 and 1.1.0.
    Sorted(Sorted),
    /// 0.3.0, 0.3.1 and 0.4.0.
    Listed(Listed),
    /// 0.1.0 and 0.2.0.
    ByFamily(ByFamily),
}

impl Form {
    /// Puts a canonical result into the form of a version.
    pub(super) fn of(result: CniResult, version: CniVersion) -> Outcome<Self> {
        match version {
            CniVersion::V0_1_0 | CniVersion::V0_2_0 => ByFamily::of(result, version).map(Self::ByFamily),
            CniVersion::V0_3_0 | CniVersion::V0_3_1 | CniVersion::V0_4_0 => {
                Ok(Self::Listed(Listed::of(result, version)))
            }
            CniVersion::V1_0_0 | CniVersion::V1_1_0 => Ok(Self::Sorted(Sorted::of(result, version))),
        }
    }
}

/// 1.0.0 and 1.1.0: alphabetical, because the reference library passes them through a map.
#[derive(Serialize)]
pub(super) struct Sorted {
    #[serde(rename = "cniVersion")]
    version: CniVersion,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<SortedDns>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<SortedInterface>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<SortedIp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<SortedRoute>,
}

impl Sorted {
    fn of(result: CniResult, version: CniVersion) -> Self {
        let CniResult { interfaces, ips, routes, dns } = result;
        Self {
            version,
            dns: (!dns.is_empty()).then(|| SortedDns::from(dns)),
            interfaces: interfaces.into_iter().map(SortedInterface::from).collect(),
            ips: ips.into_iter().map(SortedIp::from).collect(),
            routes: routes.into_iter().map(SortedRoute::from).collect(),
        }
    }
}

#[derive(Serialize)]
struct SortedDns {
    #[serde(skip_serializing_if = "String::is_empty")]
    domain: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nameservers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    search: Vec<String>,
}

impl From<Dns> for SortedDns {
    fn from(dns: Dns) -> Self {
        let Dns { nameservers, domain, search, options } = dns;
        Self { domain, nameservers, options, search }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SortedInterface {
    #[serde(skip_serializing_if = "String::is_empty")]
    mac: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    name: String,
    #[serde(rename = "pciID", skip_serializing_if = "String::is_empty")]
    pci_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    sandbox: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    socket_path: String,
}

impl From<result::Interface> for SortedInterface {
    fn from(interface: result::Interface) -> Self {
        let result::Interface { name, mac, mtu, sandbox, socket_path, pci_id } = interface;
        Self { mac, mtu, name, pci_id, sandbox, socket_path }
    }
}

#[derive(Serialize)]
struct SortedIp {
    address: IpNetwork,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<u32>,
}

impl From<result::IpConfig> for SortedIp {
    fn from(ip: result::IpConfig) -> Self {
        let result::IpConfig { interface, address, gateway } = ip;
        Self { address, gateway, interface }
    }
}

#[derive(Serialize)]
struct SortedRoute {
    #[serde(skip_serializing_if = "Option::is_none")]
    advmss: Option<u32>,
    dst: IpNetwork,
    #[serde(skip_serializing_if = "Option::is_none")]
    gw: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<u32>,
}

impl From<result::Route> for SortedRoute {
    fn from(route: result::Route) -> Self {
        let result::Route { dst, gw, mtu, advmss, priority, table, scope } = route;
        Self { advmss, dst, gw, mtu, priority, scope, table }
    }
}

/// 0.3.0, 0.3.1 and 0.4.0, in the order of the specification. That of routes and `dns` is the order of their types.
#[derive(Serialize)]
pub(super) struct Listed {
    #[serde(rename = "cniVersion")]
    version: CniVersion,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<ListedInterface>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<ListedIp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<result::Route>,
    dns: Dns,
}

impl Listed {
    fn of(result: CniResult, version: CniVersion) -> Self {
        let CniResult { interfaces, ips, routes, dns } = result;
        Self {
            version,
            interfaces: interfaces.into_iter().map(ListedInterface::from).collect(),
            ips: ips.into_iter().map(ListedIp::from).collect(),
            routes,
            dns,
        }
    }
}

#[derive(Serialize)]
struct ListedInterface {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    mac: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    sandbox: String,
}

impl From<result::Interface> for ListedInterface {
    fn from(interface: result::Interface) -> Self {
        let result::Interface { name, mac, sandbox, .. } = interface;
        Self { name, mac, sandbox }
    }
}

#[derive(Serialize)]
struct ListedIp {
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<u32>,
    address: IpNetwork,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
}

impl From<result::IpConfig> for ListedIp {
    fn from(ip: result::IpConfig) -> Self {
        let result::IpConfig { interface, address, gateway } = ip;
        Self { version: if address.is_ipv4() { "4" } else { "6" }, interface, address, gateway }
    }
}

/// 0.1.0 and 0.2.0.
#[derive(Serialize)]
pub(super) struct ByFamily {
    #[serde(rename = "cniVersion")]
    version: CniVersion,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip4: Option<Family>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip6: Option<Family>,
    dns: Dns,
}

impl ByFamily {
    fn of(result: CniResult, version: CniVersion) -> Outcome<Self> {
        let ip4 = Family::of(&result, IpNetwork::is_ipv4);
        let ip6 = Family::of(&result, IpNetwork::is_ipv6);
        if ip4.is_none() && ip6.is_none() {
            let what = format!("CNI version {version} has no words for a result without an address");
            let remedy = "set \"cniVersion\" to \"0.3.1\" or newer, or give the network an \"ipam\" plugin";
            return Err(Fault::new(FaultKind::Version, what).remedy(remedy));
        }
        Ok(Self { version, ip4, ip6, dns: result.dns })
    }
}

/// The first address of a family, with the family's routes.
#[derive(Serialize)]
struct Family {
    ip: IpNetwork,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<result::Route>,
}

impl Family {
    fn of(result: &CniResult, belongs: fn(&IpNetwork) -> bool) -> Option<Self> {
        let first = result.ips.iter().find(|ip| belongs(&ip.address))?;
        let routes = result.routes.iter().filter(|route| belongs(&route.dst));
        let routes = routes.map(|route| result::Route { gw: route.gw, ..result::Route::to(route.dst) });
        Some(Self { ip: first.address, gateway: first.gateway, routes: routes.collect() })
    }
}
