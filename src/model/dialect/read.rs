//! Results as plugins print them. Keys are spelled in lower case here, because [`Object::decode`] folds them.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::model::cidr;
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::object::Object;
use crate::model::result::{CniResult, Dns, Interface, IpConfig, Route};
use crate::model::version::CniVersion;

/// What errors call the bytes.
pub(super) const WHAT: &str = "the plugin's result";

/// The version a result is in.
pub(super) fn version(object: &Object, fallback: CniVersion) -> Outcome<CniVersion> {
    #[derive(Deserialize)]
    struct Head {
        cniversion: Option<String>,
    }
    let head: Head = object.decode(WHAT)?;
    match head.cniversion.as_deref() {
        None | Some("") => Ok(fallback),
        Some(text) => text.parse().map_err(|fault: Fault| fault.while_doing(format!("cannot read {WHAT}"))),
    }
}

/// A result of 1.0.0 or 1.1.0.
pub(super) fn listed(object: &Object) -> Outcome<CniResult> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Listed {
        interfaces: Vec<InterfaceKeys>,
        ips: Vec<IpKeys>,
        routes: Vec<RouteKeys>,
        dns: Dns,
    }
    let Listed { interfaces, ips, routes, dns } = object.decode(WHAT)?;
    let known = interfaces.len();
    let ips = ips.into_iter().map(|ip| ip.checked(known)).collect::<Outcome<_>>()?;
    let interfaces = interfaces.into_iter().map(Interface::from).collect();
    Ok(CniResult { interfaces, ips, routes: routes.into_iter().map(Route::from).collect(), dns })
}

/// A result of 0.3.0, 0.3.1 or 0.4.0: an interface has no keys but three, and an address's `version` says what the
/// address says already.
pub(super) fn before_1_0(object: &Object) -> Outcome<CniResult> {
    let mut result = listed(object)?;
    for interface in &mut result.interfaces {
        (interface.mtu, interface.socket_path, interface.pci_id) = (None, String::new(), String::new());
    }
    Ok(result)
}

/// A result of 0.1.0 or 0.2.0.
pub(super) fn by_family(object: &Object) -> Outcome<CniResult> {
    #[derive(Deserialize)]
    struct Families {
        ip4: Option<Family>,
        ip6: Option<Family>,
        #[serde(default)]
        dns: Dns,
    }
    #[derive(Deserialize)]
    struct Family {
        ip: Cidr,
        #[serde(default)]
        gateway: Address,
        #[serde(default)]
        routes: Vec<RouteKeys>,
    }
    let Families { ip4, ip6, dns } = object.decode(WHAT)?;
    let mut result = CniResult { dns, ..CniResult::default() };
    for Family { ip, gateway, routes } in ip4.into_iter().chain(ip6) {
        result.ips.push(IpConfig { interface: None, address: ip.0, gateway: gateway.0 });
        let plain = routes.into_iter().map(|route| Route { gw: route.gw.0, ..Route::to(route.dst.0) });
        result.routes.extend(plain);
    }
    Ok(result)
}

#[derive(Deserialize)]
struct InterfaceKeys {
    #[serde(default)]
    name: String,
    #[serde(default)]
    mac: String,
    mtu: Option<u32>,
    #[serde(default)]
    sandbox: String,
    #[serde(default)]
    socketpath: String,
    #[serde(default)]
    pciid: String,
}

impl From<InterfaceKeys> for Interface {
    fn from(keys: InterfaceKeys) -> Self {
        let InterfaceKeys { name, mac, mtu, sandbox, socketpath: socket_path, pciid: pci_id } = keys;
        Self { name, mac, mtu, sandbox, socket_path, pci_id }
    }
}

#[derive(Deserialize)]
struct IpKeys {
    interface: Option<i64>,
    address: Cidr,
    #[serde(default)]
    gateway: Address,
}

impl IpKeys {
    /// The address, if it points at one of the `known` interfaces or at none.
    fn checked(self, known: usize) -> Outcome<IpConfig> {
        let Self { interface, address: Cidr(address), gateway: Address(gateway) } = self;
        let interface = match interface {
            None => None,
            Some(index) => Some(
                u32::try_from(index)
                    .ok()
                    .filter(|i| usize::try_from(*i).is_ok_and(|i| i < known))
                    .ok_or_else(|| astray(address, index, known))?,
            ),
        };
        Ok(IpConfig { interface, address, gateway })
    }
}

fn astray(address: IpNetwork, index: i64, known: usize) -> Fault {
    let what = format!("cannot read {WHAT}: address \"{address}\" is for interface {index} of {known}");
    Fault::new(FaultKind::Decode, what)
        .remedy("let the plugin count \"interfaces\" from 0, or leave \"interface\" out of the address")
}

#[derive(Deserialize)]
struct RouteKeys {
    dst: Cidr,
    #[serde(default)]
    gw: Address,
    mtu: Option<u32>,
    advmss: Option<u32>,
    priority: Option<u32>,
    table: Option<u32>,
    scope: Option<u8>,
}

impl From<RouteKeys> for Route {
    fn from(keys: RouteKeys) -> Self {
        let RouteKeys { dst: Cidr(dst), gw: Address(gw), mtu, advmss, priority, table, scope } = keys;
        Self { dst, gw, mtu, advmss, priority, table, scope }
    }
}

/// An address with its prefix length.
struct Cidr(IpNetwork);

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || D::Error::custom(format!("{text:?} is not an address with a prefix length"));
        cidr::parse(&text).map(Self).ok_or_else(wrong)
    }
}

/// An address; the empty text is none.
#[derive(Default)]
struct Address(Option<IpAddr>);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        let wrong = |_| D::Error::custom(format!("{text:?} is not an address"));
        text.parse().map(|ip| Self(Some(ip))).map_err(wrong)
    }
}
