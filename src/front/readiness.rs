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

/// A wait for the file.
struct Wait<'a> {
    path: &'a Path,
    end: Instant,
}

impl<'a> Wait<'a> {
    /// None if no file is named.
    fn begin(file: Option<&'a Path>) -> Option<Self> {
        file.map(|path| Self { path, end: Instant::now() + LIMIT })
    }

    /// Whether the file is there.
    ///
    /// # Errors
    /// It is not there within 45 s.
    fn is_over(&self) -> Outcome<bool> {
        let there = self.path.exists();
        if !there && Instant::now() >= self.end {
            return Err(absent(self.path, FaultKind::TimedOut));
        }
        Ok(there)
    }
}

/// Waits until the file is there, if one is named.
///
/// # Errors
/// It is not there within 45 s.
pub(super) fn wait(file: Option<&Path>) -> Outcome<()> {
    let Some(wait) = Wait::begin(file) else { return Ok(()) };
    while !wait.is_over()? {
        // A signal only makes the next look come early.
        poll(&mut [], PollTimeout::from(STEP)).unwrap_or_default();
    }
    Ok(())
}

/// The same, for whoever has other things to do meanwhile, and until the wait is of no use any more.
///
/// # Errors
/// As [`wait`].
pub(super) async fn wait_aside(file: Option<&Path>, is_useless: impl Fn() -> bool) -> Outcome<()> {
    let Some(wait) = Wait::begin(file) else { return Ok(()) };
    while !is_useless() && !wait.is_over()? {
        tokio::time::sleep(Duration::from_millis(STEP.into())).await;
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
