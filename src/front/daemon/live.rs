//! Running pods that select other networks than they have: interfaces are taken from them and given to them, on record
//! like all others, and the pod's people are told.
//!
//! First what is selected no more goes, the last made first; then what is new comes, in the order of the annotation, each
//! for itself: one that fails leaves nothing and keeps no other. What failed is tried again, for as long as the pod
//! selects it.

use std::time::{Duration, Instant};

use super::desk::Desk;
use crate::engine::add::Attached;
use crate::engine::ports::{Cluster, Entry, Journal, Networks, Patience};
use crate::engine::record::{Phase, Record};
use crate::engine::scope::Scope;
use crate::engine::{add, del};
use crate::front::catalogue::Catalogue;
use crate::front::log;
use crate::front::machine::Machine;
use crate::front::publish::Publisher;
use crate::front::sockets::Offer;
use crate::front::wish;
use crate::host::kube::Watched;
use crate::host::kubelet::Kubelet;
use crate::model::args::CniArgs;
use crate::model::device::DeviceId;
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::pod::{NETWORK_STATUS, NETWORKS, Pod, PodName};
use crate::model::settings::Settings;
use crate::model::{Attachment, ContainerId, IfName, Object, Selection, selection, status};
use crate::plan::live;
use crate::plan::note;
use crate::plan::resolve::{Sandbox, Wish, resolve};

/// How long pods are changed in one turn, and how long one of them, before the others come first.
const ROUND: Duration = Duration::from_secs(20);
/// Most failures of one turn that a pod's people are told.
const TOLD: usize = 4;

/// How it went with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// It has what it selects, or is gone.
    Done,
    /// It has not.
    Again,
}

/// Brings pods to what they select now, in order.
pub(super) fn bring(desk: &Desk, pods: &[PodName]) -> Vec<Pass> {
    let context = desk.context();
    let machine = Machine::new(&desk.settings.places, &[], &context);
    let Some(shared) = &desk.cluster else { return vec![Pass::Done; pods.len()] };
    let sandboxes = match sandboxes(&machine, &shared.watched, pods) {
        Ok(sandboxes) => sandboxes,
        Err(fault) => {
            tracing::warn!("cannot look for the records of pods that select other networks: {fault}");
            return vec![Pass::Again; pods.len()];
        }
    };
    let end = Instant::now() + ROUND;
    let passes = pods.iter().zip(sandboxes).map(|(pod, containers)| {
        // One pod whose plugins hang is not to keep all others waiting, nor the daemon from stopping.
        if Instant::now() >= end || desk.is_closing() {
            return Pass::Again;
        }
        let each = containers.iter().map(|container| {
            let _pod =
                tracing::error_span!("pod", namespace = pod.namespace, pod = pod.name, %container).entered();
            one(desk, &machine, (pod, container))
        });
        each.fold(Pass::Done, |all, one| if one == Pass::Done { all } else { one })
    });
    let passes = passes.collect();
    let watch = context.stopwatch.unwrap_or_default();
    desk.metrics.laps(&watch.laps());
    desk.metrics.api.count(&watch.tries());
    passes
}

/// The sandboxes of each pod, by their records.
fn sandboxes(machine: &Machine, watched: &Watched, pods: &[PodName]) -> Outcome<Vec<Vec<ContainerId>>> {
    let mut found = vec![Vec::new(); pods.len()];
    // The kubelet's own UID of a static pod is not the API server's.
    let is_static: Vec<bool> =
        pods.iter().map(|pod| watched.pod(pod).is_some_and(|pod| pod.is_static())).collect();
    for container in machine.journal.containers()? {
        let entries = machine.journal.entries(&container)?;
        let of = entries.iter().find_map(|entry| match entry {
            Entry::Whole(record) => PodName::of(&record.attachment.args),
            Entry::Broken(_) => None,
        });
        let Some(of) = of else { continue };
        for ((pod, is_static), containers) in pods.iter().zip(&is_static).zip(&mut found) {
            let same_uid = *is_static || pod.uid.is_none() || of.uid.is_none() || pod.uid == of.uid;
            if (&pod.namespace, &pod.name) == (&of.namespace, &of.name) && same_uid {
                containers.push(container.clone());
            }
        }
    }
    Ok(found)
}

fn one(desk: &Desk, machine: &Machine, whose: (&PodName, &ContainerId)) -> Pass {
    let brought = Bringing::begin(desk, machine, whose).and_then(|bringing| match bringing {
        Some(bringing) => bringing.finish(desk),
        None => Ok(()),
    });
    match brought {
        Ok(()) => Pass::Done,
        Err(fault) => {
            desk.metrics.changed("failed");
            tracing::warn!("the pod has not what it selects: {fault}");
            log::confide(&fault);
            Pass::Again
        }
    }
}

/// A sandbox that is being brought to what its pod selects.
struct Bringing<'a> {
    settings: Settings,
    overlay: &'a Object,
    machine: &'a Machine,
    cluster: Box<dyn Cluster>,
    pod: Pod,
    records: Vec<Record>,
    container: &'a ContainerId,
}

impl<'a> Bringing<'a> {
    /// Nothing where the pod or its sandbox is gone.
    fn begin(
        desk: &'a Desk,
        machine: &'a Machine,
        (name, container): (&PodName, &'a ContainerId),
    ) -> Outcome<Option<Self>> {
        let Some(pod) = desk.cluster.as_ref().and_then(|shared| shared.watched.pod(name)) else {
            return Ok(None);
        };
        let Some(cluster) = machine.cluster(desk.settings.kubeconfig.as_deref())? else {
            return Ok(None);
        };
        // Whoever works on the sandbox is waited for.
        drop(machine.journal.lock(container, Patience::Wait)?);
        let records = records(machine, container)?;
        let overlay = &desk.settings.overlay;
        let settings = Settings::read_without_default(overlay, "manifold")?;
        let there = records.first().is_some_and(|record| machine.node().living_netns(record).is_some());
        Ok(there.then_some(Self { settings, overlay, machine, cluster, pod, records, container }))
    }

    fn finish(self, desk: &Desk) -> Outcome<()> {
        let metrics = &desk.metrics;
        let end = Instant::now() + ROUND;
        let text = self.pod.annotations.get(NETWORKS).map(String::as_str).unwrap_or_default();
        let publisher = Publisher::new(Some(self.cluster.as_ref()), Some(&self.pod));
        let wanted = match selection::parse(text) {
            Ok(wanted) => wanted,
            // It does not become right by being tried again.
            Err(fault) => {
                publisher.unchanged(&fault);
                tracing::warn!("{fault}");
                return Ok(());
            }
        };
        // What is not attached in full is not there: the next ADD of the sandbox undoes it first, and so does tidying up.
        let is_whole = |record: &&Record| record.phase == Phase::Attached;
        let held: Vec<Attachment> =
            self.records.iter().filter(is_whole).map(|record| record.attachment.clone()).collect();
        let mut change = live::change(&self.pod.name.namespace, &held, wanted);
        change.detach.extend(self.unfinished(&change.attach));
        let mut faults = Vec::new();
        for ifname in &change.detach {
            match self.detach(ifname) {
                Ok(gone) => {
                    metrics.changed("detached");
                    publisher.removed(&gone);
                }
                Err(fault) => faults.push(fault),
            }
        }
        for wish in change.attach {
            if Instant::now() >= end || desk.is_closing() {
                faults.push(Fault::new(FaultKind::TryLater, "it is another pod's turn"));
                break;
            }
            match self.attach(desk, wish) {
                Ok(made) => {
                    metrics.changed("attached");
                    publisher.added(&made);
                }
                Err(fault) => faults.push(fault),
            }
        }
        faults.iter().take(TOLD).for_each(|fault| publisher.unchanged(fault));
        faults.extend(self.tell(&publisher).err());
        Fault::gather(faults).map_or(Ok(()), Err)
    }

    /// Interfaces whose detaching failed before, as far as nothing is attached in their place.
    fn unfinished(&self, attach: &[Selection]) -> Vec<IfName> {
        let detaching = self.records.iter().filter(|record| {
            let attachment = &record.attachment;
            let again = attach.iter().any(|wish| wish.interface.as_ref() == Some(&attachment.owner.ifname));
            record.phase == Phase::Detaching && attachment.selection.is_some() && !again
        });
        detaching.map(|record| record.attachment.owner.ifname.clone()).collect()
    }

    fn detach(&self, ifname: &IfName) -> Outcome<Attachment> {
        let its = |record: &&Record| record.attachment.owner.ifname == *ifname;
        let attachment = self.records.iter().find(its).map(|record| record.attachment.clone());
        let attachment = attachment.ok_or_else(|| {
            Fault::new(FaultKind::Absent, format!("there is no record of interface {:?}", ifname.as_str()))
        })?;
        if !attachment.routing.take_default.is_empty() {
            return Err(routes_stay(ifname));
        }
        let request = del::Detach::recorded(self.container, Scope::Interfaces(vec![ifname.clone()]));
        del::del(&self.machine.node(), &request)
            .map(log::left_behind)
            .map_err(|fault| fault.while_doing(format!("cannot detach {:?}", ifname.as_str())))?;
        tracing::info!("detached {ifname} ({})", attachment.label);
        Ok(attachment)
    }

    fn attach(&self, desk: &Desk, wish: Selection) -> Outcome<Vec<Attached>> {
        let ifname = wish.interface.clone();
        if let (Some([_, ..]), Some(ifname)) = (wish.default_route.as_deref(), &ifname) {
            return Err(routes_stay(ifname));
        }
        let attachments = self.resolved(wish)?;
        let _no_gc = desk.attaching();
        let made = add::add_beside(&self.machine.node(), attachments)?;
        for attached in &made {
            log::warn(attached);
            let attachment = &attached.attachment;
            tracing::info!("attached {} ({})", attachment.owner.ifname, attachment.label);
        }
        Ok(made)
    }

    fn resolved(&self, wish: Selection) -> Outcome<Vec<Attachment>> {
        let Some(first) = self.records.first().map(|record| &record.attachment) else {
            return Ok(Vec::new());
        };
        let namespace = self.pod.name.namespace.as_str();
        let network = wish.namespace.as_deref().unwrap_or(namespace);
        if namespace != network && !self.says("namespaceIsolation") {
            return Err(unsaid("namespaceIsolation", "networks of other namespaces"));
        }
        self.settings.policy.permit(namespace, network)?;
        let catalogue = Catalogue::new(&self.settings, Some(self.cluster.as_ref()));
        let named = catalogue.network(Some(network), &wish.name)?;
        let mut wish = Wish { selected: vec![(wish, named)], ..Wish::default() };
        let whose = PodName::of(&first.args);
        if let Some(pod) = &whose {
            let kubelet = Kubelet::new(&self.settings.places.kubelet_dir);
            wish::hand_out(&mut wish, (pod, &kubelet), &catalogue, &self.devices()?)?;
        }
        let sandbox = Sandbox {
            container: self.container.clone(),
            netns: first.netns.clone(),
            args: of_the_pod(&first.args),
            standalone: None,
            called: first.called.clone(),
            in_place: first.in_place,
            device_info_dir: self.settings.places.device_info_dir.clone(),
        };
        let mut attachments = resolve(&sandbox, wish)?;
        let Settings { switches, rules, places, policy, .. } = &self.settings;
        let cluster = Some(self.cluster.as_ref());
        Offer { switches, rules, places, namespace: &policy.own, pod: whose, cluster }.lay(&mut attachments);
        if attachments.iter().any(|attachment| attachment.sockets.is_some()) && !self.says("vhostUser") {
            return Err(unsaid("vhostUser", "interfaces of the node's switches"));
        }
        Ok(attachments)
    }

    /// Whether the daemon's own configuration has a key. What the runtime's has in its place is not known here.
    fn says(&self, key: &str) -> bool {
        self.overlay.find(key).is_some()
    }

    /// The devices that the pod's interfaces have.
    fn devices(&self) -> Outcome<Vec<DeviceId>> {
        let held = records(self.machine, self.container)?.into_iter();
        Ok(held.filter_map(|record| record.attachment.device.map(|device| device.id)).collect())
    }

    /// Writes the pod's status, if it is not what it should be.
    fn tell(&self, publisher: &Publisher<'_>) -> Outcome<()> {
        let mut entries = Vec::new();
        let all = records(self.machine, self.container)?;
        let mut sockets = Vec::new();
        for record in &all {
            let own = record.attachment.standalone.is_none();
            if let Some(result) = record.result.as_ref().filter(|_| own && record.phase == Phase::Attached) {
                entries.extend(status::entries(&record.attachment, result, record.device_info.as_ref()));
                sockets.extend(record.note().map(|note| (&record.attachment, result, note)));
            }
        }
        let told = self.pod.annotations.get(NETWORK_STATUS).map(String::as_str).unwrap_or_default();
        if status::parse(told).is_ok_and(|told| told == entries) {
            return Ok(());
        }
        publisher.status(&entries, note::annotations(sockets))
    }
}

/// The records of a sandbox, in the order of their making.
fn records(machine: &Machine, container: &ContainerId) -> Outcome<Vec<Record>> {
    let entries = machine.journal.entries(container)?;
    let whole = entries.into_iter().filter_map(|entry| match entry {
        Entry::Whole(record) => Some(*record),
        Entry::Broken(_) => None,
    });
    Ok(whole.collect())
}

/// The arguments of a pod, without those that one of its selections asked for.
fn of_the_pod(args: &CniArgs) -> CniArgs {
    let mut kept = CniArgs::default();
    for (key, value) in args.pairs() {
        if !["MAC", "IP"].contains(&key.as_str()) {
            kept.set(key, value.clone());
        }
    }
    kept
}

/// Rules that the runtime's configuration may hold are not passed by because the daemon's has none.
fn unsaid(key: &str, what: &str) -> Fault {
    Fault::new(
        FaultKind::Config,
        format!("the daemon's configuration does not say whether pods may have {what}"),
    )
    .remedy(format!("set {key:?} in the daemon's configuration, as in the runtime's"))
}

fn routes_stay(ifname: &IfName) -> Fault {
    Fault::new(
        FaultKind::Unsupported,
        format!("the default routes of a running pod stay where they are: {:?}", ifname.as_str()),
    )
    .remedy("recreate the pod to move its default routes")
}
