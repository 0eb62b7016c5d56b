//! The runtime's configuration, kept as it should be while the daemon runs.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::STACK;
use super::desk::Desk;
use crate::front::install::{Done, Keeper, Why};
use crate::host::watch::{self, Watch};
use crate::model::fault::Outcome;
use crate::model::thick::SOCKET_DIR;

/// How often it is looked without a change having been heard of: the readiness file may be anywhere, and a directory that
/// was replaced is not watched until then.
const LOOK: Duration = Duration::from_secs(2);
/// Least time between two looks, however much is changed.
const PAUSE: Duration = Duration::from_millis(100);
/// The same after the file was written: somebody may want it otherwise, and do so again.
const REST: Duration = Duration::from_secs(1);

/// Starts to keep it, if that is configured.
pub(super) fn start(desk: &Arc<Desk>) {
    let Some(keeper) = &desk.keeper else { return };
    let (here, installation) = (&desk.settings.socket_dir, keeper.installation());
    if installation.program.is_shim() && installation.socket_dir.is_none() && *here != *SOCKET_DIR {
        tracing::warn!(
            "\"socketDir\" is {here:?}, and the shim will look in {SOCKET_DIR:?}: set \"daemonSocketDir\" if that is \
             another directory of the node"
        );
    }
    let (desk, keeper) = (Arc::clone(desk), Arc::clone(keeper));
    let thread = thread::Builder::new().name("keep".into()).stack_size(STACK);
    if let Err(cause) = thread.spawn(move || keep(&desk, &keeper)) {
        tracing::warn!("cannot keep the runtime's configuration: {cause}");
    }
}

/// Leaves it, or removes it, as is configured.
pub(super) fn stop(desk: &Desk) {
    match desk.keeper.as_ref().map(|keeper| keeper.close()) {
        Some(Err(fault)) => tracing::warn!("{fault}"),
        Some(Ok(true)) => tracing::info!("removed the runtime's configuration"),
        Some(Ok(false)) | None => {}
    }
}

fn keep(desk: &Desk, keeper: &Keeper) {
    // Without a watch there are still the looks.
    let watch = Watch::new().inspect_err(|fault| tracing::warn!("{fault}")).ok();
    let mut said = None;
    while !desk.is_closing() {
        if let Some(watch) = &watch {
            watch.drain();
            watch.name(&keeper.dirs());
        }
        let done = keeper.round();
        let rest = if done.as_ref().is_ok_and(|done| done.written.is_some()) { REST } else { PAUSE };
        tell(desk, keeper, done, &mut said);
        watch::wait(None, rest);
        watch::wait(watch.as_ref(), LOOK);
    }
}

/// Tells the log what was done, or once what is in the way.
fn tell(desk: &Desk, keeper: &Keeper, done: Outcome<Done>, said: &mut Option<String>) {
    let path = keeper.path();
    let done = match done {
        Ok(done) => done,
        Err(fault) => {
            let text = fault.advised();
            if said.as_ref() != Some(&text) {
                tracing::warn!("the runtime's configuration is not as it should be: {text}");
            }
            *said = Some(text);
            return;
        }
    };
    *said = None;
    for program in done.programs {
        tracing::info!(?program, "installed");
    }
    let Some((of, why)) = done.written else { return };
    desk.metrics.configured.inc();
    match why {
        Why::New => tracing::info!(?path, of, "wrote the runtime's configuration"),
        Why::Removed => tracing::warn!(
            ?path,
            "somebody removed the runtime's configuration; it is there again. If it goes again and again, find out who \
             wants to be alone there (Cilium: \"cni.exclusive\")"
        ),
        Why::Changed => {
            tracing::warn!(?path, "somebody changed the runtime's configuration; it is as it was again")
        }
    }
}
