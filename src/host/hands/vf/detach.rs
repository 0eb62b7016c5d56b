//! The way back.

use std::os::fd::AsFd;

use nix::libc;

use super::settings::{Subject, make};
use super::whereabouts::{Away, Whereabouts};
use super::{VfHands, driver};
use crate::engine::ports::Site;
use crate::host::netlink::device::{self, Change, Device};
use crate::host::netlink::socket::Refusal;
use crate::host::netlink::{Request, Socket, link};
use crate::host::netns::Netns;
use crate::host::sysfs::Netdevs;
use crate::host::vf_registry::Holder;
use crate::model::fault::{Fault, Outcome};
use crate::model::{FaultKind, MacAddr, Owner, PciAddress};
use crate::plan::mark::{Aliased, read_alias};
use crate::plan::vf::{Driven, KernelVf, VfPort, VfTake};

/// A name that is free, which the kernel finds.
const ANY_NAME: &str = "mfvf%d";

/// What says that a VF was given to a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Our own record.
    Record,
    /// The file the peer left.
    PeersFile,
}

/// Whether a VF is still the one that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Still {
    /// It is.
    Ours,
    /// Nobody can tell: it was made anew, or bound to another driver.
    Doubtful,
    /// It is another pod's.
    Anothers,
}

impl VfHands {
    /// Takes the VF back, wherever it is, if it is still the one that was given. What is as it was is left alone.
    pub(super) fn detach(&self, site: Site<'_>, take: &VfTake, proof: Proof) -> Outcome<()> {
        let _lock = self.registry.lock(take.vf)?;
        if self.is_anothers(site, take.vf)? {
            return Ok(());
        }
        if !self.sysfs.exists(take.vf) {
            // With its PF's VFs it went, and its settings with it.
            return self.registry.strike(take.vf);
        }
        match &take.driven {
            Driven::Kernel(kernel) => self.take_back(site, take, (kernel, proof))?,
            Driven::Application(app) => {
                self.restore_settings(take, Still::Ours, None)?;
                if let Some(binding) = &app.bind {
                    driver::restore(&self.sysfs, take.vf, binding)?;
                    binding.port.as_ref().map_or(Ok(()), |was| self.dress(take, was))?;
                }
            }
        }
        self.registry.strike(take.vf)
    }

    /// Whether another network namespace, which is there, has the VF by the account.
    pub(super) fn is_anothers(&self, site: Site<'_>, vf: PciAddress) -> Outcome<bool> {
        Ok(match self.registry.holder(vf)? {
            Holder::Netns(path) => Some(&path) != site.attachment.netns.as_ref(),
            Holder::Nobody => false,
        })
    }

    fn take_back(&self, site: Site<'_>, take: &VfTake, (kernel, proof): (&KernelVf, Proof)) -> Outcome<()> {
        let (still, device) = match self.locate(site, take.vf)? {
            Whereabouts::Away(away) => {
                bring_home(*away, kernel)?;
                (Still::Ours, self.on_host(take)?)
            }
            Whereabouts::Host(device) => (still(&device, site, kernel, proof), Some(device)),
            Whereabouts::None => (Still::Doubtful, None),
            Whereabouts::Lost => {
                let fault = Fault::new(
                    FaultKind::TimedOut,
                    format!("the interface of VF {} is in a network namespace that was not found", take.vf),
                );
                let fault = fault
                    .remedy("end the processes of the pod that still run; the interface comes back then");
                return Err(fault.along_with(self.restore_settings(take, Still::Ours, None).err()));
            }
        };
        match (still, device) {
            (Still::Anothers, _) => Ok(()),
            (Still::Doubtful, _) | (Still::Ours, None) => self.restore_settings(take, still, None),
            (Still::Ours, Some(device)) => {
                self.restore_settings(take, still, Some((&device, kernel)))?;
                self.sockets.host(|host| host.ask_all(last_touches(&device, &kernel.was)).map(drop))
            }
        }
    }

    /// The VF's interface, which is in the host's namespace.
    fn on_host(&self, take: &VfTake) -> Outcome<Option<Device>> {
        match self.sysfs.netdevs(take.vf) {
            Netdevs::Here(names) => {
                let name = names.first().map(String::as_str).unwrap_or_default();
                self.sockets.host(|host| device::by_name(host, name))
            }
            Netdevs::Elsewhere | Netdevs::None => Ok(None),
        }
    }

    /// Gives an interface that its driver has made anew the name and address it had.
    fn dress(&self, take: &VfTake, was: &VfPort) -> Outcome<()> {
        let Some(device) = self.on_host(take)? else { return Ok(()) };
        let mut requests = vec![(Subject::Port, home_change(&device, was).request(device.index))];
        if was.mac.is_some() && was.mac != device.mac {
            requests.push((Subject::PortMac, mac_change(was.mac).request(device.index)));
        }
        self.sockets.host(|host| {
            // A name that is taken meanwhile, or an address that is locked, is nothing to keep a pod for.
            make(host, &requests)?;
            host.ask_all(last_touches(&device, was)).map(drop)
        })
    }
}

/// Whether the interface found on the host is the one that was given.
fn still(device: &Device, site: Site<'_>, kernel: &KernelVf, proof: Proof) -> Still {
    match read_alias(&device.alias, &site.attachment.owner) {
        Aliased::Ours(_) => Still::Ours,
        Aliased::Another => Still::Anothers,
        // Not moved yet, or moved back already.
        Aliased::Nobody if proof == Proof::Record && device.index == kernel.was.index => Still::Ours,
        // The peer leaves no alias, and the kernel brings an interface back under the pod's name or as "dev" and a number.
        Aliased::Nobody if proof == Proof::PeersFile && device.name != kernel.was.name.as_str() => {
            Still::Ours
        }
        Aliased::Nobody => Still::Doubtful,
    }
}

/// Moves an interface to the host's namespace, under its name if that is free there. What the pod has made on it goes
/// first: it would stay, on a link that has left.
fn bring_home(away: Away, kernel: &KernelVf) -> Outcome<()> {
    let Away { mut socket, device, beside } = away;
    for upper in beside.iter().filter(|link| link.parent == Some(device.index)) {
        link::delete(&mut socket, upper.index)?;
    }
    let home = Netns::own()?;
    let change = Change { netns: Some(home.as_fd()), up: Some(false), ..home_change(&device, &kernel.was) };
    move_home(&mut socket, &device, &change)
}

/// Moves the interface that carries an owner's alias home, under the name the alias tells.
pub(super) fn bring_home_by_alias(socket: &mut Socket, device: &Device, owner: &Owner) -> Outcome<()> {
    let home = Netns::own()?;
    let Some(change) = home_change_by_alias(device, owner) else { return Ok(()) };
    move_home(socket, device, &Change { netns: Some(home.as_fd()), ..change })
}

/// Gives the interface that carries an owner's alias, and is on the host, the name the alias tells. It keeps the name it
/// has if that is taken.
pub(super) fn rename_by_alias(host: &mut Socket, device: &Device, owner: &Owner) -> Outcome<()> {
    let Some(change) = home_change_by_alias(device, owner) else { return Ok(()) };
    match host.ask(change.request(device.index))? {
        Err(refusal) if refusal.errno != libc::EEXIST => Err(not_moved(device, refusal)),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn home_change_by_alias<'a>(device: &'a Device, owner: &Owner) -> Option<Change<'a>> {
    match read_alias(&device.alias, owner) {
        Aliased::Ours(name) => {
            let name = name.filter(|name| *name != device.name);
            Some(Change { name, alias: Some(""), up: Some(false), ..Change::default() })
        }
        Aliased::Another | Aliased::Nobody => None,
    }
}

/// Moves an interface to the host's namespace, whatever names are taken there: the kernel moves no link that has another
/// name of a link there beside its own, nor one whose name and new name are both taken. The former names are given back
/// later.
fn move_home(socket: &mut Socket, device: &Device, change: &Change<'_>) -> Outcome<()> {
    let nameless = Change { name: Some(ANY_NAME), ..change.clone() };
    // The kernel refuses a name that the link has beside its own; udev gives the former one so.
    let mut in_the_way = device.altnames.clone();
    in_the_way.retain(|name| Some(name.as_str()) == change.name);
    for change in [change, change, &nameless] {
        let drops = in_the_way.iter().map(|name| device::remove_altname(device.index, name));
        let requests = drops.chain([change.request(device.index)]).collect();
        match socket.ask_all(requests)?.pop() {
            Some(Err(refusal)) if refusal.errno == libc::EEXIST => {}
            Some(Err(refusal)) => return Err(not_moved(device, refusal)),
            Some(Ok(_)) | None => return Ok(()),
        }
        match device::by_index(socket, device.index)? {
            Some(left) => in_the_way = left.altnames,
            // It has moved; the name is seen to there.
            None => return Ok(()),
        }
    }
    Err(not_moved(device, Refusal { errno: libc::EEXIST, words: None }))
}

fn not_moved(device: &Device, refusal: Refusal) -> Fault {
    Fault::new(FaultKind::Kernel, format!("cannot move {:?} back to the host", device.name))
        .because(refusal)
        .remedy("see the kernel's log on this node")
}

/// Name, MTU and flags as they were, where they differ.
pub(super) fn home_change<'a>(device: &Device, was: &'a VfPort) -> Change<'a> {
    Change {
        mtu: Some(was.mtu).filter(|mtu| *mtu != 0 && *mtu != device.mtu),
        name: Some(was.name.as_str()).filter(|name| *name != device.name),
        allmulti: Some(was.allmulti).filter(|on| *on != device.allmulti),
        ..Change::default()
    }
}

pub(super) fn mac_change<'a>(mac: Option<MacAddr>) -> Change<'a> {
    Change { mac, ..Change::default() }
}

/// Takes the alias off and gives former other names back. It comes last, for the alias says whose the interface is.
fn last_touches(device: &Device, was: &VfPort) -> Vec<Request> {
    let mut requests = Vec::new();
    if !device.alias.is_empty() {
        requests.push(Change { alias: Some(""), ..Change::default() }.request(device.index));
    }
    let missing = was.altnames.iter().filter(|name| !device.altnames.contains(name));
    requests.extend(missing.map(|name| device::add_altname(device.index, name)));
    requests
}
