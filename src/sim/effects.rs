//! The Hands of the simulated node.

use std::net::IpAddr;
use std::path::Path;

use ipnetwork::IpNetwork;

use super::{Fuse, Moment, SimLink, SimNode, State};
use crate::engine::ports::{Hands, Site, Undo, ifname_taken};
use crate::model::fault::{Fault, Outcome};
use crate::model::result::{Interface, IpConfig, Route};
use crate::model::{CniResult, ContainerId, FaultKind, Network, Owner};
use crate::plan::ipam::range::{self, Candidate};
use crate::plan::mark;
use crate::plan::step::{
    Bearer, ConfigureStep, DefaultRouteStep, ExecStep, LeaseStep, LinkKind, LinkStep, Progress, Step, Yields,
};

/// The plugin that makes a link of its own; every other passes the result on.
const MAKES_LINK: &str = "bridge";

impl Hands for SimNode {
    fn apply(&self, site: Site<'_>, step: &mut Step, progress: &mut Progress) -> Outcome<()> {
        self.operate(|state| {
            let turn = state.applied;
            state.applied += 1;
            let refused = || Err(Fault::new(FaultKind::Kernel, format!("step {turn} is refused")));
            match state.fuse {
                Fuse::Refuse(at, Moment::Before) if at == turn => refused(),
                Fuse::Refuse(at, Moment::After) if at == turn => {
                    state.apply(site, step, progress).and_then(|()| refused())
                }
                Fuse::None | Fuse::Refuse(..) | Fuse::Kill(..) | Fuse::Stick(..) => {
                    state.apply(site, step, progress)
                }
            }
        })
    }

    fn revert(&self, steps: &[Undo<'_>]) -> Vec<Outcome<()>> {
        steps.iter().map(|undo| self.operate(|state| state.revert(undo))).collect()
    }

    fn holds(&self, site: Site<'_>, step: &Step) -> Outcome<()> {
        self.state.borrow().holds(site, step)
    }

    fn status(&self, _network: &Network, _plugin: &ExecStep) -> Outcome<()> {
        Ok(())
    }

    fn gc(&self, _network: &Network, _plugin: &ExecStep, valid: &[Owner]) -> Outcome<()> {
        self.operate(|state| {
            state.world.plugins.retain(|(owner, _)| valid.iter().any(|v| v.container == owner.container));
            Ok(())
        })
    }

    fn collect(&self, store: &Path, keep: &dyn Fn(&ContainerId) -> bool) -> Outcome<()> {
        let held = self.world().leases;
        let orphans = held.into_iter().filter(|((of, _), owner)| of == store && !keep(&owner.container));
        let orphans: Vec<_> = orphans.map(|(lease, _)| lease).collect();
        self.operate(|state| {
            state.world.leases.retain(|lease, _| !orphans.contains(lease));
            Ok(())
        })
    }
}

impl State {
    fn apply(&mut self, site: Site<'_>, step: &mut Step, progress: &mut Progress) -> Outcome<()> {
        match step {
            Step::Lease(lease) => self.take(site, lease, progress),
            Step::Link(link) => self.make_link(site, link, progress),
            Step::Vf(step) => self.take_vf(site, step, progress),
            Step::Socket(_) => {
                self.world.sockets.insert(site.attachment.owner.clone());
                Ok(())
            }
            Step::Port(step) => self.make_port(site, step, progress),
            Step::Vpp(step) => {
                self.make_in_vpp(site, step, progress);
                Ok(())
            }
            Step::Note(_) => {
                self.world.notes.insert(site.attachment.owner.clone());
                Ok(())
            }
            Step::Configure(configure) => self.configure(site, configure, progress),
            Step::DefaultRoute(step) => self.route(site, step, progress),
            Step::Exec(exec) => self.run(site, exec, progress),
            Step::Pass => {
                progress.result.get_or_insert_default();
                Ok(())
            }
            Step::DeviceFile(_) => {
                self.world.device_files.insert(site.attachment.owner.clone());
                Ok(())
            }
            Step::DeviceInfo(_) => Ok(()),
            Step::Cache(_) => {
                self.world.cached.insert(site.attachment.owner.clone());
                Ok(())
            }
        }
    }

    fn take(&mut self, site: Site<'_>, lease: &mut LeaseStep, progress: &mut Progress) -> Outcome<()> {
        let held = lease.held.insert(Vec::new());
        for (number, set) in lease.sets.iter().enumerate() {
            let cursor = (lease.store.clone(), number);
            let asked = range::asked_of(set, &lease.requested);
            let untaken =
                |c: &Candidate<'_>| !self.world.leases.contains_key(&(lease.store.clone(), c.address));
            let free = match asked {
                Some(candidate) => Some(candidate).filter(untaken),
                None => range::candidates(set, self.cursors.get(&cursor).copied()).find(untaken),
            };
            let Candidate { address: ip, range } =
                free.ok_or_else(|| Fault::new(FaultKind::Exhausted, "no address is left"))?;
            self.world.leases.insert((lease.store.clone(), ip), site.attachment.owner.clone());
            self.cursors.insert(cursor, ip);
            held.push(ip);
            let address = IpNetwork::new(ip, range.subnet.prefix())
                .map_err(|_| Fault::new(FaultKind::Config, "no such prefix"))?;
            progress.leased.ips.push(IpConfig { interface: None, address, gateway: Some(range.gateway) });
        }
        Ok(())
    }

    fn make_link(&mut self, site: Site<'_>, step: &LinkStep, progress: &mut Progress) -> Outcome<()> {
        let parent = step.master.as_ref().map(|master| master.index).unwrap_or_default();
        if let LinkKind::Vlan { .. } = step.kind {
            // The kernel keeps a VLAN registered at its master, whatever namespace the link is in.
            let twin =
                self.world.links.values().any(|l| l.kind.as_ref() == Some(&step.kind) && l.parent == parent);
            if twin {
                return Err(Fault::new(FaultKind::Exists, "the master has that VLAN"));
            }
        }
        let link = SimLink {
            group: step.group,
            mac: step.mac,
            parent,
            kind: Some(step.kind.clone()),
            ..SimLink::default()
        };
        self.insert_link(site, link, progress)
    }

    pub(super) fn insert_link(
        &mut self,
        site: Site<'_>,
        link: SimLink,
        progress: &mut Progress,
    ) -> Outcome<()> {
        let name = &site.attachment.owner.ifname;
        let Some(path) = site.netns else {
            return Err(Fault::new(FaultKind::Environment, "no network namespace"));
        };
        let key = (self.ino(path)?, name.to_string());
        if self.world.links.contains_key(&key) {
            return Err(ifname_taken(name));
        }
        let mac = link.mac.map(|m| m.to_string()).unwrap_or_default();
        let interface =
            Interface { name: name.to_string(), mac, sandbox: path.to_string(), ..Interface::default() };
        self.world.links.insert(key, link);
        progress.result = Some(CniResult { interfaces: vec![interface], ..CniResult::default() });
        Ok(())
    }

    fn configure(&mut self, site: Site<'_>, step: &ConfigureStep, progress: &mut Progress) -> Outcome<()> {
        let ips: Vec<IpConfig> = step.given.ips.iter().chain(&progress.leased.ips).cloned().collect();
        if step.bearer == Bearer::Link {
            let link = self.link_mut(site).ok_or_else(|| Fault::new(FaultKind::Drift, "the link is gone"))?;
            link.up = true;
            link.addresses = ips.iter().map(|ip| ip.address).collect();
            link.routes = step.given.routes.iter().map(|r| r.dst).collect();
        }
        let result = progress.result.get_or_insert_default();
        (result.ips, result.routes) = (ips, step.given.routes.clone());
        Ok(())
    }

    fn route(&mut self, site: Site<'_>, step: &DefaultRouteStep, progress: &mut Progress) -> Outcome<()> {
        let routing = &step.routing;
        let taken: Vec<Route> = routing.take_default.iter().map(|gw| Route::default_via(*gw)).collect();
        if let Some(link) = self.link_mut(site) {
            link.routes.retain(|dst| dst.prefix() > 0 || !routing.displaces(dst.is_ipv4()));
            link.routes.extend(taken.iter().map(|route| route.dst));
        } else if !taken.is_empty() {
            return Err(Fault::new(FaultKind::Absent, "no such interface"));
        }
        let result = progress.result.get_or_insert_default();
        result.routes.retain(|route| !routing.displaces_route(route));
        result.routes.extend(taken);
        Ok(())
    }

    fn run(&mut self, site: Site<'_>, exec: &ExecStep, progress: &mut Progress) -> Outcome<()> {
        let owner = site.attachment.owner.clone();
        if exec.program.as_str() == MAKES_LINK {
            self.insert_link(site, SimLink::default(), progress)?;
        }
        self.world.plugins.insert((owner, exec.program.to_string()));
        match exec.yields {
            Yields::Result => drop(progress.result.get_or_insert_default()),
            Yields::Lease => {}
        }
        Ok(())
    }

    fn link_mut(&mut self, site: Site<'_>) -> Option<&mut SimLink> {
        let ino = self.ino(site.netns?).ok()?;
        self.world.links.get_mut(&(ino, site.attachment.owner.ifname.to_string()))
    }

    fn link(&self, site: Site<'_>) -> Option<&SimLink> {
        let ino = self.ino(site.netns?).ok()?;
        self.world.links.get(&(ino, site.attachment.owner.ifname.to_string()))
    }

    fn revert(&mut self, undo: &Undo<'_>) -> Outcome<()> {
        let owner = &undo.site.attachment.owner;
        if let Fuse::Stick(rank, ifname) = &self.fuse
            && *rank == undo.step.undo_rank()
            && *ifname == owner.ifname
        {
            return Err(Fault::new(FaultKind::Kernel, "it sticks"));
        }
        match undo.step {
            Step::Lease(lease) => {
                let known = |ip: &IpAddr| lease.held.as_ref().is_none_or(|held| held.contains(ip));
                self.world
                    .leases
                    .retain(|(store, ip), o| !(*store == lease.store && o == owner && known(ip)));
            }
            Step::Link(step) => {
                let alike = |l: &SimLink| l.kind.as_ref().is_some_and(|kind| kind.is_like(&step.kind));
                let ours = |l: &SimLink| match step.group {
                    mark::UNMARKED => l.group == mark::UNMARKED && alike(l),
                    group => l.group == group || l.group == mark::condemned(group),
                };
                self.remove_link(undo.site, ours);
            }
            Step::Vf(step) => self.give_vf_back(undo.site, step),
            Step::Socket(_) => drop(self.world.sockets.remove(owner)),
            Step::Port(_) => self.remove_ports(&owner.clone()),
            Step::Vpp(_) => self.remove_from_vpp(owner),
            Step::Note(_) => drop(self.world.notes.remove(owner)),
            Step::Configure(_) | Step::DefaultRoute(_) | Step::Pass | Step::DeviceInfo(_) => {}
            Step::Cache(_) => drop(self.world.cached.remove(owner)),
            Step::DeviceFile(_) => drop(self.world.device_files.remove(owner)),
            Step::Exec(exec) => {
                self.world.plugins.remove(&(owner.clone(), exec.program.to_string()));
                // As the reference plugin's, its DEL asks for nothing but the name.
                if exec.program.as_str() == MAKES_LINK {
                    self.remove_link(undo.site, |_| true);
                }
            }
        }
        Ok(())
    }

    fn remove_link(&mut self, site: Site<'_>, ours: impl Fn(&SimLink) -> bool) {
        let Some(ino) = site.netns.and_then(|path| self.ino(path).ok()) else { return };
        let key = (ino, site.attachment.owner.ifname.to_string());
        if self.world.links.get(&key).is_some_and(ours) {
            self.world.links.remove(&key);
        }
    }

    fn holds(&self, site: Site<'_>, step: &Step) -> Outcome<()> {
        let owner = &site.attachment.owner;
        let lost = |what: &str| Err(Fault::new(FaultKind::Drift, format!("{what} is lost")));
        match step {
            Step::Lease(lease) => {
                let held = |ip: &IpAddr| self.world.leases.get(&(lease.store.clone(), *ip)) == Some(owner);
                if lease.held.iter().flatten().all(held) { Ok(()) } else { lost("an address") }
            }
            Step::Link(step) => match self.link(site) {
                Some(link) if link.kind.as_ref() == Some(&step.kind) && link.group == step.group => Ok(()),
                Some(_) | None => lost("the link"),
            },
            Step::Vf(step) if self.vf_holds(site, step) => Ok(()),
            Step::Vf(_) => lost("a virtual function"),
            Step::Socket(_) if self.world.sockets.contains(owner) => Ok(()),
            Step::Socket(_) => lost("the directory of a socket"),
            Step::Port(step) if self.port_holds(site, step) => Ok(()),
            Step::Port(_) => lost("a port"),
            Step::Vpp(step) if self.vpp_holds(site, step) => Ok(()),
            Step::Vpp(_) => lost("an interface of VPP"),
            Step::Configure(step) if step.bearer == Bearer::Application => Ok(()),
            Step::Configure(_) => {
                let (Some(link), Some(result)) = (self.link(site), site.result) else {
                    return lost("the link");
                };
                if !link.up {
                    return lost("the way up");
                }
                let addresses = result.ips.iter().all(|ip| link.addresses.contains(&ip.address));
                let routes = result.routes.iter().all(|r| link.routes.contains(&r.dst));
                if addresses && routes { Ok(()) } else { lost("an address or a route") }
            }
            Step::Exec(exec) if self.world.plugins.contains(&(owner.clone(), exec.program.to_string())) => {
                Ok(())
            }
            Step::Exec(_) => lost("what a plugin made"),
            Step::DefaultRoute(step) => {
                let routes: Vec<IpNetwork> =
                    self.link(site).map(|link| link.routes.clone()).unwrap_or_default();
                let displaced = |dst: &IpNetwork| dst.prefix() == 0 && step.routing.displaces(dst.is_ipv4());
                let now: Vec<IpNetwork> = routes.into_iter().filter(displaced).collect();
                let taken = step.routing.take_default.iter();
                let wanted: Vec<IpNetwork> = taken.map(|gw| Route::default_via(*gw).dst).collect();
                if now == wanted { Ok(()) } else { lost("a default route") }
            }
            Step::Cache(_) | Step::Pass | Step::Note(_) | Step::DeviceFile(_) | Step::DeviceInfo(_) => Ok(()),
        }
    }
}
