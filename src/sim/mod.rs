//! The twin of a node: made of maps, with fuses that refuse a step or kill Manifold at any operation.
//!
//! It keeps state and follows the kernel's rules (names are unique in a namespace, a VLAN of a master can be had once,
//! links die with their namespace), so the laws that are tested on it say something about the real one. The tests
//! under `tests/` run the same step scripts against both.

mod effects;
mod memory;
mod port;
mod vf;
mod vpp;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

pub use port::SimPort;
pub use vf::{SimVf, pristine};

use ipnetwork::IpNetwork;

use crate::engine::Node;
use crate::engine::ports::{NetnsId, NetnsState, Probe};
use crate::model::fault::{Fault, Outcome};
use crate::model::{ContainerId, FaultKind, IfName, MacAddr, NetnsPath, Owner, PciAddress};
use crate::plan::claim::Claim;
use crate::plan::facts::{Answer, LinkFacts, Place, Question};
use crate::plan::step::{LinkKind, UndoRank};
use crate::plan::vpp::VppPort;

/// A simulated node.
#[derive(Debug, Default)]
pub struct SimNode {
    state: RefCell<State>,
    locks: RefCell<BTreeSet<ContainerId>>,
}

#[derive(Debug, Default)]
struct State {
    world: World,
    netns: BTreeMap<String, u64>,
    masters: BTreeMap<String, LinkFacts>,
    cursors: BTreeMap<(PathBuf, usize), IpAddr>,
    boot: u32,
    next_netns: u64,
    fuse: Fuse,
    operations: u32,
    applied: u32,
    dead: bool,
}

/// Everything that can be left behind. Two nodes with equal worlds are alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World {
    /// Links in pods' namespaces, by namespace and name.
    pub links: BTreeMap<(u64, String), SimLink>,
    /// Virtual functions.
    pub vfs: BTreeMap<PciAddress, SimVf>,
    /// Addresses taken, by store and address.
    pub leases: BTreeMap<(PathBuf, IpAddr), Owner>,
    /// What exec'd plugins hold, by owner and plugin.
    pub plugins: BTreeSet<(Owner, String)>,
    /// Results kept as the reference library keeps them.
    pub cached: BTreeSet<Owner>,
    /// Ports of the switch, by name.
    pub ports: BTreeMap<String, SimPort>,
    /// Interfaces of VPP, by owner.
    pub vpp: BTreeMap<Owner, VppPort>,
    /// Who has a directory for a socket.
    pub sockets: BTreeSet<Owner>,
    /// Who has a note beside its socket.
    pub notes: BTreeSet<Owner>,
    /// Whose device is told of in a file.
    pub device_files: BTreeSet<Owner>,
    /// Records, as the bytes that are on the disk.
    pub records: BTreeMap<Owner, Vec<u8>>,
    /// Claims.
    pub claims: BTreeMap<Claim, Owner>,
}

/// A simulated link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SimLink {
    /// Link group.
    pub group: u32,
    /// Ethernet address.
    pub mac: Option<MacAddr>,
    /// Index of its master; 0 without one.
    pub parent: u32,
    /// What it is, if Manifold made it.
    pub kind: Option<LinkKind>,
    /// Whether it is up.
    pub up: bool,
    /// Addresses.
    pub addresses: Vec<IpNetwork>,
    /// Destinations of routes.
    pub routes: Vec<IpNetwork>,
    /// The VF whose interface it is.
    pub vf: Option<PciAddress>,
}

/// When something goes wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Fuse {
    /// Never.
    #[default]
    None,
    /// The n-th step to be applied is refused, before or after its effect.
    Refuse(u32, Moment),
    /// Manifold is killed at the n-th operation that changes anything, before or after its effect.
    Kill(u32, Moment),
    /// Undoing steps of this rank fails for this interface.
    Stick(UndoRank, IfName),
}

/// On which side of an effect a fuse blows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before it.
    Before,
    /// After it.
    After,
}

impl SimNode {
    /// A node with these masters, each with MTU 1500, and virtual functions.
    pub fn with_masters(names: &[&str]) -> Self {
        let node = Self::default();
        node.state.borrow_mut().world.vfs = vf::pristine();
        for (name, index) in names.iter().zip(2..) {
            if let Ok(ifname) = name.parse::<IfName>() {
                let facts = LinkFacts { name: ifname, index, mac: None, mtu: 1500, group: 0 };
                node.state.borrow_mut().masters.insert((*name).to_owned(), facts);
            }
        }
        node
    }

    /// The node as the verbs see it.
    pub fn node(&self) -> Node<'_> {
        Node { probe: self, hands: self, journal: self }
    }

    /// Makes a network namespace at a path.
    pub fn make_netns(&self, path: &str) {
        let mut state = self.state.borrow_mut();
        state.next_netns += 1;
        let ino = state.next_netns;
        state.netns.insert(path.to_owned(), ino);
    }

    /// Takes a network namespace away, with every link in it.
    pub fn remove_netns(&self, path: &str) {
        let mut state = self.state.borrow_mut();
        if let Some(gone) = state.netns.remove(path) {
            state.world.links.retain(|(ino, _), _| *ino != gone);
            state.return_vfs(gone);
        }
    }

    /// Puts a link into a namespace that nobody of ours made.
    pub fn add_foreign_link(&self, path: &str, name: &str) {
        let mut state = self.state.borrow_mut();
        if let Some(ino) = state.netns.get(path).copied() {
            state.world.links.insert((ino, name.to_owned()), SimLink::default());
        }
    }

    /// Everything that can be left behind, as it is now.
    pub fn world(&self) -> World {
        self.state.borrow().world.clone()
    }

    /// Changes the world from outside, as an administrator or a fault would.
    pub fn meddle(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.state.borrow_mut().world);
    }

    /// Sets the fuse and counts operations from zero.
    pub fn light(&self, fuse: Fuse) {
        let mut state = self.state.borrow_mut();
        (state.fuse, state.operations, state.applied) = (fuse, 0, 0);
    }

    /// Starts Manifold again after it was killed; the world is as it was left.
    pub fn revive(&self) {
        let mut state = self.state.borrow_mut();
        (state.fuse, state.dead) = (Fuse::None, false);
    }

    /// Boots the node again: namespaces and what was in them are gone, and new ones are numbered from the start; files
    /// stay.
    pub fn reboot(&self) {
        let mut state = self.state.borrow_mut();
        state.boot += 1;
        state.next_netns = 0;
        state.netns.clear();
        state.world.links.clear();
        state.world.vfs = vf::pristine();
    }

    /// Does one operation, unless the fuse says otherwise.
    fn operate<T>(&self, change: impl FnOnce(&mut State) -> Outcome<T>) -> Outcome<T> {
        let mut state = self.state.borrow_mut();
        if state.dead {
            return Err(killed());
        }
        let turn = state.operations;
        state.operations += 1;
        match state.fuse {
            Fuse::Kill(at, Moment::Before) if at == turn => {
                state.dead = true;
                Err(killed())
            }
            Fuse::Kill(at, Moment::After) if at == turn => {
                drop(change(&mut state));
                state.dead = true;
                Err(killed())
            }
            Fuse::None | Fuse::Refuse(..) | Fuse::Kill(..) | Fuse::Stick(..) => change(&mut state),
        }
    }
}

fn killed() -> Fault {
    Fault::new(FaultKind::Io, "Manifold was killed")
}

impl State {
    fn ino(&self, path: &NetnsPath) -> Outcome<u64> {
        let gone =
            || Fault::new(FaultKind::Environment, format!("network namespace {:?} is gone", path.as_str()));
        self.netns.get(path.as_str()).copied().ok_or_else(gone)
    }

    fn see_link(&self, netns: Option<&NetnsPath>, name: &IfName) -> Option<LinkFacts> {
        let ino = self.ino(netns?).ok()?;
        let link = self.world.links.get(&(ino, name.to_string()))?;
        Some(LinkFacts { name: name.clone(), index: 2, mac: link.mac, mtu: 1500, group: link.group })
    }
}

impl Probe for SimNode {
    fn netns(&self, path: &NetnsPath) -> Outcome<NetnsState> {
        let state = self.state.borrow();
        Ok(match state.netns.get(path.as_str()) {
            // As if each had the number of the one before it: the kernel gives it anew.
            Some(cookie) => NetnsState::There(NetnsId { dev: 4, ino: 1, cookie: Some(*cookie) }),
            None => NetnsState::Gone,
        })
    }

    fn answer(&self, question: &Question, netns: Option<&NetnsPath>) -> Outcome<Answer> {
        let state = self.state.borrow();
        let link = |facts: Option<&LinkFacts>| facts.cloned().map_or(Answer::Absent, Answer::Link);
        Ok(match question {
            Question::Link(Place::Host, name) => link(state.masters.get(name.as_str())),
            Question::DefaultLink(Place::Host) => link(state.masters.values().next()),
            Question::Program(_) => Answer::Present,
            Question::Vf(pci) => state.see_vf(*pci),
            Question::Switch(..) => port::see_switch(),
            Question::Vpp(..) => vpp::see_vpp(),
            Question::Group(_) => Answer::Group(1000),
            Question::Link(Place::Pod, name) => link(state.see_link(netns, name).as_ref()),
            Question::DefaultLink(Place::Pod) | Question::ResolvConf(_) => Answer::Absent,
        })
    }

    fn boot_id(&self) -> Outcome<String> {
        Ok(format!("boot-{}", self.state.borrow().boot))
    }
}
