//! One request, served: what the configuration means, and the verb that does it.

use std::collections::BTreeMap;

use super::inherited::Inheritance;
use super::machine::Machine;
use crate::engine::ports::Networks;
use crate::engine::{add, check, del, gc, status};
use crate::host::directory::Directory;
use crate::model::args::CniArgs;
use crate::model::call::{Config, Leaving, Request, Sandbox};
use crate::model::fault::{Fault, Outcome};
use crate::model::settings::{self, Places, Settings};
use crate::model::version::version_reply;
use crate::model::{
    Attachment, FaultKind, IfName, NetnsPath, Network, Object, Owner, Role, Selection, dialect, object,
    selection,
};
use crate::plan::kinds;
use crate::plan::resolve::{self, Named, Wish, resolve};

/// Who called, for the log.
pub(super) struct Caller {
    pub(super) command: String,
    pub(super) container: String,
    pub(super) ifname: String,
}

impl Caller {
    /// Reads the variables that name a call.
    pub(super) fn of(variables: &BTreeMap<String, String>) -> Self {
        let text = |key: &str| variables.get(key).cloned().unwrap_or_default();
        Self { command: text("CNI_COMMAND"), container: text("CNI_CONTAINERID"), ifname: text("CNI_IFNAME") }
    }
}

/// What the configuration is: Manifold's own, or that of one native plugin whose part this program plays.
enum Part {
    Meta,
    Plugin,
}

/// Serves one request and gives the reply's bytes.
///
/// # Errors
/// Whatever the verb says.
pub(super) fn serve(request: Request) -> Outcome<Vec<u8>> {
    match request {
        Request::Add(sandbox, config) => serve_add(&sandbox, &config),
        Request::Del(leaving, config) => serve_del(&leaving, &config).map(|()| Vec::new()),
        Request::Check(sandbox, config) => serve_check(&sandbox, &config).map(|()| Vec::new()),
        Request::Gc(config, valid) => serve_gc(&config, &valid).map(|()| Vec::new()),
        Request::Status(config) => serve_status(&config).map(|()| Vec::new()),
        Request::Version => Ok(version_reply().into_bytes()),
    }
}

fn serve_add(sandbox: &Sandbox, config: &Config) -> Outcome<Vec<u8>> {
    let target = target(&sandbox.owner, Some(&sandbox.netns), &sandbox.args);
    let (places, attachments) = attachments(config, &target, &sandbox.owner)?;
    let made = add::add(&Machine::new(&places, &config.plugin_dirs).node(), attachments)?;
    let answer = made.into_iter().find(|a| a.attachment.role == Role::Default).map(|a| a.result);
    dialect::write(&answer.unwrap_or_default(), config.version)
}

fn serve_del(leaving: &Leaving, config: &Config) -> Outcome<()> {
    let target = target(&leaving.owner, leaving.netns.as_ref(), &leaving.args);
    let places = Places::read_forgiving(&config.object);
    let (scope, unrecorded) = match part(config) {
        Ok(Part::Plugin) => {
            (del::Scope::Interfaces(vec![leaving.owner.ifname.clone()]), del::Unrecorded::Trace)
        }
        Ok(Part::Meta) | Err(_) => (del::Scope::Sandbox, del::Unrecorded::Skip),
    };
    // A configuration that has become wrong since must not keep a pod from being taken down.
    let configured = || attachments(config, &target, &leaving.owner).map(|(_, a)| a).unwrap_or_default();
    let detach =
        del::Detach { container: &leaving.owner.container, scope, configured: &configured, unrecorded };
    let machine = Machine::new(&places, &config.plugin_dirs);
    let known = machine.knows(&leaving.owner.container);
    let done = del::del(&machine.node(), &detach);
    match detach.scope {
        del::Scope::Sandbox => {
            let inherited = Inheritance { machine: &machine, places: &places, leaving, known };
            match (done, inherited.take_down()) {
                (Ok(()), taken) => taken,
                (Err(fault), taken) => Err(fault.along_with(taken.err())),
            }
        }
        del::Scope::Interfaces(_) => done,
    }
}

fn serve_check(sandbox: &Sandbox, config: &Config) -> Outcome<()> {
    let places = Places::read_forgiving(&config.object);
    let machine = Machine::new(&places, &config.plugin_dirs);
    check::check(&machine.node(), &sandbox.owner.container, std::slice::from_ref(&sandbox.owner))
}

fn serve_gc(config: &Config, valid: &[Owner]) -> Outcome<()> {
    let (places, networks) = match part(config)? {
        Part::Plugin => (Places::read_forgiving(&config.object), Vec::new()),
        Part::Meta => {
            let settings = Settings::read(&config.object, config.name.as_str())?;
            (settings.places, settings.delegates)
        }
    };
    gc::gc(&Machine::new(&places, &config.plugin_dirs).node(), valid, &networks)
}

fn serve_status(config: &Config) -> Outcome<()> {
    let owner = Owner { container: "status".parse()?, ifname: "eth0".parse()? };
    let target = target(&owner, None, &Default::default());
    let (places, attachments) = attachments(config, &target, &owner)?;
    status::status(&Machine::new(&places, &config.plugin_dirs).node(), attachments, &owner.container)
}

fn target(owner: &Owner, netns: Option<&NetnsPath>, args: &CniArgs) -> resolve::Sandbox {
    resolve::Sandbox { container: owner.container.clone(), netns: netns.cloned(), args: args.clone() }
}

/// Which part the configuration gives this program.
fn part(config: &Config) -> Outcome<Part> {
    let kind: String =
        config.object.find("type").map_or(Ok(String::new()), |raw| object::decode(raw, "\"type\""))?;
    match kind.as_str() {
        "manifold" | "multus" => Ok(Part::Meta),
        other if kinds::is_native_type(other) => Ok(Part::Plugin),
        other => Err(Fault::new(FaultKind::Config, format!("\"type\" is {other:?}"))
            .remedy("use \"manifold\", or the type of a plugin that Manifold makes in process")),
    }
}

/// Where things are, and the attachments that a configuration and its pod name.
fn attachments(
    config: &Config,
    target: &resolve::Sandbox,
    owner: &Owner,
) -> Outcome<(Places, Vec<Attachment>)> {
    let part = part(config)?;
    // Where it plays the part of one plugin, its caller keeps the caches.
    let cached = matches!(part, Part::Meta);
    let (places, wish) = match part {
        Part::Plugin => (
            Places::read_forgiving(&config.object),
            Wish { default: Some(alone(config, owner)?), ..Wish::default() },
        ),
        Part::Meta => {
            let settings = Settings::read(&config.object, config.name.as_str())?;
            let wish = wish(&settings, config, owner)?;
            (settings.places, wish)
        }
    };
    let mut attachments = resolve(target, wish)?;
    attachments.iter_mut().for_each(|attachment| attachment.cached = cached);
    Ok((places, attachments))
}

/// The network of a single plugin's configuration.
fn alone(config: &Config, owner: &Owner) -> Outcome<(Named, IfName, Object)> {
    let mut object = config.object.clone();
    // The result of an earlier plugin of the runtime's chain is no part of the configuration.
    object.remove("prevResult");
    let network = Network::parse(&object.to_bytes(), None)?;
    let named = Named { label: network.name.to_string(), network };
    Ok((named, owner.ifname.clone(), config.runtime_config.clone()))
}

/// What Manifold's configuration and the pod's annotation ask for.
fn wish(settings: &Settings, config: &Config, owner: &Owner) -> Outcome<Wish> {
    let directory = Directory::new(&settings.places.networks_dir);
    let mut always: Vec<Named> = settings.delegates.iter().map(named).collect();
    if let Some(name) = &settings.cluster_network {
        always = vec![directory.network(None, name)?];
    }
    let default = (!always.is_empty()).then(|| always.remove(0));
    for name in &settings.default_networks {
        always.push(directory.network(None, name)?);
    }
    let text = settings::selections_text(&config.runtime_config)?.unwrap_or_default();
    Ok(Wish {
        default: default.map(|named| (named, owner.ifname.clone(), config.runtime_config.clone())),
        always,
        selected: select(&directory, &text)?,
    })
}

fn named(network: &Network) -> Named {
    Named { label: network.name.to_string(), network: network.clone() }
}

/// The selections of an annotation, each with its network.
///
/// # Errors
/// The annotation is malformed, or names a network that is not there.
pub(super) fn select(networks: &dyn Networks, text: &str) -> Outcome<Vec<(Selection, Named)>> {
    let selections =
        selection::parse(text).map_err(|fault| fault.while_doing("cannot read the selection of networks"))?;
    let each = selections.into_iter().map(|selection| {
        let named = networks.network(selection.namespace.as_deref(), &selection.name)?;
        Ok((selection, named))
    });
    each.collect()
}
