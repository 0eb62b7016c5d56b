//! This node, wired up for one call.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;

use super::context::{Context, Shared, Stopwatch};
use super::timed::Timed;
use crate::engine::Node;
use crate::engine::ports::{Cluster, Hands, Journal, Probe};
use crate::host::exec::Plugins;
use crate::host::hands::HostHands;
use crate::host::journal::FileJournal;
use crate::host::kube::{Budget, KubeCluster, News, ServiceAccount, Source, Trunk, Watched};
use crate::host::netlink::Sockets;
use crate::host::ovsdb::OpenSwitches;
use crate::host::probe::HostProbe;
use crate::host::vpp::OpenVpps;
use crate::model::fault::Outcome;
use crate::model::settings::{DaemonSettings, NodeCertificate, Places};
use crate::model::{ContainerId, Owner};

/// Longest run of one plugin: the kubelet gives a sandbox four minutes, and the pod may have several.
const PLUGIN_LIMIT: Duration = Duration::from_secs(120);

/// The adapters of this node. They share sockets, and live as long as one call.
pub(super) struct Machine {
    /// The call's connections to switches.
    pub(super) switches: Rc<OpenSwitches>,
    /// The call's connections to VPP.
    pub(super) vpps: Rc<OpenVpps>,
    probe: Box<dyn Probe>,
    hands: Box<dyn Hands>,
    /// The journal, for doors that only read.
    pub(super) journal: FileJournal,
    stopwatch: Option<Arc<Stopwatch>>,
    shared: Option<Arc<Shared>>,
}

impl Machine {
    /// Wires the adapters up; plugins are looked for in `binDir`, then in `plugin_dirs`.
    pub(super) fn new(places: &Places, plugin_dirs: &[PathBuf], context: &Context) -> Self {
        let sockets = Rc::new(Sockets::default());
        let elsewhere = plugin_dirs.iter().filter(|dir| **dir != places.bin_dir);
        let path = std::iter::once(&places.bin_dir).chain(elsewhere).cloned().collect();
        let plugins = Plugins::new(path, environment(), PLUGIN_LIMIT);
        let plugins = plugins.in_turns(context.turns.clone()).in_root(context.root.clone());
        let plugins = Rc::new(plugins);
        let (switches, vpps) = (Rc::new(OpenSwitches::default()), Rc::new(OpenVpps::default()));
        let probe = HostProbe::new(Rc::clone(&sockets), Rc::clone(&plugins))
            .with_switches(Rc::clone(&switches), Rc::clone(&vpps));
        let hands = HostHands::new(sockets, plugins, &places.cache_dir)
            .with_switches(Rc::clone(&switches), Rc::clone(&vpps));
        let journal = FileJournal::new(&places.state_dir);
        let stopwatch = context.stopwatch.clone();
        let (probe, hands): (Box<dyn Probe>, Box<dyn Hands>) = match &stopwatch {
            None => (Box::new(probe), Box::new(hands)),
            Some(watch) => (
                Box::new(Timed::new(probe, Arc::clone(watch))),
                Box::new(Timed::new(hands, Arc::clone(watch))),
            ),
        };
        Self { switches, vpps, probe, hands, journal, stopwatch, shared: context.cluster.clone() }
    }

    /// The cluster of a call: that of the kubeconfig, else of the account the program runs under, else none.
    ///
    /// # Errors
    /// A kubeconfig is named and cannot be used.
    pub(super) fn cluster(&self, kubeconfig: Option<&Path>) -> Outcome<Option<Box<dyn Cluster>>> {
        let shared = self.shared.as_deref().filter(|shared| shared.trunk.is_meant(kubeconfig));
        let cluster = match (shared, source(kubeconfig)) {
            (Some(shared), _) => KubeCluster::shared(&shared.trunk, Arc::clone(&shared.watched), BUDGET)?,
            (None, Some(source)) => KubeCluster::new(&source, BUDGET)?,
            (None, None) => return Ok(None),
        };
        let Some(watch) = self.stopwatch.clone() else { return Ok(Some(Box::new(cluster))) };
        Ok(Some(Box::new(cluster.telling(Arc::new(move |tried| watch.tried(tried))))))
    }

    /// Whether anything of a sandbox is on record; where nobody can tell, it counts as such.
    pub(super) fn knows(&self, container: &ContainerId) -> bool {
        self.journal.entries(container).map_or(true, |entries| !entries.is_empty())
    }

    /// The node as the verbs see it.
    pub(super) fn node(&self) -> Node<'_> {
        Node { probe: self.probe.as_ref(), hands: self.hands.as_ref(), journal: &self.journal }
    }
}

/// How long a call may wait for the cluster: all its requests together, and each of them, which is tried once at least.
/// A busy API server is survived, and the runtime, which waits minutes, gets an answer.
pub(super) const BUDGET: Budget = Budget { whole: Duration::from_secs(30), one_try: Duration::from_secs(10) };

/// The way to the cluster for all calls of a daemon's that name its kubeconfig, or none where it has none.
pub(super) fn shared(settings: &DaemonSettings, handle: Handle, ear: Sender<News>) -> Option<Shared> {
    let source = match &settings.certificate {
        Some(certificate) => certified(certificate),
        None => source(settings.kubeconfig.as_deref())?,
    };
    let trunk = Arc::new(Trunk::new(source, handle, BUDGET.one_try));
    Some(Shared { trunk, watched: Arc::new(Watched::default()), ear })
}

/// The cluster of a call, for who looks whether it can be asked: no patience is needed for that.
///
/// # Errors
/// A kubeconfig is named and cannot be used.
pub(super) fn examined(kubeconfig: Option<&Path>) -> Outcome<Option<KubeCluster>> {
    let budget = Budget { whole: Duration::from_secs(10), one_try: Duration::from_secs(5) };
    source(kubeconfig).map(|source| KubeCluster::new(&source, budget)).transpose()
}

/// The cluster, asked with the certificate of this node.
pub(super) fn certified(certificate: &NodeCertificate) -> Source {
    Source::Certified { kubeconfig: certificate.kubeconfig(), certificate: certificate.file() }
}

fn source(kubeconfig: Option<&Path>) -> Option<Source> {
    match kubeconfig {
        Some(path) => Some(Source::Kubeconfig(path.to_owned())),
        None => account().map(Source::Account),
    }
}

/// The service account of the pod this program runs in, if it runs in one.
#[allow(clippy::disallowed_methods, reason = "doors read the environment")]
fn account() -> Option<ServiceAccount> {
    let text = |key| env::var(key).ok().filter(|value| !value.is_empty());
    let port = text("KUBERNETES_SERVICE_PORT")?.parse().ok()?;
    Some(ServiceAccount {
        host: text("KUBERNETES_SERVICE_HOST")?,
        port,
        folder: ServiceAccount::FOLDER.into(),
    })
}

/// What STATUS asks for belongs to: it is not to wait for a sandbox that is being worked on.
///
/// # Errors
/// None: the names are well formed.
pub(super) fn sandbox_of_its_own() -> Outcome<Owner> {
    Owner::parse(&format!("status-{}", nix::unistd::gettid()), "eth0")
}

/// The environment that plugins inherit (CNI specification 1.1.0, section 2: "the runtime's own").
#[allow(clippy::disallowed_methods, reason = "doors read the environment")]
fn environment() -> Vec<(OsString, OsString)> {
    env::vars_os().collect()
}
