//! Bridge domains.

use std::path::Path;

use super::message;
use super::refusal::{BRIDGE_EXISTS, BRIDGE_IN_USE, NOTHING_THERE};
use super::seen::Bridge;
use super::session::Session;
use super::turn::Turn;
use crate::host::stream::Deadline;
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};
use crate::plan::mark;
use crate::plan::vpp::BridgeDomain;

/// The bridge domain of this number, if it is there.
pub(super) fn find(session: &mut Session, number: u32, deadline: Deadline) -> Outcome<Option<Bridge>> {
    let found = session.list(&message::bridge_dump(number), Bridge::read, deadline)?;
    Ok(found.into_iter().find(|bridge| bridge.number == number))
}

/// Sees to it that the bridge domain is there. An interface that is put into one that is not would bring one about that
/// nobody asked for: the caller has the domain's [`Turn`] until its interface is in it.
pub(super) fn ensure(
    session: &mut Session,
    domain: BridgeDomain,
    state_dir: &Path,
    deadline: Deadline,
) -> Outcome<()> {
    let number = domain.number;
    if find(session, number, deadline)?.is_some() {
        return Ok(());
    }
    if !domain.create {
        return Err(Fault::new(FaultKind::Absent, format!("bridge domain {number} is gone")).remedy(
            format!("\"vppctl create bridge-domain {number}\", or set \"createBridge\" in the network"),
        ));
    }
    let v2 = session.knows(message::BRIDGE_V2);
    let asked = message::bridge(number, &mark::vpp_bridge(state_dir), true, v2)?;
    // Somebody else may have been quicker: a Manifold with other records, or an operator.
    session.ask(&asked, deadline)?.done_or(&format!("make bridge domain {number}"), &[BRIDGE_EXISTS])
}

/// Removes a bridge domain that a Manifold with this directory of records made, if nothing is in it.
pub(super) fn remove_empty(
    session: &mut Session,
    number: u32,
    state_dir: &Path,
    deadline: Deadline,
) -> Outcome<()> {
    let _turn = Turn::take(session.place(), number, state_dir, deadline)?;
    let Some(bridge) = find(session, number, deadline)? else { return Ok(()) };
    if bridge.tag != mark::vpp_bridge(state_dir) || !bridge.members.is_empty() {
        return Ok(());
    }
    let v2 = session.knows(message::BRIDGE_V2);
    let asked = message::bridge(number, &bridge.tag, false, v2)?;
    // Somebody else may have come, or gone, in between: a Manifold with other records, or an operator.
    let done = session.ask(&asked, deadline)?;
    done.done_or(&format!("remove bridge domain {number}"), &[NOTHING_THERE, BRIDGE_IN_USE])
}
