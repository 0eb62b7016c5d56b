//! What a pod is told of its networks: the annotation `k8s.v1.cni.cncf.io/network-status` (Kubernetes Network Custom
//! Resource Definition De-facto Standard 1.3, section 5).
//!
//! The fields, their order and the layout of the text are those its readers know: tests of operators compare it to the
//! letter. What they do not know (an entry without an interface) is not invented.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize};

use super::attachment::{Attachment, Role};
use super::device_info::DeviceInfo;
use super::fault::{Fault, FaultKind, Outcome};
use super::json;
use super::result::{CniResult, Dns, Interface};

/// One interface of a pod, as it is published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkStatus {
    /// The name a person knows the network by.
    pub name: String,
    /// The interface's name in the pod; empty where the network made none there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// Its addresses, without prefix length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<IpAddr>,
    /// Its hardware address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Its MTU in bytes, where the result tells it (CNI 1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Whether it is the pod's default interface.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// Name service settings of the network.
    #[serde(default)]
    pub dns: Dns,
    /// The device behind the interface.
    #[serde(rename = "device-info", default, skip_serializing_if = "Option::is_none")]
    pub device_info: Option<DeviceInfo>,
    /// The next hops of the default routes of the network.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "what_is_an_address")]
    pub gateway: Vec<IpAddr>,
}

/// Other writers put `<nil>` where a default route has no next hop.
fn what_is_an_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    Ok(texts.iter().filter_map(|text| text.parse().ok()).collect())
}

/// The entries of one attachment: one for each interface that its result puts into the pod.
///
/// A result with a single interface is one entry, with all addresses, wherever that interface is. A result without
/// interfaces is none: that is all that readers of the annotation know. Addresses that name no interface go to the
/// last one in the pod; those of an interface on the host are nobody's.
pub fn entries(
    attachment: &Attachment,
    result: &CniResult,
    device_info: Option<&DeviceInfo>,
) -> Vec<NetworkStatus> {
    let blank = NetworkStatus {
        name: attachment.label.clone(),
        dns: result.dns.clone(),
        device_info: device_info.cloned(),
        gateway: gateways(result),
        ..NetworkStatus::default()
    };
    let is_default = attachment.role == Role::Default;
    match result.interfaces.as_slice() {
        [] => Vec::new(),
        [one] => {
            let ips = result.ips.iter().map(|ip| ip.address.ip()).collect();
            let entry = NetworkStatus { ips, default: is_default, ..blank };
            vec![if one.sandbox.is_empty() { entry } else { of_interface(one, entry) }]
        }
        several => of_several(several, result, &blank, is_default),
    }
}

fn of_interface(interface: &Interface, entry: NetworkStatus) -> NetworkStatus {
    NetworkStatus {
        interface: interface.name.clone(),
        mac: interface.mac.clone(),
        mtu: interface.mtu.filter(|mtu| *mtu > 0),
        ..entry
    }
}

fn of_several(
    interfaces: &[Interface],
    result: &CniResult,
    blank: &NetworkStatus,
    is_default: bool,
) -> Vec<NetworkStatus> {
    let pods: Vec<(usize, &Interface)> =
        interfaces.iter().enumerate().filter(|(_, i)| !i.sandbox.is_empty()).collect();
    let in_pod = |index: Option<u32>| {
        index.and_then(|i| usize::try_from(i).ok()).filter(|i| pods.iter().any(|(at, _)| at == i))
    };
    let first = pods.first().map(|(at, _)| *at);
    let last = pods.last().map(|(at, _)| *at);
    let leading = result.ips.iter().filter(|ip| ip.gateway.is_some()).find_map(|ip| in_pod(ip.interface));
    let default = leading.or(first).filter(|_| is_default);
    let each = pods.iter().map(|(at, interface)| {
        let is_its = |index: Option<u32>| match index {
            None => last == Some(*at),
            Some(_) => in_pod(index) == Some(*at),
        };
        let ips = result.ips.iter().filter(|ip| is_its(ip.interface)).map(|ip| ip.address.ip()).collect();
        of_interface(interface, NetworkStatus { ips, default: default == Some(*at), ..blank.clone() })
    });
    each.collect()
}

/// The next hops of the default routes. A route that names none goes through the first gateway of its family (CNI
/// specification 1.1.0, section 5); one of a family without a gateway goes to the link itself, and has none.
fn gateways(result: &CniResult) -> Vec<IpAddr> {
    let of_family =
        |ipv4: bool| result.ips.iter().filter_map(|ip| ip.gateway).find(|gateway| gateway.is_ipv4() == ipv4);
    let routes = result.routes.iter().filter(|route| route.dst.prefix() == 0);
    routes.filter_map(|route| route.gw.or_else(|| of_family(route.dst.is_ipv4()))).collect()
}

/// The annotation's text: a list whose entries are indented by four spaces and follow each other without a break.
pub fn text(entries: &[NetworkStatus]) -> String {
    let each: Vec<String> = entries.iter().map(indented).collect();
    format!("[{}]", each.join(","))
}

fn indented(entry: &NetworkStatus) -> String {
    // Every field is text, a number or a list of such.
    String::from_utf8(json::pretty(entry).unwrap_or_default()).unwrap_or_default()
}

/// Reads an annotation's text; an empty one has no entries.
///
/// # Errors
/// [`FaultKind::Decode`]: text that is no such list.
pub fn parse(text: &str) -> Outcome<Vec<NetworkStatus>> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(text).map_err(|cause| {
        Fault::new(FaultKind::Decode, "cannot read the pod's network status")
            .because(cause)
            .remedy("remove the annotation: it is written again with the pod's next change")
    })
}
