//! VPP, by way of its binary API over a socket of the node.
//!
//! A call opens one connection at most. VPP has no transactions, so everything here can be done twice: what an earlier
//! try left is taken down before it is made anew. Interfaces are found by their tag, and never by an index that was
//! kept, for VPP gives the index of one that is gone to the next. What VPP has is lost when it ends: where none runs,
//! there is nothing to take down.

mod bridge;
mod check;
mod message;
mod port;
mod refusal;
mod seen;
mod session;
mod table;
mod turn;
#[cfg(test)]
mod vectors;
mod wire;

use std::path::Path;

use session::{Session, Unopened};

use crate::host::sessions::Sessions;
use crate::host::stream::Deadline;
use crate::model::fault::Outcome;
use crate::model::{FaultKind, Owner};
use crate::plan::vpp::{VppApi, VppFacts, VppPort};

/// The VPPs of one call: a connection to each, opened when first needed.
#[derive(Debug, Default)]
pub struct OpenVpps(Sessions<Session>);

impl OpenVpps {
    /// Looks at a VPP, and at one of its bridge domains.
    ///
    /// # Errors
    /// VPP is not there, or does not answer in time.
    pub fn survey(&self, api: &VppApi, bridge: Option<u32>) -> Outcome<VppFacts> {
        self.with(api, |session, deadline| check::survey(session, bridge, deadline))?
    }

    /// Makes the interface, after what an earlier try left of it is taken down.
    ///
    /// # Errors
    /// VPP refuses a part of it, is not there, or does not answer in time. Some of it may be there: the caller takes it
    /// down.
    pub fn attach(&self, owner: &Owner, port: &VppPort) -> Outcome<()> {
        self.with(&port.api, |session, deadline| port::attach(session, owner, port, deadline))?
    }

    /// Takes down the interfaces of an owner, and what was made for `port`, if it is known. A VPP that does not run has
    /// none.
    ///
    /// # Errors
    /// VPP refuses, or does not answer in time.
    pub fn detach(&self, api: &VppApi, owner: &Owner, port: Option<&VppPort>) -> Outcome<()> {
        match self.with(api, |session, deadline| port::detach(session, owner, port, deadline)) {
            Err(Unopened::NotRunning(_)) => Ok(()),
            done => done?,
        }
    }

    /// Whether the interface is as it was made, and works if an application uses it.
    ///
    /// # Errors
    /// [`FaultKind::Drift`] says what is lost; others, that VPP could not be asked.
    pub fn holds(&self, owner: &Owner, port: &VppPort) -> Outcome<()> {
        match self.with(&port.api, |session, deadline| check::holds(session, owner, port, deadline)) {
            Err(Unopened::NotRunning(fault)) => Err(fault
                .recast(FaultKind::Drift)
                .remedy("start VPP, then restart the pod: what VPP had was lost when it ended")),
            done => done?,
        }
    }

    /// Takes down the interfaces that a Manifold with this directory of records made and for whose container `keep` says
    /// no; containers are named as in [`crate::plan::mark::vpp_container`]. A VPP that does not run has none.
    ///
    /// # Errors
    /// VPP refuses, or does not answer in time.
    pub fn sweep(&self, api: &VppApi, state_dir: &Path, keep: &dyn Fn(&str) -> bool) -> Outcome<()> {
        match self.with(api, |session, deadline| port::sweep(session, state_dir, keep, deadline)) {
            Err(Unopened::NotRunning(_)) => Ok(()),
            done => done?,
        }
    }

    fn with<T>(
        &self,
        api: &VppApi,
        work: impl Fn(&mut Session, Deadline) -> Outcome<T>,
    ) -> Result<Outcome<T>, Unopened> {
        self.0.with(&api.socket, api.patience, work)
    }
}
