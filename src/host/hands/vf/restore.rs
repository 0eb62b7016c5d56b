//! Settings and interface of a VF as they were before.

use std::cell::RefCell;

use nix::libc;

use super::VfHands;
use super::detach::{Still, home_change, mac_change};
use super::settings::{Rest, Subject, at_pf, make, refused, settle};
use super::whereabouts::search;
use crate::host::netlink::device::{Change, Device};
use crate::host::netlink::socket::Refusal;
use crate::host::netlink::vf::{self, SeenPf, Setting};
use crate::host::netlink::{Request, Socket};
use crate::model::fault::{Fault, Outcome};
use crate::model::{FaultKind, MacAddr};
use crate::plan::vf::{AddressLock, Driven, KernelVf, VfSettings, VfTake};

impl VfHands {
    /// Restores what the PF holds, and the interface, where they differ from what was.
    pub(super) fn restore_settings(
        &self,
        take: &VfTake,
        still: Still,
        port: Option<(&Device, &KernelVf)>,
    ) -> Outcome<()> {
        let guard = take.pf.as_ref().map(|pf| self.lock_pf(pf.pci)).transpose()?;
        let restoring = Restoring { take, still, pf: self.reach_pf(take)?, port };
        let answers = self.make_restored(&restoring)?;
        drop(guard);
        let faults = answers.into_iter().filter_map(|(subject, answer)| {
            let refusal = answer.err()?;
            let tolerable = restoring.tolerates(subject, refusal.errno);
            (!tolerable).then(|| refused(subject, refusal, take.vf, restoring.is_pf_up()))
        });
        let fault = Fault::gather(faults);
        let settled = self.settle_at_home(&restoring);
        match fault {
            Some(fault) => Err(fault.along_with(settled.err())),
            None => settled,
        }
    }

    /// Sees to it that VF and PF have their former addresses.
    fn settle_at_home(&self, restoring: &Restoring<'_>) -> Outcome<()> {
        let (Some((device, kernel)), true) = (restoring.port, restoring.changes_mac()) else { return Ok(()) };
        if let Some(mac) = kernel.was.mac {
            self.sockets.host(|host| settle(host, device.index, mac, Rest::Down))?;
        }
        let (Some(pf), Some(was)) = (&restoring.pf, restoring.take.was.mac) else { return Ok(()) };
        let now =
            pf.on(self, |socket| vf::of_pf(socket, &pf.name, pf.number))?.and_then(|seen| seen.settings);
        if now.is_none_or(|settings| settings.mac == Some(was)) {
            return Ok(());
        }
        // The VF has told its address, and the PF does not show it: so it had been set.
        let back = VfSettings { mac: Some(was), ..VfSettings::default() };
        let answers = pf.on(self, |socket| make(socket, &at_pf(pf.seen.index, pf.number, &back)))?;
        let refusal = answers.into_iter().find_map(|(subject, answer)| Some((subject, answer.err()?)));
        let told = |(subject, refusal)| Err(refused(subject, refusal, restoring.take.vf, pf.seen.up));
        refusal.map_or(Ok(()), told)
    }

    /// Makes the requests: in one datagram, unless the PF is not in the host's namespace.
    fn make_restored(&self, restoring: &Restoring<'_>) -> Outcome<Answers> {
        let requests = restoring.requests();
        match &restoring.pf {
            Some(pf) if pf.is_away() => {
                let is_pfs = |(subject, _): &(Subject, Request)| matches!(subject, Subject::Pf(_));
                let (there, here): (Vec<_>, Vec<_>) = requests.into_iter().partition(is_pfs);
                let mut answers = pf.on(self, |socket| make(socket, &there))?;
                answers.extend(self.sockets.host(|host| make(host, &here))?);
                Ok(answers)
            }
            Some(_) | None => self.sockets.host(|host| make(host, &requests)),
        }
    }

    /// The PF, by the name it has now and in the namespace it is in now.
    fn reach_pf(&self, take: &VfTake) -> Outcome<Option<PfNow>> {
        let Some(pf) = &take.pf else { return Ok(None) };
        let number = self.sysfs.number(pf.pci, take.vf).unwrap_or(pf.number);
        if let Some(name) = self.sysfs.uplink(pf.pci) {
            let seen = self.sockets.host(|host| vf::of_pf(host, &name, number))?;
            return Ok(seen.map(|seen| PfNow { seen, number, name, away: None }));
        }
        if let Some(mut away) = search(|device| device.is_of(pf.pci)) {
            let name = away.device.name;
            let seen = vf::of_pf(&mut away.socket, &name, number)?;
            return Ok(seen.map(|seen| PfNow { seen, number, name, away: Some(RefCell::new(away.socket)) }));
        }
        if take.to.is_empty() || !self.sysfs.exists(take.vf) {
            return Ok(None);
        }
        Err(Fault::new(
            FaultKind::Absent,
            format!("the network interface of PF {} is in a network namespace that was not found", pf.pci),
        )
        .remedy("move it back: settings of a VF are restored through its PF"))
    }
}

/// Requests made, and what became of each.
type Answers = Vec<(Subject, Result<(), Refusal>)>;

/// A PF as it is now.
struct PfNow {
    seen: SeenPf,
    /// The VF's number at it.
    number: u32,
    name: String,
    /// A socket in its namespace, where that is not the host's.
    away: Option<RefCell<Socket>>,
}

impl PfNow {
    fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// Works with a socket that reaches it.
    fn on<T>(&self, hands: &VfHands, work: impl FnOnce(&mut Socket) -> Outcome<T>) -> Outcome<T> {
        match &self.away {
            Some(socket) => work(&mut socket.borrow_mut()),
            None => hands.sockets.host(work),
        }
    }
}

/// A VF whose settings are restored.
struct Restoring<'a> {
    take: &'a VfTake,
    still: Still,
    pf: Option<PfNow>,
    /// The VF's interface, on the host.
    port: Option<(&'a Device, &'a KernelVf)>,
}

impl Restoring<'_> {
    /// The PF's address for the VF first, then the VF's own, then the rest: an untrusted VF cannot change its address.
    fn requests(&self) -> Vec<(Subject, Request)> {
        let mut requests = Vec::new();
        let rest = self.settings();
        if let Some(pf) = &self.pf
            && let Some(mac) = self.mac()
        {
            requests.push((Subject::Pf(Setting::Mac), mac.request(pf.seen.index, pf.number)));
        }
        if let Some((device, kernel)) = self.port {
            // Kernels before 6.2 rename no link that is up.
            if device.up {
                let down = Change { up: Some(false), ..Change::default() };
                requests.push((Subject::Port, down.request(device.index)));
            }
            let change = home_change(device, &kernel.was);
            if change.mtu.is_some() || change.name.is_some() || change.allmulti.is_some() {
                requests.push((Subject::Port, change.request(device.index)));
            }
            if kernel.was.mac.is_some() && kernel.was.mac != device.mac {
                requests.push((Subject::PortMac, mac_change(kernel.was.mac).request(device.index)));
            }
        }
        if let Some(pf) = &self.pf {
            requests.extend(at_pf(pf.seen.index, pf.number, &rest));
        }
        requests
    }

    /// The settings to restore, without the address: of those that were asked for, what differs from before. Where
    /// nobody can tell whether the VF is still the one that was given, only what is still as it was asked for.
    fn settings(&self) -> VfSettings {
        let Some(now) = self.now() else { return VfSettings::default() };
        let VfTake { was, to, .. } = self.take;
        let mut back = was.where_asked(to).other_than(now);
        if self.still == Still::Doubtful {
            let changed_since = to.other_than(now);
            back = VfSettings {
                mac: None,
                vlan: back.vlan.filter(|_| changed_since.vlan.is_none()),
                spoofchk: back.spoofchk.filter(|_| changed_since.spoofchk.is_none()),
                trust: back.trust.filter(|_| changed_since.trust.is_none()),
                link_state: back.link_state.filter(|_| changed_since.link_state.is_none()),
                rate: back.rate.filter(|_| changed_since.rate.is_none()),
            };
        }
        VfSettings { mac: None, ..back }
    }

    /// What to do about the address that the PF has for the VF. It is looked at even if none was asked for: an
    /// application in a trusted VF may have changed it.
    fn mac(&self) -> Option<PfMac> {
        let now = self.now()?;
        let was = self.take.was.mac;
        let locked =
            matches!(&self.take.driven, Driven::Kernel(kernel) if kernel.lock == AddressLock::Locked);
        match (self.still, was) {
            (Still::Doubtful, _) if self.take.to.mac.is_none() || now.mac != self.take.to.mac => None,
            _ if now.mac == was => None,
            // Written, an address becomes one that the VF cannot change. So it was if the VF could not; otherwise the VF
            // had chosen it, and chooses it again.
            (_, Some(was)) if locked || !self.has_port() => Some(PfMac::Set(was)),
            (_, Some(_) | None) => Some(PfMac::Clear),
        }
    }

    /// Whether the VF has an interface of its own once all is undone.
    fn has_port(&self) -> bool {
        match &self.take.driven {
            Driven::Kernel(_) => self.port.is_some(),
            Driven::Application(app) => app.bind.as_ref().is_some_and(|bind| bind.port.is_some()),
        }
    }

    fn now(&self) -> Option<&VfSettings> {
        self.pf.as_ref().and_then(|pf| pf.seen.settings.as_ref())
    }

    fn changes_mac(&self) -> bool {
        let port = self
            .port
            .is_some_and(|(device, kernel)| kernel.was.mac.is_some() && kernel.was.mac != device.mac);
        port || self.mac().is_some()
    }

    fn is_pf_up(&self) -> bool {
        self.pf.as_ref().is_none_or(|pf| pf.seen.up)
    }

    /// What may be refused: a bound that goes when the PF comes up; an address that follows; a name that somebody took.
    fn tolerates(&self, subject: Subject, errno: i32) -> bool {
        match subject {
            Subject::Pf(Setting::Rate) => errno == libc::EINVAL && !self.is_pf_up(),
            Subject::Pf(Setting::Mac) => self.mac() == Some(PfMac::Clear),
            Subject::Pf(_) => false,
            Subject::PortMac => true,
            Subject::Port => errno == libc::EEXIST,
        }
    }
}

/// The address a PF has for a VF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PfMac {
    Set(MacAddr),
    Clear,
}

impl PfMac {
    fn request(self, pf: u32, number: u32) -> Request {
        match self {
            Self::Clear => vf::clear_address(pf, number),
            Self::Set(mac) => vf::set_address(pf, number, mac),
        }
    }
}
