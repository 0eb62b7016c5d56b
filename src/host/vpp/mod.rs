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

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use session::{Session, Unopened};

use crate::host::stream::Deadline;
use crate::model::fault::{Fault, Outcome};
use crate::model::{FaultKind, Owner};
use crate::plan::vpp::{VppApi, VppFacts, VppPort};

/// The VPPs of one call: a connection to each, opened when first needed.
#[derive(Debug, Default)]
pub struct OpenVpps(RefCell<BTreeMap<PathBuf, Session>>);

impl OpenVpps {
    /// Looks at a VPP, and at one of its bridge domains.
    ///
    /// # Errors
    /// VPP is not there, or does not answer in time.
    pub fn survey(&self, api: &VppApi, bridge: Option<u32>) -> Outcome<VppFacts> {
        self.with(api, |session, deadline| check::survey(session, bridge, deadline)).outcome()
    }

    /// Makes the interface, after what an earlier try left of it is taken down.
    ///
    /// # Errors
    /// VPP refuses a part of it, is not there, or does not answer in time. Some of it may be there: the caller takes it
    /// down.
    pub fn attach(&self, owner: &Owner, port: &VppPort) -> Outcome<()> {
        self.with(&port.api, |session, deadline| port::attach(session, owner, port, deadline)).outcome()
    }

    /// Takes down the interfaces of an owner, and what was made for `port`, if it is known. A VPP that does not run has
    /// none.
    ///
    /// # Errors
    /// VPP refuses, or does not answer in time.
    pub fn detach(&self, api: &VppApi, owner: &Owner, port: Option<&VppPort>) -> Outcome<()> {
        match self.with(api, |session, deadline| port::detach(session, owner, port, deadline)) {
            Tried::NotRunning(_) => Ok(()),
            tried @ (Tried::Done(_) | Tried::Lost(_)) => tried.outcome(),
        }
    }

    /// Whether the interface is as it was made, and works if an application uses it.
    ///
    /// # Errors
    /// [`FaultKind::Drift`] says what is lost; others, that VPP could not be asked.
    pub fn holds(&self, owner: &Owner, port: &VppPort) -> Outcome<()> {
        match self.with(&port.api, |session, deadline| check::holds(session, owner, port, deadline)) {
            Tried::NotRunning(fault) => Err(fault
                .recast(FaultKind::Drift)
                .remedy("start VPP, then restart the pod: what VPP had was lost when it ended")),
            tried @ (Tried::Done(_) | Tried::Lost(_)) => tried.outcome(),
        }
    }

    /// Takes down the interfaces that a Manifold with this directory of records made and for whose container `keep` says
    /// no; containers are named as in [`crate::plan::mark::vpp_container`]. A VPP that does not run has none.
    ///
    /// # Errors
    /// VPP refuses, or does not answer in time.
    pub fn sweep(&self, api: &VppApi, state_dir: &Path, keep: &dyn Fn(&str) -> bool) -> Outcome<()> {
        match self.with(api, |session, deadline| port::sweep(session, state_dir, keep, deadline)) {
            Tried::NotRunning(_) => Ok(()),
            tried @ (Tried::Done(_) | Tried::Lost(_)) => tried.outcome(),
        }
    }

    /// Works with the connection to a VPP. If it breaks, as when VPP is restarted, the work is begun anew once.
    fn with<T>(&self, api: &VppApi, work: impl Fn(&mut Session, Deadline) -> Outcome<T>) -> Tried<T> {
        let deadline = Deadline::after(api.patience);
        match self.once(api, deadline, &work) {
            Tried::Lost(_) => self.once(api, deadline, &work),
            tried @ (Tried::Done(_) | Tried::NotRunning(_)) => tried,
        }
    }

    fn once<T>(
        &self,
        api: &VppApi,
        deadline: Deadline,
        work: impl Fn(&mut Session, Deadline) -> Outcome<T>,
    ) -> Tried<T> {
        let mut sessions = self.0.borrow_mut();
        let opened = sessions.remove(&api.socket).map_or_else(|| Session::open(&api.socket, deadline), Ok);
        let mut session = match opened {
            Ok(session) => session,
            Err(Unopened::NotRunning(fault)) => return Tried::NotRunning(fault),
            Err(Unopened::Failed(fault)) => return Tried::Done(Err(fault)),
        };
        match work(&mut session, deadline) {
            Err(fault) if session.is_lost() => Tried::Lost(fault),
            // Answers to what was asked in vain may still come.
            Err(fault) => Tried::Done(Err(fault)),
            Ok(done) => {
                sessions.insert(api.socket.clone(), session);
                Tried::Done(Ok(done))
            }
        }
    }
}

/// How a piece of work ended.
enum Tried<T> {
    /// As it should, or with a failure that another connection would not mend.
    Done(Outcome<T>),
    /// The connection broke.
    Lost(Fault),
    /// Nobody listens, or there is not even a socket.
    NotRunning(Fault),
}

impl<T> Tried<T> {
    fn outcome(self) -> Outcome<T> {
        match self {
            Self::Done(done) => done,
            Self::Lost(fault) | Self::NotRunning(fault) => Err(fault),
        }
    }
}
