//! What all calls of one process share on their way to the API server: connections and the login, for as long as what
//! they were made from stays as it is.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io};

use tokio::runtime::Handle;

use super::access::{Access, ServiceAccount};
use super::line::Wire;
use super::reactor::Reactor;
use super::refusals::Refusals;
use crate::model::fault::{Fault, FaultKind, Outcome};

/// Where it is written how to reach the API server.
#[derive(Debug, Clone)]
pub enum Source {
    /// In a kubeconfig.
    Kubeconfig(PathBuf),
    /// In a kubeconfig that logs in with the certificate of this node, as soon as there is one.
    Certified {
        /// The kubeconfig.
        kubeconfig: PathBuf,
        /// The certificate with its key.
        certificate: PathBuf,
    },
    /// In the account of the pod that this process runs in.
    Account(ServiceAccount),
}

impl Source {
    pub(super) fn access(&self) -> Outcome<Access> {
        match self {
            Self::Kubeconfig(path) => Access::from_kubeconfig(path),
            Self::Certified { certificate, .. } if !certificate.exists() => Err(uncertified(certificate)),
            Self::Certified { kubeconfig, .. } => Access::from_kubeconfig(kubeconfig),
            Self::Account(account) => Access::of_account(account),
        }
    }
}

/// Connections that calls share, a pool.
///
/// # Guarantees
/// When the kubeconfig, a certificate or a key it names is replaced, the next call has connections made from the new ones.
pub struct Trunk {
    source: Source,
    handle: Handle,
    connect: Duration,
    refusals: Arc<Refusals>,
    now: Mutex<Option<(Vec<Stamp>, Arc<Wire>)>>,
}

/// By what a file that was replaced or written to is told from the one before.
type Stamp = (PathBuf, Option<(u64, u64, i64, i64, u64)>);

impl Trunk {
    /// Connections that the runtime of `handle` works on. Nothing is read or sent yet.
    pub fn new(source: Source, handle: Handle, connect: Duration) -> Self {
        Self { source, handle, connect, refusals: Arc::default(), now: Mutex::new(None) }
    }

    /// Whether this is what a call means that names this kubeconfig, or none.
    pub fn is_meant(&self, kubeconfig: Option<&Path>) -> bool {
        match &self.source {
            Source::Kubeconfig(path) | Source::Certified { kubeconfig: path, .. } => kubeconfig == Some(path),
            Source::Account(_) => kubeconfig.is_none(),
        }
    }

    /// Where it is told that the server refused who asked.
    pub fn refusals(&self) -> Arc<Refusals> {
        Arc::clone(&self.refusals)
    }

    /// The connections as they are to be now.
    ///
    /// # Errors
    /// What they are to be made from cannot be used.
    pub(super) fn wire(&self) -> Outcome<Arc<Wire>> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((stamps, wire)) = now.as_ref()
            && stamps.iter().all(|(path, stamp)| self::stamp(path).ok() == *stamp)
        {
            return Ok(Arc::clone(wire));
        }
        let stamps: Vec<Stamp> =
            self.source.access()?.files.iter().map(|path| (path.clone(), stamp(path).ok())).collect();
        let access = self.source.access()?;
        let wire = Wire::open(access, Reactor::Lent(self.handle.clone()), self.connect)?;
        let wire = Arc::new(wire.telling(Arc::clone(&self.refusals)));
        // A file that was replaced while it was read is read again by the next call.
        let is_whole = stamps.iter().all(|(path, before)| stamp(path).ok() == *before);
        *now = is_whole.then(|| (stamps, Arc::clone(&wire)));
        Ok(wire)
    }

    /// Whether these are still the connections to use.
    pub(super) fn is_now(&self, wire: &Arc<Wire>) -> bool {
        self.wire().is_ok_and(|now| Arc::ptr_eq(&now, wire))
    }
}

fn uncertified(certificate: &Path) -> Fault {
    Fault::new(FaultKind::TryLater, "this node has no certificate to ask the cluster with yet")
        .because(format!("{certificate:?} is not there"))
        .remedy("look for its request (kubectl get csr), and in the daemon's log")
}

fn stamp(path: &Path) -> io::Result<(u64, u64, i64, i64, u64)> {
    let meta = fs::metadata(path)?;
    Ok((meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.size()))
}

impl std::fmt::Debug for Trunk {
    /// What logs in is left out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trunk").field("source", &self.source).finish_non_exhaustive()
    }
}
