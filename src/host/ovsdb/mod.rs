//! Open vSwitch, by way of its database: OVSDB (RFC 7047) over a socket of the node, and the tables of
//! `vswitchd/vswitch.ovsschema`.
//!
//! A call opens one connection at most. What it changes it changes in one guarded transaction, so that nothing is half
//! done; then it waits until ovs-vswitchd says that it has taken the change up. Nothing is asked whose answer grows with
//! the ports of the switch.

mod change;
mod port;
mod reply;
mod scan;
mod session;
mod value;

use std::path::Path;

use session::Session;

use crate::host::sessions::Sessions;
use crate::host::stream::Deadline;
use crate::model::fault::Outcome;
use crate::model::vhost_user::BridgeName;
use crate::model::{FaultKind, Owner};
use crate::plan::port::{OvsDatabase, Port, SwitchFacts};

/// What runs behind a database, as ovs-vswitchd told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The version of Open vSwitch.
    pub version: Option<String>,
    /// The version of DPDK, where it runs with it.
    pub dpdk: Option<String>,
}

/// The switches of one call: a connection to each database, opened when first needed.
#[derive(Debug, Default)]
pub struct OpenSwitches(Sessions<Session>);

impl OpenSwitches {
    /// Looks at a switch and one of its bridges.
    ///
    /// # Errors
    /// The database is not there, or does not answer in time.
    pub fn survey(&self, database: &OvsDatabase, bridge: &BridgeName) -> Outcome<SwitchFacts> {
        self.with(database, |session, deadline| port::survey(session, bridge, deadline))
    }

    /// What runs behind a database.
    ///
    /// # Errors
    /// The database is not there, or does not answer in time.
    pub fn about(&self, database: &OvsDatabase) -> Outcome<About> {
        self.with(database, port::about)
    }

    /// Makes the port in one transaction, and waits until ovs-vswitchd has it. One that an earlier try made is taken
    /// over, or replaced if something else is asked for now.
    ///
    /// # Errors
    /// The bridge is gone or not for DPDK, the port's name is another's, the switch refuses the port, or it does not
    /// answer in time. The port may be there: the caller takes it down.
    pub fn attach(&self, owner: &Owner, port: &Port) -> Outcome<()> {
        self.with(&port.database, |session, deadline| port::attach(session, owner, port, deadline))
    }

    /// Takes down the ports of these owners, wherever they are, in one transaction.
    ///
    /// # Errors
    /// The database is not there, or does not answer in time.
    pub fn detach(&self, database: &OvsDatabase, owners: &[&Owner]) -> Outcome<()> {
        self.with(database, |session, deadline| port::detach(session, owners, deadline))
    }

    /// Removes a bridge that Manifold made, if nothing is on it.
    ///
    /// # Errors
    /// As [`OpenSwitches::detach`].
    pub fn remove_empty_bridge(&self, database: &OvsDatabase, bridge: &BridgeName) -> Outcome<()> {
        self.with(database, |session, deadline| port::remove_empty_bridge(session, bridge, deadline))
    }

    /// Whether the port is as it was made, and works if an application uses it.
    ///
    /// # Errors
    /// [`FaultKind::Drift`] says what is lost; others, that the switch could not be asked.
    pub fn holds(&self, owner: &Owner, port: &Port) -> Outcome<()> {
        self.with(&port.database, |session, deadline| port::holds(session, owner, port, deadline))
    }

    /// Takes down, in one transaction, the ports that a Manifold with this directory of records made and for whose
    /// owner `keep` says no. Answers with their owners. A node without the database has none.
    ///
    /// # Errors
    /// The database does not answer in time.
    pub fn sweep(
        &self,
        database: &OvsDatabase,
        state_dir: &Path,
        keep: &dyn Fn(&Owner) -> bool,
    ) -> Outcome<Vec<Owner>> {
        let swept = self.with(database, |session, deadline| port::sweep(session, state_dir, keep, deadline));
        match swept {
            Err(fault) if fault.kind() == FaultKind::Absent => Ok(Vec::new()),
            swept => swept,
        }
    }

    fn with<T>(
        &self,
        database: &OvsDatabase,
        work: impl Fn(&mut Session, Deadline) -> Outcome<T>,
    ) -> Outcome<T> {
        self.0.with(&database.socket, database.patience, work)?
    }
}
