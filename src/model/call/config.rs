//! The configuration on standard input.

use std::path::PathBuf;

use super::Command;
use crate::model::dialect;
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::ids::NetworkName;
use crate::model::object::{self, Object};
use crate::model::result::CniResult;
use crate::model::version::CniVersion;

/// What errors call standard input.
const WHAT: &str = "the configuration on standard input";

/// The configuration of one call, and where its plugins are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The network's name.
    pub name: NetworkName,
    /// The version the runtime speaks, and is answered in.
    pub version: CniVersion,
    /// The result of an earlier plugin of the chain (ADD), or of the ADD (CHECK, DEL).
    pub prev_result: Option<CniResult>,
    /// `runtimeConfig`: values of the capabilities declared.
    pub runtime_config: Object,
    /// All of it, as written.
    pub object: Object,
    /// `CNI_PATH`: the directories in which plugins are looked for, in order.
    pub plugin_dirs: Vec<PathBuf>,
}

/// A configuration of which only the name is known: what every verb insists on.
pub(super) struct Head {
    name: NetworkName,
    object: Object,
}

impl Head {
    pub(super) fn read(stdin: &[u8]) -> Outcome<Self> {
        let object = Object::parse(stdin, WHAT)?;
        let name: String = match object.find("name") {
            None => String::new(),
            Some(raw) => object::decode(raw, "\"name\"")?,
        };
        Ok(Self { name: name.parse()?, object })
    }

    /// The configuration, if its version has the verb. `prevResult` is not looked at.
    pub(super) fn strict(self, command: Command, plugin_dirs: Vec<PathBuf>) -> Outcome<Config> {
        let version = self.version()?;
        if version < command.since() {
            return Err(too_old(version, command));
        }
        let runtime_config = self.runtime_config()?;
        let Self { name, object } = self;
        Ok(Config { name, version, prev_result: None, runtime_config, object, plugin_dirs })
    }

    /// The configuration with whatever can be made of it. A version we do not speak cannot have been attached by us,
    /// and nothing is said in it: DEL has no answer.
    pub(super) fn forgiving(self, plugin_dirs: Vec<PathBuf>) -> Config {
        let version = self.version().unwrap_or(CniVersion::NEWEST);
        let runtime_config = self.runtime_config().unwrap_or_default();
        let Self { name, object } = self;
        let mut config = Config { name, version, prev_result: None, runtime_config, object, plugin_dirs };
        // What it was is in the record; what the runtime says of it is a second opinion.
        config.read_prev_result().unwrap_or_default();
        config
    }

    fn version(&self) -> Outcome<CniVersion> {
        match self.object.find("cniVersion") {
            None => Ok(CniVersion::V0_1_0),
            Some(raw) => object::decode::<String>(raw, "\"cniVersion\"")?.parse(),
        }
    }

    fn runtime_config(&self) -> Outcome<Object> {
        let given = self.object.find("runtimeConfig");
        given.map_or_else(
            || Ok(Object::default()),
            |raw| Object::parse(raw.get().as_bytes(), "\"runtimeConfig\""),
        )
    }
}

impl Config {
    /// Reads `prevResult`, if there is one; without a version of its own it is in the configuration's.
    pub(super) fn read_prev_result(&mut self) -> Outcome<()> {
        let Some(raw) = self.object.find("prevResult") else { return Ok(()) };
        let result = dialect::read(raw.get().as_bytes(), self.version)
            .map_err(|fault| fault.while_doing("cannot read \"prevResult\""))?;
        self.prev_result = Some(result);
        Ok(())
    }
}

fn too_old(version: CniVersion, command: Command) -> Fault {
    let what = format!("CNI version {version} has no {}", command.as_str());
    let remedy = format!("set the network's \"cniVersion\" to {:?} or newer", command.since().as_str());
    Fault::new(FaultKind::Version, what).remedy(remedy)
}
