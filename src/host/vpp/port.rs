//! An interface of VPP: made, and taken down.

use std::path::Path;

use super::bridge;
use super::message::{self, NewMemif, NewVhost};
use super::refusal::{BAD_INDEX, IN_USE, SOCKET_ELSEWHERE, VALUE_EXISTS, WRONG_ARGUMENT};
use super::seen::{self, Interface, KnownSocket, Memif};
use super::session::Session;
use super::turn::Turn;
use crate::host::stream::Deadline;
use crate::model::Owner;
use crate::model::fault::Outcome;
use crate::plan::mark;
use crate::plan::vpp::{MemifSocket, VppEnd, VppInterface, VppPort};

/// The number of the socket that VPP itself has for memif interfaces.
const OWN_SOCKET: u32 = 0;
/// How often a number is chosen for a socket: somebody else may take each before us.
const CHOICES: u32 = 32;

/// Makes the interface: tagged before anything else is done with it, and up when all else is done.
pub(super) fn attach(
    session: &mut Session,
    owner: &Owner,
    port: &VppPort,
    deadline: Deadline,
) -> Outcome<()> {
    remove(session, &Wanted::of(owner, Some(port)), deadline)?;
    let index = create_in_bridge(session, owner, port, deadline)?;
    let mut ask = |what: &str, message| session.ask(&message, deadline)?.done(what).map(drop);
    if let Some(vlan) = port.vlan {
        ask("tag the interface's frames", message::push_vlan(index, vlan))?;
        ask("keep frames of other VLANs from the interface", message::keep_vlan_apart(index))?;
    }
    if let Some(mtu) = port.mtu {
        ask("set the interface's MTU", message::set_mtu(index, mtu))?;
    }
    ask("bring the interface up", message::set_up(index))
}

/// Makes the interface in its bridge domain, which nobody removes meanwhile; answers with its index.
fn create_in_bridge(
    session: &mut Session,
    owner: &Owner,
    port: &VppPort,
    deadline: Deadline,
) -> Outcome<u32> {
    let number = port.bridge.number;
    let _turn = Turn::take(session.place(), number, &port.state_dir, deadline)?;
    bridge::ensure(session, port.bridge, &port.state_dir, deadline)?;
    let index = create(session, owner, port, deadline)?;
    let entered = session.ask(&message::enter_bridge(index, number), deadline)?;
    entered.done("put the interface into its bridge domain")?;
    Ok(index)
}

/// Makes the bare interface, with its tag; answers with its index.
fn create(session: &mut Session, owner: &Owner, port: &VppPort, deadline: Deadline) -> Outcome<u32> {
    let serves = matches!(port.end, VppEnd::Listens { .. });
    let tag = port.tag(owner);
    match &port.interface {
        VppInterface::VhostUser(path) => {
            let path = path.to_string_lossy();
            let v2 = session.knows(message::CREATE_VHOST_V2);
            let asked = message::create_vhost(
                NewVhost { path: &path, serves, mac: mark::vpp_mac(owner), tag: &tag },
                v2,
            )?;
            let made = session.ask(&asked, deadline)?.done("make the vhost-user interface")?;
            seen::number(&made).ok_or_else(|| session.garbled())
        }
        VppInterface::Memif { socket, queues } => {
            let socket = add_socket(session, socket, deadline)?;
            let new = NewMemif { serves, queues: *queues, socket, mac: mark::vpp_mac(owner) };
            let asked = message::create_memif(new, session.knows(message::CREATE_MEMIF_V2));
            let made = session.ask(&asked, deadline)?.done("make the memif interface")?;
            let index = seen::number(&made).ok_or_else(|| session.garbled())?;
            session.ask(&message::set_tag(index, &tag)?, deadline)?.done("tag the memif interface")?;
            Ok(index)
        }
    }
}

/// Lets VPP know the socket; answers with the number it has for it.
fn add_socket(session: &mut Session, socket: &MemifSocket, deadline: Deadline) -> Outcome<u32> {
    let (name, what) = (socket.spelled(), "take the memif interface's socket");
    if session.knows(message::MEMIF_SOCKET_V2) {
        let made = session.ask(&message::add_memif_socket(&name), deadline)?.done(what)?;
        return seen::number(&made).ok_or_else(|| session.garbled());
    }
    let mut again = 1..CHOICES;
    loop {
        let number = free_number(session, deadline)?;
        let made = session.ask(&message::add_memif_socket_as(number, &name)?, deadline)?;
        let taken = matches!(made.code, SOCKET_ELSEWHERE | VALUE_EXISTS);
        if !taken || again.next().is_none() {
            return made.done(what).map(|_| number);
        }
    }
}

/// The lowest number that no memif socket has. Another's may have it before it is asked for.
fn free_number(session: &mut Session, deadline: Deadline) -> Outcome<u32> {
    let known = session.list(&message::memif_socket_dump(), KnownSocket::read, deadline)?;
    let taken = |number: &u32| known.iter().any(|socket| socket.number == *number);
    Ok((OWN_SOCKET + 1..message::ANY).find(|number| !taken(number)).unwrap_or(OWN_SOCKET))
}

/// What is to be taken down.
struct Wanted<'a> {
    /// Interfaces with such a tag.
    tagged: Box<dyn Fn(&str) -> bool + 'a>,
    /// A memif interface with this Ethernet address that has no tag yet.
    untagged: Option<[u8; 6]>,
    /// A socket for memif interfaces, if none is on it.
    socket: Option<String>,
}

impl Wanted<'_> {
    fn of(owner: &Owner, port: Option<&VppPort>) -> Self {
        let start = mark::vpp_owner(owner);
        let socket = port.and_then(|port| match &port.interface {
            VppInterface::VhostUser(_) => None,
            VppInterface::Memif { socket, .. } => Some(socket.spelled()),
        });
        let tagged = Box::new(move |tag: &str| tag.starts_with(&start));
        Self { tagged, untagged: Some(mark::vpp_mac(owner).bytes()), socket }
    }
}

/// Takes down what an owner has, and the bridge domain that was made for it if nothing else is in it.
pub(super) fn detach(
    session: &mut Session,
    owner: &Owner,
    port: Option<&VppPort>,
    deadline: Deadline,
) -> Outcome<()> {
    remove(session, &Wanted::of(owner, port), deadline)?;
    match port.filter(|port| port.bridge.create) {
        Some(port) => bridge::remove_empty(session, port.bridge.number, &port.state_dir, deadline),
        None => Ok(()),
    }
}

/// Takes down what belongs to nobody any more.
pub(super) fn sweep(
    session: &mut Session,
    state_dir: &Path,
    keep: &dyn Fn(&str) -> bool,
    deadline: Deadline,
) -> Outcome<()> {
    let lost = |tag: &str| mark::vpp_tagged(tag, state_dir).is_some_and(|container| !keep(container));
    remove(session, &Wanted { tagged: Box::new(lost), untagged: None, socket: None }, deadline)
}

/// Takes down interfaces, then the sockets that were made for them.
fn remove(session: &mut Session, wanted: &Wanted<'_>, deadline: Deadline) -> Outcome<()> {
    let all = session.list(&message::interface_dump(), Interface::read, deadline)?;
    let tagged = all.iter().filter(|seen| (wanted.tagged)(&seen.tag));
    let tagged: Vec<u32> = tagged.map(|seen| seen.index).collect();
    let bare = |memif: &Memif| all.iter().any(|seen| seen.index == memif.index && seen.tag.is_empty());
    let memifs = match session.knows(message::MEMIF_DUMP) {
        true => session.list(&message::memif_dump(), Memif::read, deadline)?,
        false => Vec::new(),
    };
    let (ours, others): (Vec<Memif>, Vec<Memif>) = memifs.into_iter().partition(|memif| {
        tagged.contains(&memif.index) || (wanted.untagged == Some(memif.mac) && bare(memif))
    });
    for memif in &ours {
        let done = session.ask(&message::delete_memif(memif.index), deadline)?;
        done.done_or("remove the memif interface", &[BAD_INDEX])?;
    }
    for index in tagged.iter().filter(|index| !ours.iter().any(|memif| memif.index == **index)) {
        let done = session.ask(&message::delete_vhost(*index), deadline)?;
        done.done_or("remove the vhost-user interface", &[BAD_INDEX])?;
    }
    let mut sockets: Vec<u32> = ours.iter().map(|memif| memif.socket).collect();
    if let Some(name) = wanted.socket.as_deref().filter(|_| session.knows(message::MEMIF_DUMP)) {
        let known = session.list(&message::memif_socket_dump(), KnownSocket::read, deadline)?;
        sockets.extend(known.iter().filter(|known| known.is_named(name)).map(|known| known.number));
    }
    sockets.sort_unstable();
    sockets.dedup();
    sockets.retain(|socket| *socket != OWN_SOCKET && !others.iter().any(|memif| memif.socket == *socket));
    forget_sockets(session, &sockets, deadline)
}

fn forget_sockets(session: &mut Session, sockets: &[u32], deadline: Deadline) -> Outcome<()> {
    let v2 = session.knows(message::MEMIF_SOCKET_V2);
    for socket in sockets {
        let done = session.ask(&message::remove_memif_socket(*socket, v2), deadline)?;
        // Somebody else's interface may be on it by now.
        done.done_or("forget the memif interface's socket", &[WRONG_ARGUMENT, IN_USE])?;
    }
    Ok(())
}
