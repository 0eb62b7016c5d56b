//! One entry of a sandbox's file, in the words of the program that reads it too.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::object::{self, Object};
use crate::model::{Attachment, IfName, Network, PluginConf};

/// The key by which Manifold knows its own entries; that program passes over it.
const OURS: &str = "manifold";
/// One attachment as the file tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegate {
    /// The name a person knows the network by.
    pub label: String,
    /// The interface asked for; the first has the sandbox's, the n-th after it `net<n>` where it has none.
    pub interface: Option<IfName>,
    /// The network.
    pub network: Network,
    /// What was asked for under the names of the capabilities, as far as the file tells.
    pub capabilities: Object,
    /// Whether Manifold wrote it.
    pub ours: bool,
}

/// The keys of an entry that are read.
#[derive(Deserialize)]
struct Keys {
    #[serde(default)]
    name: String,
    #[serde(default)]
    ifnamerequest: String,
    macrequest: Option<String>,
    infinibandguidrequest: Option<String>,
    #[serde(default)]
    iprequest: Vec<String>,
    deviceid: Option<String>,
    bytes: Option<String>,
    #[serde(default)]
    manifold: bool,
}

/// Reads one entry. Its `Bytes` are the configuration as it was used; the other keys repeat only what every plugin has.
pub(super) fn delegate(entry: &RawValue) -> Outcome<Delegate> {
    let keys: Keys = object::decode(entry, "the entry")?;
    let bytes = STANDARD
        .decode(keys.bytes.unwrap_or_default())
        .map_err(|cause| Fault::new(FaultKind::Decode, "cannot read its \"Bytes\"").because(cause))?;
    let network = Network::parse(&bytes, None)?;
    let interface = Some(keys.ifnamerequest).filter(|name| !name.is_empty());
    let mut capabilities = Object::default();
    let asked = [
        ("mac", keys.macrequest),
        ("infinibandGUID", keys.infinibandguidrequest),
        ("deviceID", keys.deviceid),
    ];
    for (key, value) in asked {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            capabilities.put(key, &value)?;
        }
    }
    if !keys.iprequest.is_empty() {
        capabilities.put("ips", &keys.iprequest)?;
    }
    let label = if keys.name.is_empty() { network.name.to_string() } else { keys.name };
    Ok(Delegate {
        label,
        interface: interface.map(|name| name.parse()).transpose()?,
        network,
        capabilities,
        ours: keys.manifold,
    })
}

/// An entry in the words of that program.
pub(super) fn entry(attachment: &Attachment) -> Outcome<Box<RawValue>> {
    let Attachment { network, routing, capabilities, .. } = attachment;
    let whole = network.to_object()?;
    let is_list = whole.find("plugins").is_some();
    let plugins: Vec<Value> = network.plugins.iter().map(generic).collect();
    let mut head = json!({"cniVersion": network.version, "name": network.name});
    let (conf, list) = match (is_list, plugins.as_slice()) {
        (false, [alone]) => (with(head, alone), json!({})),
        _ => {
            with_key(&mut head, "plugins", plugins.into());
            (json!({"ipam": {}, "dns": {}}), head)
        }
    };
    let mut entry = Object::default();
    entry.put("Conf", &conf)?;
    entry.put("ConfList", &list)?;
    entry.put("Name", &attachment.label)?;
    entry.put("ifnameRequest", &attachment.owner.ifname)?;
    let asked = [
        ("macRequest", "mac"),
        ("infinibandGUIDRequest", "infinibandGUID"),
        ("ipRequest", "ips"),
        ("deviceID", "deviceID"),
    ];
    for (key, capability) in asked {
        if let Some(value) = capabilities.find(capability) {
            entry.set(key, value.to_owned());
        }
    }
    if !routing.take_default.is_empty() {
        entry.put("default-route", &routing.take_default)?;
    }
    entry.put("IsFilterV4Gateway", &routing.yield_ipv4)?;
    entry.put("IsFilterV6Gateway", &routing.yield_ipv6)?;
    entry.put("Bytes", &STANDARD.encode(whole.to_bytes()))?;
    entry.put(OURS, &true)?;
    serde_json::value::to_raw_value(&entry)
        .map_err(|cause| Fault::new(FaultKind::Decode, "cannot write an entry").because(cause))
}

/// The keys every plugin has, which that program keeps beside the whole.
fn generic(conf: &PluginConf) -> Value {
    let ipam: Object =
        conf.object().find("ipam").and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let kind: Option<String> = ipam.find("type").and_then(|raw| serde_json::from_str(raw.get()).ok());
    let mut value = json!({"type": conf.kind(), "ipam": {}, "dns": {}});
    if let (Some(kind), Some(place)) = (kind, value.get_mut("ipam")) {
        *place = json!({ "type": kind });
    }
    value
}

fn with(mut head: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().into_iter().flatten() {
        with_key(&mut head, key, value.clone());
    }
    head
}

fn with_key(object: &mut Value, key: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(key.to_owned(), value);
    }
}

/// The interface that an entry asks for.
pub(super) fn asked_interface(entry: &RawValue) -> Option<String> {
    let keys: Keys = object::decode(entry, "the entry").ok()?;
    Some(keys.ifnamerequest).filter(|name| !name.is_empty())
}

/// Whether an entry asks for this interface.
pub(super) fn is_of(entry: &RawValue, ifname: &IfName) -> bool {
    asked_interface(entry).is_some_and(|asked| asked == ifname.as_str())
}
