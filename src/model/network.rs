//! A network: a chain of plugin configurations with a name (CNI specification 1.1.0, section 1).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::device::DeviceId;
use super::fault::{Fault, FaultKind, Outcome};
use super::ids::{NetworkName, PluginType};
use super::object::{self, Object};
use super::version::CniVersion;

/// Most plugins in one chain.
pub const MAX_CHAIN: usize = 64;

/// One plugin's configuration: its type, and the object as written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Object")]
pub struct PluginConf {
    kind: PluginType,
    object: Object,
}

impl PluginConf {
    /// The plugin's type.
    pub fn kind(&self) -> &PluginType {
        &self.kind
    }

    /// The configuration as written.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Merges arguments of the pod into `args.cni` (CNI conventions, "args"). An `args` that is no object is replaced.
    ///
    /// # Errors
    /// A value that JSON cannot hold.
    pub fn merge_args(&mut self, more: &Object) -> Outcome<()> {
        let object_at =
            |raw: Option<&RawValue>| raw.and_then(|r| serde_json::from_str::<Object>(r.get()).ok());
        let mut args = object_at(self.object.find("args")).unwrap_or_default();
        let mut cni = object_at(args.find("cni")).unwrap_or_default();
        for (key, value) in more.iter() {
            cni.set(key, value.to_owned());
        }
        args.put("cni", &cni)?;
        self.object.put("args", &args)
    }

    /// Tells the plugin of its device, under both names that plugins know.
    ///
    /// # Errors
    /// A value that JSON cannot hold.
    pub fn set_device(&mut self, device: &DeviceId) -> Outcome<()> {
        ["deviceID", "pciBusID"].into_iter().try_for_each(|key| self.object.put(key, device))
    }

    /// Whether the configuration names a device, under any of the keys by which plugins are told of one.
    pub fn names_device(&self) -> bool {
        let written = |key: &&str| self.object.find(key).is_some_and(|raw| raw.get() != "\"\"");
        ["deviceID", "pciBusID", "device", "hwaddr", "kernelpath"].iter().any(written)
    }

    /// Whether the plugin asked for this capability with `"capabilities": {"name": true}`.
    pub fn wants(&self, capability: &str) -> bool {
        let Some(raw) = self.object.find("capabilities") else { return false };
        let wanted: Object = serde_json::from_str(raw.get()).unwrap_or_default();
        wanted.get(capability).is_some_and(|v| v.get() == "true")
    }

    /// Refuses capabilities of which it cannot be told whether they are asked for.
    ///
    /// # Errors
    /// `capabilities` is no object, or one of them is neither true nor false.
    pub fn refuse_wrong_capabilities(&self) -> Outcome<()> {
        let Some(raw) = self.object.find("capabilities") else { return Ok(()) };
        object::decode::<BTreeMap<String, bool>>(raw, "\"capabilities\"").map(drop)
    }

    /// The configuration the plugin is given: `name` and `cniVersion` of its network, `runtimeConfig` with the
    /// capabilities it asked for, and `prevResult` (specification 1.1.0, section 3, "Deriving request configuration
    /// from plugin configuration"). Everything else is as written.
    ///
    /// # Errors
    /// A value that JSON cannot hold.
    pub fn request(&self, network: &Network, inject: Inject<'_>) -> Outcome<Object> {
        let mut request = self.object.clone();
        request.put("cniVersion", &network.version)?;
        request.put("name", &network.name)?;
        let mut given = Object::default();
        for (key, value) in inject.capabilities.iter().filter(|(key, _)| self.wants(key)) {
            given.set(key, value.to_owned());
        }
        if !given.is_empty() {
            request.put("runtimeConfig", &given)?;
        }
        if let Some(result) = inject.prev_result {
            request.set("prevResult", result);
        }
        Ok(request)
    }
}

/// What a plugin is told beyond its configuration.
#[derive(Debug)]
pub struct Inject<'a> {
    /// The values of all capabilities the runtime or the pod gave.
    pub capabilities: &'a Object,
    /// The result so far, in the network's version.
    pub prev_result: Option<Box<RawValue>>,
}

impl TryFrom<Object> for PluginConf {
    type Error = Fault;

    fn try_from(object: Object) -> Outcome<Self> {
        let kind: String = match object.find("type") {
            None => String::new(),
            Some(raw) => object::decode(raw, "\"type\"")?,
        };
        Ok(Self { kind: kind.parse()?, object })
    }
}

impl Serialize for PluginConf {
    /// As written.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.serialize(serializer)
    }
}

/// A named chain of plugins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The name plugins see, and under which addresses are kept.
    pub name: NetworkName,
    /// The version the chain is spoken to in.
    pub version: CniVersion,
    /// Whether CHECK is to succeed without looking.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_check: bool,
    /// Whether GC is to succeed without looking.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disable_gc: bool,
    /// Whether plugin files beside the list are left alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_inlined: bool,
    /// The chain, at least one plugin once complete.
    pub plugins: Vec<PluginConf>,
    /// The configuration as it was written, for the caches that other programs read. It is not part of records.
    #[serde(skip)]
    pub source: RawValueEq,
}

/// Raw JSON that compares by its text.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawValueEq(Box<RawValue>);

impl RawValueEq {
    /// The text.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// The value, to be set in an [`Object`].
    pub fn raw(&self) -> &RawValue {
        &self.0
    }
}

impl From<Box<RawValue>> for RawValueEq {
    fn from(raw: Box<RawValue>) -> Self {
        Self(raw)
    }
}

impl PartialEq for RawValueEq {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for RawValueEq {}

/// The keys of a list, or of a single configuration.
#[derive(Deserialize)]
struct Keys {
    name: Option<String>,
    cniversion: Option<String>,
    #[serde(default)]
    cniversions: Vec<String>,
    #[serde(default)]
    disablecheck: Flag,
    #[serde(default)]
    disablegc: Flag,
    #[serde(default)]
    loadonlyinlinedplugins: Flag,
}

/// `true`, `false`, or one of them as text in any letter case (CNI 0.4.0 documented a text).
#[derive(Default, Clone, Copy, PartialEq, Eq)]
struct Flag(bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "it is neither true nor false")]
        enum Either {
            Bool(bool),
            Text(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Bool(flag) => Ok(Self(flag)),
            Either::Text(text) if text.eq_ignore_ascii_case("true") => Ok(Self(true)),
            Either::Text(text) if text.eq_ignore_ascii_case("false") => Ok(Self(false)),
            Either::Text(text) => {
                Err(serde::de::Error::custom(format!("{text:?} is neither true nor false")))
            }
        }
    }
}

impl Network {
    /// Reads a network from JSON: a list with `plugins`, or a single plugin's configuration, which becomes a chain of
    /// one. `default_name` is used where the configuration has no name.
    ///
    /// # Errors
    /// No JSON object; no valid name; a version we do not speak; no plugin; a plugin without `type`.
    pub fn parse(bytes: &[u8], default_name: Option<&str>) -> Outcome<Self> {
        Self::parse_within(bytes, default_name, CniVersion::V0_1_0)
    }

    /// As [`Network::parse`], for a network within another configuration: one that names no version is spoken to in
    /// that of the whole.
    ///
    /// # Errors
    /// As [`Network::parse`].
    pub fn parse_within(bytes: &[u8], default_name: Option<&str>, version: CniVersion) -> Outcome<Self> {
        Self::parse_open(bytes, default_name, version)?.complete()
    }

    /// As [`Network::parse_within`], for a list whose plugins may come from files beside it (specification 1.1.0, section 1,
    /// `loadOnlyInlinedPlugins`): an absent `plugins` is an empty chain, to be appended to and completed.
    ///
    /// # Errors
    /// As [`Network::parse`], but for an absent `plugins`. One that is written and empty is refused.
    pub fn parse_open(
        bytes: &[u8],
        default_name: Option<&str>,
        default_version: CniVersion,
    ) -> Outcome<Self> {
        let whole = Object::parse(bytes, "the network's configuration")?;
        let source = serde_json::from_slice(bytes).map(RawValueEq).map_err(|cause| {
            Fault::new(FaultKind::Decode, "cannot read the network's configuration").because(cause)
        })?;
        let keys: Keys = whole.decode("the network's configuration")?;
        let name = keys.name.as_deref().filter(|n| !n.is_empty()).or(default_name).unwrap_or_default();
        let plugins = match whole.find("plugins") {
            Some(raw) => inlined(raw)?,
            None if whole.find("type").is_some() => vec![PluginConf::try_from(whole)?],
            None => Vec::new(),
        };
        Ok(Self {
            name: name.parse()?,
            version: match (&keys.cniversion, keys.cniversions.as_slice()) {
                (None, []) => default_version,
                (version, versions) => CniVersion::choose(version.as_deref(), versions)?,
            },
            disable_check: keys.disablecheck.0,
            disable_gc: keys.disablegc.0,
            only_inlined: keys.loadonlyinlinedplugins.0,
            plugins,
            source,
        })
    }

    /// The configuration as one text, with what was injected into its plugins since it was read: a list where it was
    /// written as one, or where how it was written is not known any more.
    ///
    /// # Errors
    /// A value that JSON cannot hold.
    pub fn to_object(&self) -> Outcome<Object> {
        let written: Option<Object> = serde_json::from_str(self.source.get()).ok();
        let mut whole = match (written, self.plugins.as_slice()) {
            (Some(written), [alone]) if written.find("plugins").is_none() => alone.object().clone(),
            (written, plugins) => {
                let mut list = written.unwrap_or_default();
                list.put("plugins", plugins)?;
                list
            }
        };
        whole.put("cniVersion", &self.version)?;
        whole.put("name", &self.name)?;
        Ok(whole)
    }

    /// Appends the plugin of a file beside the list, unless the list wants to be left alone
    /// (`loadOnlyInlinedPlugins`).
    pub fn append(&mut self, plugin: PluginConf) {
        if !self.only_inlined {
            self.plugins.push(plugin);
        }
    }

    /// The network, once all its plugins are there.
    ///
    /// # Errors
    /// No plugin at all, or more than [`MAX_CHAIN`].
    pub fn complete(self) -> Outcome<Self> {
        let (found, remedy) = match self.plugins.len() {
            0 if self.only_inlined => (
                "no plugins".to_owned(),
                "name at least one in \"plugins\", or drop \"loadOnlyInlinedPlugins\"".to_owned(),
            ),
            0 => ("no plugins".to_owned(), "name at least one in \"plugins\"".to_owned()),
            n if n > MAX_CHAIN => (format!("{n} plugins"), format!("use at most {MAX_CHAIN}")),
            _ => return Ok(self),
        };
        let what = format!("network {:?} has {found}", self.name.as_str());
        Err(Fault::new(FaultKind::Config, what).remedy(remedy))
    }
}

/// The plugins written inside a list.
fn inlined(raw: &RawValue) -> Outcome<Vec<PluginConf>> {
    let objects: Vec<Object> = serde_json::from_str(raw.get()).map_err(|cause| {
        Fault::new(FaultKind::Decode, "cannot read \"plugins\"")
            .because(cause)
            .remedy("make it a list of objects")
    })?;
    if objects.is_empty() || objects.len() > MAX_CHAIN {
        return Err(Fault::new(FaultKind::Config, format!("\"plugins\" has {} entries", objects.len()))
            .remedy(format!("name 1 to {MAX_CHAIN} plugins")));
    }
    objects.into_iter().map(PluginConf::try_from).collect()
}

impl fmt::Display for Network {
    /// `name (macvlan, tuning)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<&str> = self.plugins.iter().map(|p| p.kind().as_str()).collect();
        write!(f, "{} ({})", self.name, kinds.join(", "))
    }
}

#[cfg(test)]
mod tests;
