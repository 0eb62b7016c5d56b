//! What the SR-IOV plugin does to give a pod a virtual function and to take it back, as the same requests to the kernel,
//! the same reads of sysfs and the same files, in its order. Where its newest source does more than what is released
//! (another namespace for the renaming, addresses restored in any case) it is what is released. Left out is what it
//! does beside that: its log, reading its configuration, and the frames by which it announces addresses.
//!
//! Like that plugin it opens a socket for each request, asks for a link by its name before each group of requests, and
//! goes into the pod's namespace by a thread.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use manifold::host::netlink::device::Change;
use manifold::host::netlink::wire::Told;
use manifold::host::netlink::{Request, addr, vf};
use manifold::host::netns::Netns as OpenNetns;
use manifold::plan::step::Dad;
use manifold::plan::vf::VfSettings;
use netlink_packet_core::Parseable as _;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkMessage};

use super::vf::{Vf, socket, write};
use crate::plugin::IFNAME;
use crate::trouble::{Outcome, Trouble, holds};

/// How long the peer waits for a carrier at the most, before it announces the addresses.
const CARRIER: Duration = Duration::from_millis(200);

/// The SR-IOV plugin, busy with a virtual function.
pub(super) struct Peer(pub(super) Vf);

impl Peer {
    /// Gives the virtual function to the pod.
    ///
    /// # Errors
    /// The kernel refused.
    pub(super) fn add(&self, lease: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
        let pf = self.0.find_pf()?;
        self.find_number(&pf)?;
        let _lock = self.lock()?;
        // Who has it? Nobody.
        fs::read(self.account()).ok();
        let port = self.0.port()?;
        let pod = self.0.pod()?;
        // What was there before: settings, MTU.
        link(&pf)?;
        link(&port)?;
        // The settings.
        let index = link(&pf)?.header.index;
        self.settings(index, self.0.wanted())?;
        // The way into the pod.
        let index = link(&port)?.header.index;
        ask(Change { up: Some(false), ..Change::default() }.request(index))?;
        ask(Change { name: Some(&format!("temp_{index}")), ..Change::default() }.request(index))?;
        ask(Change { netns: Some(pod.as_fd()), ..Change::default() }.request(index))?;
        inside(&pod, || {
            ask(Change { name: Some(IFNAME), ..Change::default() }.request(index))?;
            for (family, key) in
                [("ipv4", "arp_notify"), ("ipv6", "ndisc_notify"), ("ipv6", "optimistic_dad")]
            {
                fs::write(format!("/proc/sys/net/{family}/conf/{IFNAME}/{key}"), "1").ok();
            }
            ask(Change { up: Some(true), ..Change::default() }.request(index))
        })?;
        lease()?;
        inside(&pod, || {
            let index = link(IFNAME)?.header.index;
            ask(addr::add(index, self.0.ip()?, Dad::Wait))?;
            ask(Change { up: Some(true), ..Change::default() }.request(index))
        })?;
        write(&self.0.cache(), &port)?;
        write(&self.account(), self.0.netns.as_str())?;
        inside(&pod, await_carrier)
    }

    /// Takes it back.
    ///
    /// # Errors
    /// The kernel refused.
    pub(super) fn del(&self, release: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
        // The interface's name on the host.
        let was = fs::read_to_string(self.0.cache()).map_err(Trouble::doing("the peer's cache is gone"))?;
        let _lock = self.lock()?;
        release()?;
        self.find_number(&self.0.pf)?;
        let index = link(&self.0.pf)?.header.index;
        self.settings(index, self.0.former())?;
        let home = OpenNetns::own().map_err(Trouble::doing("cannot open the own namespace"))?;
        inside(&self.0.pod()?, || {
            let index = link(IFNAME)?.header.index;
            ask(Change { up: Some(false), ..Change::default() }.request(index))?;
            ask(Change { name: Some(was.as_str()), ..Change::default() }.request(index))?;
            ask(Change { netns: Some(home.as_fd()), ..Change::default() }.request(index))
        })?;
        for path in [self.account(), self.0.cache()] {
            fs::remove_file(&path).map_err(Trouble::doing(format!("cannot remove {path:?}")))?;
        }
        Ok(())
    }

    fn settings(&self, pf: u32, settings: VfSettings) -> Outcome<()> {
        vf::set(pf, self.0.number, &settings).into_iter().try_for_each(|(_, request)| ask(request))
    }

    /// Looks through the PF's virtual functions for this one.
    fn find_number(&self, pf: &str) -> Outcome<()> {
        let device = Path::new("/sys/class/net").join(pf).join("device");
        let count = fs::read_to_string(device.join("sriov_numvfs"));
        let count = count.map_err(Trouble::doing("cannot count the VFs"))?;
        let count: u32 = count.trim().parse().map_err(Trouble::doing("cannot count the VFs"))?;
        let is_it = |number: &u32| {
            let link = fs::read_link(device.join(format!("virtfn{number}"))).unwrap_or_default();
            link.file_name().is_some_and(|name| name == self.0.address.as_str())
        };
        holds((0..count).find(is_it) == Some(self.0.number), "the PF has no such VF")
    }

    fn lock(&self) -> Outcome<fs::File> {
        let folder = self.0.folder.join("pci/vf_lock");
        fs::create_dir_all(&folder).map_err(Trouble::doing(format!("cannot make {folder:?}")))?;
        let path = folder.join(format!("{}.lock", self.0.address));
        let file = fs::File::create(&path).map_err(Trouble::doing(format!("cannot make {path:?}")))?;
        file.lock().map_err(Trouble::doing(format!("cannot lock {path:?}")))?;
        Ok(file)
    }

    fn account(&self) -> PathBuf {
        self.0.folder.join("pci").join(&self.0.address)
    }
}

/// `RTM_GETLINK`.
const GET_LINK: u16 = 18;

/// Asks for a link by name as the peer's library does: with everything that it knows of its virtual functions.
fn link(name: &str) -> Outcome<LinkMessage> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::Vf]));
    let answer = answer(Request::one(GET_LINK, &message))?;
    let found = answer.first().ok_or_else(|| Trouble::new(format!("there is no link {name:?}")))?;
    LinkMessage::parse(&found.body).map_err(Trouble::doing("cannot read a link"))
}

fn ask(request: Request) -> Outcome<()> {
    answer(request).map(drop)
}

/// Each request has a socket of its own.
fn answer(request: Request) -> Outcome<Vec<Told>> {
    let answer = socket()?.ask(request).map_err(Trouble::doing("the kernel does not answer"))?;
    answer.map_err(Trouble::doing("the kernel refused"))
}

fn inside<T: Send>(pod: &OpenNetns, work: impl FnOnce() -> Outcome<T> + Send) -> Outcome<T> {
    pod.within(work).map_err(Trouble::doing("cannot work in the pod"))?
}

/// Looks for the carrier, less and less often.
fn await_carrier() -> Outcome<()> {
    let (start, mut pause) = (Instant::now(), Duration::from_millis(2));
    while start.elapsed() < CARRIER && !link(IFNAME)?.header.flags.contains(LinkFlags::Running) {
        rest(pause.min(CARRIER.saturating_sub(start.elapsed())));
        pause = pause.mul_f64(1.5);
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the peer does so, and that is measured")]
fn rest(pause: Duration) {
    std::thread::sleep(pause);
}
