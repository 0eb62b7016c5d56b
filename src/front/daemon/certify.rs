//! The certificate that this node's daemon logs in with: asked for, kept, and renewed before it expires.

use std::ops::Range;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use super::desk::Desk;
use super::{STACK, listen};
use crate::front::machine::{BUDGET, certified};
use crate::host::kube::{self, Certificate, Petition, Refusals, Source};
use crate::host::watch;
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::settings::NodeCertificate;

/// How long one wait for a signature takes; then the log says so, and it goes on.
const WAIT: Duration = Duration::from_secs(120);
/// How many waits a request is worth before another is made.
const WAITS: u32 = 30;
/// The pause after a failure: first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));
/// Longest time without a look: the clock may be set, and the file be replaced.
const LOOK: Duration = Duration::from_secs(60);

/// Starts to keep a certificate, if that is configured.
///
/// # Errors
/// The node's name is not known.
pub(super) fn start(desk: &Arc<Desk>) -> Outcome<()> {
    let (Some(wanted), Some(shared)) = (&desk.settings.certificate, &desk.cluster) else { return Ok(()) };
    let node = listen::node(desk).ok_or_else(|| {
        Fault::new(FaultKind::Config, "the certificate of a node without a name cannot be asked for")
            .because("\"perNodeCertificate\" is enabled")
            .remedy("set \"nodeName\", or MULTUS_NODE_NAME in the environment")
    })?;
    let keeper = Keeper {
        node,
        own: certified(wanted),
        wanted: wanted.clone(),
        refusals: shared.trunk.refusals(),
        pending: None,
    };
    let desk = Arc::clone(desk);
    say(&desk, Some("waiting for the certificate of this node".to_owned()));
    let thread = thread::Builder::new().name("certify".into()).stack_size(STACK);
    thread
        .spawn(move || keep(&desk, keeper))
        .map(drop)
        .map_err(|cause| Fault::new(FaultKind::Io, "cannot keep the certificate of this node").because(cause))
}

/// Who keeps it.
struct Keeper {
    node: String,
    wanted: NodeCertificate,
    /// The cluster, asked with the certificate there is.
    own: Source,
    refusals: Arc<Refusals>,
    /// A request that is not answered yet, and how often it was waited for.
    pending: Option<(Petition, u32)>,
}

fn keep(desk: &Desk, mut keeper: Keeper) {
    // At the start it is not known whether the one there is is still taken.
    let (mut doubt, mut pause) = (true, PAUSES.0);
    while !desk.is_closing() {
        let next = match keeper.round(doubt) {
            Ok(certificate) => {
                say(desk, None);
                let end = certificate.valid.end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                desk.metrics.certified.set(end.as_secs().cast_signed());
                (doubt, pause) = (false, PAUSES.0);
                due(&certificate).duration_since(SystemTime::now()).unwrap_or_default().min(LOOK)
            }
            Err(fault) => {
                tracing::warn!("no new certificate of this node: {}", fault.advised());
                say(
                    desk,
                    keeper.current().is_none().then(|| format!("no certificate of this node: {fault}")),
                );
                // What is handed in is waited for at once.
                let now = if keeper.pending.is_some() { Duration::ZERO } else { pause };
                pause = (pause * 2).min(PAUSES.1);
                now
            }
        };
        if keeper.refusals.wait(next) {
            // Many hear of it at the same time.
            watch::wait(None, PAUSES.0);
            doubt = true;
        }
    }
}

fn say(desk: &Desk, trouble: Option<String>) {
    *desk.uncertified.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
}

impl Keeper {
    /// Sees to it that there is a certificate that is taken and lasts.
    fn round(&mut self, doubt: bool) -> Outcome<Certificate> {
        let current = self.current();
        // The address and the authority of the cluster may have changed.
        let file = self.wanted.kubeconfig();
        match kube::certified_kubeconfig(&self.wanted.bootstrap, &self.wanted.file(), &file) {
            Err(fault) if current.is_none() || !file.exists() => return Err(fault),
            Ok(()) | Err(_) => {}
        }
        match current {
            None => self.obtain(self.bootstrap()),
            Some(_) if doubt && kube::is_refused(&self.own, BUDGET).unwrap_or(false) => {
                tracing::warn!("the certificate of this node is refused; another is asked for");
                self.obtain(self.bootstrap())
            }
            Some(certificate) if due(&certificate) <= SystemTime::now() => self.renew(),
            Some(certificate) => Ok(certificate),
        }
    }

    /// The certificate there is, if it is of any use.
    fn current(&self) -> Option<Certificate> {
        let read = Certificate::read(&self.wanted.file());
        let found = read.inspect_err(|fault| tracing::warn!("{fault}; another is asked for")).ok().flatten();
        let useful = |one: &Certificate| one.is_of(&self.node) && one.valid.contains(&SystemTime::now());
        found.filter(useful)
    }

    fn bootstrap(&self) -> Source {
        Source::Kubeconfig(self.wanted.bootstrap.clone())
    }

    /// Another certificate, asked for with the one there is, as long as the cluster lets it.
    fn renew(&mut self) -> Outcome<Certificate> {
        match self.obtain(self.own.clone()) {
            Err(fault) if fault.kind() == FaultKind::Cluster => {
                tracing::warn!("{fault}; asking as in {:?}", self.wanted.bootstrap);
                self.obtain(self.bootstrap())
            }
            done => done,
        }
    }

    /// Another certificate, in its place; a request that waits already is waited for.
    fn obtain(&mut self, source: Source) -> Outcome<Certificate> {
        let (mut petition, waits) = match self.pending.take() {
            Some(pending) => pending,
            None => (Petition::new(source, &self.node, self.wanted.lifetime)?, 0),
        };
        let signed = petition.plead(BUDGET, WAIT);
        if let Err(fault) = &signed
            && fault.kind() == FaultKind::TimedOut
            && waits < WAITS
        {
            self.pending = Some((petition, waits + 1));
        }
        let certificate = signed?;
        certificate.write(&self.wanted.file())?;
        let lasts = certificate.valid.end.duration_since(SystemTime::now()).unwrap_or_default();
        tracing::info!(seconds = lasts.as_secs(), "this node has a new certificate");
        Ok(certificate)
    }
}

/// When another one is to be asked for: at 75 to 85 % of its life, so that nodes that started together do not ask
/// together.
fn due(certificate: &Certificate) -> SystemTime {
    let Range { start, end } = certificate.valid;
    let life = end.duration_since(start).unwrap_or_default();
    start + life * (750 + u32::try_from(certificate.print % 101).unwrap_or_default()) / 1000
}
