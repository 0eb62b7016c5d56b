//! An interface of VPP, and what the pod is told of it.

use super::port::introduce;
use crate::engine::ports::{Site, Undo};
use crate::host::socket_dir::SocketDir;
use crate::host::vpp::OpenVpps;
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};
use crate::plan::port::SocketHome;
use crate::plan::step::{Progress, Step};
use crate::plan::vpp::{MemifSocket, VppEnd, VppInterface, VppPort, VppStep};

/// Makes the interface, and shows it to the pod.
pub(super) fn apply(vpps: &OpenVpps, site: Site<'_>, step: &VppStep, progress: &mut Progress) -> Outcome<()> {
    let VppStep::Make(port) = step else { return Ok(()) };
    vpps.attach(&site.attachment.owner, port)?;
    if let VppEnd::Listens { group: Some(group) } = port.end {
        share(port, group)?;
    }
    introduce(site, &port.endpoint, progress);
    Ok(())
}

/// Takes the interfaces of a batch down. Answers for each step of the batch.
pub(super) fn revert(vpps: &OpenVpps, steps: &[Undo<'_>]) -> Vec<Outcome<()>> {
    let each = steps.iter().map(|undo| {
        let Step::Vpp(step) = undo.step else { return Ok(()) };
        let made = match step {
            VppStep::Make(port) => Some(port.as_ref()),
            VppStep::Lost(_) => None,
        };
        vpps.detach(step.api(), &undo.site.attachment.owner, made)
    });
    each.collect()
}

/// Whether the interface is as it was made.
pub(super) fn holds(vpps: &OpenVpps, site: Site<'_>, step: &VppStep) -> Outcome<()> {
    match step {
        VppStep::Make(port) => vpps.holds(&site.attachment.owner, port),
        VppStep::Lost(_) => Ok(()),
    }
}

/// Lets a group connect to the socket that VPP made, if it is a file.
fn share(port: &VppPort, group: u32) -> Outcome<()> {
    match &port.interface {
        VppInterface::Memif { socket: MemifSocket::Abstract { .. }, .. } => return Ok(()),
        VppInterface::Memif { socket: MemifSocket::File(_), .. } | VppInterface::VhostUser(_) => {}
    }
    let socket = &port.endpoint.socket;
    let absent = || {
        Fault::new(FaultKind::Absent, format!("VPP made no socket at {socket:?}"))
            .remedy("in a container, VPP must see the socket's directory under the same path")
    };
    let (Some(directory), Some(name)) = (socket.parent(), socket.file_name().and_then(|name| name.to_str()))
    else {
        return Err(absent());
    };
    let dir = SocketDir::open(&SocketHome::Volume(directory.to_owned()))?.ok_or_else(absent)?;
    if dir.share_socket(name, group)? { Ok(()) } else { Err(absent()) }
}
