//! What is seen of VPP before an interface is made, and of an interface afterwards.

use nix::libc;

use super::bridge;
use super::message::{self, PUSH_ONE};
use super::seen::{self, Interface, KnownSocket, Memif, Vhost};
use super::session::Session;
use crate::host::stream::Deadline;
use crate::model::fault::{Fault, Outcome};
use crate::model::{FaultKind, Owner};
use crate::plan::vpp::{Abilities, VppEnd, VppFacts, VppInterface, VppPort};

/// Looks at VPP, and at the bridge domain of this number.
pub(super) fn survey(session: &mut Session, bridge: Option<u32>, deadline: Deadline) -> Outcome<VppFacts> {
    let told = session.ask(&message::show_version(), deadline)?.done("tell its version")?;
    let version = seen::version(&told).ok_or_else(|| session.garbled())?;
    let all = |session: &Session, names: &[&str]| names.iter().all(|name| session.knows(name));
    let has = Abilities {
        vhost_user: all(session, &[message::CREATE_VHOST_V2]) || all(session, &[message::CREATE_VHOST]),
        memif: all(session, &[message::MEMIF_DUMP]),
        abstract_sockets: all(session, &[message::CREATE_MEMIF_V2, message::MEMIF_SOCKET_V2]),
        vlans: all(session, &[message::VLAN_REWRITE, message::VLAN_FILTER]),
    };
    let bridge = match bridge {
        Some(number) => bridge::find(session, number, deadline)?.is_some(),
        None => false,
    };
    Ok(VppFacts { version, has, bridge })
}

/// Whether the interface is as it was made.
pub(super) fn holds(session: &mut Session, owner: &Owner, port: &VppPort, deadline: Deadline) -> Outcome<()> {
    let tag = port.tag(owner);
    let all = session.list(&message::interface_dump(), Interface::read, deadline)?;
    let Some(made) = all.into_iter().find(|seen| seen.tag == tag) else {
        return Err(drift(
            "VPP does not have the interface any more: it was restarted, or somebody removed it",
        ));
    };
    if let Some(what) = difference(port, &made) {
        return Err(drift(format!("interface {:?} of VPP {what}", made.name)));
    }
    let number = port.bridge.number;
    let bridge = bridge::find(session, number, deadline)?;
    if !bridge.is_some_and(|bridge| bridge.members.contains(&made.index)) {
        return Err(drift(format!("interface {:?} of VPP is not in bridge domain {number}", made.name)));
    }
    match &port.interface {
        VppInterface::VhostUser(_) => vhost_holds(session, port, &made, deadline),
        VppInterface::Memif { .. } => memif_holds(session, port, &made, deadline),
    }
}

/// What differs from what was asked for.
fn difference(port: &VppPort, made: &Interface) -> Option<&'static str> {
    let rewrite = made.rewrite;
    let tagged = match port.vlan {
        Some(vlan) => rewrite == (PUSH_ONE, vlan.into()),
        None => rewrite.0 == 0,
    };
    if !made.admin_up {
        Some("is down")
    } else if !tagged {
        Some("carries other VLANs")
    } else if port.mtu.is_some_and(|mtu| made.mtu != mtu) {
        Some("has another MTU")
    } else {
        None
    }
}

fn vhost_holds(session: &mut Session, port: &VppPort, made: &Interface, deadline: Deadline) -> Outcome<()> {
    let all = session.list(&message::vhost_dump(), Vhost::read, deadline)?;
    let VppInterface::VhostUser(path) = &port.interface else { return Ok(()) };
    let serves = matches!(port.end, VppEnd::Listens { .. });
    let name = &made.name;
    let seen = all.into_iter().find(|seen| seen.index == made.index);
    let Some(seen) = seen.filter(|seen| seen.path == path.to_string_lossy() && seen.serves == serves) else {
        return Err(drift(format!("interface {name:?} of VPP uses another socket")));
    };
    if [libc::EACCES, libc::EPERM].contains(&seen.error) {
        let cause = std::io::Error::from_raw_os_error(seen.error);
        return Err(Fault::new(FaultKind::Drift, format!("VPP may not use the socket {path:?}"))
            .because(cause)
            .remedy(
                "run VPP as a member of the group of the socket's directory (\"group\" in the network)",
            ));
    }
    if seen.regions > 0 && !made.link_up {
        let what = format!("an application is connected to interface {name:?} of VPP, but its link is down");
        return Err(
            Fault::new(FaultKind::Drift, what).remedy("see \"vppctl show vhost-user\", and VPP's log")
        );
    }
    Ok(())
}

fn memif_holds(session: &mut Session, port: &VppPort, made: &Interface, deadline: Deadline) -> Outcome<()> {
    let memifs = session.list(&message::memif_dump(), Memif::read, deadline)?;
    let sockets = session.list(&message::memif_socket_dump(), KnownSocket::read, deadline)?;
    let VppInterface::Memif { socket, .. } = &port.interface else { return Ok(()) };
    let serves = matches!(port.end, VppEnd::Listens { .. });
    let seen = memifs.into_iter().find(|seen| seen.index == made.index);
    let spelled = socket.spelled();
    let on_socket =
        |seen: &Memif| sockets.iter().any(|known| known.number == seen.socket && known.is_named(&spelled));
    match seen.filter(|seen| seen.serves == serves && seen.ethernet && on_socket(seen)) {
        Some(_) => Ok(()),
        None => Err(drift(format!("interface {:?} of VPP uses another socket", made.name))),
    }
}

fn drift(what: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Drift, what).remedy("restart the pod")
}
