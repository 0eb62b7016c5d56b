//! STATUS: could an ADD be served now? Answered at once, without waiting for anything.

use super::Node;
use super::survey;
use crate::model::fault::{Fault, Outcome};
use crate::model::{Attachment, ContainerId, FaultKind};
use crate::plan::chain;

/// Asks whether the given attachments, which every pod gets, could be made now.
///
/// # Errors
/// [`FaultKind::Unavailable`] with the reason; a plugin's own answer is passed on.
pub fn status(node: &Node<'_>, attachments: Vec<Attachment>, container: &ContainerId) -> Outcome<()> {
    // A plugin's own answer carries its own code; whatever else is in the way makes us unavailable.
    let unavailable = |fault: Fault| match fault.kind().is_delegates() {
        true => fault,
        false => fault.recast(FaultKind::Unavailable),
    };
    node.journal.is_writable(container).map_err(unavailable)?;
    for attachment in attachments {
        let network = &attachment.network;
        let read = survey::read(&attachment)?;
        read.plan_without_pod(node, &attachment).map_err(unavailable)?;
        for plugin in chain::processes(network) {
            node.hands.status(network, &plugin).map_err(unavailable)?;
        }
    }
    Ok(())
}
