//! A virtual link: made in one request, deleted with all its siblings in one.

use std::os::fd::AsFd;

use crate::engine::ports::{Site, Undo};
use crate::host::netlink::link::{self, Cradle, Seen};
use crate::host::netlink::sockets::Pod;
use crate::host::netlink::{Socket, Sockets};
use crate::model::fault::{Fault, Outcome};
use crate::model::result::Interface;
use crate::model::{CniResult, FaultKind, NetnsPath, Owner};
use crate::plan::facts::Place;
use crate::plan::mark::{self, Aliased};
use crate::plan::step::{LinkKind, LinkStep, Progress, Step};

/// Makes the link in the pod's namespace, under its final name, with its mark.
pub(super) fn apply(
    sockets: &Sockets,
    site: Site<'_>,
    step: &LinkStep,
    progress: &mut Progress,
) -> Outcome<()> {
    let netns = netns(site)?;
    let name = &site.attachment.owner.ifname;
    match step.master.as_ref().map_or(Place::Pod, |master| master.place) {
        Place::Pod => sockets.pod(netns, |pod| link::create(&mut pod.socket, name, step, Cradle::Here))?,
        Place::Host => sockets.pod(netns, |pod| {
            sockets.host(|host| link::create(host, name, step, Cradle::There(pod.netns.as_fd())))
        })?,
    }
    let mac = match step.mac {
        Some(mac) => Some(mac),
        None => {
            sockets.pod(netns, |pod| link::by_name(&mut pod.socket, name.as_str()))?.and_then(|seen| seen.mac)
        }
    };
    let interface = Interface {
        name: name.to_string(),
        mac: mac.map(|m| m.to_string()).unwrap_or_default(),
        sandbox: netns.to_string(),
        ..Interface::default()
    };
    progress.result = Some(CniResult { interfaces: vec![interface], ..CniResult::default() });
    Ok(())
}

/// Deletes the links of a batch, all those of one namespace in one request. Their addresses and routes go with them.
pub(super) fn revert(sockets: &Sockets, steps: &[Undo<'_>]) -> Vec<Outcome<()>> {
    let mut answers: Vec<Outcome<()>> = steps.iter().map(|_| Ok(())).collect();
    let mut links: Vec<(usize, &NetnsPath, &Undo<'_>, &LinkStep)> = Vec::new();
    for (index, undo) in steps.iter().enumerate() {
        // A link dies with its namespace.
        if let (Step::Link(step), Some(netns)) = (undo.step, undo.site.netns) {
            links.push((index, netns, undo, step));
        }
    }
    while let Some((_, netns, ..)) = links.first().copied() {
        let (here, elsewhere): (Vec<_>, Vec<_>) = links.into_iter().partition(|(_, path, ..)| *path == netns);
        let wanted: Vec<_> = here.iter().map(|(_, _, undo, step)| (undo.site, *step)).collect();
        if let Err(fault) = sockets.pod(netns, |pod| delete(&mut pod.socket, &wanted)) {
            super::fail(&mut answers, here.iter().map(|(index, ..)| *index), fault);
        }
        links = elsewhere;
    }
    answers
}

/// Deletes those of the links that are there and carry our mark.
fn delete(socket: &mut Socket, wanted: &[(Site<'_>, &LinkStep)]) -> Outcome<()> {
    let present = link::all(socket)?;
    let doomed: Vec<&Seen> =
        present.iter().filter(|seen| wanted.iter().any(|(site, step)| is_ours(seen, *site, step))).collect();
    let Some(first) = doomed.first() else { return Ok(()) };
    let group = first.group;
    if doomed.len() == 1 {
        return link::delete(socket, first.index);
    }
    let siblings = present.iter().filter(|seen| seen.group == group).count();
    let alone = group != mark::UNMARKED && siblings == doomed.len();
    if alone && doomed.iter().all(|seen| seen.group == group) {
        return link::delete_group(socket, group);
    }
    let marked = wanted.iter().map(|(_, step)| step.group).find(|group| *group != mark::UNMARKED);
    let condemned = mark::condemned(marked.unwrap_or(group));
    let indices: Vec<u32> = doomed.iter().map(|seen| seen.index).collect();
    link::regroup(socket, &indices, condemned)?;
    link::delete_group(socket, condemned)
}

/// Whether a link is the one a step made: by its group, and by its name or, if the pod renamed it, its address, its alias,
/// or what a VLAN is of: the kernel has it once. Of one that lost its group, the alias tells whose it is. One that another plugin
/// made has neither: its name and its kind must do.
fn is_ours(seen: &Seen, site: Site<'_>, step: &LinkStep) -> bool {
    let named = seen.name == site.attachment.owner.ifname.as_str();
    if step.group == mark::UNMARKED {
        let alike = seen.kind.as_ref().is_some_and(|kind| kind.is_like(&step.kind));
        return named && alike && seen.group == mark::UNMARKED;
    }
    let aliased = || mark::read_alias(&seen.alias, &site.attachment.owner) == Aliased::Ours(None);
    let marked = seen.group == step.group
        || seen.group == mark::condemned(step.group)
        || seen.group == mark::UNMARKED && aliased();
    let vlan = || {
        matches!(step.kind, LinkKind::Vlan { .. })
            && same_kind(seen.kind.as_ref(), &step.kind)
            && step.master.as_ref().is_some_and(|master| seen.parent == Some(master.index))
    };
    marked && (named || step.mac.is_some() && seen.mac == step.mac || vlan() || aliased())
}

/// Whether the link is there and is what was made.
pub(super) fn holds(sockets: &Sockets, site: Site<'_>, step: &LinkStep) -> Outcome<()> {
    let name = site.attachment.owner.ifname.as_str();
    let seen = sockets.pod(netns(site)?, |pod: &mut Pod| link::by_name(&mut pod.socket, name))?;
    let Some(seen) = seen else { return Err(drift(format!("interface {name:?} is gone"))) };
    // A later plugin of the chain may have changed address and MTU; the result tells the address it left.
    let alone = site.attachment.network.plugins.len() == 1;
    let told =
        site.result.and_then(|r| r.interfaces.iter().find(|i| i.name == name && !i.sandbox.is_empty()));
    let mac = told.map(|i| i.mac.as_str()).filter(|mac| !mac.is_empty());
    if !same_kind(seen.kind.as_ref(), &step.kind) {
        Err(drift(format!("interface {name:?} is of another kind or mode")))
    } else if let Some(master) = step.master.as_ref().filter(|master| seen.parent != Some(master.index)) {
        Err(drift(format!("interface {name:?} sits on another link than {:?}", master.name.as_str())))
    } else if mac.is_some_and(|mac| seen.mac.is_none_or(|m| m.to_string() != mac.to_ascii_lowercase())) {
        Err(drift(format!("interface {name:?} has another Ethernet address")))
    } else if alone && step.mtu.is_some_and(|mtu| mtu != seen.mtu) {
        Err(drift(format!("interface {name:?} has MTU {}", seen.mtu)))
    } else {
        Ok(())
    }
}

fn same_kind(seen: Option<&LinkKind>, made: &LinkKind) -> bool {
    match (seen, made) {
        (Some(LinkKind::Macvlan { mode: a, .. }), LinkKind::Macvlan { mode: b, .. }) => a == b,
        (Some(LinkKind::Vlan { id: a, protocol: p }), LinkKind::Vlan { id: b, protocol: q }) => {
            (a, p) == (b, q)
        }
        (Some(LinkKind::Dummy), LinkKind::Dummy) => true,
        (Some(LinkKind::Macvlan { .. } | LinkKind::Vlan { .. } | LinkKind::Dummy) | None, _) => false,
    }
}

/// Something that was made and is not there any more.
pub(super) fn drift(what: String) -> Fault {
    Fault::new(FaultKind::Drift, what).remedy("restart the pod")
}

/// The pod's namespace, without which nothing can be made or checked.
pub(super) fn netns(site: Site<'_>) -> Outcome<&NetnsPath> {
    site.netns.ok_or_else(|| {
        let Owner { container, .. } = &site.attachment.owner;
        let what = format!("the network namespace of sandbox {:?} is gone", container.as_str());
        Fault::new(FaultKind::Environment, what).remedy("none is needed if the pod goes; else restart it")
    })
}
