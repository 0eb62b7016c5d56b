//! The verbs where this program plays the part of one native plugin: its network is the configuration itself.

use super::context::Context;
use super::machine::{Machine, sandbox_of_its_own};
use super::sockets::Offer;
use crate::engine::scope::Scope;
use crate::engine::{add, check, del, gc, status};
use crate::model::args::CniArgs;
use crate::model::call::{Config, Leaving, Sandbox, ValidList};
use crate::model::fault::Outcome;
use crate::model::pod::PodName;
use crate::model::settings::{Places, Switches};
use crate::model::{Attachment, NetnsPath, Network, Owner, dialect};
use crate::plan::resolve::{self, First, Named, Wish, resolve};

pub(super) fn add(sandbox: &Sandbox, config: &Config, context: &Context) -> Outcome<Vec<u8>> {
    let places = Places::read(&config.object)?;
    let attachments = attachments(config, &sandbox.owner, Some(&sandbox.netns), &sandbox.args)?;
    let machine = Machine::new(&places, &config.plugin_dirs, context);
    let made = add::add(&machine.node(), attachments)?;
    super::log::attached(&made);
    let answer = made.into_iter().next().map(|a| a.result).unwrap_or_default();
    dialect::write(&answer, config.version).map_err(|fault| {
        // What cannot be told must not be: before 0.3.0 a result has no place for an interface without an address.
        let scope = Scope::StandaloneInterface(sandbox.owner.ifname.clone());
        let detach = del::Detach::recorded(&sandbox.owner.container, scope);
        fault.along_with(del::del(&machine.node(), &detach).map(super::log::left_behind).err())
    })
}

pub(super) fn del(leaving: &Leaving, config: &Config, context: &Context) -> Outcome<()> {
    let configured =
        || attachments(config, &leaving.owner, leaving.netns.as_ref(), &leaving.args).unwrap_or_default();
    let detach = del::Detach {
        container: &leaving.owner.container,
        scope: Scope::StandaloneInterface(leaving.owner.ifname.clone()),
        configured: &configured,
        netns: leaving.netns.as_ref(),
        unrecorded: del::Unrecorded::Trace,
    };
    del::del(&machine(config, context).node(), &detach).map(super::log::left_behind)
}

pub(super) fn check(sandbox: &Sandbox, config: &Config, context: &Context) -> Outcome<()> {
    let scope = Scope::StandaloneInterface(sandbox.owner.ifname.clone());
    let owners = std::slice::from_ref(&sandbox.owner);
    check::check(&machine(config, context).node(), &sandbox.owner.container, &scope, owners)
}

pub(super) fn gc(config: &Config, valid: &ValidList, context: &Context) -> Outcome<()> {
    // Whatever is wrong with it keeps nothing from being collected.
    let network = network(config).ok();
    gc::gc(
        &machine(config, context).node(),
        &Scope::StandaloneNetwork(config.name.clone()),
        gc::Valid::Listed(valid),
        &gc::Audience { networks: network.as_slice(), inherited: &[] },
    )
}

pub(super) fn status(config: &Config, context: &Context) -> Outcome<()> {
    let places = Places::read(&config.object)?;
    let owner = sandbox_of_its_own()?;
    let attachments = attachments(config, &owner, None, &CniArgs::default())?;
    let machine = Machine::new(&places, &config.plugin_dirs, context);
    status::status(&machine.node(), attachments, &owner.container)
}

/// The node, for verbs that must do what they can whatever the configuration says.
fn machine(config: &Config, context: &Context) -> Machine {
    Machine::new(&Places::read_forgiving(&config.object), &config.plugin_dirs, context)
}

/// The network that the configuration is.
fn network(config: &Config) -> Outcome<Network> {
    let mut object = config.object.clone();
    // The result of an earlier plugin of the runtime's chain is no part of the configuration. Nor is whose part this
    // program plays a question any more: it would run itself.
    ["prevResult", "native", "plugins"].into_iter().for_each(|key| object.remove(key));
    Network::parse(&object.to_bytes(), None)
}

/// The one attachment that the configuration asks for.
fn attachments(
    config: &Config,
    owner: &Owner,
    netns: Option<&NetnsPath>,
    args: &CniArgs,
) -> Outcome<Vec<Attachment>> {
    let network = network(config)?;
    let places = Places::read_forgiving(&config.object);
    let sandbox = resolve::Sandbox {
        container: owner.container.clone(),
        netns: netns.cloned(),
        args: args.clone(),
        standalone: Some(config.name.clone()),
        called: None,
        in_place: false,
        device_info_dir: places.device_info_dir.clone(),
    };
    let default = First {
        named: Named::new(network.name.to_string(), network),
        ifname: owner.ifname.clone(),
        capabilities: config.runtime_config.clone(),
        selection: None,
    };
    let mut attachments = resolve(&sandbox, Wish { default: Some(default), ..Wish::default() })?;
    let (switches, rules) = Switches::read(&config.object)?;
    let pod = PodName::of(args);
    Offer { switches: &switches, rules: &rules, places: &places, namespace: "", pod, cluster: None }
        .lay(&mut attachments);
    Ok(attachments)
}
