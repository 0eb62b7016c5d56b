//! The Hands of a real node. For each step, apply, revert and holds stand together in one file.

mod configure;
mod default_route;
mod lent;
mod link;
mod note;
mod pace;
mod port;
mod vf;
mod vpp;

use std::path::Path;
use std::rc::Rc;

use super::cache::ResultCache;
use super::device_info;
use super::exec::Plugins;
use super::ipam::store;
use super::netlink::Sockets;
use super::ovsdb::OpenSwitches;
use super::peer::Sandboxes;
use super::socket_dir;
use super::sysfs::Sysfs;
use super::vf_registry::VfRegistry;
use super::vpp::OpenVpps;
use crate::engine::ports::{Hands, Site, Undo};
use crate::model::fault::{Fault, Outcome};
use crate::model::{ContainerId, FaultKind, Network, Owner};
use crate::plan::step::{ExecStep, Progress, Step, UndoRank, Yields};

/// Changes this node.
pub struct HostHands {
    sockets: Rc<Sockets>,
    plugins: Rc<Plugins>,
    cache: ResultCache,
    sandboxes: Sandboxes,
    vfs: vf::VfHands,
    switches: Rc<OpenSwitches>,
    vpps: Rc<OpenVpps>,
}

impl HostHands {
    /// Hands that share the call's sockets, run these plugins, and keep results beneath this directory.
    pub fn new(sockets: Rc<Sockets>, plugins: Rc<Plugins>, cache_dir: &Path) -> Self {
        let vfs = vf::VfHands::new(Rc::clone(&sockets), Sysfs::default(), VfRegistry::default());
        let (cache, sandboxes) = (ResultCache::new(cache_dir), Sandboxes::new(cache_dir));
        Self { sockets, plugins, cache, sandboxes, vfs, switches: Rc::default(), vpps: Rc::default() }
    }

    /// The same, which shares the call's connections to switches.
    #[must_use]
    pub fn with_switches(self, switches: Rc<OpenSwitches>, vpps: Rc<OpenVpps>) -> Self {
        Self { switches, vpps, ..self }
    }

    /// The same, which looks for devices in this tree and keeps account of VFs here.
    #[must_use]
    pub fn with_devices(self, sysfs: Sysfs, registry: VfRegistry) -> Self {
        let vfs = vf::VfHands::new(Rc::clone(&self.sockets), sysfs, registry);
        Self { vfs, ..self }
    }

    fn revert_one(&self, undo: &Undo<'_>) -> Outcome<()> {
        match undo.step {
            Step::Lease(lease) => store::give_back(lease, &undo.site.attachment.owner),
            Step::Exec(exec) => match self.plugins.del(undo.site, exec) {
                // The pod is gone and so is the plugin: nobody is left who could undo more. Otherwise the pod would
                // never be rid of.
                Err(fault) if fault.kind() == FaultKind::Absent && undo.site.netns.is_none() => Ok(()),
                done => done,
            },
            Step::Cache(cache) => {
                let owner = &undo.site.attachment.owner;
                self.cache.remove(owner, &cache.network)?;
                if cache.sandbox_file { self.sandboxes.remove(owner) } else { Ok(()) }
            }
            Step::Vf(vf) => self.vfs.revert(undo.site, vf),
            Step::DeviceFile(step) => device_info::remove(step),
            Step::Socket(step) => socket_dir::clear(step),
            Step::Note(step) => note::revert(step),
            // Links and ports are undone before, all at once.
            Step::Link(_)
            | Step::Port(_)
            | Step::Vpp(_)
            | Step::Configure(_)
            | Step::DefaultRoute(_)
            | Step::Pass
            | Step::DeviceInfo(_) => Ok(()),
        }
    }
}

/// Says of several steps that they failed, for one reason.
fn fail(answers: &mut [Outcome<()>], mut indices: impl Iterator<Item = usize>, fault: Fault) {
    let text = fault.to_string();
    let kind = fault.kind();
    if let Some(answer) = indices.next().and_then(|i| answers.get_mut(i)) {
        *answer = Err(fault);
    }
    for index in indices {
        if let Some(answer) = answers.get_mut(index) {
            *answer = Err(Fault::new(kind, text.clone()));
        }
    }
}

impl Hands for HostHands {
    fn apply(&self, site: Site<'_>, step: &mut Step, progress: &mut Progress) -> Outcome<()> {
        match step {
            Step::Lease(lease) => {
                progress.leased = store::take(lease, &site.attachment.owner)?;
                Ok(())
            }
            Step::Link(step) => link::apply(&self.sockets, site, step, progress),
            Step::Vf(step) => self.vfs.apply(site, step, progress),
            Step::Socket(step) => socket_dir::prepare(step),
            Step::Port(step) => port::apply(&self.switches, site, step, progress),
            Step::Vpp(step) => vpp::apply(&self.vpps, site, step, progress),
            Step::Note(step) => note::apply(site, step, progress),
            Step::Configure(step) => configure::apply(&self.sockets, site, step, progress),
            Step::DefaultRoute(step) => default_route::apply(&self.sockets, site, step, progress),
            Step::Exec(exec) => {
                let result = self.plugins.add(site, exec, progress.result.as_ref())?;
                match exec.yields {
                    Yields::Result => progress.result = Some(result),
                    Yields::Lease => progress.leased = result,
                }
                Ok(())
            }
            Step::Pass => {
                progress.result.get_or_insert_default();
                Ok(())
            }
            Step::DeviceFile(step) => device_info::prepare(step),
            Step::DeviceInfo(step) => {
                // A Kind that made the device knows it best.
                progress.device_info =
                    device_info::joined(device_info::collect(step), progress.device_info.take());
                Ok(())
            }
            Step::Cache(step) => {
                let result = progress.result.get_or_insert_default();
                self.cache.put(site.attachment, site.netns, result)?;
                if step.sandbox_file { self.sandboxes.put(site.attachment) } else { Ok(()) }
            }
        }
    }

    fn revert(&self, steps: &[Undo<'_>]) -> Vec<Outcome<()>> {
        let links = steps.iter().any(|undo| undo.step.undo_rank() == UndoRank::Link);
        let mut answers: Vec<Outcome<()>> = match links {
            true => link::revert(&self.sockets, steps),
            false => steps.iter().map(|_| Ok(())).collect(),
        };
        let ports = if links {
            [port::revert(&self.switches, steps), vpp::revert(&self.vpps, steps)]
        } else {
            Default::default()
        };
        for each in ports {
            for (answer, port) in answers.iter_mut().zip(each).filter(|(answer, _)| answer.is_ok()) {
                *answer = port;
            }
        }
        // Virtual links are gone by now, those on a VF with them.
        for (answer, undo) in answers.iter_mut().zip(steps).filter(|(answer, _)| answer.is_ok()) {
            *answer = self.revert_one(undo);
        }
        answers
    }

    fn holds(&self, site: Site<'_>, step: &Step) -> Outcome<()> {
        match step {
            Step::Lease(lease) => store::holds(lease, &site.attachment.owner),
            Step::Link(step) => link::holds(&self.sockets, site, step),
            Step::Vf(step) => self.vfs.holds(site, step),
            Step::Socket(step) => socket_dir::holds(step),
            Step::Port(step) => port::holds(&self.switches, site, step),
            Step::Vpp(step) => vpp::holds(&self.vpps, site, step),
            Step::Configure(step) => configure::holds(&self.sockets, site, step),
            Step::DefaultRoute(step) => default_route::holds(&self.sockets, site, step),
            Step::Exec(exec) => self.plugins.check(site, exec),
            // Nothing of ours needs what is kept, and handing on leaves nothing.
            Step::Cache(_) | Step::Pass | Step::Note(_) | Step::DeviceFile(_) | Step::DeviceInfo(_) => Ok(()),
        }
    }

    fn status(&self, network: &Network, plugin: &ExecStep) -> Outcome<()> {
        self.plugins.status(network, plugin)
    }

    fn gc(&self, network: &Network, plugin: &ExecStep, valid: &[Owner]) -> Outcome<()> {
        self.plugins.gc(network, plugin, valid)
    }

    fn collect(&self, store: &Path, keep: &dyn Fn(&ContainerId) -> bool) -> Outcome<()> {
        store::collect(store, keep)
    }
}
