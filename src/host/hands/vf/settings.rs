//! Settings of a VF, made at its PF and at its own interface.

use std::fs::File;
use std::time::Duration;

use nix::libc;

use super::super::pace::Pace;
use super::VfHands;
use crate::host::lock;
use crate::host::netlink::device::{self, Change};
use crate::host::netlink::socket::Refusal;
use crate::host::netlink::vf::{self, SeenPf, Setting};
use crate::host::netlink::{Request, Socket};
use crate::model::fault::{Fault, Outcome};
use crate::model::{FaultKind, MacAddr, PciAddress};
use crate::plan::vf::VfSettings;

/// How long a PF may be busy with something else: some do one thing at a time, and say so.
const BUSY: Duration = Duration::from_secs(3);
/// How long a VF's driver may take to follow its PF: some ask the PF and wait for its answer.
const FOLLOWS: Duration = Duration::from_secs(2);

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// A setting that the PF holds.
    Pf(Setting),
    /// The Ethernet address of the VF's own interface.
    PortMac,
    /// Other things of the VF's own interface.
    Port,
}

impl VfHands {
    /// Holds off every other Manifold that makes settings at this PF: adapters are slow to answer, and some refuse what
    /// comes in between. The lock is on the PF's directory in sysfs, so it leaves nothing behind.
    pub(super) fn lock_pf(&self, pf: PciAddress) -> Outcome<Option<File>> {
        match self.sysfs.open(pf) {
            Ok(folder) => lock::exclusive(folder, &self.sysfs.path(pf), lock::LIMIT).map(Some),
            // The PF has gone meanwhile; whatever is done next will say so.
            Err(_) => Ok(None),
        }
    }

    /// What a PF says of a VF now, by the name it has now; `None` if it is not in the host's namespace.
    pub(super) fn ask_pf(&self, pf: PciAddress, number: u32) -> Outcome<Option<SeenPf>> {
        match self.sysfs.uplink(pf) {
            Some(name) => self.sockets.host(|host| vf::of_pf(host, &name, number)),
            None => Ok(None),
        }
    }
}

/// The requests that make these settings at a PF.
pub(super) fn at_pf(pf: u32, number: u32, settings: &VfSettings) -> Vec<(Subject, Request)> {
    let each = vf::set(pf, number, settings).into_iter();
    each.map(|(setting, request)| (Subject::Pf(setting), request)).collect()
}

/// Makes all requests, in order, in one datagram. Those for which the adapter is too busy are made again, for a while.
pub(super) fn make(
    socket: &mut Socket,
    requests: &[(Subject, Request)],
) -> Outcome<Vec<(Subject, Result<(), Refusal>)>> {
    let mut answers = Vec::with_capacity(requests.len());
    for answer in socket.ask_all(requests.iter().map(|(_, request)| request.clone()).collect())? {
        answers.push(answer.map(drop));
    }
    let mut pace = Pace::of(BUSY);
    loop {
        let mut left = answers.iter_mut().zip(requests).filter(|(answer, _)| is_busy(answer)).peekable();
        if left.peek().is_none() || !pace.again() {
            break;
        }
        for (answer, (_, request)) in left {
            *answer = socket.ask(request.clone())?.map(drop);
        }
    }
    Ok(requests.iter().map(|(subject, _)| *subject).zip(answers).collect())
}

fn is_busy(answer: &Result<(), Refusal>) -> bool {
    matches!(answer, Err(refusal) if matches!(refusal.errno, libc::EBUSY | libc::EAGAIN))
}

/// Whether a VF may not choose its Ethernet address: the PF has set one.
pub(super) fn is_locked(refusal: &Refusal) -> bool {
    matches!(refusal.errno, libc::EADDRNOTAVAIL | libc::EPERM | libc::EACCES | libc::EAGAIN)
}

/// Whether the VF's interface is up when nobody waits for its address any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Up,
    Down,
}

/// Waits until the interface has this Ethernet address, which the PF has been told already.
///
/// Some drivers ask the PF for it only when the interface goes up or down; so it goes down and up once.
///
/// # Errors
/// [`FaultKind::Kernel`] if it has another after two seconds.
pub(super) fn settle(socket: &mut Socket, index: u32, mac: MacAddr, rest: Rest) -> Outcome<()> {
    let seen = |socket: &mut Socket| -> Outcome<Option<MacAddr>> {
        Ok(device::by_index(socket, index)?.and_then(|device| device.mac))
    };
    if seen(socket)? == Some(mac) {
        return Ok(());
    }
    let go = |up| Change { up: Some(up), ..Change::default() }.request(index);
    let bounce = match rest {
        Rest::Up => vec![go(false), go(true)],
        Rest::Down => vec![go(true), go(false)],
    };
    socket.ask_all(bounce)?;
    let mut pace = Pace::of(FOLLOWS);
    loop {
        if seen(socket)? == Some(mac) {
            return Ok(());
        }
        let change = Change { mac: Some(mac), ..Change::default() };
        let refused = socket.ask(change.request(index))?.err();
        // A driver may also accept it, and follow later or never.
        if (refused.is_some() || seen(socket)? != Some(mac)) && !pace.again() {
            let fault = Fault::new(
                FaultKind::Kernel,
                format!("the VF's driver does not take Ethernet address {mac}"),
            );
            let fault = match refused {
                Some(refusal) => fault.because(refusal),
                None => fault,
            };
            return Err(fault.remedy("look at the kernel's log, or let the VF choose: \"trust\": \"on\""));
        }
    }
}

/// Says what a refused setting means.
pub(super) fn refused(subject: Subject, refusal: Refusal, vf: PciAddress, pf_up: bool) -> Fault {
    let what = match subject {
        Subject::Pf(setting) => format!("the PF of VF {vf} refuses {:?}", setting.key()),
        Subject::PortMac => format!("VF {vf} refuses its Ethernet address"),
        Subject::Port => format!("cannot change the interface of VF {vf}"),
    };
    let remedy = match (subject, refusal.errno) {
        (Subject::Pf(setting), libc::EOPNOTSUPP | libc::EPROTONOSUPPORT) => {
            format!("this adapter does not have it, or not in this mode: leave {:?} out", setting.key())
        }
        (Subject::Pf(Setting::Rate), libc::EINVAL) if !pf_up => {
            "the PF is down, and has no speed to share: bring it up".to_owned()
        }
        (Subject::Pf(Setting::Rate), _) => {
            "give a rate up to the speed of the link, and no \"min_tx_rate\" where the adapter has none"
                .to_owned()
        }
        (Subject::Pf(setting), libc::EINVAL | libc::ERANGE) => {
            format!("this adapter does not take that value: correct {:?}", setting.key())
        }
        (Subject::Pf(_), libc::EBUSY | libc::EAGAIN) => {
            "the adapter was busy for three seconds: try again".to_owned()
        }
        (Subject::PortMac, _) => {
            "its driver or whoever gave the VF to this machine forbids it: leave \"mac\" out".to_owned()
        }
        _ => "see the kernel's log on this node".to_owned(),
    };
    Fault::new(FaultKind::Kernel, what).because(refusal).remedy(remedy)
}
