//! `manifold daemon`: serves calls that come over a unix socket, with the engine that serves a process of its own.
//!
//! `server` takes requests at the `door`, `desk` lets a bounded number of them work at a time, `call` serves one, `delegate` an
//! attachment of a running pod; `certify` has a certificate signed; `listen` hears what the cluster tells, and `live` brings running pods to it; `keep` writes
//! the runtime's configuration and keeps it; `tidy` keeps the node clean beside them, `metrics` counts.

mod call;
mod certify;
mod delegate;
mod desk;
mod door;
mod keep;
mod listen;
mod live;
mod metrics;
mod server;
mod tidy;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Builder;

use self::desk::Desk;
use super::{log, machine};
use crate::host::{exec, rights};
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::object::{self, Object};
use crate::model::settings::DaemonSettings;

/// The configuration where no other is named.
pub(super) const CONFIG: &str = "/etc/cni/net.d/multus.d/daemon-config.json";
/// Calls that are served at a time where the configuration sets no limit: they wait for the kernel and for plugins, and
/// each has a thread.
const WORKERS: usize = 16;
/// The stack of a thread that serves a call, in bytes.
const STACK: usize = 1 << 20;

/// Serves until it is told to stop (SIGTERM, SIGINT); then finishes what it has begun.
///
/// # Errors
/// It has not the rights it needs; a configuration that cannot work; a socket that cannot be had.
pub(super) fn run(config: &Path) -> Outcome<()> {
    rights::suffice()?;
    let settings = DaemonSettings::read(&read(config)?)?;
    log::start(&settings.logging);
    let workers = settings.calls.map_or(WORKERS, |calls| calls.min(WORKERS));
    let failed = |cause| Fault::new(FaultKind::Io, "cannot start the daemon").because(cause);
    let mut builder = Builder::new_current_thread();
    // Three more: names are looked up, the node is tidied up, and metrics are gathered on threads of the pool as well.
    builder.enable_io().enable_time().max_blocking_threads(workers + 3).thread_stack_size(STACK);
    let runtime = builder.build().map_err(failed)?;
    let (ear, news) = listen::channel();
    let cluster = machine::shared(&settings, runtime.handle().clone(), ear);
    let desk = Arc::new(Desk::new(settings, workers, cluster.map(Arc::new)));
    let served = runtime.block_on(async {
        // First of all: who is not alone, or cannot be reached, is to touch nothing.
        let ears = server::Ears::open(&desk.settings).await?;
        certify::start(&desk)?;
        listen::start(&desk, news);
        server::serve(&desk, ears).await;
        Ok(())
    });
    // Whatever still runs has had its time. A plugin that hangs would go on for ever, with the lock of its sandbox.
    exec::kill_all();
    runtime.shutdown_background();
    served
}

/// The configuration; a file that is not there has nothing in it.
pub(super) fn read(path: &Path) -> Outcome<Object> {
    let failed = |cause| {
        Fault::new(FaultKind::Io, format!("cannot read {path:?}"))
            .because(cause)
            .remedy("make it, or name another in --config")
    };
    let mut bytes = Vec::new();
    let file = match File::open(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound && path == Path::new(CONFIG) => {
            return Ok(Object::default());
        }
        other => other.map_err(failed)?,
    };
    file.take(object::MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Object::parse(&bytes, &format!("{path:?}"))
}
