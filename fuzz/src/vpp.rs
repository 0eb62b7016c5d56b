//! What VPP answers. The first byte of the input chooses what is asked. Each request is answered by what comes next in it:
//! a byte that tells which message, a length in two bytes, and what stands behind the message's context.

use std::path::Path;
use std::sync::LazyLock;

use manifold::host::vpp::OpenVpps;
use manifold::model::device_info::{Device, DeviceInfo, Memif, VhostUser};
use manifold::plan::port::Endpoint;
use manifold::plan::vpp::{BridgeDomain, MemifSocket, VppApi, VppEnd, VppInterface, VppPort};

use crate::{peer, stand};

/// Tags are made of it.
const STATE_DIR: &str = "/var/lib/cni/manifold";
/// Length of a message's header.
const HEADER: usize = 16;
/// The numbers that a greeting and its answer always have.
const GREETING: u16 = 15;
const GREETED: u16 = 16;
/// Stands in an input for bytes that are sent as they are: also for none.
const WHOLE: u8 = 0xff;
/// Beside the message: what comes next in the input answers the same request.
const MORE: u8 = 0x80;
/// The messages that are asked and answered; the place of each is its number, less [`FIRST`].
const MESSAGES: &str = include_str!("vpp.messages");
/// The number of the first message.
const FIRST: u16 = 100;

static GREETING_ANSWER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let names: Vec<&str> = MESSAGES.lines().collect();
    let entry = |(number, name): (u16, &&str)| {
        let mut entry = number.to_be_bytes().to_vec();
        entry.extend(name.as_bytes());
        entry.resize(2 + 64, 0);
        entry
    };
    let count = u16::try_from(names.len()).unwrap();
    let entries: Vec<u8> = (FIRST..).zip(&names).flat_map(entry).collect();
    // No error, the number of the client, the table.
    [&[0; 4], &[0, 0, 0, 1], &count.to_be_bytes()[..], &entries].concat()
});

pub(crate) fn run(data: &[u8]) {
    let (Some(verb), Some(rest)) = (data.first(), data.get(1..)) else { return };
    let mut script = Answers { left: rest.to_vec() };
    peer::with(&mut script, |place| ask(*verb, place));
}

fn ask(verb: u8, place: &Path) {
    let vpps = OpenVpps::default();
    let api = VppApi { socket: place.to_owned(), patience: 1 };
    let owner = stand::owner();
    let vhost = port(&api, VppInterface::VhostUser("/srv/sockets/s".into()));
    let socket = MemifSocket::File("/srv/sockets/m".into());
    let memif = port(&api, VppInterface::Memif { socket, queues: 1 });
    // Locks of bridge domains are made beneath it.
    let state_dir = place.parent().map(Path::to_owned).unwrap_or_default();
    match verb {
        b's' => drop(vpps.survey(&api, Some(7))),
        b'v' => drop(vpps.attach(&owner, &VppPort { state_dir, ..vhost })),
        b'm' => drop(vpps.attach(&owner, &VppPort { state_dir, ..memif })),
        b'd' => drop(vpps.detach(&api, &owner, Some(&memif))),
        b'e' => drop(vpps.detach(&api, &owner, None)),
        b'h' => drop(vpps.holds(&owner, &vhost)),
        b'i' => drop(vpps.holds(&owner, &memif)),
        _ => drop(vpps.sweep(&api, Path::new(STATE_DIR), &|container| container == "kept")),
    }
}

fn port(api: &VppApi, interface: VppInterface) -> VppPort {
    let device = match &interface {
        VppInterface::VhostUser(_) => Device::VhostUser(VhostUser::default()),
        VppInterface::Memif { .. } => Device::Memif(Memif::default()),
    };
    VppPort {
        api: api.clone(),
        interface,
        end: VppEnd::Connects,
        bridge: BridgeDomain { number: 7, create: false },
        vlan: Some(100),
        mtu: Some(1500),
        state_dir: STATE_DIR.into(),
        endpoint: Endpoint {
            mac: "02:00:00:00:00:01".parse().unwrap(),
            mtu: Some(1500),
            socket: "/srv/sockets/s".into(),
            device: DeviceInfo::new(device),
        },
    }
}

/// Answers by what is left of the input.
struct Answers {
    left: Vec<u8>,
}

impl Answers {
    /// The next of the input: which message, and its fields.
    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let [which, high, low] = *self.left.first_chunk()?;
        let rest = self.left.split_off(3);
        let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let mut fields = rest;
        self.left = fields.split_off(length);
        Some((which, fields))
    }
}

impl peer::Script for Answers {
    fn request(&mut self, unread: &[u8]) -> Option<usize> {
        let bytes = unread.get(..HEADER)?.get(8..12)?;
        let length = HEADER + u32::from_be_bytes(bytes.try_into().ok()?) as usize;
        (length <= unread.len()).then_some(length)
    }

    fn answer(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        // Who waits without a request hears bytes alone.
        let body = request.get(HEADER..).unwrap_or(&[0; 10]);
        let number = u16::from_be_bytes(*body.first_chunk()?);
        if number == GREETING {
            // Behind a name for the client, the context stands.
            let start = [&GREETED.to_be_bytes()[..], &[0; 4], body.get(2..6)?].concat();
            return Some(framed(&[start, GREETING_ANSWER.clone()].concat()));
        }
        let mut answer = Vec::new();
        loop {
            let (which, fields) = self.next()?;
            if which == WHOLE {
                answer.extend(fields);
                return Some(answer);
            }
            let number = FIRST + u16::from(which & !MORE);
            answer.extend(framed(&[&number.to_be_bytes()[..], body.get(6..10)?, &fields].concat()));
            if which & MORE == 0 {
                return Some(answer);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.left.is_empty()
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&[0; 8], &length.to_be_bytes()[..], &[0; 4], body].concat()
}
