//! The default routes of an interface whose plugins have all been run. Nothing is to be undone: they die with the link.

use std::fs;

use super::link::{drift, netns};
use crate::engine::ports::Site;
use crate::host::netlink::route::{self, Seen};
use crate::host::netlink::sockets::Pod;
use crate::host::netlink::{Sockets, link};
use crate::model::fault::{Fault, Outcome};
use crate::model::result::Route;
use crate::model::{CniResult, FaultKind};
use crate::plan::step::{DefaultRouteStep, Progress};

/// Deletes the interface's default routes of each family that is taken or given up, adds those taken, and lets the
/// result say so.
pub(super) fn apply(
    sockets: &Sockets,
    site: Site<'_>,
    step: &DefaultRouteStep,
    progress: &mut Progress,
) -> Outcome<()> {
    let routing = &step.routing;
    let name = site.attachment.owner.ifname.as_str();
    sockets.pod(netns(site)?, |pod| match link::by_name(&mut pod.socket, name)? {
        Some(seen) => Changing { pod, step, name, index: seen.index }.run(),
        // A plugin need not make an interface; one that was made has no routes that could be taken away.
        None if routing.take_default.is_empty() => Ok(()),
        None => Err(Fault::new(
            FaultKind::Absent,
            format!("a default route is to go through {name:?}, but its plugins made no such interface"),
        )
        .remedy("ask another network for the \"default-route\"")),
    })?;
    tell(progress.result.get_or_insert_default(), step);
    Ok(())
}

/// Changes the routes that a result tells of.
fn tell(result: &mut CniResult, step: &DefaultRouteStep) {
    result.routes.retain(|route| !step.routing.displaces_route(route));
    let taken = step.routing.take_default.iter();
    result.routes.extend(taken.map(|gateway| Route::default_via(*gateway)));
}

/// An interface whose default routes are being changed.
struct Changing<'a> {
    pod: &'a mut Pod,
    step: &'a DefaultRouteStep,
    name: &'a str,
    index: u32,
}

impl Changing<'_> {
    fn run(self) -> Outcome<()> {
        let routing = &self.step.routing;
        if routing.displaces(false) {
            let path = format!("/proc/sys/net/ipv6/conf/{}/accept_ra_defrtr", self.name);
            self.pod.netns.within(|| refuse_advertised(&path))??;
        }
        let seen = route::of_link(&mut self.pod.socket, self.index)?;
        let displaced: Vec<&Seen> =
            seen.iter().filter(|r| r.is_default() && routing.displaces(r.dst.is_ipv4())).collect();
        let deletions = displaced.iter().map(|seen| route::delete(seen)).collect();
        for (answer, route) in self.pod.socket.ask_all(deletions)?.into_iter().zip(displaced) {
            answer.map_err(|refusal| {
                Fault::new(
                    FaultKind::Kernel,
                    format!("cannot take default route {} from {:?}", shown(route), self.name),
                )
                .because(refusal)
                .remedy("see what else changes routes in the pod")
            })?;
        }
        for gateway in &routing.take_default {
            let request = route::add(self.index, &Route::default_via(*gateway), None);
            self.pod.socket.ask(request)?.map_err(|refusal| {
                Fault::new(
                    FaultKind::Kernel,
                    format!("cannot add default route via {gateway} to {:?}", self.name),
                )
                .because(refusal)
                .remedy("name a gateway in one of the interface's subnets in \"default-route\"")
            })?;
        }
        Ok(())
    }
}

/// Keeps routers on the link from giving the interface a default route again. Runs in the pod's namespace.
fn refuse_advertised(path: &str) -> Outcome<()> {
    match fs::write(path, "0") {
        // A kernel without IPv6 has no such file, and no such routes.
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(Fault::new(FaultKind::Kernel, format!("cannot write \"0\" to {path:?}"))
                .because(cause)
                .remedy("let Manifold write to /proc/sys on this node"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether the interface has the default routes taken, and none that were given up.
pub(super) fn holds(sockets: &Sockets, site: Site<'_>, step: &DefaultRouteStep) -> Outcome<()> {
    let name = site.attachment.owner.ifname.as_str();
    let routing = &step.routing;
    let routes = sockets.pod(netns(site)?, |pod| match link::by_name(&mut pod.socket, name)? {
        Some(seen) => route::of_link(&mut pod.socket, seen.index),
        None => Ok(Vec::new()),
    })?;
    let defaults: Vec<Seen> = routes.into_iter().filter(Seen::is_default).collect();
    let is_taken = |r: &Seen| r.gw.is_some_and(|gateway| routing.take_default.contains(&gateway));
    let lost = routing.take_default.iter().find(|gateway| !defaults.iter().any(|r| r.gw == Some(**gateway)));
    let risen = defaults.iter().find(|r| routing.displaces(r.dst.is_ipv4()) && !is_taken(r));
    match (lost, risen) {
        (Some(gateway), _) => {
            Err(drift(format!("interface {name:?} has lost the default route via {gateway}")))
        }
        (None, Some(route)) => Err(drift(format!(
            "interface {name:?} has default route {}, which was taken from it",
            shown(route)
        ))),
        (None, None) => Ok(()),
    }
}

fn shown(route: &Seen) -> String {
    match route.gw {
        Some(gateway) => format!("{} via {gateway}", route.dst),
        None => route.dst.to_string(),
    }
}
