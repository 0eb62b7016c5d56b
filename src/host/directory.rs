//! Networks from a directory: NetworkAttachmentDefinitions as YAML or JSON, and plain CNI configuration files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::engine::ports::Networks;
use crate::model::fault::{Fault, Outcome};
use crate::model::folded;
use crate::model::pod::RESOURCE_NAME;
use crate::model::{CniVersion, FaultKind, Network, Object, PluginConf};
use crate::plan::resolve::Named;

/// Most files read.
const MAX_FILES: usize = 4096;
/// Longest file read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The networks beneath a directory.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
    /// The version of networks that name none.
    version: CniVersion,
}

/// One network found, or why it is none.
struct Definition {
    namespace: Option<String>,
    name: String,
    network: Outcome<Network>,
    /// The resource of whose devices it needs one.
    resource: Option<String>,
}

/// What is read of a NetworkAttachmentDefinition (keys in lower case: see [`folded`]).
#[derive(Deserialize)]
struct Manifest {
    kind: String,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    items: Vec<Manifest>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    name: String,
    namespace: Option<String>,
    #[serde(default)]
    annotations: BTreeMap<String, Value>,
}

#[derive(Deserialize, Default)]
struct Spec {
    config: Option<Value>,
}

impl Directory {
    /// The networks beneath `path`. Those that name no version are of `version`.
    pub fn new(path: impl Into<PathBuf>, version: CniVersion) -> Self {
        Self { path: path.into(), version }
    }

    /// The network in one file; if it names no version, it is of `version`.
    ///
    /// # Errors
    /// It cannot be read, or is no network.
    pub fn file(path: &Path, version: CniVersion) -> Outcome<Named> {
        let found = plain(path, &text(path)?, version)?;
        let network = found.network.map_err(|fault| fault.while_doing(format!("network in {path:?}")))?;
        Ok(Named::new(found.name, network))
    }

    /// The network in the first file, by name, of a directory; if it names no version, it is of `version`.
    ///
    /// # Errors
    /// There is none, or it is no network.
    pub fn first(path: &Path, version: CniVersion) -> Outcome<Named> {
        let mut files = Self::new(path, version).files()?;
        files.retain(|file| file.extension().is_some_and(|e| e == "conf" || e == "conflist" || e == "json"));
        let first = files.first().ok_or_else(|| {
            Fault::new(FaultKind::Absent, format!("no network in {path:?}"))
                .remedy("put the default network's configuration there")
        })?;
        Self::file(first, version)
    }

    /// All definitions, in the order of their files' names, and what was wrong with files that hold none.
    fn definitions(&self) -> Outcome<(Vec<Definition>, Vec<Fault>)> {
        let mut definitions = Vec::new();
        let mut faults = Vec::new();
        for path in self.files()? {
            match read(&path, self.version) {
                Ok(found) => definitions.extend(found),
                Err(fault) => faults.push(fault),
            }
        }
        Ok((definitions, faults))
    }

    fn files(&self) -> Outcome<Vec<PathBuf>> {
        let unreadable = |cause: std::io::Error| {
            Fault::new(FaultKind::Io, format!("cannot read the networks in {:?}", self.path))
                .because(cause)
                .remedy("make the directory, or name the right one")
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let known = path
                .extension()
                .is_some_and(|e| ["conf", "conflist", "json", "yaml", "yml"].iter().any(|k| e == *k));
            if known && path.is_file() {
                files.push(path);
            }
        }
        if files.len() > MAX_FILES {
            return Err(Fault::new(
                FaultKind::Config,
                format!("{:?} holds more than {MAX_FILES} networks", self.path),
            )
            .remedy("remove those that no pod asks for"));
        }
        files.sort_unstable();
        Ok(files)
    }
}

impl Networks for Directory {
    fn network(&self, namespace: Option<&str>, name: &str) -> Outcome<Named> {
        let (definitions, faults) = self.definitions()?;
        let same_space = |d: &Definition| {
            namespace.is_none() || d.namespace.is_none() || d.namespace.as_deref() == namespace
        };
        let (mut matching, others): (Vec<_>, Vec<_>) =
            definitions.into_iter().filter(|d| d.name == name).partition(same_space);
        if matching.len() > 1 {
            return Err(Fault::new(
                FaultKind::Config,
                format!("{:?} holds {} networks named {name:?}", self.path, matching.len()),
            )
            .remedy("write the namespace too, as in \"namespace/name\", or rename one"));
        }
        let Some(found) = matching.pop() else {
            // Where there is one of that name, its namespace is what is wrong.
            let space = namespace.filter(|_| !others.is_empty());
            let asked = space.map_or_else(|| name.to_owned(), |space| format!("{space}/{name}"));
            return Err(Fault::new(
                FaultKind::Absent,
                format!("no network named {asked:?} in {:?}", self.path),
            )
            .remedy(if faults.is_empty() {
                "correct the name, or put the network's definition there"
            } else {
                "correct the name, put the network's definition there, or mend the files that cannot be read"
            })
            .along_with(faults));
        };
        let label = found.namespace.map_or_else(|| name.to_owned(), |ns| format!("{ns}/{name}"));
        let network = found
            .network
            .map_err(|fault| fault.while_doing(format!("network {label:?} in {:?}", self.path)))?;
        let resource = found.resource.as_deref().map(str::parse).transpose().map_err(|fault: Fault| {
            fault.while_doing(format!("network {label:?} in {:?}: annotation {RESOURCE_NAME:?}", self.path))
        })?;
        Ok(Named { resource, ..Named::new(label, network) })
    }
}

/// The definitions in one file.
fn read(path: &Path, version: CniVersion) -> Outcome<Vec<Definition>> {
    let text = text(path)?;
    let yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
    let undecodable = |cause: Box<dyn std::error::Error + Send + Sync>| {
        Fault::new(FaultKind::Decode, format!("cannot read {path:?}"))
            .because(cause)
            .remedy("correct the file")
    };
    let documents: Vec<Value> = if yaml {
        serde_saphyr::from_multiple(&text)
            .map_err(|cause| undecodable(cause.without_snippet().to_string().into()))?
    } else {
        vec![serde_json::from_str(&text).map_err(|cause| undecodable(cause.into()))?]
    };
    let mut definitions = Vec::new();
    for document in documents.into_iter().filter(|d| !d.is_null()) {
        let document =
            serde_json::value::to_raw_value(&document).map_err(|cause| undecodable(cause.into()))?;
        match folded::decode::<Manifest>(&document) {
            Ok(manifest) => definitions.extend(manifests(manifest, version)),
            Err(cause) if yaml => return Err(undecodable(cause.into())),
            // JSON without a "kind" is a plain configuration.
            Err(_) => definitions.push(plain(path, &text, version)?),
        }
    }
    Ok(definitions)
}

/// The NetworkAttachmentDefinitions in a manifest, which may be a list of them. Other kinds are passed over.
fn manifests(manifest: Manifest, version: CniVersion) -> Vec<Definition> {
    match manifest.kind.as_str() {
        "List" | "NetworkAttachmentDefinitionList" => {
            manifest.items.into_iter().flat_map(|item| manifests(item, version)).collect()
        }
        "NetworkAttachmentDefinition" => {
            let Metadata { name, namespace, annotations } = manifest.metadata;
            // Keys are folded, those of annotations too.
            let resource = annotations.get(&RESOURCE_NAME.to_ascii_lowercase()).and_then(Value::as_str);
            let resource = resource.map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
            let network = config(manifest.spec.config.as_ref())
                .and_then(|config| Network::parse_within(config.as_bytes(), Some(&name), version));
            vec![Definition { namespace, name, network, resource }]
        }
        _ => Vec::new(),
    }
}

/// The CNI configuration in a definition: a text.
fn config(value: Option<&Value>) -> Outcome<&str> {
    let wrong = |what: &str, remedy: &'static str| Err(Fault::new(FaultKind::Config, what).remedy(remedy));
    match value {
        None => wrong("\"spec.config\" is absent", "write the network's CNI configuration there, as a text"),
        Some(Value::String(text)) => Ok(text),
        Some(_) => {
            wrong("\"spec.config\" is no text", "write \"config: |\", and the JSON indented beneath it")
        }
    }
}

/// A plain configuration file: a list, completed by plugin files beside it, or a single plugin.
fn plain(path: &Path, text: &str, version: CniVersion) -> Outcome<Definition> {
    let mut network = Network::parse_open(text.as_bytes(), None, version)
        .map_err(|fault| fault.while_doing(format!("file {path:?}")))?;
    let name = network.name.to_string();
    if path.extension().is_some_and(|e| e == "conflist") {
        for plugin in plugins_beside(path, &name)? {
            network.append(plugin);
        }
    }
    Ok(Definition { namespace: None, name, network: network.complete(), resource: None })
}

/// The plugins in `<directory>/<network>/*.conf` (CNI specification 1.1.0, `loadOnlyInlinedPlugins`).
///
/// # Errors
/// The folder or a file in it cannot be read. That there is no folder is no error.
pub fn plugins_beside(path: &Path, name: &str) -> Outcome<Vec<PluginConf>> {
    let beside = path.with_file_name(name);
    let listing = match fs::read_dir(&beside) {
        Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        other => other
            .map_err(|cause| Fault::new(FaultKind::Io, format!("cannot read {beside:?}")).because(cause))?,
    };
    let mut files: Vec<PathBuf> = listing.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "conf") && file.is_file());
    files.sort_unstable();
    let read = |file: &PathBuf| {
        let plugin: Outcome<PluginConf> =
            Object::parse(text(file)?.as_bytes(), &format!("{file:?}"))?.try_into();
        plugin.map_err(|fault| fault.while_doing(format!("file {file:?}")))
    };
    files.iter().map(read).collect()
}

fn text(path: &Path) -> Outcome<String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text));
    read.map_err(|cause| Fault::new(FaultKind::Io, format!("cannot read {path:?}")).because(cause))?;
    if text.len() as u64 > MAX_FILE {
        return Err(Fault::new(FaultKind::Decode, format!("{path:?} is longer than {MAX_FILE} bytes"))
            .remedy("put each network into a file of its own"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACVLAN: &str = r#"{"cniVersion":"1.0.0","name":"mv","type":"macvlan","ipam":{}}"#;

    fn directory(files: &[(&str, &str)]) -> (tempfile::TempDir, Directory) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let networks = Directory::new(dir.path(), CniVersion::V0_1_0);
        (dir, networks)
    }

    fn manifest(namespace: &str, name: &str) -> String {
        format!(
            "kind: NetworkAttachmentDefinition\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  config: '{{\"type\": \"macvlan\"}}'\n"
        )
    }

    #[test]
    fn definitions_and_plain_files_are_found_by_name() {
        let yaml = format!("{}---\n{}", manifest("red", "a"), manifest("red", "b"));
        let json = r#"{"kind":"NetworkAttachmentDefinition","metadata":{"name":"c"},"spec":{"config":"{\"type\":\"vlan\"}"}}"#;
        let (_dir, networks) = directory(&[("nets.yaml", &yaml), ("c.json", json), ("10-mv.conf", MACVLAN)]);

        for (namespace, name, label) in
            [(None, "a", "red/a"), (Some("red"), "b", "red/b"), (None, "c", "c"), (Some("x"), "mv", "mv")]
        {
            let named = networks.network(namespace, name).unwrap();
            assert_eq!((named.label.as_str(), named.network.name.as_str()), (label, name));
        }
        let fault = networks.network(Some("blue"), "a").unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Absent);
        assert!(fault.to_string().starts_with("no network named \"blue/a\" in "), "{fault}");
        let fault = networks.network(Some("blue"), "none").unwrap_err();
        assert!(fault.to_string().starts_with("no network named \"none\" in "), "{fault}");
    }

    #[test]
    fn what_is_wrong_with_a_definition_is_said_in_one_line() {
        let of =
            |spec: &str| format!("kind: NetworkAttachmentDefinition\nmetadata: {{name: a}}\nspec: {spec}\n");
        let (_dir, networks) = directory(&[("a.yaml", &of("{confg: '{}'}"))]);
        let fault = networks.network(None, "a").unwrap_err();
        assert!(fault.to_string().ends_with("\"spec.config\" is absent"), "{fault}");

        let (_dir, networks) = directory(&[("a.yaml", &of("{config: {type: macvlan}}"))]);
        let fault = networks.network(None, "a").unwrap_err();
        assert!(fault.to_string().ends_with("\"spec.config\" is no text"), "{fault}");

        let (_dir, networks) = directory(&[("a.yaml", "kind: X\nmetadata:\n\tname: a\n")]);
        let fault = networks.network(None, "a").unwrap_err();
        let [unread] = fault.companions() else { panic!("{fault}") };
        let told = unread.to_string();
        assert!(told.contains("line 3") && told.lines().count() == 1, "{told}");
    }

    #[test]
    fn a_list_takes_plugins_from_files_beside_it() {
        let list = r#"{"cniVersion":"1.1.0","name":"mv","plugins":[{"type":"macvlan"}]}"#;
        let beside = [
            ("mv/20-b.conf", r#"{"type":"tuning"}"#),
            ("mv/10-a.conf", r#"{"type":"sbr"}"#),
            ("mv/x.json", "no"),
        ];
        let (_dir, networks) = directory(&[&[("net.conflist", list)], &beside[..]].concat());

        assert_eq!(networks.network(None, "mv").unwrap().network.to_string(), "mv (macvlan, sbr, tuning)");

        let (_dir, networks) = directory(&[("net.conflist", list), ("mv/10-a.conf", r#"{"mtu":1}"#)]);
        let reply = networks.network(None, "mv").unwrap_err().to_reply();
        assert!(reply.details.contains("mv/10-a.conf\": a plugin configuration has no"), "{reply:?}");
    }

    #[test]
    fn a_bad_file_does_not_hide_the_others_and_is_named_when_a_network_is_missing() {
        let (_dir, networks) = directory(&[("a.conf", "{nonsense"), ("b.conf", MACVLAN)]);

        assert!(networks.network(None, "mv").is_ok());
        let reply = networks.network(None, "other").unwrap_err().to_reply();
        assert!(reply.details.contains("a.conf"), "{reply:?}");
    }

    #[test]
    fn two_of_one_name_need_their_namespace() {
        let yaml = format!("{}---\n{}", manifest("red", "a"), manifest("blue", "a"));
        let (_dir, networks) = directory(&[("nets.yml", &yaml)]);

        assert_eq!(networks.network(None, "a").unwrap_err().kind(), FaultKind::Config);
        assert_eq!(networks.network(Some("blue"), "a").unwrap().label, "blue/a");
    }

    #[test]
    fn an_absent_directory_is_named() {
        let fault = Directory::new("/nowhere/at/all", CniVersion::V0_1_0).network(None, "a").unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Io);
        assert!(fault.to_string().contains("/nowhere/at/all"));
    }
}
