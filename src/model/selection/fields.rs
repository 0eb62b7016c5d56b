//! The fields of an entry, and what each must be. Keys are spelled in lower case here, because they are folded.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{FIELDS, MAX_ITEMS, Selection};
use crate::model::aside::Aside;
use crate::model::cidr;
use crate::model::device::DeviceId;
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::ids::{IfName, MAX_LABEL, is_label};
use crate::model::mac::hardware_address;
use crate::model::network::RawValueEq;
use crate::model::object::{self, Object};

/// Longest name of a network's definition (RFC 1123 subdomain), in bytes.
const MAX_SUBDOMAIN: usize = 253;

/// The name alone, to call an entry by that has something wrong with it.
#[derive(Deserialize)]
pub(super) struct Name {
    pub(super) name: Option<String>,
}

/// The fields whose text is checked.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) interface: Option<String>,
    /// The former name of `interface`.
    pub(super) interfacerequest: Option<String>,
    pub(super) ips: Vec<String>,
    pub(super) mac: Option<String>,
    #[serde(rename = "infiniband-guid")]
    pub(super) guid: Option<String>,
    pub(super) deviceid: Option<String>,
    #[serde(rename = "default-route")]
    pub(super) default_route: Option<Vec<String>>,
    #[serde(rename = "ipam-claim-reference")]
    pub(super) claim: Option<String>,
}

impl TryFrom<Object> for Selection {
    type Error = Fault;

    fn try_from(object: Object) -> Outcome<Self> {
        let fields: Fields = object.decode("its fields")?;
        let mut selection = fields.checked()?;
        selection.port_mappings = checked_as::<Vec<PortMapping>>(&object, "portMappings")?;
        selection.bandwidth = checked_as::<Bandwidth>(&object, "bandwidth")?;
        if let Some(raw) = object.find("cni-args") {
            selection.cni_args = Object::parse(raw.get().as_bytes(), "\"cni-args\"")?;
        }
        selection.unknown = Aside(object);
        selection.unknown.0.retain(|key| !FIELDS.iter().any(|field| field.eq_ignore_ascii_case(key)));
        Ok(selection)
    }
}

impl Fields {
    /// The selection these fields make.
    pub(super) fn checked(self) -> Outcome<Selection> {
        let Self { ips, default_route, claim, .. } = self;
        let interface = filled(self.interface).or_else(|| filled(self.interfacerequest));
        let default_route = default_route.map(|texts| {
            bounded(&texts, "default-route")?;
            texts.iter().map(|text| gateway(text)).collect::<Outcome<_>>()
        });
        Ok(Selection {
            name: network_name(self.name.unwrap_or_default())?,
            namespace: filled(self.namespace).map(namespace_name).transpose()?,
            interface: interface.map(IfName::try_from).transpose()?,
            ips: addresses(ips)?,
            mac: filled(self.mac).map(|text| hardware_address(&text)).transpose()?,
            infiniband_guid: filled(self.guid).map(|text| hardware_address(&text)).transpose()?,
            port_mappings: None,
            bandwidth: None,
            device_id: filled(self.deviceid).map(device_id).transpose()?,
            cni_args: Object::default(),
            default_route: default_route.transpose()?,
            ipam_claim_reference: filled(claim),
            unknown: Aside::default(),
        })
    }
}

/// A text, unless it is empty: the peers write empty texts for what is not there.
fn filled(text: Option<String>) -> Option<String> {
    text.filter(|t| !t.is_empty())
}

fn network_name(name: String) -> Outcome<String> {
    if name.is_empty() {
        return Err(wrong("it names no network".to_owned(), "name the network's definition"));
    }
    if name.len() <= MAX_SUBDOMAIN && name.split('.').all(is_label) {
        return Ok(name);
    }
    let remedy =
        "use lower-case letters, digits, \"-\" and \".\", a letter or digit at both ends of each part";
    Err(wrong(format!("network {name:?} cannot exist"), remedy))
}

fn namespace_name(name: String) -> Outcome<String> {
    if name.len() <= MAX_LABEL && is_label(&name) {
        return Ok(name);
    }
    let remedy = "use at most 63 lower-case letters, digits and \"-\", with a letter or digit at both ends";
    Err(wrong(format!("namespace {name:?} cannot exist"), remedy))
}

fn addresses(texts: Vec<String>) -> Outcome<Vec<String>> {
    bounded(&texts, "ips")?;
    let bad = texts.iter().find(|text| text.parse::<IpAddr>().is_err() && cidr::parse(text).is_none());
    match bad {
        None => Ok(texts),
        Some(text) => {
            Err(wrong(format!("{text:?} in \"ips\" is not an address"), "write 10.1.0.5 or 10.1.0.5/24"))
        }
    }
}

fn gateway(text: &str) -> Outcome<IpAddr> {
    let ip: IpAddr = text.parse().map_err(|_| {
        wrong(
            format!("{text:?} in \"default-route\" is not an address"),
            "write the gateway's address, such as 10.1.0.1",
        )
    })?;
    Ok(ip.to_canonical())
}

/// A device's id, which becomes part of the name of its device information file.
fn device_id(text: String) -> Outcome<DeviceId> {
    if matches!(text.as_str(), "." | "..") || text.contains('/') {
        let remedy = "write an id such as \"0000:3b:00.1\", without \"/\"";
        return Err(wrong(format!("device id {text:?} cannot be part of a file name"), remedy));
    }
    text.parse()
}

fn bounded(texts: &[String], key: &str) -> Outcome<()> {
    if texts.len() <= MAX_ITEMS {
        return Ok(());
    }
    let remedy = format!("write at most {MAX_ITEMS}");
    Err(Fault::new(FaultKind::Config, format!("{key:?} has {} entries", texts.len())).remedy(remedy))
}

fn wrong(what: String, remedy: &'static str) -> Fault {
    Fault::new(FaultKind::Config, what).remedy(remedy)
}

/// One mapping, for its types: the value itself travels as written.
#[derive(Deserialize)]
#[expect(dead_code, reason = "decoding is the check")]
struct PortMapping {
    hostport: Option<u16>,
    containerport: Option<u16>,
    protocol: Option<String>,
    hostip: Option<String>,
}

/// Rates in bits per second, bursts in bits; for their types, as above.
#[derive(Deserialize)]
#[expect(dead_code, reason = "decoding is the check")]
struct Bandwidth {
    ingressrate: Option<u64>,
    ingressburst: Option<u64>,
    egressrate: Option<u64>,
    egressburst: Option<u64>,
}

/// The value of a key as written, once it has proved to be a `T`.
fn checked_as<T: for<'de> Deserialize<'de>>(object: &Object, key: &str) -> Outcome<Option<RawValueEq>> {
    let Some(raw) = object.find(key) else { return Ok(None) };
    object::decode::<T>(raw, &format!("{key:?}"))?;
    Ok(Some(RawValueEq::from(RawValue::to_owned(raw))))
}
