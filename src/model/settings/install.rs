//! What is written for the container runtime, and what is put beside its plugins: `manifold install`, and the daemon.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::BIN_DIR;
use super::daemon::is_own;

use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::ids::NetworkName;
use crate::model::object::{self, Object};
use crate::model::path::{given, given_plain, plain};
use crate::model::version::CniVersion;

/// Where container runtimes look for their network's configuration.
pub const CONF_DIR: &str = "/etc/cni/net.d";
/// The word of `multusConfigFile` for a configuration that is made, not copied.
const AUTO: &str = "auto";
/// The file that is written, unless told otherwise: it comes before any that begins with a higher number.
pub const FILE: &str = "00-manifold.conflist";

/// What to write, from what, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// What the configuration is made of; key `multusConfigFile`.
    pub source: Source,
    /// The directory in which the container runtime looks; key `cniConfigDir`.
    pub conf_dir: PathBuf,
    /// The file's name there; key `cniConfigName`.
    pub file: String,
    /// The program that the runtime is to call; key `type`.
    pub program: Program,
    /// The version of the configuration, if it is not to be the primary's; key `cniVersion`.
    pub version: Option<CniVersion>,
    /// The network's name; keys `name` and `overrideNetworkName`.
    pub name: Name,
    /// The daemon's directory, as the runtime sees it; key `daemonSocketDir`.
    pub socket_dir: Option<PathBuf>,
    /// The directory of plugins that the programs are put into; key `cniBinDir`. `None` leaves them to others.
    pub bin_dir: Option<PathBuf>,
    /// The file whose presence says that the default network is ready; key `readinessindicatorfile`.
    pub readiness_file: Option<PathBuf>,
    /// Whether the file goes when the daemon is told to stop; key `cleanupConfigOnExit`.
    pub cleanup: bool,
    /// Capabilities to declare beside the primary's; key `capabilities`.
    pub capabilities: Object,
    /// Keys that are written as they are.
    pub template: Object,
}

/// What the configuration is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The configuration of another plugin, which makes the default network: the primary.
    Primary {
        /// The directory that it is in; key `multusAutoconfigDir`.
        dir: PathBuf,
        /// Its name there; key `multusMasterCNI`. `None`: the first that is not Manifold's own.
        file: Option<String>,
    },
    /// A file that is to be copied.
    File(PathBuf),
}

/// The program that the runtime calls, by the names it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// A process for each call.
    Manifold,
    /// The same, under the peer's name.
    Multus,
    /// The shim of the daemon.
    ManifoldShim,
    /// The same, under the peer's name.
    MultusShim,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Manifold, Self::ManifoldShim, Self::Multus, Self::MultusShim];

    /// Its name: the `type` of the configuration, and the file among the plugins.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manifold => "manifold",
            Self::Multus => "multus",
            Self::ManifoldShim => "manifold-shim",
            Self::MultusShim => "multus-shim",
        }
    }

    /// Whether it passes calls on to a daemon.
    #[must_use]
    pub fn is_shim(self) -> bool {
        matches!(self, Self::ManifoldShim | Self::MultusShim)
    }

    /// Whether it has the peer's name.
    #[must_use]
    pub fn is_peers(self) -> bool {
        matches!(self, Self::Multus | Self::MultusShim)
    }

    /// The program of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|program| program.as_str() == name)
    }
}

/// Whose name the network has, as the runtime knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// This one.
    Given(NetworkName),
    /// The primary's.
    Primarys,
}

#[derive(Deserialize)]
struct Keys {
    multusconfigfile: Option<String>,
    multusautoconfigdir: Option<PathBuf>,
    multusmastercni: Option<String>,
    cniconfigdir: Option<PathBuf>,
    cniconfigname: Option<String>,
    cnibindir: Option<PathBuf>,
    bindir: Option<PathBuf>,
    cniversion: Option<String>,
    name: Option<String>,
    #[serde(default)]
    overridenetworkname: bool,
    daemonsocketdir: Option<PathBuf>,
    chrootdir: Option<PathBuf>,
    readinessindicatorfile: Option<PathBuf>,
    #[serde(default)]
    cleanupconfigonexit: bool,
}

impl Installation {
    /// Whether a daemon's configuration asks for one: it says what the runtime's is to be made of, or where to look.
    ///
    /// # Errors
    /// A value of the wrong type.
    pub fn is_asked_for(object: &Object) -> Outcome<bool> {
        let keys: Keys = object.decode("the daemon's configuration")?;
        let file = keys.multusconfigfile.is_some_and(|file| !file.is_empty());
        Ok(file || given(keys.multusautoconfigdir).is_some())
    }

    /// Reads what to write; an empty object has all defaults.
    ///
    /// # Errors
    /// A value of the wrong type; a directory or file that is no absolute path; a file's name that no runtime would read;
    /// a `type` that is not Manifold's.
    pub fn read(object: &Object) -> Outcome<Self> {
        let keys: Keys = object.decode("the daemon's configuration")?;
        let conf_dir = given_plain("cniConfigDir", keys.cniconfigdir)?.unwrap_or_else(|| CONF_DIR.into());
        let autoconfig_dir = given_plain("multusAutoconfigDir", keys.multusautoconfigdir)?;
        let source = match keys.multusconfigfile.as_deref().unwrap_or_default() {
            "" | AUTO => Source::Primary {
                dir: autoconfig_dir.unwrap_or_else(|| conf_dir.clone()),
                file: keys.multusmastercni.filter(|n| !n.is_empty()).map(primary_name).transpose()?,
            },
            file => Source::File(plain("multusConfigFile", file.into())?),
        };
        let program = program(object)?;
        let bin_dir = match keys.cnibindir {
            Some(dir) if dir.as_os_str().is_empty() => None,
            Some(dir) => Some(plain("cniBinDir", dir)?),
            // Where plugins are found beneath another root, the runtime finds them there, too.
            None => {
                let dir = given_plain("binDir", keys.bindir)?.unwrap_or_else(|| BIN_DIR.into());
                let root = given_plain("chrootDir", keys.chrootdir)?.unwrap_or_else(|| "/".into());
                Some(root.join(dir.strip_prefix("/").unwrap_or(&dir)))
            }
        };
        let version = keys.cniversion.filter(|version| !version.is_empty());
        let mut template = object.clone();
        template.retain(|key| !is_own(key));
        Ok(Self {
            file: file_name(keys.cniconfigname, &source)?,
            source,
            conf_dir,
            program,
            version: version.map(|version| version.parse()).transpose()?,
            name: name(keys.name, keys.overridenetworkname, program)?,
            socket_dir: given_plain("daemonSocketDir", keys.daemonsocketdir)?,
            bin_dir,
            readiness_file: given_plain("readinessindicatorfile", keys.readinessindicatorfile)?,
            cleanup: keys.cleanupconfigonexit,
            capabilities: capabilities(object)?,
            template,
        })
    }

    /// The file that is written.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.conf_dir.join(&self.file)
    }
}

fn program(object: &Object) -> Outcome<Program> {
    let Some(raw) = object.find("type") else { return Ok(Program::ManifoldShim) };
    let kind: String = object::decode(raw, "\"type\"")?;
    Program::named(&kind).ok_or_else(|| {
        let names = Program::ALL.map(|program| format!("{:?}", program.as_str())).join(", ");
        wrong("type", &format!("{kind:?}")).remedy(format!("use one of {names}"))
    })
}

fn name(given: Option<String>, of_primary: bool, program: Program) -> Outcome<Name> {
    match given.filter(|name| !name.is_empty()) {
        _ if of_primary => Ok(Name::Primarys),
        Some(name) => Ok(Name::Given(name.parse()?)),
        None if program.is_peers() => Ok(Name::Given("multus-cni-network".parse()?)),
        None => Ok(Name::Given("manifold".parse()?)),
    }
}

fn capabilities(object: &Object) -> Outcome<Object> {
    let Some(raw) = object.find("capabilities") else { return Ok(Object::default()) };
    Object::parse(raw.get().as_bytes(), "\"capabilities\"")
}

fn primary_name(name: String) -> Outcome<String> {
    if Path::new(&name).file_name().is_some_and(|last| last == name.as_str()) {
        return Ok(name);
    }
    Err(wrong("multusMasterCNI", &format!("{name:?}"))
        .remedy("give the name of a file in \"multusAutoconfigDir\""))
}

/// The name of the file to write: one that a runtime reads, in its directory.
fn file_name(given: Option<String>, source: &Source) -> Outcome<String> {
    let key = if given.is_some() { "cniConfigName" } else { "multusConfigFile" };
    let name = match (given, source) {
        (Some(name), _) => name,
        (None, Source::Primary { .. }) => FILE.to_owned(),
        (None, Source::File(path)) => {
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        }
    };
    let (stem, end) = name.rsplit_once('.').unwrap_or_default();
    if !stem.is_empty()
        && !name.starts_with('.')
        && !name.contains('/')
        && ["conf", "conflist"].contains(&end)
    {
        return Ok(name);
    }
    Err(wrong(key, &format!("{name:?}"))
        .remedy("give a name that ends in \".conflist\" or \".conf\", such as \"00-manifold.conflist\""))
}

fn wrong(key: &str, value: &dyn Display) -> Fault {
    Fault::new(FaultKind::Config, format!("{key:?} is {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        Object::parse(text.as_bytes(), "the test").unwrap()
    }

    fn read(text: &str) -> Outcome<Installation> {
        Installation::read(&object(text))
    }

    #[test]
    fn defaults_are_those_of_a_daemon_on_the_host() {
        let read = read("{}").unwrap();

        assert_eq!(read.path(), Path::new("/etc/cni/net.d/00-manifold.conflist"));
        assert_eq!(read.source, Source::Primary { dir: CONF_DIR.into(), file: None });
        assert_eq!((read.program, read.cleanup), (Program::ManifoldShim, false));
        assert_eq!(read.bin_dir, Some(BIN_DIR.into()));
        assert_eq!(read.name, Name::Given("manifold".parse().unwrap()));
    }

    #[test]
    fn programs_go_where_the_node_has_its_plugins() {
        let bin_dir = |text: &str| read(text).unwrap().bin_dir;
        assert_eq!(bin_dir(r#"{"chrootDir":"/hostroot"}"#), Some("/hostroot/opt/cni/bin".into()));
        let both = r#"{"chrootDir":"/hostroot","binDir":"/bin","cniBinDir":"/host/opt/cni/bin"}"#;
        assert_eq!(bin_dir(both), Some("/host/opt/cni/bin".into()));
        assert_eq!(bin_dir(r#"{"chrootDir":"/hostroot","cniBinDir":""}"#), None);
    }

    #[test]
    fn the_peers_own_configuration_is_understood() {
        let text = r#"{"chrootDir":"/hostroot","cniVersion":"0.3.1","logLevel":"verbose","logToStderr":true,
            "cniConfigDir":"/host/etc/cni/net.d","multusAutoconfigDir":"/host/etc/cni/net.d",
            "multusConfigFile":"auto","socketDir":"/host/run/multus/","type":"multus-shim"}"#;

        let read = read(text).unwrap();

        assert!(Installation::is_asked_for(&object(text)).unwrap());
        assert_eq!(read.source, Source::Primary { dir: "/host/etc/cni/net.d".into(), file: None });
        assert_eq!(read.version, Some(CniVersion::V0_3_1));
        assert_eq!((read.socket_dir, read.name), (None, Name::Given("multus-cni-network".parse().unwrap())));
        let template = String::from_utf8(read.template.to_bytes()).unwrap();
        assert_eq!(template, r#"{"logLevel":"verbose","logToStderr":true}"#);
    }

    #[test]
    fn a_daemon_writes_only_where_it_is_told_of_a_source() {
        for (text, asked) in [
            ("{}", false),
            (r#"{"cniConfigDir":"/x","multusConfigFile":""}"#, false),
            (r#"{"multusConfigFile":"auto"}"#, true),
            (r#"{"multusAutoconfigDir":"/x"}"#, true),
            (r#"{"multusConfigFile":"/etc/x/00-multus.conf"}"#, true),
        ] {
            assert_eq!(Installation::is_asked_for(&object(text)).unwrap(), asked, "{text}");
        }
    }

    #[test]
    fn a_file_to_copy_keeps_its_name_unless_another_is_given() {
        let read = |text: &str| read(text).unwrap().file;

        assert_eq!(read(r#"{"multusConfigFile":"/a/70-multus.conf"}"#), "70-multus.conf");
        assert_eq!(
            read(r#"{"multusConfigFile":"/a/70-multus.conf","cniConfigName":"00-x.conf"}"#),
            "00-x.conf"
        );
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for text in [
            r#"{"cniConfigName":"00-manifold"}"#,
            r#"{"cniConfigName":".conflist"}"#,
            r#"{"cniConfigName":"../x.conf"}"#,
            r#"{"multusConfigFile":"net.d/00-multus.conf"}"#,
            r#"{"multusConfigFile":"/a/multus.yaml"}"#,
            r#"{"multusMasterCNI":"../x.conf"}"#,
            r#"{"cniConfigDir":"net.d"}"#,
            r#"{"cniBinDir":"bin"}"#,
            r#"{"type":"calico"}"#,
            r#"{"name":"a b"}"#,
        ] {
            assert_eq!(read(text).unwrap_err().kind(), FaultKind::Config, "{text}");
        }
    }
}
