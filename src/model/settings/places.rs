//! Where things are on the node.

use std::path::PathBuf;

use serde::Deserialize;

use crate::model::fault::Outcome;
use crate::model::object::Object;
use crate::model::path::given_absolute;

/// Where plugins are found before `CNI_PATH` is searched.
pub const BIN_DIR: &str = "/opt/cni/bin";
/// Where networks are found by name.
pub const NETWORKS_DIR: &str = "/etc/cni/multus/net.d";
/// Where results of plugins are kept, as the reference library does.
pub const CACHE_DIR: &str = "/var/lib/cni/multus";
/// Where container runtimes keep the results of the plugins they call, as the reference library does by itself.
pub const RUNTIME_CACHE_DIR: &str = "/var/lib/cni";
/// Where records are kept.
pub const STATE_DIR: &str = "/var/lib/cni/manifold";
/// Where device plugins and CNI plugins leave what is known of devices (Device Information Specification, section 3).
pub const DEVICE_INFO_DIR: &str = "/var/run/k8s.cni.cncf.io/devinfo";
/// The kubelet's own directory.
pub const KUBELET_DIR: &str = "/var/lib/kubelet";

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
    /// Directory of what is known of devices; key `deviceInfoDir`.
    pub device_info_dir: PathBuf,
    /// The kubelet's directory, with its socket and its checkpoint; key `kubeletDir`.
    pub kubelet_dir: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            bin_dir: BIN_DIR.into(),
            networks_dir: NETWORKS_DIR.into(),
            cache_dir: CACHE_DIR.into(),
            state_dir: STATE_DIR.into(),
            device_info_dir: DEVICE_INFO_DIR.into(),
            kubelet_dir: KUBELET_DIR.into(),
        }
    }
}

#[derive(Deserialize)]
struct Keys {
    bindir: Option<PathBuf>,
    confdir: Option<PathBuf>,
    cnidir: Option<PathBuf>,
    statedir: Option<PathBuf>,
    deviceinfodir: Option<PathBuf>,
    kubeletdir: Option<PathBuf>,
}

impl Places {
    /// Reads where things are.
    ///
    /// # Errors
    /// A directory that is no absolute path.
    pub fn read(object: &Object) -> Outcome<Self> {
        let keys: Keys = object.decode("Manifold's configuration")?;
        let standard = Self::default();
        Ok(Self {
            bin_dir: given_absolute("binDir", keys.bindir)?.unwrap_or(standard.bin_dir),
            networks_dir: given_absolute("confDir", keys.confdir)?.unwrap_or(standard.networks_dir),
            cache_dir: given_absolute("cniDir", keys.cnidir)?.unwrap_or(standard.cache_dir),
            state_dir: given_absolute("stateDir", keys.statedir)?.unwrap_or(standard.state_dir),
            device_info_dir: given_absolute("deviceInfoDir", keys.deviceinfodir)?
                .unwrap_or(standard.device_info_dir),
            kubelet_dir: given_absolute("kubeletDir", keys.kubeletdir)?.unwrap_or(standard.kubelet_dir),
        })
    }

    /// As [`Places::read`], for a DEL that must succeed whatever the configuration says: each key that is wrong is as if
    /// absent, and those that are right still say where things are.
    pub fn read_forgiving(object: &Object) -> Self {
        let right = |object: &Object| {
            let mut right = object.clone();
            right.retain(|key| {
                let mut alone = object.clone();
                alone.retain(|other| other == key);
                Self::read(&alone).is_ok()
            });
            right
        };
        Self::read(object).or_else(|_| Self::read(&right(object))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_wrong_does_not_hide_the_others() {
        for wrong in [r#""confDir":"relative""#, r#""cniDir":5"#, r#""BinDir":["/x"]"#] {
            let text = format!(r#"{{"name":"n",{wrong},"StateDir":"/state","kubeletDir":"/kubelet"}}"#);
            let object = Object::parse(text.as_bytes(), "the test").unwrap();

            assert!(Places::read(&object).is_err(), "{text}");
            let expected =
                Places { state_dir: "/state".into(), kubelet_dir: "/kubelet".into(), ..Places::default() };
            assert_eq!(Places::read_forgiving(&object), expected, "{text}");
        }
    }
}
