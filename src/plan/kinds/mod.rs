//! The registry of Kinds. A new Kind is a file here and a line in `NATIVE`.

mod exec;
mod macvlan;
mod passthru;
mod sriov;
mod userspace;
mod vhost_user;
mod vlan;

use super::kind::Kind;
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::settings::Program;
use crate::model::{PluginConf, PluginType, object};

/// The Kinds made in process.
const NATIVE: [&dyn Kind; 6] = [
    &macvlan::Macvlan,
    &passthru::Passthru,
    &sriov::Sriov,
    &userspace::Userspace,
    &vhost_user::VhostUser,
    &vlan::Vlan,
];

/// The Kind that makes what a configuration asks for: a native one, unless there is none or the configuration says
/// `"native": false`; then its plugin is run.
pub fn of(conf: &PluginConf) -> &'static dyn Kind {
    native(conf).unwrap_or(&exec::Exec)
}

/// Refuses a configuration that does not say whether its plugin is run, or whose plugin would be Manifold itself.
///
/// # Errors
/// `native` is neither true nor false; what would be run is known by a name of Manifold's own.
pub fn refuse_wrong_choice(conf: &PluginConf) -> Outcome<()> {
    let native = conf.object().find("native").filter(|_| is_native_type(conf.kind().as_str()));
    native.map_or(Ok(true), |raw| object::decode::<bool>(raw, "\"native\""))?;
    if is_native(conf) { Ok(()) } else { refuse_itself(conf.kind()) }
}

/// Refuses to run Manifold as a plugin: it would take switches, rules and places from the configuration of a network,
/// which may be a pod's own.
///
/// # Errors
/// It is a name that only Manifold, or the program it stands in for, has.
pub fn refuse_itself(program: &PluginType) -> Outcome<()> {
    let name = program.as_str();
    if Program::named(name).is_none() && name != vhost_user::TYPE {
        return Ok(());
    }
    let remedy = match name == vhost_user::TYPE {
        true => "leave \"native\" out, and have another plugin give addresses",
        false => "select the networks that it would make, or write their plugins into this one",
    };
    Err(Fault::new(FaultKind::Config, format!("{name:?} is not run as a plugin of a network"))
        .because("it is Manifold itself, and would obey the network instead of the node's configuration")
        .remedy(remedy))
}

/// Whether a configuration is served in process.
pub fn is_native(conf: &PluginConf) -> bool {
    native(conf).is_some()
}

/// Whether there is a native Kind for this plugin type.
pub fn is_native_type(plugin_type: &str) -> bool {
    NATIVE.into_iter().any(|kind| kind.plugin_type() == plugin_type)
}

fn native(conf: &PluginConf) -> Option<&'static dyn Kind> {
    let refused = conf.object().find("native").is_some_and(|v| v.get() == "false");
    NATIVE.into_iter().find(|kind| kind.plugin_type() == conf.kind().as_str() && !refused)
}
