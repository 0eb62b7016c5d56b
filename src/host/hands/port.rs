//! A port of Open vSwitch, and what the pod is told of it.

use super::lent;
use crate::engine::ports::{Site, Undo};
use crate::host::ovsdb::OpenSwitches;
use crate::model::fault::Outcome;
use crate::model::result::Interface;
use crate::model::{CniResult, FaultKind, Owner};
use crate::plan::port::{Endpoint, OvsDatabase, Port, PortStep, SwitchEnd};
use crate::plan::step::{Progress, Step};

/// Makes the port, and shows it to the pod.
pub(super) fn apply(
    switches: &OpenSwitches,
    site: Site<'_>,
    step: &PortStep,
    progress: &mut Progress,
) -> Outcome<()> {
    let PortStep::Make(port) = step else { return Ok(()) };
    switches.attach(&site.attachment.owner, port)?;
    if let SwitchEnd::Listens { directory, group } = &port.end {
        lent::give(&directory.join(&port.name), &port.endpoint.socket, *group)?;
    }
    introduce(site, &port.endpoint, progress);
    Ok(())
}

/// Adds to the result how the interface looks to the pod.
pub(super) fn introduce(site: Site<'_>, endpoint: &Endpoint, progress: &mut Progress) {
    let name = site.attachment.owner.ifname.as_str();
    let mut interface = Interface {
        name: name.to_owned(),
        mac: endpoint.mac.to_string(),
        mtu: endpoint.mtu,
        sandbox: site.netns.map(ToString::to_string).unwrap_or_default(),
        socket_path: endpoint.socket.to_string_lossy().into_owned(),
        ..Interface::default()
    };
    let made =
        progress.result.as_mut().and_then(|result| result.interfaces.iter_mut().find(|i| i.name == name));
    match made {
        // A link carries the addresses.
        Some(link) => {
            interface.mac = std::mem::take(&mut link.mac);
            *link = interface;
        }
        None => progress.result = Some(CniResult { interfaces: vec![interface], ..CniResult::default() }),
    }
    progress.device_info = Some(endpoint.device.clone());
}

/// Takes the ports of a batch down, all of one switch in one transaction. Answers for each step of the batch.
pub(super) fn revert(switches: &OpenSwitches, steps: &[Undo<'_>]) -> Vec<Outcome<()>> {
    let mut answers: Vec<Outcome<()>> = steps.iter().map(|_| Ok(())).collect();
    let each = steps.iter().enumerate().filter_map(|(index, undo)| {
        let owner = &undo.site.attachment.owner;
        if let Step::Port(step) = undo.step { Some((index, owner, step)) } else { None }
    });
    let mut ports: Vec<(usize, &Owner, &PortStep)> = each.collect();
    while let Some((_, _, step)) = ports.first() {
        let database = step.database();
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            ports.iter().copied().partition(|(_, _, step)| step.database() == database);
        if let Err(fault) = detach(switches, database, &here) {
            super::fail(&mut answers, here.iter().map(|(index, ..)| *index), fault);
        }
        ports = elsewhere;
    }
    answers
}

fn detach(
    switches: &OpenSwitches,
    database: &OvsDatabase,
    ports: &[(usize, &Owner, &PortStep)],
) -> Outcome<()> {
    let mut owners: Vec<&Owner> = ports.iter().map(|(_, owner, _)| *owner).collect();
    owners.dedup();
    let made: Vec<&Port> = ports
        .iter()
        .filter_map(|(_, _, step)| match step {
            PortStep::Make(port) => Some(port.as_ref()),
            PortStep::Lost(_) => None,
        })
        .collect();
    match switches.detach(database, &owners) {
        // Where nothing is known of a port but that there may be one, a node without a switch has none.
        Err(fault) if made.is_empty() && matches!(fault.kind(), FaultKind::Absent | FaultKind::TryLater) => {
            return Ok(());
        }
        done => done?,
    }
    for port in &made {
        if let SwitchEnd::Listens { .. } = port.end {
            lent::take_back(&port.endpoint.socket)?;
        }
        if port.create_bridge {
            switches.remove_empty_bridge(database, &port.bridge)?;
        }
    }
    Ok(())
}

/// Whether the port is as it was made.
pub(super) fn holds(switches: &OpenSwitches, site: Site<'_>, step: &PortStep) -> Outcome<()> {
    match step {
        PortStep::Make(port) => switches.holds(&site.attachment.owner, port),
        PortStep::Lost(_) => Ok(()),
    }
}
