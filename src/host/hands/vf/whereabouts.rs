//! Where the interface of a VF is: on the host, in its pod, or in a namespace that nobody names any more.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::pace::Pace;
use super::VfHands;
use crate::engine::ports::Site;
use crate::host::netlink::Socket;
use crate::host::netlink::device::{self, Device};
use crate::host::netns::Netns;
use crate::host::sysfs::Netdevs;
use crate::model::fault::Outcome;
use crate::model::{Owner, PciAddress};
use crate::plan::mark::{Aliased, read_alias};

/// How long the kernel may take to bring an interface back whose namespace has died.
const COMES_BACK: Duration = Duration::from_secs(2);
/// Where people and runtimes keep namespaces.
const NAMED: [&str; 2] = ["/run/netns", "/var/run/docker/netns"];
/// Most processes whose namespaces are looked at.
const MAX_PROCESSES: usize = 65_536;

/// Where an interface is.
pub(super) enum Whereabouts {
    /// In the host's namespace.
    Host(Device),
    /// In another, with all links there.
    Away(Box<Away>),
    /// In a namespace that was not found.
    Lost,
    /// Nowhere: the VF has none.
    None,
}

/// An interface that is not on the host.
pub(super) struct Away {
    pub(super) socket: Socket,
    pub(super) device: Device,
    pub(super) beside: Vec<Device>,
}

impl Away {
    fn new(socket: Socket, mut links: Vec<Device>, place: usize) -> Self {
        let device = links.swap_remove(place);
        Self { socket, device, beside: links }
    }
}

impl VfHands {
    /// Looks for the interface of a VF that may be this pod's.
    pub(super) fn locate(&self, site: Site<'_>, vf: PciAddress) -> Outcome<Whereabouts> {
        if let Some(path) = site.netns
            && let Some(netns) = Netns::open(path)?
            && let Some(away) = self.look_in_pod(&netns, vf, &site.attachment.owner)?
        {
            return Ok(Whereabouts::Away(Box::new(away)));
        }
        let mut pace = Pace::of(COMES_BACK);
        loop {
            if let Some(found) = self.look_around(site, vf)? {
                return Ok(found);
            }
            if !pace.again() {
                return Ok(Whereabouts::Lost);
            }
        }
    }

    /// Looks in the pod: by the device, and by the alias only where the kernel does not tell of what device a link is.
    fn look_in_pod(&self, netns: &Netns, vf: PciAddress, owner: &Owner) -> Outcome<Option<Away>> {
        let mut socket = netns.socket()?;
        let links = device::all(&mut socket)?;
        let place = match links.iter().position(|link| link.is_of(vf)) {
            Some(place) => Some(place),
            None => self.by_alias(&links, owner, self.tells_of(vf)?)?,
        };
        Ok(place.map(|place| Away::new(socket, links, place)))
    }

    /// Whether the kernel tells of what device the links of this VF's adapter are, by what it tells of its PF; `None` where
    /// the PF is not to be seen.
    fn tells_of(&self, vf: PciAddress) -> Outcome<Option<bool>> {
        let uplink = self.sysfs.pf_of(vf).and_then(|pf| Some((pf, self.sysfs.uplink(pf)?)));
        let Some((pf, name)) = uplink else { return Ok(None) };
        let link = self.sockets.host(|host| device::by_name(host, &name))?;
        Ok(link.map(|link| link.is_of(pf)))
    }

    /// As [`marked`], if the kernel does not tell of what device the link is: where that is not known of its adapter, if it
    /// tells of no link on this node.
    pub(super) fn by_alias(
        &self,
        links: &[Device],
        owner: &Owner,
        tells: Option<bool>,
    ) -> Outcome<Option<usize>> {
        let Some(place) = marked(links, owner) else { return Ok(None) };
        let told = |links: &[Device]| links.iter().any(|link| !link.bus_name.is_empty());
        let tells = match tells {
            Some(tells) => tells,
            None => told(links) || self.sockets.host(|host| device::all(host).map(|all| told(&all)))?,
        };
        Ok(Some(place).filter(|_| !tells))
    }

    /// Looks once. The interface may be renamed, taken or brought back between two looks.
    fn look_around(&self, site: Site<'_>, vf: PciAddress) -> Outcome<Option<Whereabouts>> {
        match self.sysfs.netdevs(vf) {
            Netdevs::None => Ok(Some(Whereabouts::None)),
            Netdevs::Here(names) => {
                let name = names.first().map(String::as_str).unwrap_or_default();
                let device = self.sockets.host(|host| device::by_name(host, name))?;
                Ok(device.map(Whereabouts::Host))
            }
            Netdevs::Elsewhere => {
                let owner = &site.attachment.owner;
                let aliased = |device: &Device| matches!(read_alias(&device.alias, owner), Aliased::Ours(_));
                let found = search(|device| device.is_of(vf) && aliased(device));
                Ok(found.map(|away| Whereabouts::Away(Box::new(away))))
            }
        }
    }
}

/// Looks for a link in every namespace that has a name or a process, other than the host's.
pub(super) fn search(is_it: impl Fn(&Device) -> bool) -> Option<Away> {
    let mut seen: BTreeSet<(u64, u64)> = ["/proc/thread-self/ns/net"].into_iter().filter_map(id).collect();
    candidates().into_iter().filter(|path| id(path).is_some_and(|id| seen.insert(id))).find_map(|path| {
        // One that cannot be entered, or has just gone, does not keep us from the others.
        let netns = Netns::open(&path.to_str()?.parse().ok()?).ok()??;
        look(&netns, &is_it).ok()?
    })
}

/// The link among these that carries an owner's alias and tells no device.
///
/// A pod can read the alias and give it to a link it makes, so one that nobody made goes first; and where the kernel
/// tells of what device a link is, none is meant.
pub(super) fn marked(links: &[Device], owner: &Owner) -> Option<usize> {
    let ours = |link: &Device| {
        link.bus_name.is_empty() && matches!(read_alias(&link.alias, owner), Aliased::Ours(Some(_)))
    };
    links.iter().position(|link| ours(link) && !link.made).or_else(|| links.iter().position(ours))
}

fn look(netns: &Netns, is_it: impl Fn(&Device) -> bool) -> Outcome<Option<Away>> {
    let mut socket = netns.socket()?;
    let links = device::all(&mut socket)?;
    let place = links.iter().position(is_it);
    Ok(place.map(|place| Away::new(socket, links, place)))
}

fn candidates() -> Vec<PathBuf> {
    let named = NAMED.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let named = named.filter_map(Result::ok).map(|entry| entry.path());
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok).take(MAX_PROCESSES);
    let processes = processes.filter(|entry| {
        entry.file_name().to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()))
    });
    named.chain(processes.map(|entry| entry.path().join("ns/net"))).collect()
}

/// Which namespace a path stands for.
fn id(path: impl AsRef<Path>) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_a_pod_made_is_not_taken_for_the_device() {
        let owner = Owner::parse("pod-1", "net1").unwrap();
        let link = |made, bus_name: &str| Device {
            alias: "manifold:pod-1/net1 was vf0".to_owned(),
            made,
            bus_name: bus_name.to_owned(),
            ..Device::default()
        };

        assert_eq!(marked(&[Device::default(), link(true, ""), link(false, "")], &owner), Some(2));
        assert_eq!(marked(&[link(true, ""), Device::default()], &owner), Some(0));
        assert_eq!(marked(&[link(false, "0000:01:10.0")], &owner), None);
        assert_eq!(marked(&[link(false, "")], &Owner::parse("pod-2", "net1").unwrap()), None);
    }
}
