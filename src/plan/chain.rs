//! The chain of an attachment: each plugin of its network read by the Kind that makes it.

use std::path::PathBuf;

use super::claim::Claim;
use super::kind::{Ask, Wanted};
use super::step::{CacheStep, DefaultRouteStep, DeviceInfoStep, ExecStep, Step, Yields};
use super::{device_file, ipam, keys, kinds};
use crate::model::fault::Outcome;
use crate::model::{Attachment, NetnsPath, Network, Object, Owner, PluginConf};

/// Reads every plugin of an attachment's network.
///
/// # Errors
/// The first configuration that can never be right, named by attachment and plugin.
pub fn read(attachment: &Attachment) -> Outcome<Vec<Box<dyn Wanted>>> {
    let each = attachment.network.plugins.iter().map(|conf| {
        read_one(Ask { conf, attachment }).map_err(|fault| {
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

fn read_one(ask: Ask<'_>) -> Outcome<Box<dyn Wanted>> {
    ask.conf.refuse_wrong_capabilities()?;
    kinds::refuse_wrong_choice(ask.conf)?;
    kinds::of(ask.conf).read(ask)
}

/// What is written in an attachment's network under keys that nobody reads, with the plugin that it is written for; and
/// what the pod asked for of no plugin.
pub fn unread(attachment: &Attachment) -> Vec<String> {
    let beside = unread_beside(attachment.network.source.get());
    let each = attachment.network.plugins.iter().flat_map(|conf| {
        let whats = unread_of(conf, attachment.standalone.is_some());
        whats.into_iter().map(|what| format!("plugin {:?}: {what}", conf.kind().as_str()))
    });
    beside.into_iter().chain(each).chain(attachment.in_vain.0.iter().cloned()).collect()
}

/// The same of the keys of a list beside its plugins.
fn unread_beside(source: &str) -> Vec<String> {
    let mut list: Object = serde_json::from_str(source).unwrap_or_default();
    if list.find("plugins").is_none() {
        return Vec::new();
    }
    let native = list.find("native").map(|_| NATIVE_OF_A_LIST.to_owned());
    list.remove("native");
    native.into_iter().chain(keys::unknown(&list, &[&keys::OF_A_LIST])).collect()
}

const NATIVE_OF_A_LIST: &str =
    "\"native\" has no effect beside \"plugins\": write it into each plugin that it is for";

fn unread_of(conf: &PluginConf, alone: bool) -> Vec<String> {
    let mut known = kinds::of(conf).keys().to_vec();
    if known.is_empty() {
        return Vec::new();
    }
    if alone {
        known.push(&keys::OF_THE_PROGRAM);
    }
    let mut whats = keys::unknown(conf.object(), &known);
    if reads_ipam(conf) {
        whats.extend(ipam::unread(conf));
    }
    whats
}

fn reads_ipam(conf: &PluginConf) -> bool {
    kinds::of(conf).keys().iter().any(|known| known.names().any(|name| name == "ipam"))
}

/// The stores out of which attachments to a network have their addresses, of those that are kept here.
pub fn stores(network: &Network) -> Vec<PathBuf> {
    let kept = network.plugins.iter().filter(|conf| reads_ipam(conf));
    kept.filter_map(|conf| ipam::store(conf, &network.name)).collect()
}

/// Steps that undo what may be left of an attachment whose configuration can never be right.
pub fn remains(attachment: &Attachment) -> Vec<Step> {
    let each = attachment.network.plugins.iter().flat_map(|conf| kinds::of(conf).remains(attachment));
    each.chain(cache(attachment)).collect()
}

/// What stands for an attachment of which nothing is known but its owner: a link or a device that carries the owner's
/// mark.
///
/// # Errors
/// None: the network is well formed.
pub fn unknown(owner: &Owner, netns: Option<&NetnsPath>) -> Outcome<Attachment> {
    Ok(Attachment {
        netns: netns.cloned(),
        // Its caches are not known by this name: nothing is to be removed from them.
        standalone: Some("unknown".parse()?),
        label: "its record is lost".to_owned(),
        ..Attachment::new(
            owner.clone(),
            Network::parse(br#"{"name":"unknown","plugins":[{"type":"macvlan"},{"type":"sriov"}]}"#, None)?,
        )
    })
}

/// The plugins of a network that are run as processes.
pub fn run_as_processes(network: &Network) -> impl Iterator<Item = &PluginConf> {
    network.plugins.iter().filter(|conf| !kinds::is_native(conf))
}

/// All that is run for a network: those plugins, and those that give addresses to the ones that are made in process, who
/// pass on to them what they are asked (CNI specification 1.1.0, "GC", "STATUS").
pub fn processes(network: &Network) -> Vec<ExecStep> {
    let process = |conf: &PluginConf| match kinds::is_native(conf) {
        true => Some(conf).filter(|conf| reads_ipam(conf)).and_then(ipam::process),
        false => Some(ExecStep { program: conf.kind().clone(), conf: conf.clone(), yields: Yields::Result }),
    };
    network.plugins.iter().filter_map(process).collect()
}

/// What an attachment has for itself whatever its plugins are: the device that the kubelet gave it.
///
/// # Errors
/// A device that cannot be named in a claim.
pub fn claims(attachment: &Attachment) -> Outcome<Option<Claim>> {
    let given = attachment.device.as_ref().filter(|device| device.resource.is_some());
    given.map(|device| Claim::device(&device.id)).transpose()
}

/// The steps that go before the first plugin.
pub fn head(attachment: &Attachment) -> Option<Step> {
    run_as_processes(&attachment.network).next()?;
    device_info(attachment).map(Step::DeviceFile)
}

/// The file that tells of the device.
fn device_info(attachment: &Attachment) -> Option<DeviceInfoStep> {
    let file = attachment.device_file.clone()?;
    let device = attachment.device.as_ref();
    let source = device.and_then(|device| device_file::of_device(&file, device));
    Some(DeviceInfoStep { file, source, device: device.map(|device| device.id.clone()) })
}

/// The steps that follow the last plugin.
pub fn tail(attachment: &Attachment) -> Vec<Step> {
    let learnt = device_info(attachment).map(Step::DeviceInfo);
    let routing = &attachment.routing;
    let routes =
        (!routing.is_usual()).then(|| Step::DefaultRoute(DefaultRouteStep { routing: routing.clone() }));
    routes.into_iter().chain(learnt).chain(cache(attachment)).collect()
}

/// The steps that undo what another program made by running the plugins of an attachment's network.
pub fn inherited(attachment: &Attachment) -> Vec<Step> {
    let each = attachment.network.plugins.iter().map(|conf| {
        Step::Exec(ExecStep { program: conf.kind().clone(), conf: conf.clone(), yields: Yields::Result })
    });
    each.chain(cache(attachment)).collect()
}

/// The step that keeps the result. Plugins that are run, and programs beside them, expect what the reference library
/// leaves. A program that Manifold stands in for could not take down what it found no trace of, so for it everything is
/// kept. Where Manifold is called as a single plugin, its caller does that.
pub fn cache(attachment: &Attachment) -> Option<Step> {
    let wanted = attachment.in_place || run_as_processes(&attachment.network).next().is_some();
    let step = CacheStep { network: attachment.network.name.clone(), sandbox_file: attachment.in_place };
    (wanted && attachment.standalone.is_none()).then_some(Step::Cache(step))
}
