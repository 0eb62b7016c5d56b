//! The way into the pod.

use std::os::fd::AsFd;

use nix::libc;

use super::settings::{Rest, Subject, at_pf, is_locked, make, refused, settle};
use super::{VfHands, driver};
use crate::engine::ports::{Site, ifname_taken};
use crate::host::hands::link::netns;
use crate::host::netlink::Request;
use crate::host::netlink::device::{self, Change};
use crate::host::netlink::socket::Refusal;
use crate::host::vf_registry::Holder;
use crate::model::device_info::{Device, DeviceInfo, Pci};
use crate::model::fault::{Fault, Outcome};
use crate::model::result::Interface;
use crate::model::{FaultKind, IfName, MacAddr, NetnsPath, PciAddress};
use crate::plan::mark;
use crate::plan::step::Progress;
use crate::plan::vf::{AddressLock, Driven, KernelVf, VfTake};

/// Where a VF goes, and under which name.
#[derive(Clone, Copy)]
struct Place<'a> {
    netns: &'a NetnsPath,
    ifname: &'a IfName,
}

impl VfHands {
    /// Gives the VF to the pod.
    pub(super) fn attach(&self, site: Site<'_>, take: &mut VfTake, progress: &mut Progress) -> Outcome<()> {
        let place = Place { netns: netns(site)?, ifname: &site.attachment.owner.ifname };
        let _lock = self.registry.lock(take.vf)?;
        match self.registry.holder(take.vf)? {
            Holder::Netns(other) if other != *place.netns => return Err(held(take.vf, &other)),
            Holder::Netns(_) | Holder::Nobody => self.registry.enter(take.vf, place.netns)?,
        }
        if let Driven::Kernel(_) = take.driven {
            self.is_free(place)?;
        }
        self.leave_peers_file(site, take)?;
        let lock = self.make_settings(take, place.ifname)?;
        match &mut take.driven {
            Driven::Kernel(kernel) => {
                kernel.lock = lock;
                let alias = mark::device_alias(&site.attachment.owner, kernel.was.name.as_str());
                self.move_in(place, kernel, &alias)?;
                if let Some(mac) = take.to.mac {
                    self.settle_in_pod(place, take, mac)?;
                }
            }
            Driven::Application(app) => {
                if let Some(binding) = &app.bind {
                    driver::bind(&self.sysfs, take.vf, &binding.to)?;
                }
            }
        }
        tell(place, take, progress);
        progress.device_info = Some(describe(take));
        Ok(())
    }

    /// Whether the pod has no link of that name yet, nor one with it as its other name.
    fn is_free(&self, Place { netns, ifname }: Place<'_>) -> Outcome<()> {
        let there = self.sockets.pod(netns, |pod| device::by_name(&mut pod.socket, ifname.as_str()))?;
        there.map_or(Ok(()), |_| Err(ifname_taken(ifname)))
    }

    /// Makes the settings that are not so already. The interface takes its address before the PF is told of it: after
    /// that, some drivers refuse it until the interface has been down.
    fn make_settings(&self, take: &VfTake, ifname: &IfName) -> Outcome<AddressLock> {
        let mut requests = match &take.driven {
            Driven::Kernel(kernel) => at_port(kernel, take.to.mac, ifname),
            Driven::Application(_) => Vec::new(),
        };
        let mut guard = None;
        if let Some(pf) = &take.pf {
            let settings = take.to.other_than(&take.was);
            guard = if settings.is_empty() { None } else { self.lock_pf(pf.pci)? };
            requests.extend(at_pf(pf.index, pf.number, &settings));
        }
        let answers = self.sockets.host(|host| make(host, &requests))?;
        drop(guard);
        let mut lock = AddressLock::Unknown;
        for (subject, answer) in answers {
            match (subject, answer) {
                (Subject::PortMac, Ok(())) => lock = AddressLock::Open,
                // The PF has given it another address before. It will follow the PF once it was down.
                (Subject::PortMac, Err(refusal)) if is_locked(&refusal) && take.pf.is_some() => {
                    lock = AddressLock::Locked;
                }
                (subject, Err(refusal)) => {
                    let up = self.is_pf_up(take)?;
                    return Err(refused(subject, refusal, take.vf, up));
                }
                (Subject::Pf(_) | Subject::Port, Ok(())) => {}
            }
        }
        Ok(lock)
    }

    fn is_pf_up(&self, take: &VfTake) -> Outcome<bool> {
        let Some(pf) = &take.pf else { return Ok(true) };
        let seen = self.sockets.host(|host| device::by_index(host, pf.index))?;
        Ok(seen.is_some_and(|seen| seen.up))
    }

    /// Moves the interface, names it, marks it and brings it up, in one request.
    fn move_in(&self, Place { netns, ifname }: Place<'_>, kernel: &KernelVf, alias: &str) -> Outcome<()> {
        let answer = self.sockets.pod(netns, |pod| {
            let change = Change {
                netns: Some(pod.netns.as_fd()),
                mac: None,
                mtu: kernel.mtu,
                name: Some(ifname.as_str()),
                alias: Some(alias),
                up: Some(true),
                allmulti: kernel.allmulti,
            };
            self.sockets.host(|host| host.ask(change.request(kernel.was.index)))
        })?;
        answer.map(drop).map_err(|refusal| not_moved(refusal, kernel, ifname))
    }

    /// Sees to it that VF and PF agree on the address.
    fn settle_in_pod(&self, place: Place<'_>, take: &VfTake, mac: MacAddr) -> Outcome<()> {
        let name = place.ifname.as_str();
        self.sockets.pod(place.netns, |pod| match device::by_name(&mut pod.socket, name)? {
            Some(seen) if seen.mac == Some(mac) => Ok(()),
            Some(seen) => settle(&mut pod.socket, seen.index, mac, Rest::Up),
            None => Err(Fault::new(FaultKind::Absent, format!("VF {} has left the pod", take.vf))),
        })?;
        let Some(pf) = &take.pf else { return Ok(()) };
        let told = self.ask_pf(pf.pci, pf.number)?.and_then(|seen| seen.settings).and_then(|s| s.mac);
        match told.filter(|told| *told != mac) {
            None => Ok(()),
            Some(told) => Err(Fault::new(
                FaultKind::Kernel,
                format!(
                    "PF {:?} has Ethernet address {told} for VF {}, not {mac}",
                    pf.name.as_str(),
                    take.vf
                ),
            )
            .remedy("see what else sets the addresses of VFs on this node")),
        }
    }
}

/// The requests to the VF's own interface before it moves.
fn at_port(kernel: &KernelVf, mac: Option<MacAddr>, ifname: &IfName) -> Vec<(Subject, Request)> {
    let mut requests = Vec::new();
    if kernel.was.altnames.iter().any(|name| name == ifname.as_str()) {
        // The kernel refuses a name that the link has beside its own.
        requests.push((Subject::Port, device::remove_altname(kernel.was.index, ifname.as_str())));
    }
    if mac.is_some() && mac != kernel.was.mac {
        let change = Change { mac, ..Change::default() };
        requests.push((Subject::PortMac, change.request(kernel.was.index)));
    }
    requests
}

/// Adds to the result: the pod's interface, and the host's that stands for it.
fn tell(Place { netns, ifname }: Place<'_>, take: &VfTake, progress: &mut Progress) {
    let result = progress.result.get_or_insert_default();
    // A dummy may carry the name already.
    if result.interfaces.is_empty() {
        let mtu = match &take.driven {
            Driven::Kernel(kernel) => Some(kernel.mtu.unwrap_or(kernel.was.mtu)),
            Driven::Application(_) => None,
        };
        let mac = take.mac().map(|mac| mac.to_string()).unwrap_or_default();
        let (name, sandbox) = (ifname.to_string(), netns.to_string());
        result.interfaces.push(Interface { name, mac, mtu, sandbox, ..Interface::default() });
    }
    if let Some(own) = result.interfaces.first_mut() {
        own.pci_id = take.vf.to_string();
    }
    let representor = take.representor.iter();
    result
        .interfaces
        .extend(representor.map(|name| Interface { name: name.clone(), ..Interface::default() }));
}

/// What pods are told of the device.
fn describe(take: &VfTake) -> DeviceInfo {
    DeviceInfo::new(Device::Pci(Pci {
        pci_address: take.vf.to_string(),
        pf_pci_address: take.pf.as_ref().map(|pf| pf.pci.to_string()).unwrap_or_default(),
        representor_device: take.representor.clone().unwrap_or_default(),
        rdma_device: take.rdma_device.clone().unwrap_or_default(),
        vhost_net: String::new(),
    }))
}

fn held(vf: PciAddress, netns: &NetnsPath) -> Fault {
    Fault::new(FaultKind::TryLater, format!("VF {vf} is held by another pod"))
        .confiding(format!("VF {vf} is held by the pod with network namespace {:?}", netns.as_str()))
        .remedy("wait until that pod is gone; another program attached it")
}

fn not_moved(refusal: Refusal, kernel: &KernelVf, ifname: &IfName) -> Fault {
    let port = kernel.was.name.as_str();
    let (kind, remedy) = match refusal.errno {
        libc::EEXIST => {
            (FaultKind::Exists, "choose another name for the interface: the pod has a link of that name")
        }
        libc::ENODEV => {
            (FaultKind::Absent, "the interface has just gone from the host: see what else moves VFs")
        }
        libc::EINVAL => (FaultKind::Kernel, "check that \"mtu\" is one the VF can have"),
        libc::EPERM => (FaultKind::Kernel, "run Manifold as root on the host"),
        _ => (FaultKind::Kernel, "see the kernel's log on this node"),
    };
    let what = format!("cannot move {port:?} into the pod as {:?}", ifname.as_str());
    Fault::new(kind, what).because(refusal).remedy(remedy)
}
