//! The readiness indicator: a file whose presence says that the default network can be used.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};

use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

/// Longest wait for the file.
const LIMIT: Duration = Duration::from_secs(45);
/// Time between two looks, in milliseconds: the folder may not exist yet, so there is nothing to watch.
const STEP: u8 = 200;

/// Waits until the file is there, if one is named.
///
/// # Errors
/// It is not there within 45 s.
pub(super) fn wait(file: Option<&Path>) -> Outcome<()> {
    let Some(path) = file else { return Ok(()) };
    let end = Instant::now() + LIMIT;
    while !path.exists() {
        if Instant::now() >= end {
            return Err(absent(path, FaultKind::TimedOut));
        }
        // A signal only makes the next look come early.
        poll(&mut [], PollTimeout::from(STEP)).unwrap_or_default();
    }
    Ok(())
}

/// Looks once.
///
/// # Errors
/// It is not there.
pub(super) fn look(file: Option<&Path>) -> Outcome<()> {
    file.filter(|path| !path.exists()).map_or(Ok(()), |path| Err(absent(path, FaultKind::Unavailable)))
}

fn absent(path: &Path, kind: FaultKind) -> Fault {
    Fault::new(kind, format!("have you checked that your default network is ready? still waiting for readinessindicatorfile @ {}", path.display()))
        .remedy("see why the default network's agent has not written that file on this node")
}
