//! What nobody can do without to give a pod a virtual function: the kernel's own part, in as few requests as there can be.

use std::fs;
use std::os::fd::AsFd as _;

use manifold::host::netlink::device::{self, Change};
use manifold::host::netlink::{Request, Socket, addr, vf};
use manifold::host::netns::Netns;
use manifold::plan::step::Dad;
use manifold::plan::vf::VfSettings;

use super::vf::{Vf, socket, write};
use crate::plugin::IFNAME;
use crate::trouble::{Outcome, Trouble};

/// The kernel, busy with a virtual function.
pub(super) struct Floor(pub(super) Vf);

impl Floor {
    /// The settings in one datagram, the move in one request, the address in another.
    ///
    /// # Errors
    /// The kernel refused.
    pub(super) fn add(&self) -> Outcome<()> {
        let (pf, port) = (self.0.find_pf()?, self.0.port()?);
        let (pod, mut socket) = (self.0.pod()?, socket()?);
        let mut inside = pod.socket().map_err(Trouble::doing("no socket in the pod"))?;
        let (pf, index) = (find(&mut socket, &pf)?, find(&mut socket, &port)?);
        self.settings(&mut socket, pf, &self.0.wanted())?;
        let change =
            Change { netns: Some(pod.as_fd()), name: Some(IFNAME), up: Some(true), ..Change::default() };
        all(&mut socket, vec![change.request(index)])?;
        write(&self.0.cache(), &port)?;
        let index = find(&mut inside, IFNAME)?;
        all(&mut inside, vec![addr::add(index, self.0.ip()?, Dad::Wait)])
    }

    /// The same on the way back.
    ///
    /// # Errors
    /// The kernel refused.
    pub(super) fn del(&self) -> Outcome<()> {
        let was = fs::read_to_string(self.0.cache()).map_err(Trouble::doing("the cache is gone"))?;
        let home = Netns::own().map_err(Trouble::doing("cannot open the own namespace"))?;
        let mut inside = self.0.pod()?.socket().map_err(Trouble::doing("no socket in the pod"))?;
        let index = find(&mut inside, IFNAME)?;
        let change =
            Change { netns: Some(home.as_fd()), name: Some(&was), up: Some(false), ..Change::default() };
        all(&mut inside, vec![change.request(index)])?;
        let mut socket = socket()?;
        let pf = find(&mut socket, &self.0.pf)?;
        self.settings(&mut socket, pf, &self.0.former())
    }

    fn settings(&self, socket: &mut Socket, pf: u32, settings: &VfSettings) -> Outcome<()> {
        let requests = vf::set(pf, self.0.number, settings);
        all(socket, requests.into_iter().map(|(_, request)| request).collect())
    }
}

/// The index of a link.
fn find(socket: &mut Socket, name: &str) -> Outcome<u32> {
    let device = device::by_name(socket, name).map_err(Trouble::doing("the kernel does not answer"))?;
    device.map(|device| device.index).ok_or_else(|| Trouble::new(format!("there is no link {name:?}")))
}

fn all(socket: &mut Socket, requests: Vec<Request>) -> Outcome<()> {
    let answers = socket.ask_all(requests).map_err(Trouble::doing("the kernel does not answer"))?;
    answers.into_iter().try_for_each(|answer| answer.map(drop).map_err(Trouble::doing("the kernel refused")))
}
