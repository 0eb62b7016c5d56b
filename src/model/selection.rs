//! Which networks a pod selects: the annotation `k8s.v1.cni.cncf.io/networks`, in both of its grammars (Kubernetes
//! Network Custom Resource Definition De-facto Standard 1.3, section 4.1).
//!
//! - short: `[namespace/]name[@interface]`, several with commas between them;
//! - JSON: an array of objects, known by a `[`, `{` or `"` anywhere in the text.
//!
//! Names follow Kubernetes in both grammars, because they become parts of file names: a namespace is a DNS label, a
//! network a DNS subdomain. So neither can be `..` or hold a `/`.

mod fields;
mod short;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::aside::Aside;
use super::device::DeviceId;
use super::fault::{Fault, FaultKind, Outcome};
use super::ids::IfName;
use super::network::RawValueEq;
use super::object::{self, Object};

/// Longest annotation read, in bytes: Kubernetes allows no more for all annotations of an object.
pub const MAX_TEXT: usize = 256 << 10;

/// Most networks one pod may select.
pub const MAX_SELECTIONS: usize = 256;

/// Most that the configurations of all networks of one selection may take together, in bytes: each is held several times
/// while its attachment is made, and a record of more could not be kept.
pub const MAX_NETWORKS: usize = 4 << 20;

/// Most entries of one list in a selection.
pub const MAX_ITEMS: usize = 1024;

/// The fields of an entry that are read.
pub const FIELDS: [&str; 13] = [
    "name",
    "namespace",
    "interface",
    "interfaceRequest",
    "ips",
    "mac",
    "infiniband-guid",
    "portMappings",
    "bandwidth",
    "deviceID",
    "cni-args",
    "default-route",
    "ipam-claim-reference",
];

/// One network a pod selects, and what it asks of it. Made by [`parse`] alone; serialises as an entry of the
/// annotation, and is checked again when it is read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Object")]
pub struct Selection {
    /// The name of the network's definition: a DNS subdomain.
    pub name: String,
    /// The namespace of the definition; absent means the pod's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The interface's name in the pod; absent means that Manifold chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<IfName>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    #[serde(rename = "infiniband-guid", skip_serializing_if = "Option::is_none")]
    infiniband_guid: Option<String>,
    #[serde(rename = "portMappings", skip_serializing_if = "Option::is_none")]
    port_mappings: Option<RawValueEq>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bandwidth: Option<RawValueEq>,
    #[serde(rename = "deviceID", skip_serializing_if = "Option::is_none")]
    device_id: Option<DeviceId>,
    /// Values for `args.cni` of the network's plugins; empty if none.
    #[serde(rename = "cni-args", skip_serializing_if = "Object::is_empty")]
    pub cni_args: Object,
    /// Gateways of the default routes that are to go through this network. An empty list is not the same as none: it
    /// is up to the resolver what it means.
    #[serde(rename = "default-route", skip_serializing_if = "Option::is_none")]
    pub default_route: Option<Vec<IpAddr>>,
    /// The name of an `IPAMClaim` that keeps the addresses; for the network's own plugins, which read it themselves.
    #[serde(rename = "ipam-claim-reference", skip_serializing_if = "Option::is_none")]
    pub ipam_claim_reference: Option<String>,
    /// What is written beside these fields, and nobody reads.
    #[serde(skip)]
    pub unknown: Aside<Object>,
}

impl Selection {
    /// Addresses asked for, each with or without prefix length, as written.
    pub fn ips(&self) -> &[String] {
        &self.ips
    }

    /// The hardware address asked for, in lower case with colons: six, eight or twenty bytes.
    pub fn mac(&self) -> Option<&str> {
        self.mac.as_deref()
    }

    /// The device asked for.
    pub fn device_id(&self) -> Option<&DeviceId> {
        self.device_id.as_ref()
    }

    /// What is asked for, under the names of the capabilities (CNI conventions, "Dynamic Plugin specific fields").
    ///
    /// # Errors
    /// A value that JSON cannot hold.
    pub fn capabilities(&self) -> Outcome<Object> {
        let mut given = Object::default();
        let mut text = |key: &str, value: &Option<String>| match value {
            None => Ok(()),
            Some(value) => given.put(key, value),
        };
        text("mac", &self.mac)?;
        text("infinibandGUID", &self.infiniband_guid)?;
        self.device_id.as_ref().map_or(Ok(()), |id| given.put("deviceID", id))?;
        if !self.ips.is_empty() {
            given.put("ips", &self.ips)?;
        }
        for (key, value) in [("portMappings", &self.port_mappings), ("bandwidth", &self.bandwidth)] {
            if let Some(value) = value {
                given.set(key, value.raw().to_owned());
            }
        }
        Ok(given)
    }
}

/// Reads the annotation; empty text and `[]` select nothing.
///
/// # Errors
/// Always [`FaultKind::Config`], naming the entry by its number from 1: text of neither grammar, an empty entry, a
/// wrong value, too many entries, two entries for one interface.
pub fn parse(text: &str) -> Outcome<Vec<Selection>> {
    if text.len() > MAX_TEXT {
        let what = format!("the networks selected take {} bytes", text.len());
        return Err(Fault::new(FaultKind::Config, what).remedy(format!("use at most {MAX_TEXT}")));
    }
    let selections = match text.trim() {
        "" => Vec::new(),
        text if text.contains(['[', '{', '"']) => from_json(text)?,
        text => from_short(text)?,
    };
    refuse_twins(&selections)?;
    Ok(selections)
}

fn from_json(text: &str) -> Outcome<Vec<Selection>> {
    let entries: Vec<Box<RawValue>> = serde_json::from_str(text).map_err(|cause| {
        Fault::new(FaultKind::Config, "cannot read the networks selected")
            .because(cause)
            .remedy("write a JSON array of objects such as [{\"name\": \"net-a\"}], or names with commas")
    })?;
    refuse_crowd(entries.len())?;
    let entries = entries.iter().enumerate().map(|(at, raw)| {
        let name = object::decode(raw, "it").ok().and_then(|fields::Name { name }| name);
        let entry = Object::parse(raw.get().as_bytes(), "it").and_then(Selection::try_from);
        entry.map_err(|fault| refused(at, name.as_deref(), &fault))
    });
    entries.collect()
}

fn from_short(text: &str) -> Outcome<Vec<Selection>> {
    refuse_crowd(text.split(',').count())?;
    let entries = text.split(',').map(str::trim).enumerate();
    entries.map(|(at, item)| short::read(item).map_err(|fault| refused(at, Some(item), &fault))).collect()
}

/// The failure of one entry, named by number and by what is known of its text. A stranger's text is not repeated at
/// length.
fn refused(at: usize, name: Option<&str>, fault: &Fault) -> Fault {
    let shown = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    let name = name.filter(|name| !name.is_empty()).map(|name| format!(" {:?}", shown(name, 80)));
    let what = format!("cannot read network selection {}{}", at.saturating_add(1), name.unwrap_or_default());
    let refusal = Fault::new(FaultKind::Config, what).because(shown(&fault.to_string(), 200));
    match fault.advice() {
        None => refusal,
        Some(advice) => refusal.remedy(advice.to_owned()),
    }
}

fn refuse_crowd(count: usize) -> Outcome<()> {
    if count <= MAX_SELECTIONS {
        return Ok(());
    }
    Err(Fault::new(FaultKind::Config, format!("{count} networks are selected"))
        .remedy(format!("select at most {MAX_SELECTIONS}")))
}

fn refuse_twins(selections: &[Selection]) -> Outcome<()> {
    let mut seen = BTreeMap::new();
    for (at, selection) in (1_usize..).zip(selections) {
        let Some(interface) = &selection.interface else { continue };
        if let Some(first) = seen.insert(interface, at) {
            let what = format!(
                "network selections {first} and {at} both ask for interface {:?}",
                interface.as_str()
            );
            return Err(Fault::new(FaultKind::Config, what)
                .remedy("give each its own interface name, or leave the name out"));
        }
    }
    Ok(())
}
