//! Hands and a Probe that note how long they take.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::context::{Lap, Stopwatch};
use crate::engine::ports::{Hands, NetnsState, Probe, Site, Undo};
use crate::model::fault::Outcome;
use crate::model::{ContainerId, NetnsPath, Network, Owner};
use crate::plan::facts::{Answer, Question};
use crate::plan::step::{ExecStep, LinkKind, Progress, Step};

/// What is timed, and where that is noted.
pub(super) struct Timed<T> {
    inner: T,
    stopwatch: Arc<Stopwatch>,
}

impl<T> Timed<T> {
    pub(super) fn new(inner: T, stopwatch: Arc<Stopwatch>) -> Self {
        Self { inner, stopwatch }
    }

    fn time<R>(&self, phase: &'static str, kind: impl FnOnce() -> String, job: impl FnOnce(&T) -> R) -> R {
        let began = Instant::now();
        let done = job(&self.inner);
        self.stopwatch.note(Lap { phase, kind: kind(), took: began.elapsed() });
        done
    }
}

/// The kind of a step, as metrics name it.
fn kind(step: &Step) -> String {
    match step {
        Step::Lease(_) => "host-local".to_owned(),
        Step::Link(link) => match link.kind {
            LinkKind::Macvlan { .. } => "macvlan",
            LinkKind::Vlan { .. } => "vlan",
            LinkKind::Dummy => "dummy",
        }
        .to_owned(),
        Step::Vf(_) => "sriov".to_owned(),
        Step::Port(_) => "ovs".to_owned(),
        Step::Vpp(_) => "vpp".to_owned(),
        Step::Configure(_) => "addresses".to_owned(),
        Step::Exec(exec) => format!("plugin {}", exec.program),
        Step::Pass => "passthru".to_owned(),
        Step::DefaultRoute(_) => "default-route".to_owned(),
        Step::Socket(_) | Step::Note(_) | Step::Cache(_) | Step::DeviceFile(_) | Step::DeviceInfo(_) => {
            "files".to_owned()
        }
    }
}

impl<T: Hands> Hands for Timed<T> {
    fn apply(&self, site: Site<'_>, step: &mut Step, progress: &mut Progress) -> Outcome<()> {
        let name = kind(step);
        self.time("apply", || name, |hands| hands.apply(site, step, progress))
    }

    fn revert(&self, steps: &[Undo<'_>]) -> Vec<Outcome<()>> {
        // One rank at a time: its first step stands for all.
        let name = || steps.first().map(|undo| kind(undo.step)).unwrap_or_default();
        self.time("revert", name, |hands| hands.revert(steps))
    }

    fn holds(&self, site: Site<'_>, step: &Step) -> Outcome<()> {
        self.time("check", || kind(step), |hands| hands.holds(site, step))
    }

    fn status(&self, network: &Network, plugin: &ExecStep) -> Outcome<()> {
        self.time("status", || format!("plugin {}", plugin.program), |hands| hands.status(network, plugin))
    }

    fn gc(&self, network: &Network, plugin: &ExecStep, valid: &[Owner]) -> Outcome<()> {
        self.time("gc", || format!("plugin {}", plugin.program), |hands| hands.gc(network, plugin, valid))
    }

    fn collect(&self, store: &Path, keep: &dyn Fn(&ContainerId) -> bool) -> Outcome<()> {
        self.time("gc", || "host-local".to_owned(), |hands| hands.collect(store, keep))
    }
}

impl<T: Probe> Probe for Timed<T> {
    fn netns(&self, path: &NetnsPath) -> Outcome<NetnsState> {
        self.inner.netns(path)
    }

    fn answer(&self, question: &Question, netns: Option<&NetnsPath>) -> Outcome<Answer> {
        self.time("survey", || "node".to_owned(), |probe| probe.answer(question, netns))
    }

    fn boot_id(&self) -> Outcome<String> {
        self.inner.boot_id()
    }
}
