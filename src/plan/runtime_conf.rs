//! The configuration that is written for the container runtime, around that of the plugin that makes the default network.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::settings::{Installation, Name, Program, Settings};
use crate::model::{CniVersion, Network, NetworkName, Object, object};

/// The configuration of the plugin that makes the default network.
#[derive(Debug)]
pub struct Primary<'a> {
    /// The file it is in.
    pub path: &'a Path,
    /// What is in it, with the plugins beside it.
    pub network: &'a Network,
}

/// The text to write: a list where the file's name says so, else a single plugin.
///
/// A shim's daemon reads the primary for each call, where it is. A program without a daemon may see the runtime's
/// directory at another path than who writes this: it is given the primary itself.
///
/// # Errors
/// What would be written is none that Manifold itself reads.
pub fn around(primary: &Primary<'_>, installation: &Installation) -> Outcome<Vec<u8>> {
    let network = primary.network;
    let version = installation.version.unwrap_or(network.version);
    let name = match &installation.name {
        Name::Given(name) => name,
        Name::Primarys => &network.name,
    };
    let mut plugin = Object::default();
    plugin.put("type", installation.program.as_str())?;
    let capabilities = capabilities(network, &installation.capabilities);
    if !capabilities.is_empty() {
        plugin.put("capabilities", &capabilities)?;
    }
    if installation.program.is_shim() {
        plugin.put("clusterNetwork", primary.path)?;
        if let Some(dir) = &installation.socket_dir {
            plugin.put("daemonSocketDir", dir)?;
        }
    } else {
        plugin.put("delegates", &[network.to_object()?])?;
        if let Some(file) = &installation.readiness_file {
            plugin.put("readinessindicatorfile", file)?;
        }
    }
    for (key, value) in installation.template.iter() {
        if plugin.find(key).is_none() {
            plugin.set(key, value.to_owned());
        }
    }
    let is_list = installation.file.ends_with(".conflist");
    let written = text(version, name, plugin, is_list)?;
    is_ours(&written, is_list)?;
    Ok(written)
}

/// What all plugins of a chain declare, and what is declared beside it.
fn capabilities(network: &Network, more: &Object) -> BTreeMap<String, bool> {
    let declared = network.plugins.iter().filter_map(|plugin| plugin.object().find("capabilities"));
    // What is no object declares nothing.
    let each = declared.map(|raw| serde_json::from_str::<Object>(raw.get()).unwrap_or_default());
    let is_true = |value: &RawValue| value.get() == "true";
    let names = each.chain([more.clone()]).flat_map(|object| {
        let names = object.iter().filter(|(_, value)| is_true(value)).map(|(key, _)| key.to_owned());
        names.collect::<Vec<_>>()
    });
    names.map(|name| (name, true)).collect()
}

/// A list of one plugin.
#[derive(Serialize)]
struct List<'a> {
    #[serde(rename = "cniVersion")]
    version: CniVersion,
    name: &'a NetworkName,
    plugins: [Object; 1],
}

fn text(version: CniVersion, name: &NetworkName, plugin: Object, is_list: bool) -> Outcome<Vec<u8>> {
    let written = if is_list {
        serde_json::to_vec_pretty(&List { version, name, plugins: [plugin] })
    } else {
        let mut whole = Object::default();
        whole.put("cniVersion", &version)?;
        whole.put("name", name)?;
        plugin.iter().for_each(|(key, value)| whole.set(key, value.to_owned()));
        serde_json::to_vec_pretty(&whole)
    };
    let mut written = written
        .map_err(|cause| Fault::new(FaultKind::Decode, "cannot write the configuration").because(cause))?;
    written.push(b'\n');
    Ok(written)
}

/// Whether a text is a configuration that makes a container runtime call Manifold, and that Manifold reads. A runtime
/// reads lists only in files that say so.
///
/// # Errors
/// Why it is none.
pub fn is_ours(text: &[u8], is_list: bool) -> Outcome<()> {
    let whole = Object::parse(text, "the configuration")?;
    if whole.find("plugins").is_some() != is_list {
        return Err(Fault::new(FaultKind::Config, "its name does not fit its form")
            .remedy("name a list of \"plugins\" \".conflist\", and a single plugin \".conf\""));
    }
    let plugin = first_plugin(whole)?;
    let kind = word(&plugin, "type")?;
    if Program::named(&kind).is_none() {
        return Err(Fault::new(FaultKind::Config, format!("its \"type\" is {kind:?}"))
            .remedy("write a configuration whose \"type\" is Manifold's"));
    }
    let name: NetworkName = word(&plugin, "name")?.parse()?;
    Settings::read(&plugin, name.as_str()).map(drop)
}

/// The program of Manifold's that a configuration has the runtime call; `None` if it is another's, or none at all.
#[must_use]
pub fn program(text: &[u8]) -> Option<Program> {
    let plugin = first_plugin(Object::parse(text, "the configuration").ok()?).ok()?;
    Program::named(&word(&plugin, "type").ok()?)
}

/// The configuration itself; of a list, that of its first plugin, as a runtime completes it.
///
/// # Errors
/// `plugins` is no list of objects.
pub fn first_plugin(whole: Object) -> Outcome<Object> {
    let Some(chain) = whole.find("plugins") else { return Ok(whole) };
    let chain: Vec<Object> = serde_json::from_str(chain.get())
        .map_err(|cause| Fault::new(FaultKind::Decode, "cannot read \"plugins\"").because(cause))?;
    let mut first = chain.into_iter().next().unwrap_or_default();
    for key in ["name", "cniVersion"] {
        if let Some(value) = whole.find(key) {
            first.set(key, value.to_owned());
        }
    }
    Ok(first)
}

fn word(object: &Object, key: &str) -> Outcome<String> {
    object.find(key).map_or(Ok(String::new()), |raw| object::decode(raw, &format!("{key:?}")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn installation(keys: &Value) -> Installation {
        Installation::read(&Object::parse(keys.to_string().as_bytes(), "the test").unwrap()).unwrap()
    }

    fn written(primary: &Value, keys: &Value) -> Outcome<Value> {
        let network = Network::parse(primary.to_string().as_bytes(), None).unwrap();
        let primary = Primary { path: Path::new("/etc/cni/net.d/10-x.conflist"), network: &network };
        around(&primary, &installation(keys)).map(|text| serde_json::from_slice(&text).unwrap())
    }

    fn calico() -> Value {
        json!({"name": "k8s", "cniVersion": "0.3.1", "plugins": [
            {"type": "calico", "mtu": 1440, "ipam": {"type": "calico-ipam"}, "capabilities": {"bandwidth": false}},
            {"type": "portmap", "snat": true, "capabilities": {"portMappings": true}},
        ]})
    }

    #[test]
    fn a_shims_configuration_names_the_primary_and_declares_what_its_plugins_do() {
        let written =
            written(&calico(), &json!({"binDir": "/b", "metricsPort": 1, "readinessindicatorfile": "/r"}));

        let plugin = json!({
            "type": "manifold-shim", "capabilities": {"portMappings": true},
            "clusterNetwork": "/etc/cni/net.d/10-x.conflist", "binDir": "/b",
        });
        assert_eq!(written.unwrap(), json!({"cniVersion": "0.3.1", "name": "manifold", "plugins": [plugin]}));
    }

    #[test]
    fn without_a_daemon_the_primary_is_written_in_as_it_is() {
        let keys = json!({
            "type": "multus", "cniConfigName": "00-multus.conf", "kubeconfig": "/k", "cniVersion": "0.4.0",
            "readinessindicatorfile": "/r", "capabilities": {"mac": true, "ips": false},
        });

        let mut primary = calico();
        let written = written(&primary, &keys).unwrap();

        primary["cniVersion"] = json!("0.3.1");
        assert_eq!(
            written,
            json!({
                "cniVersion": "0.4.0", "name": "multus-cni-network", "type": "multus",
                "capabilities": {"mac": true, "portMappings": true}, "delegates": [primary],
                "readinessindicatorfile": "/r", "kubeconfig": "/k",
            })
        );
    }

    #[test]
    fn the_name_can_be_the_primarys_or_given() {
        for (keys, name) in [
            (json!({"overrideNetworkName": true, "name": "x"}), "k8s"),
            (json!({"name": "x"}), "x"),
            (json!({"type": "multus-shim"}), "multus-cni-network"),
        ] {
            assert_eq!(written(&calico(), &keys).unwrap()["name"], name);
        }
    }

    #[test]
    fn what_manifold_would_not_read_is_not_written() {
        let fault = written(&calico(), &json!({"logFormat": "xml"})).unwrap_err();

        assert_eq!(fault.to_string(), r#""logFormat" is "xml""#);
    }

    #[test]
    fn what_makes_no_runtime_call_manifold_is_not_ours() {
        for text in [
            "",
            "{}",
            r#"{"cniVersion":"1.0.0","name":"x","type":"manifold","clusterNetwork":"x"}"#,
            r#"{"cniVersion":"1.0.0","name":"x","plugins":[{"type":"manifold"}]}"#,
            r#"{"cniVersion":"1.0.0","name":"x","plugins":[]}"#,
            r#"{"cniVersion":"1.0.0","name":"x","plugins":[{"type":"bridge"},{"type":"manifold"}]}"#,
            r#"{"cniVersion":"1.0.0","plugins":[{"type":"manifold","clusterNetwork":"x"}]}"#,
        ] {
            assert!(is_ours(text.as_bytes(), true).is_err(), "{text}");
        }
        let list =
            br#"{"cniVersion":"1.0.0","name":"x","plugins":[{"type":"multus-shim","clusterNetwork":"x"}]}"#;
        is_ours(list, true).unwrap();
        assert!(is_ours(list, false).is_err());
        assert_eq!((program(list), program(b"{")), (Some(Program::MultusShim), None));
    }
}
