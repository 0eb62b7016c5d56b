//! Where the interface of a VF is: on the host, in its pod, or in a namespace that nobody names any more.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::VfHands;
use super::pace::Pace;
use crate::engine::ports::Site;
use crate::host::netlink::Socket;
use crate::host::netlink::device::{self, Device};
use crate::host::netns::Netns;
use crate::host::sysfs::Netdevs;
use crate::model::PciAddress;
use crate::model::fault::Outcome;
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

impl VfHands {
    /// Looks for the interface of a VF that may be this pod's.
    pub(super) fn locate(&self, site: Site<'_>, vf: PciAddress) -> Outcome<Whereabouts> {
        if let Some(path) = site.netns
            && let Some(netns) = Netns::open(path)?
            && let Some(away) = look(&netns, |device| is_it(device, vf, site))?
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

fn is_it(device: &Device, vf: PciAddress, site: Site<'_>) -> bool {
    let aliased = || read_alias(&device.alias, &site.attachment.owner);
    device.is_of(vf) || device.bus_name.is_empty() && matches!(aliased(), Aliased::Ours(Some(_)))
}

fn look(netns: &Netns, is_it: impl Fn(&Device) -> bool) -> Outcome<Option<Away>> {
    let mut socket = netns.socket()?;
    let mut links = device::all(&mut socket)?;
    let found = links.iter().position(is_it).map(|place| links.swap_remove(place));
    Ok(found.map(|device| Away { socket, device, beside: links }))
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
