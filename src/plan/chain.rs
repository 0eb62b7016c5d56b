//! The chain of an attachment: each plugin of its network read by the Kind that makes it.

use super::kind::{Ask, Wanted};
use super::kinds;
use super::step::{CacheStep, DefaultRouteStep, ExecStep, Step, Yields};
use crate::model::fault::Outcome;
use crate::model::{Attachment, Network, PluginConf};

/// Reads every plugin of an attachment's network.
///
/// # Errors
/// The first configuration that can never be right, named by attachment and plugin.
pub fn read(attachment: &Attachment) -> Outcome<Vec<Box<dyn Wanted>>> {
    let each = attachment.network.plugins.iter().map(|conf| {
        kinds::of(conf).read(Ask { conf, attachment }).map_err(|fault| {
            let owner = attachment.owner.ifname.as_str();
            fault.while_doing(format!(
                "cannot attach {owner:?} ({}): plugin {:?}",
                attachment.label,
                conf.kind().as_str()
            ))
        })
    });
    each.collect()
}

/// The plugins of a network that are run as processes.
pub fn run_as_processes(network: &Network) -> impl Iterator<Item = &PluginConf> {
    network.plugins.iter().filter(|conf| !kinds::is_native(conf))
}

/// The steps that follow the last plugin.
pub fn tail(attachment: &Attachment) -> Vec<Step> {
    let routing = &attachment.routing;
    let routes =
        (!routing.is_usual()).then(|| Step::DefaultRoute(DefaultRouteStep { routing: routing.clone() }));
    routes.into_iter().chain(cache(attachment)).collect()
}

/// The steps that undo what another program made by running the plugins of an attachment's network.
pub fn inherited(attachment: &Attachment) -> Vec<Step> {
    let each = attachment.network.plugins.iter().map(|conf| {
        Step::Exec(ExecStep { program: conf.kind().clone(), conf: conf.clone(), yields: Yields::Result })
    });
    each.chain(cache(attachment)).collect()
}

/// The step that keeps the result. Plugins that are run, and programs beside them, expect what the reference library
/// leaves; the program Manifold stands in for could not take down what it found no trace of.
pub fn cache(attachment: &Attachment) -> Option<Step> {
    attachment.cached.then(|| Step::Cache(CacheStep { network: attachment.network.name.clone() }))
}
