//! Where what is asynchronous runs, for callers that are not.

use tokio::runtime::{Builder, Handle, Runtime};
use tracing::subscriber::NoSubscriber;

use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

/// Runs what is asynchronous, and lets the calling thread wait for it.
pub(super) enum Reactor {
    /// On the calling thread; `None` once it is closed.
    Own(Option<Runtime>),
    /// With the help of a runtime that another thread drives.
    Lent(Handle),
}

impl Reactor {
    pub(super) fn own() -> Outcome<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build();
        runtime.map(|runtime| Self::Own(Some(runtime))).map_err(|cause| {
            Fault::new(FaultKind::Io, "cannot prepare to speak with the cluster").because(cause)
        })
    }

    pub(super) fn within<T>(&self, job: impl FnOnce() -> T) -> Outcome<T> {
        let _entered = match self {
            Self::Own(runtime) => runtime.as_ref().ok_or_else(closed)?.enter(),
            Self::Lent(handle) => handle.enter(),
        };
        Ok(job())
    }

    /// Runs to the end. What the libraries would log by themselves is in the faults already.
    pub(super) fn run<T>(&self, job: impl Future<Output = T>) -> Outcome<T> {
        tracing::subscriber::with_default(NoSubscriber::default(), || match self {
            Self::Own(runtime) => Ok(runtime.as_ref().ok_or_else(closed)?.block_on(job)),
            Self::Lent(handle) => Ok(handle.block_on(job)),
        })
    }
}

fn closed() -> Fault {
    Fault::new(FaultKind::Io, "the line to the cluster is closed")
}

impl Drop for Reactor {
    /// Leaves a name that is still being looked up alone, where an ordinary end would wait for the resolver.
    fn drop(&mut self) {
        if let Self::Own(runtime) = self
            && let Some(runtime) = runtime.take()
        {
            runtime.shutdown_background();
        }
    }
}
