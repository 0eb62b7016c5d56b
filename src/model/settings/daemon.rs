//! The daemon's own configuration: where it listens, its limits, and what it lays over the configuration of every call.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{Installation, Logging, NodeCertificate, Places};
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::object::Object;
use crate::model::path::{given, given_absolute};
use crate::model::thick::SOCKET_DIR;

/// Keys that are about the daemon alone, or about the file it writes for the runtime: they are not laid over calls.
const OWN: [&str; 27] = [
    "nodename",
    "livenetworks",
    "socketdir",
    "daemonsocketdir",
    "chrootdir",
    "metricsport",
    "metricsaddress",
    "enablepprof",
    "connectionlimit",
    "pluginlimit",
    "pernodecertificate",
    "multusconfigfile",
    "multusautoconfigdir",
    "cniconfigdir",
    "cniconfigname",
    "cnibindir",
    "cleanupconfigonexit",
    "capabilities",
    "multusmastercni",
    "forcecniversion",
    "overridenetworkname",
    "readinessindicatorfile",
    "housekeepingseconds",
    "cachegraceseconds",
    "cniversion",
    "name",
    "type",
];

/// The daemon's configuration.
#[derive(Debug, Clone)]
pub struct DaemonSettings {
    /// The directory of the socket; key `socketDir`.
    pub socket_dir: PathBuf,
    /// Most calls that are served at a time; key `connectionLimit`. `None` leaves it to the daemon.
    pub calls: Option<usize>,
    /// Most plugins that run at a time; key `pluginLimit`.
    pub plugins: usize,
    /// Where metrics are served; keys `metricsPort` and `metricsAddress`.
    pub metrics: Option<SocketAddr>,
    /// How often the node is tidied up; key `housekeepingSeconds`. Zero never does, but at the start.
    pub housekeeping: Duration,
    /// How long the daemon keeps cached results of a sandbox that is gone; key `cacheGraceSeconds`.
    pub cache_grace: Duration,
    /// The API server and the account, for what is no call of a runtime; key `kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// How a certificate of this node is come by; key `perNodeCertificate`. Then `kubeconfig` is one that logs in with it.
    pub certificate: Option<NodeCertificate>,
    /// The name of this node in the cluster; key `nodeName`.
    pub node: Option<String>,
    /// Whether running pods are brought to what their annotation selects when it changes; key `liveNetworks`.
    pub live: bool,
    /// Where things are.
    pub places: Places,
    /// Where and how much is logged.
    pub logging: Logging,
    /// The root directory that plugins are run in, if it is not the daemon's own; key `chrootDir`.
    pub root: Option<PathBuf>,
    /// What is laid over the configuration of every call.
    pub overlay: Object,
    /// What is written for the container runtime, if anything is; keys `multusConfigFile` and `multusAutoconfigDir`.
    pub installation: Option<Installation>,
}

/// Whether a key (in any letter case) is about the daemon, or the file it writes, and not about calls.
pub(super) fn is_own(key: &str) -> bool {
    OWN.iter().any(|own| key.eq_ignore_ascii_case(own))
}

#[derive(Deserialize)]
struct Keys {
    socketdir: Option<PathBuf>,
    connectionlimit: Option<i64>,
    pluginlimit: Option<usize>,
    metricsport: Option<u16>,
    metricsaddress: Option<IpAddr>,
    housekeepingseconds: Option<u64>,
    cachegraceseconds: Option<u64>,
    kubeconfig: Option<PathBuf>,
    chrootdir: Option<PathBuf>,
    nodename: Option<String>,
    livenetworks: Option<bool>,
}

impl DaemonSettings {
    /// Reads the configuration; an empty object has all defaults.
    ///
    /// # Errors
    /// A value of the wrong type; a directory that is no absolute path; a limit that lets nothing through; a time that is
    /// longer than a year.
    pub fn read(object: &Object) -> Outcome<Self> {
        let mut object = object.clone();
        let certificate = NodeCertificate::apply(&mut object)?;
        Self::of(&object, certificate)
    }

    fn of(object: &Object, certificate: Option<NodeCertificate>) -> Outcome<Self> {
        let keys: Keys = object.decode("the daemon's configuration")?;
        let calls = keys.connectionlimit.map(|n| {
            usize::try_from(n).ok().filter(|n| *n > 0).ok_or_else(|| {
                wrong("connectionLimit", &n).remedy("give a number above 0, or leave the key out")
            })
        });
        let plugins = keys.pluginlimit.unwrap_or(PLUGINS);
        if plugins == 0 {
            return Err(wrong("pluginLimit", &0).remedy("give a number above 0, or leave the key out"));
        }
        let address = keys.metricsaddress.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let mut overlay = object.clone();
        overlay.retain(|key| !is_own(key));
        let installation = Installation::is_asked_for(object)?.then(|| Installation::read(object));
        Ok(Self {
            socket_dir: given_absolute("socketDir", keys.socketdir)?.unwrap_or_else(|| SOCKET_DIR.into()),
            calls: calls.transpose()?,
            plugins,
            metrics: keys.metricsport.filter(|port| *port > 0).map(|port| SocketAddr::new(address, port)),
            housekeeping: seconds("housekeepingSeconds", keys.housekeepingseconds.unwrap_or(HOUSEKEEPING))?,
            cache_grace: seconds("cacheGraceSeconds", keys.cachegraceseconds.unwrap_or(CACHE_GRACE))?,
            kubeconfig: given(keys.kubeconfig),
            certificate,
            node: keys.nodename.filter(|name| !name.is_empty()),
            live: keys.livenetworks.unwrap_or(true),
            places: Places::read(object)?,
            logging: Logging::read(object)?,
            root: given_absolute("chrootDir", keys.chrootdir)?.filter(|dir| *dir != *"/"),
            overlay,
            installation: installation.transpose()?,
        })
    }
}

/// Plugins that run at a time: each may need as much memory as the daemon itself, or ten times that.
const PLUGINS: usize = 4;
/// Seconds between two rounds of tidying up.
const HOUSEKEEPING: u64 = 60;
/// Seconds that cached results of a sandbox that is gone are kept: its DEL may still come, and read them.
const CACHE_GRACE: u64 = 3_600;
/// Most seconds that a key may give: a year.
const MAX_SECONDS: u64 = 31_536_000;

fn seconds(key: &str, given: u64) -> Outcome<Duration> {
    if given > MAX_SECONDS {
        return Err(wrong(key, &given).remedy(format!("give at most {MAX_SECONDS}, a year")));
    }
    Ok(Duration::from_secs(given))
}

fn wrong(key: &str, value: &dyn std::fmt::Debug) -> Fault {
    Fault::new(FaultKind::Config, format!("{key:?} is {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Outcome<DaemonSettings> {
        DaemonSettings::read(&Object::parse(text.as_bytes(), "the test")?)
    }

    #[test]
    fn an_empty_configuration_has_the_peers_defaults_and_bounds() {
        let settings = read("{}").unwrap();

        assert_eq!(settings.socket_dir, PathBuf::from("/run/multus"));
        assert_eq!((settings.calls, settings.plugins, settings.metrics), (None, 4, None));
        assert_eq!((settings.housekeeping.as_secs(), settings.cache_grace.as_secs()), (60, 3_600));
    }

    #[test]
    fn what_is_about_the_daemon_is_not_laid_over_calls() {
        let text = r#"{"cniVersion":"0.3.1","SocketDir":"/s","metricsPort":9091,"binDir":"/b","logLevel":"verbose","multusConfigFile":"auto"}"#;

        let settings = read(text).unwrap();

        assert_eq!(
            String::from_utf8(settings.overlay.to_bytes()).unwrap(),
            r#"{"binDir":"/b","logLevel":"verbose"}"#
        );
        assert_eq!(settings.metrics.unwrap().to_string(), "127.0.0.1:9091");
    }

    #[test]
    fn calls_log_in_with_the_certificate_of_the_node() {
        let text = r#"{"kubeconfig":"/k","perNodeCertificate":{"enabled":true,"bootstrapKubeconfig":"/b","certDir":"/c"}}"#;

        let settings = read(text).unwrap();

        let overlay = String::from_utf8(settings.overlay.to_bytes()).unwrap();
        assert_eq!(overlay, r#"{"kubeconfig":"/c/multus-client.kubeconfig"}"#);
        assert_eq!(settings.kubeconfig.unwrap(), PathBuf::from("/c/multus-client.kubeconfig"));
    }

    #[test]
    fn a_limit_that_lets_nothing_through_or_never_ends_is_refused() {
        for text in [
            r#"{"connectionLimit":0}"#,
            r#"{"connectionLimit":-3}"#,
            r#"{"pluginLimit":0}"#,
            r#"{"socketDir":"s"}"#,
            r#"{"chrootDir":"hostroot"}"#,
            r#"{"housekeepingSeconds":31536001}"#,
            r#"{"cacheGraceSeconds":18446744073709551615}"#,
        ] {
            assert_eq!(read(text).unwrap_err().kind(), FaultKind::Config, "{text}");
        }
    }
}
