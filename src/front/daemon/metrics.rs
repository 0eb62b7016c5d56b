//! What is counted, for Prometheus: served over HTTP on the address of the configuration, loopback unless told otherwise.

mod api;
mod port;

use std::fs;
use std::path::Path;
use std::time::Duration;

use http::Method;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use self::api::ApiMetrics;
pub(super) use self::port::{listen, serve};
use super::desk::Desk;
use super::tidy::spool;
use crate::engine::ports::Journal;
use crate::front::context::Lap;
use crate::host::journal::FileJournal;

/// A request on the socket; the labels are the peer's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    handler: String,
    code: u16,
    method: &'static str,
}

/// A call, by verb and CNI error code; 0 is success.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Served {
    command: String,
    code: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Command {
    command: String,
}

/// A part of a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Part {
    phase: String,
    kind: String,
}

/// A change of a running pod: an interface was `attached` or `detached`, or it `failed`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Changed {
    outcome: &'static str,
}

/// The counters of a daemon.
pub(super) struct Metrics {
    registry: Registry,
    asked: Family<Asked, Counter>,
    served: Family<Served, Counter>,
    took: Family<Command, Histogram>,
    parts: Family<Part, Histogram>,
    changes: Family<Changed, Counter>,
    pub(super) api: ApiMetrics,
    pub(super) tidied: Counter,
    undone: Counter,
    stuck: Counter,
    pub(super) spooled_done: Counter,
    pub(super) spooled_failed: Counter,
    pub(super) configured: Counter,
    pub(super) cache_cleared: Counter,
    /// Until when the certificate of this node is valid.
    pub(super) certified: Gauge,
    gauges: Gauges,
}

/// What is read when somebody asks.
#[derive(Default)]
struct Gauges {
    waiting: Gauge,
    working: Gauge,
    sandboxes: Gauge,
    spool: Gauge,
    vfs: Gauge,
    vfs_claimed: Gauge,
    unconfigured: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_5, 2.0, 16));
        let mut metrics = Self {
            registry: Registry::default(),
            asked: Family::default(),
            served: Family::default(),
            took: Family::new_with_constructor(histogram),
            parts: Family::new_with_constructor(histogram),
            changes: Family::default(),
            api: ApiMetrics::default(),
            tidied: Counter::default(),
            undone: Counter::default(),
            stuck: Counter::default(),
            spooled_done: Counter::default(),
            spooled_failed: Counter::default(),
            configured: Counter::default(),
            cache_cleared: Counter::default(),
            certified: Gauge::default(),
            gauges: Gauges::default(),
        };
        metrics.register();
        metrics.register_tidying();
        metrics.registry.register(
            "manifold_certificate_expiry_timestamp_seconds",
            "Until when the certificate of this node is valid, in seconds since 1970; 0 where there is none",
            metrics.certified.clone(),
        );
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let Self { registry, asked, served, took, parts, api, gauges, changes, .. } = self;
        api.register(registry);
        registry.register("multus_server_request", "Requests on the socket", asked.clone());
        registry.register(
            "manifold_calls",
            "Calls by verb and CNI error code, 0 for success",
            served.clone(),
        );
        registry.register("manifold_call_duration_seconds", "How long calls took", took.clone());
        registry.register(
            "manifold_step_duration_seconds",
            "How long parts of calls took, by phase and by what was made or run",
            parts.clone(),
        );
        registry.register(
            "manifold_changes",
            "Interfaces of running pods that were attached, detached, or could not be",
            changes.clone(),
        );
        registry.register(
            "manifold_configuration_writes",
            "How often the runtime's configuration was written",
            self.configured.clone(),
        );
        registry.register(
            "manifold_configuration_missing",
            "1 while the runtime's configuration is not as it should be",
            gauges.unconfigured.clone(),
        );
        registry.register("manifold_calls_waiting", "Calls that wait for a place", gauges.waiting.clone());
        registry.register("manifold_calls_working", "Calls that are served now", gauges.working.clone());
        registry.register(
            "manifold_sandboxes",
            "Sandboxes with attachments on record",
            gauges.sandboxes.clone(),
        );
        registry.register("manifold_spool", "DELs that are kept and not done", gauges.spool.clone());
        registry.register("manifold_vfs", "SR-IOV virtual functions of the node", gauges.vfs.clone());
        registry.register("manifold_vfs_claimed", "Those that attachments have", gauges.vfs_claimed.clone());
    }

    /// What is counted of tidying up.
    fn register_tidying(&mut self) {
        self.registry.register("manifold_tidy_rounds", "Rounds of tidying up the node", self.tidied.clone());
        self.registry.register(
            "manifold_tidy_undone",
            "Attachments of pods that are gone without a DEL, and undone",
            self.undone.clone(),
        );
        self.registry.register(
            "manifold_tidy_failed",
            "What tidying up could not undo, each time that it tried",
            self.stuck.clone(),
        );
        self.registry.register(
            "manifold_spool_done",
            "DELs that were kept and are done",
            self.spooled_done.clone(),
        );
        self.registry.register(
            "manifold_spool_failed",
            "Tries of DELs that were kept and failed",
            self.spooled_failed.clone(),
        );
        self.registry.register(
            "manifold_cache_cleared",
            "Cached results of sandboxes that are gone, and removed",
            self.cache_cleared.clone(),
        );
    }

    pub(super) fn request(&self, handler: &str, code: u16, method: &Method) {
        // What a caller says is no label: there would be no end of them.
        let method = match *method {
            Method::GET => "get",
            Method::POST => "post",
            _ => "other",
        };
        self.asked.get_or_create(&Asked { handler: handler.to_owned(), code, method }).inc();
    }

    pub(super) fn served(&self, command: &str, code: Option<u32>, took: Duration) {
        let known = ["ADD", "DEL", "CHECK", "GC", "STATUS"].into_iter().find(|verb| *verb == command);
        let command = known.unwrap_or("other").to_owned();
        self.took.get_or_create(&Command { command: command.clone() }).observe(took.as_secs_f64());
        self.served.get_or_create(&Served { command, code: code.unwrap_or_default() }).inc();
    }

    /// Counts a change of a running pod.
    pub(super) fn changed(&self, outcome: &'static str) {
        self.changes.get_or_create(&Changed { outcome }).inc();
    }

    /// Counts what a round undid, and what it could not.
    pub(super) fn undone(&self, undone: usize, stuck: usize) {
        for (counter, number) in [(&self.undone, undone), (&self.stuck, stuck)] {
            counter.inc_by(u64::try_from(number).unwrap_or(u64::MAX));
        }
    }

    pub(super) fn laps(&self, laps: &[Lap]) {
        for Lap { phase, kind, took } in laps {
            let part = Part { phase: (*phase).to_owned(), kind: kind.clone() };
            self.parts.get_or_create(&part).observe(took.as_secs_f64());
        }
    }

    /// All of it, as Prometheus reads it.
    fn text(&self, desk: &Desk) -> String {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let (waiting, working) = desk.crowd();
        let state = &desk.settings.places.state_dir;
        let sandboxes = FileJournal::new(state).containers().map_or(0, |all| all.len());
        let gauges = &self.gauges;
        gauges.waiting.set(count(waiting));
        gauges.working.set(count(working));
        gauges.sandboxes.set(count(sandboxes));
        gauges.spool.set(count(spool::names(state).count()));
        let unconfigured = desk.keeper.as_ref().is_some_and(|keeper| keeper.trouble().is_some());
        gauges.unconfigured.set(i64::from(unconfigured));
        let devices = Path::new("/sys/bus/pci/devices");
        gauges.vfs.set(count(virtual_functions(devices)));
        gauges.vfs_claimed.set(count(claimed(&state.join("claims"), devices)));
        let mut answer = String::new();
        // Writing to memory cannot fail.
        text::encode(&mut answer, &self.registry).unwrap_or_default();
        answer
    }
}

/// The virtual functions of this node.
fn virtual_functions(devices: &Path) -> usize {
    let all = fs::read_dir(devices).into_iter().flatten().filter_map(Result::ok);
    all.filter(|device| is_virtual(&device.path())).count()
}

/// Those of them that attachments have claimed.
fn claimed(claims: &Path, devices: &Path) -> usize {
    let all = fs::read_dir(claims).into_iter().flatten().filter_map(Result::ok);
    let addresses =
        all.filter_map(|claim| claim.file_name().to_str()?.strip_prefix("pci ").map(|vf| devices.join(vf)));
    addresses.filter(|device| is_virtual(device)).count()
}

/// A virtual function names its physical one.
fn is_virtual(device: &Path) -> bool {
    device.join("physfn").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_makes_up_is_no_label_of_its_own() {
        let metrics = Metrics::default();

        for method in ["GET", "PUT", "X1", "X2"] {
            metrics.request("/cni", 405, &Method::from_bytes(method.as_bytes()).unwrap());
        }

        let mut text = String::new();
        text::encode(&mut text, &metrics.registry).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("multus_server_request_total"));
        assert_eq!(lines.count(), 2, "{text}");
        assert!(text.contains("method=\"get\"} 1") && text.contains("method=\"other\"} 3"), "{text}");
    }

    #[test]
    fn virtual_functions_count_and_those_that_are_claimed() {
        let dir = tempfile::tempdir().unwrap();
        let (devices, claims) = (dir.path().join("devices"), dir.path().join("claims"));
        for vf in ["0000:03:02.1", "0000:03:02.2"] {
            fs::create_dir_all(devices.join(vf).join("physfn")).unwrap();
        }
        fs::create_dir_all(devices.join("0000:03:00.0")).unwrap();
        fs::create_dir(&claims).unwrap();
        for claim in ["pci 0000:03:02.1", "pci 0000:03:00.0", "device x", "vlan 5 on ens1"] {
            std::os::unix::fs::symlink("../records/pod.json#net1", claims.join(claim)).unwrap();
        }

        assert_eq!((virtual_functions(&devices), claimed(&claims, &devices)), (2, 1));
        assert_eq!((virtual_functions(dir.path()), claimed(&devices, &devices)), (0, 0));
    }
}
