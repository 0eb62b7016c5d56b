//! The keys of Manifold's own configuration, beside those every CNI configuration has.

mod certificate;
mod daemon;
mod install;
mod logging;
mod places;
mod policy;
mod rules;
mod switches;

use std::path::PathBuf;

pub use certificate::NodeCertificate;
pub use daemon::DaemonSettings;
pub use install::{CONF_DIR, FILE, Installation, Name, Program, Source};
pub use logging::{Format, Level, LogFile, Logging};
pub use places::{
    BIN_DIR, CACHE_DIR, DEVICE_INFO_DIR, KUBELET_DIR, NETWORKS_DIR, Places, RUNTIME_CACHE_DIR, STATE_DIR,
};
pub use policy::Policy;
pub use rules::{Request, Rule, Rules};
use serde::Deserialize;
use serde_json::value::RawValue;
pub use switches::{LINK_DIR, OVSDB_SOCKET, Switches, VPP_SOCKET};

use super::fault::{Fault, FaultKind, Outcome};
use super::ids::NetworkName;
use super::network::Network;
use super::object::Object;
use super::path::given;
use super::version::CniVersion;

/// Manifold's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The version of the whole; networks that name none are spoken to in it.
    pub version: CniVersion,
    /// Where things are.
    pub places: Places,
    /// The default network, then networks that every pod gets; key `delegates`.
    pub delegates: Vec<Network>,
    /// The name or path of the default network; key `clusterNetwork`. With it, `delegates` is not looked at.
    pub cluster_network: Option<String>,
    /// Names or paths of networks that every pod outside system namespaces gets; key `defaultNetworks`.
    pub default_networks: Vec<String>,
    /// Who may use which network.
    pub policy: Policy,
    /// Where the node's virtual switches are; key `vhostUser`.
    pub switches: Switches,
    /// Who may ask the switches for what; `rules` in the same key.
    pub rules: Rules,
    /// The API server and the account; key `kubeconfig`. Without it the pod's own account is used, if there is one.
    pub kubeconfig: Option<PathBuf>,
    /// The file whose presence says that the default network is ready; key `readinessindicatorfile`.
    pub readiness_file: Option<PathBuf>,
    /// The name of a folder beside the default network's file whose plugins every pod gets as one more chain; key
    /// `auxiliaryCNIChainName`.
    pub auxiliary_chain: Option<NetworkName>,
    /// Where and how much is logged.
    pub logging: Logging,
}

#[derive(Deserialize)]
struct Keys {
    cniversion: Option<String>,
    clusternetwork: Option<String>,
    #[serde(default)]
    defaultnetworks: Vec<String>,
    kubeconfig: Option<PathBuf>,
    readinessindicatorfile: Option<PathBuf>,
    auxiliarycnichainname: Option<String>,
}

impl Settings {
    /// Reads the configuration. A delegate without a name has that of the whole, `name`.
    ///
    /// # Errors
    /// A value of the wrong type; a directory that is no absolute path; a delegate that is no network; neither
    /// `delegates` nor `clusterNetwork`.
    pub fn read(object: &Object, name: &str) -> Outcome<Self> {
        let settings = Self::read_without_default(object, name)?;
        if settings.delegates.is_empty() && settings.cluster_network.is_none() {
            return Err(no_default_network());
        }
        Ok(settings)
    }

    /// The same, for who attaches additional networks alone.
    ///
    /// # Errors
    /// As [`Settings::read`], but for a default network that is missing.
    pub fn read_without_default(object: &Object, name: &str) -> Outcome<Self> {
        let keys: Keys = object.decode("Manifold's configuration")?;
        let cluster_network = keys.clusternetwork.filter(|n| !n.is_empty());
        let version: CniVersion = keys.cniversion.as_deref().unwrap_or_default().parse()?;
        let delegates = match &cluster_network {
            None => object.find("delegates").map_or(Ok(Vec::new()), |raw| delegates(raw, name, version))?,
            Some(_) => Vec::new(),
        };
        let (switches, rules) = Switches::read(object)?;
        let chain = keys.auxiliarycnichainname.filter(|n| !n.is_empty());
        Ok(Self {
            version,
            places: Places::read(object)?,
            delegates,
            cluster_network,
            default_networks: keys.defaultnetworks,
            policy: Policy::read(object)?,
            switches,
            rules,
            kubeconfig: given(keys.kubeconfig),
            readiness_file: given(keys.readinessindicatorfile),
            auxiliary_chain: chain.map(|n| n.parse()).transpose()?,
            logging: Logging::read(object)?,
        })
    }

    /// The file that an ADD of this configuration waits for ([`Settings::readiness_file`]), for whoever reads no more of it.
    pub fn awaited(object: &Object) -> Option<PathBuf> {
        given(serde_json::from_str(object.find("readinessindicatorfile")?.get()).ok()?)
    }
}

/// The fault of a configuration without a default network.
pub fn no_default_network() -> Fault {
    Fault::new(FaultKind::Config, "no default network is configured")
        .remedy("write it into \"delegates\", or name it in \"clusterNetwork\"")
}

fn delegates(raw: &RawValue, name: &str, version: CniVersion) -> Outcome<Vec<Network>> {
    let items: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|cause| {
        Fault::new(FaultKind::Decode, "cannot read \"delegates\"")
            .because(cause)
            .remedy("make it a list of networks")
    })?;
    let each = items.into_iter().enumerate().map(|(n, item)| {
        Network::parse_within(item.get().as_bytes(), Some(name), version)
            .map_err(|fault| fault.while_doing(format!("delegate {}", n + 1)))
    });
    each.collect()
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
            read(r#"{"cniVersion":"1.0.0","delegates":[{"type":"macvlan"},{"name":"b","plugins":[{"type":"bridge"}]}]}"#).unwrap();

        assert!(settings.delegates.iter().all(|n| n.version == CniVersion::V1_0_0));
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
}
