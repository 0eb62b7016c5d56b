//! The verbs where this program is itself: several networks for a pod.

use std::cell::LazyCell;
use std::collections::BTreeMap;

use super::catalogue::Catalogue;
use super::context::Context;
use super::inherited::{self, Inheritance};
use super::machine::{Machine, sandbox_of_its_own};
use super::pod::{self, Found};
use super::publish::Publisher;
use super::readiness;
use super::sockets::Offer;
use super::wish::{Asker, wish};
use crate::engine::ports::{Cluster, Devices, Journal};
use crate::engine::scope::Scope;
use crate::engine::{add, check, del, gc, status};
use crate::host::kubelet::Kubelet;
use crate::model::args::CniArgs;
use crate::model::call::{Config, Leaving, Sandbox, ValidList};
use crate::model::fault::{Fault, Outcome};
use crate::model::pod::{Pod, PodName};
use crate::model::settings::{Places, Settings};
use crate::model::{Attachment, Called, CniResult, FaultKind, NetnsPath, Network, Owner, Role, dialect};
use crate::plan::mark;
use crate::plan::port::OvsDatabase;
use crate::plan::resolve::{self, resolve};
use crate::plan::vpp::VppApi;

pub(super) fn add(sandbox: &Sandbox, config: &Config, context: &Context) -> Outcome<Vec<u8>> {
    let settings = Settings::read(&config.object, config.name.as_str())?;
    readiness::wait(settings.readiness_file.as_deref())?;
    let machine = Machine::new(&settings.places, &config.plugin_dirs, context);
    let cluster = machine.cluster(settings.kubeconfig.as_deref())?;
    let cluster = cluster.as_deref();
    let pod = match pod::find(config, &sandbox.args, cluster)? {
        Found::Missing => return dialect::write(&pod::no_result(sandbox), config.version),
        Found::Unnamed => None,
        Found::Pod(pod) => Some(pod),
    };
    let publisher = Publisher::new(cluster, pod.as_ref());
    let kubelet = Kubelet::new(&settings.places.kubelet_dir);
    let ground = Ground { settings: &settings, config, cluster, kubelet: Some(&kubelet) };
    let asked = ground.attachments(&Target::of(sandbox), pod.as_ref());
    let attachments = asked.inspect_err(|fault| publisher.refused(fault))?;
    let made = add::add(&machine.node(), attachments).inspect_err(|fault| publisher.failed(fault))?;
    super::log::attached(&made);
    let answer = made.iter().find(|a| a.attachment.role == Role::Default).map(|a| &a.result);
    // What cannot be told must not be: before 0.3.0 a result has no place for an interface without an address. And a pod
    // whose networks nobody can see is not attached. Either way the runtime will try again.
    let reply = dialect::write(answer.unwrap_or(&CniResult::default()), config.version);
    let told = reply.and_then(|reply| publisher.attached(&made).map(|()| reply));
    if let (Some(shared), Some(pod)) = (&context.cluster, &pod) {
        shared.attached(pod);
    }
    told.map_err(|fault| {
        let made = made.into_iter().map(|a| a.attachment.owner.ifname).collect();
        let detach = del::Detach::recorded(&sandbox.owner.container, Scope::Interfaces(made));
        let undone = del::del(&machine.node(), &detach).map(super::log::left_behind);
        fault.along_with(undone.err())
    })
}

pub(super) fn del(leaving: &Leaving, config: &Config, context: &Context) -> Outcome<()> {
    let places = Places::read_forgiving(&config.object);
    let machine = Machine::new(&places, &config.plugin_dirs, context);
    let known = machine.knows(&leaving.owner.container);
    let done = del_with(&machine, leaving, config);
    let inherited = Inheritance { machine: &machine, places: &places, leaving, known };
    match (done, inherited.take_down()) {
        (Ok(()), taken) => taken,
        (Err(fault), taken) => Err(fault.along_with(taken.err())),
    }
}

fn del_with(machine: &Machine, leaving: &Leaving, config: &Config) -> Outcome<()> {
    let configured = || as_configured(machine, leaving, config).unwrap_or_default();
    let detach = del::Detach {
        container: &leaving.owner.container,
        scope: Scope::Called(called(&leaving.owner, config)),
        configured: &configured,
        netns: leaving.netns.as_ref(),
        unrecorded: del::Unrecorded::Skip,
    };
    del::del(&machine.node(), &detach).map(super::log::left_behind)
}

/// The attachments as today's configuration would make them, for want of their records.
fn as_configured(machine: &Machine, leaving: &Leaving, config: &Config) -> Outcome<Vec<Attachment>> {
    let settings = Settings::read(&config.object, config.name.as_str())?;
    let cluster = machine.cluster(settings.kubeconfig.as_deref())?;
    let pod = match pod::find(config, &leaving.args, cluster.as_deref()) {
        Ok(Found::Pod(pod)) => Some(pod),
        Ok(Found::Missing | Found::Unnamed) | Err(_) => None,
    };
    let target = Target { owner: &leaving.owner, netns: leaving.netns.as_ref(), args: &leaving.args };
    // Which devices it had is not asked again: by now they may be another pod's.
    Ground { settings: &settings, config, cluster: cluster.as_deref(), kubelet: None }
        .attachments(&target, pod.as_ref())
}

pub(super) fn check(sandbox: &Sandbox, config: &Config, context: &Context) -> Outcome<()> {
    let machine = Machine::new(&Places::read_forgiving(&config.object), &config.plugin_dirs, context);
    let owners = std::slice::from_ref(&sandbox.owner);
    let scope = Scope::Called(called(&sandbox.owner, config));
    check::check(&machine.node(), &sandbox.owner.container, &scope, owners)
}

pub(super) fn gc(config: &Config, valid: &ValidList, context: &Context) -> Outcome<()> {
    let settings = Settings::read(&config.object, config.name.as_str())?;
    let machine = Machine::new(&settings.places, &config.plugin_dirs, context);
    let (networks, unknown) = of_every_pod(&machine, &settings)?;
    let inherited = inherited::attached(&settings.places, valid);
    // Where that cannot be told, nobody is told that it is not valid, and the networks are left alone.
    let audience = match &inherited {
        Ok(inherited) => gc::Audience { networks: &networks, inherited },
        Err(_) => gc::Audience::default(),
    };
    let swept = gc::gc(&machine.node(), &Scope::Own, gc::Valid::Listed(valid), &audience);
    let orphans = orphans(&machine, &settings, valid);
    let faults = swept.err().into_iter().chain(orphans.err()).chain(inherited.err()).chain(unknown);
    Fault::gather(faults).map_or(Ok(()), Err)
}

/// Takes down the ports of switches that no record knows and no valid attachment has: their records are lost. A port is
/// looked for before its record is, so one that is just being made is not among them.
fn orphans(machine: &Machine, settings: &Settings, valid: &ValidList) -> Outcome<()> {
    let (switches, state_dir) = (&settings.switches, &settings.places.state_dir);
    let database = OvsDatabase::of(switches);
    let keep = |owner: &Owner| valid.has(&owner.container) || machine.knows(&owner.container);
    let ports = machine.switches.sweep(&database, state_dir, &keep).map(drop);
    let known = LazyCell::new(|| {
        let recorded = machine.journal.containers().ok()?;
        let recorded = recorded.iter().filter(|container| machine.knows(container));
        Some(valid.sandboxes().chain(recorded).map(mark::vpp_container).collect())
    });
    // Where nobody can tell, everything is kept.
    let keep = |container: &str| {
        known.as_ref().is_none_or(|known: &Vec<String>| known.iter().any(|one| one == container))
    };
    let interfaces = machine.vpps.sweep(&VppApi::of(switches), state_dir, &keep);
    Fault::gather(ports.err().into_iter().chain(interfaces.err())).map_or(Ok(()), Err)
}

/// The networks that every pod gets, and why some are not known: that keeps nothing from being collected.
fn of_every_pod(machine: &Machine, settings: &Settings) -> Outcome<(Vec<Network>, Vec<Fault>)> {
    let Some(first) = &settings.cluster_network else {
        return Ok((settings.delegates.clone(), Vec::new()));
    };
    let cluster = machine.cluster(settings.kubeconfig.as_deref())?;
    let catalogue = Catalogue::new(settings, cluster.as_deref());
    let (mut networks, mut unknown) = (Vec::new(), Vec::new());
    for value in std::iter::once(first).chain(&settings.default_networks) {
        match catalogue.configured(value) {
            Ok(named) => networks.push(named.network),
            Err(fault) => unknown.push(fault),
        }
    }
    Ok((networks, unknown))
}

pub(super) fn status(config: &Config, context: &Context) -> Outcome<()> {
    let settings = Settings::read(&config.object, config.name.as_str())?;
    readiness::look(settings.readiness_file.as_deref())?;
    let machine = Machine::new(&settings.places, &config.plugin_dirs, context);
    let cluster = machine.cluster(settings.kubeconfig.as_deref())?;
    let owner = sandbox_of_its_own()?;
    let target = Target { owner: &owner, netns: None, args: &CniArgs::default() };
    let ground = Ground { settings: &settings, config, cluster: cluster.as_deref(), kubelet: None };
    let attachments = ground.attachments(&target, None).map_err(|fault| {
        if fault.kind() == FaultKind::Absent { fault.recast(FaultKind::Unavailable) } else { fault }
    })?;
    status::status(&machine.node(), attachments, &owner.container)
}

/// The types, as JSON, under which the peer is configured.
const IN_PLACE: [&str; 2] = ["\"multus\"", "\"multus-shim\""];

/// What a call stands on.
struct Ground<'a> {
    settings: &'a Settings,
    config: &'a Config,
    cluster: Option<&'a dyn Cluster>,
    /// Who knows the pod's devices, where they are to be handed out.
    kubelet: Option<&'a Kubelet>,
}

impl Ground<'_> {
    /// Whether Manifold is called under the peer's name, and so may be replaced by it again.
    fn in_place(&self) -> bool {
        self.config.object.find("type").is_some_and(|kind| IN_PLACE.contains(&kind.get()))
    }

    /// The attachments that configuration and pod ask for.
    fn attachments(&self, target: &Target<'_>, pod: Option<&Pod>) -> Outcome<Vec<Attachment>> {
        let none = BTreeMap::new();
        let named = PodName::of(target.args);
        let asker = Asker {
            namespace: pod.map(|pod| pod.name.namespace.as_str()),
            annotations: pod.map_or(&none, |pod| &pod.annotations),
            ifname: &target.owner.ifname,
            devices: named.as_ref().zip(self.kubelet.map(|kubelet| kubelet as &dyn Devices)),
        };
        let catalogue = Catalogue::new(self.settings, self.cluster);
        let wish = wish(&asker, self.config, &catalogue)?;
        let sandbox = resolve::Sandbox {
            container: target.owner.container.clone(),
            netns: target.netns.cloned(),
            args: target.args.tidied(),
            standalone: None,
            called: Some(called(target.owner, self.config)),
            in_place: self.in_place(),
            device_info_dir: self.settings.places.device_info_dir.clone(),
        };
        let mut attachments = resolve(&sandbox, wish)?;
        let Settings { switches, rules, places, policy, .. } = self.settings;
        // The kubelet's own UID is the one in the paths of a pod's volumes.
        let pod = named.or_else(|| pod.map(|pod| pod.name.clone()));
        let cluster = self.cluster;
        Offer { switches, rules, places, namespace: &policy.own, pod, cluster }.lay(&mut attachments);
        Ok(attachments)
    }
}

/// What the runtime calls the attachment that it calls for.
fn called(owner: &Owner, config: &Config) -> Called {
    Called { network: config.name.clone(), ifname: owner.ifname.clone() }
}

/// The sandbox a call is about.
struct Target<'a> {
    owner: &'a Owner,
    netns: Option<&'a NetnsPath>,
    args: &'a CniArgs,
}

impl<'a> Target<'a> {
    fn of(sandbox: &'a Sandbox) -> Self {
        Self { owner: &sandbox.owner, netns: Some(&sandbox.netns), args: &sandbox.args }
    }
}
