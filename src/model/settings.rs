//! The keys of Manifold's own configuration, beside those every CNI configuration has.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fault::{Fault, FaultKind, Outcome};
use super::network::Network;
use super::object::{self, Object};

/// Where plugins are found before `CNI_PATH` is searched.
pub const BIN_DIR: &str = "/opt/cni/bin";
/// Where networks are found by name.
pub const NETWORKS_DIR: &str = "/etc/cni/multus/net.d";
/// Where results of plugins are kept, as the reference library does.
pub const CACHE_DIR: &str = "/var/lib/cni/multus";
/// Where records are kept.
pub const STATE_DIR: &str = "/var/lib/cni/manifold";
/// The annotation in which a pod selects networks.
pub const NETWORKS_ANNOTATION: &str = super::pod::NETWORKS;
/// The capability through which containerd hands over a pod's annotations.
pub const ANNOTATIONS_CAPABILITY: &str = "io.kubernetes.cri.pod-annotations";

/// Where things are on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Directory of plugins, searched before `CNI_PATH`; key `binDir`.
    pub bin_dir: PathBuf,
    /// Directory of networks; key `confDir`.
    pub networks_dir: PathBuf,
    /// Directory of plugins' cached results; key `cniDir`.
    pub cache_dir: PathBuf,
    /// Directory of records; key `stateDir`.
    pub state_dir: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            bin_dir: BIN_DIR.into(),
            networks_dir: NETWORKS_DIR.into(),
            cache_dir: CACHE_DIR.into(),
            state_dir: STATE_DIR.into(),
        }
    }
}

/// Manifold's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where things are.
    pub places: Places,
    /// The default network, then networks that every pod gets; key `delegates`.
    pub delegates: Vec<Network>,
    /// The name of the default network; key `clusterNetwork`. It goes before `delegates`.
    pub cluster_network: Option<String>,
    /// Names of networks that every pod gets; key `defaultNetworks`.
    pub default_networks: Vec<String>,
}

#[derive(Deserialize)]
struct Keys {
    bindir: Option<PathBuf>,
    confdir: Option<PathBuf>,
    cnidir: Option<PathBuf>,
    statedir: Option<PathBuf>,
    clusternetwork: Option<String>,
    #[serde(default)]
    defaultnetworks: Vec<String>,
}

impl Settings {
    /// Reads the configuration. A delegate without a name has that of the whole, `name`.
    ///
    /// # Errors
    /// A value of the wrong type; a directory that is no absolute path; a delegate that is no network; neither
    /// `delegates` nor `clusterNetwork`.
    pub fn read(object: &Object, name: &str) -> Outcome<Self> {
        let keys: Keys = object.decode("Manifold's configuration")?;
        let settings = Self {
            places: Places::read(&keys)?,
            delegates: object.find("delegates").map_or(Ok(Vec::new()), |raw| delegates(raw, name))?,
            cluster_network: keys.clusternetwork.filter(|n| !n.is_empty()),
            default_networks: keys.defaultnetworks,
        };
        if settings.delegates.is_empty() && settings.cluster_network.is_none() {
            return Err(Fault::new(FaultKind::Config, "no default network is configured")
                .remedy("write it into \"delegates\", or name it in \"clusterNetwork\""));
        }
        Ok(settings)
    }
}

impl Places {
    /// Reads only where things are, for a DEL that must succeed whatever else the configuration says.
    pub fn read_forgiving(object: &Object) -> Self {
        let keys: Outcome<Keys> = object.decode("Manifold's configuration");
        keys.and_then(|keys| Self::read(&keys)).unwrap_or_default()
    }

    fn read(keys: &Keys) -> Outcome<Self> {
        let standard = Self::default();
        Ok(Self {
            bin_dir: absolute("binDir", &keys.bindir, standard.bin_dir)?,
            networks_dir: absolute("confDir", &keys.confdir, standard.networks_dir)?,
            cache_dir: absolute("cniDir", &keys.cnidir, standard.cache_dir)?,
            state_dir: absolute("stateDir", &keys.statedir, standard.state_dir)?,
        })
    }
}

fn absolute(key: &str, given: &Option<PathBuf>, standard: PathBuf) -> Outcome<PathBuf> {
    match given.as_ref().filter(|path| !path.as_os_str().is_empty()) {
        None => Ok(standard),
        Some(path) if path.is_absolute() => Ok(path.clone()),
        Some(path) => {
            Err(Fault::new(FaultKind::Config, format!("{key:?} is {path:?}")).remedy("give an absolute path"))
        }
    }
}

fn delegates(raw: &RawValue, name: &str) -> Outcome<Vec<Network>> {
    let items: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|cause| {
        Fault::new(FaultKind::Decode, "cannot read \"delegates\"")
            .because(cause)
            .remedy("make it a list of networks")
    })?;
    let each = items.into_iter().enumerate().map(|(n, item)| {
        Network::parse(item.get().as_bytes(), Some(name)).map_err(|f| f.while_doing(format!("delegate {n}")))
    });
    each.collect()
}

/// The text of the networks annotation, if the runtime handed the pod's annotations over.
///
/// # Errors
/// Annotations that are no map of texts.
pub fn selections_text(runtime_config: &Object) -> Outcome<Option<String>> {
    let Some(raw) = runtime_config.find(ANNOTATIONS_CAPABILITY) else { return Ok(None) };
    let annotations: Object = serde_json::from_str(raw.get())
        .map_err(|cause| Fault::new(FaultKind::Decode, "cannot read the pod's annotations").because(cause))?;
    annotations.get(NETWORKS_ANNOTATION).map(|raw| object::decode(raw, NETWORKS_ANNOTATION)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Outcome<Settings> {
        Settings::read(&Object::parse(text.as_bytes(), "the test")?, "meta")
    }

    #[test]
    fn keys_match_in_any_letter_case_and_have_defaults() {
        let settings = read(r#"{"ClusterNetwork":"net","BINDIR":"/x","defaultNetworks":["a"]}"#).unwrap();

        assert_eq!(settings.places, Places { bin_dir: "/x".into(), ..Places::default() });
        assert_eq!(settings.cluster_network.as_deref(), Some("net"));
        assert_eq!(settings.default_networks, ["a"]);
    }

    #[test]
    fn a_delegate_without_a_name_has_that_of_the_whole() {
        let settings =
            read(r#"{"delegates":[{"type":"macvlan"},{"name":"b","plugins":[{"type":"bridge"}]}]}"#).unwrap();

        let names: Vec<&str> = settings.delegates.iter().map(|n| n.name.as_str()).collect();
        assert_eq!(names, ["meta", "b"]);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for text in [
            "{}",
            r#"{"delegates":[]}"#,
            r#"{"delegates":[{"name":"x"}]}"#,
            r#"{"delegates":{}}"#,
            r#"{"clusterNetwork":"x","stateDir":"rel"}"#,
            r#"{"clusterNetwork":7}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_selection_is_found_among_the_annotations() {
        let text =
            r#"{"io.kubernetes.cri.pod-annotations":{"a":"b","k8s.v1.cni.cncf.io/networks":"x, y@net7"}}"#;
        let runtime = Object::parse(text.as_bytes(), "the test").unwrap();
        assert_eq!(selections_text(&runtime).unwrap().as_deref(), Some("x, y@net7"));
    }
}
