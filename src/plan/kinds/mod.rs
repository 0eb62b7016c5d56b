//! The registry of Kinds. A new Kind is a file here and a line in `NATIVE`.

mod exec;
mod macvlan;
mod passthru;
mod sriov;
mod userspace;
mod vhost_user;
mod vlan;

use super::kind::Kind;
use crate::model::fault::Outcome;
use crate::model::{PluginConf, object};

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

/// Refuses a configuration that does not say whether its plugin is run.
///
/// # Errors
/// `native` is neither true nor false.
pub fn refuse_wrong_choice(conf: &PluginConf) -> Outcome<()> {
    match conf.object().find("native").filter(|_| is_native_type(conf.kind().as_str())) {
        Some(raw) => object::decode::<bool>(raw, "\"native\"").map(drop),
        None => Ok(()),
    }
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
