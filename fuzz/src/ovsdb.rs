//! What Open vSwitch's database answers. The first byte of the input chooses what is asked; each line behind it answers one
//! request, with the request's number in the place of `$`.

use std::path::Path;

use manifold::host::ovsdb::OpenSwitches;
use manifold::model::device_info::{Device, DeviceInfo, VhostUser};
use manifold::plan::port::{Endpoint, OvsDatabase, Port, SwitchEnd};

use crate::{peer, stand};

pub(crate) fn run(data: &[u8]) {
    let (Some(verb), Some(rest)) = (data.first(), data.get(1..)) else { return };
    let lines: Vec<Vec<u8>> = rest.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let mut script = Lines { left: lines.into_iter(), number: 0 };
    peer::with(&mut script, |place| ask(*verb, place));
}

fn ask(verb: u8, place: &Path) {
    let switches = OpenSwitches::default();
    let database = OvsDatabase { socket: place.to_owned(), patience: 1 };
    let (owner, port) = (stand::owner(), port(&database));
    match verb {
        b's' => drop(switches.survey(&database, &port.bridge)),
        b'a' => drop(switches.attach(&owner, &port)),
        b'b' => drop(switches.attach(&owner, &Port { create_bridge: true, ..port })),
        b'd' => drop(switches.detach(&database, &[&owner])),
        b'e' => drop(switches.remove_empty_bridge(&database, &port.bridge)),
        b'h' => drop(switches.holds(&owner, &port)),
        _ => {
            let state = Path::new("/var/lib/cni/manifold");
            let swept = switches.sweep(&database, state, &|owner| owner.ifname.as_str() == "kept");
            assert!(swept.unwrap_or_default().iter().all(|owner| owner.ifname.as_str() != "kept"));
        }
    }
}

fn port(database: &OvsDatabase) -> Port {
    let mac = "02:00:00:00:00:01".parse().unwrap();
    Port {
        database: database.clone(),
        name: "p1".into(),
        bridge: "br0".parse().unwrap(),
        create_bridge: false,
        end: SwitchEnd::Connects("/srv/sockets/s".into()),
        vlans: Default::default(),
        mtu: Some(1500),
        ofport_request: None,
        ingress: None,
        egress: None,
        state_dir: "/var/lib/cni/manifold".into(),
        pod: None,
        endpoint: Endpoint {
            mac,
            mtu: Some(1500),
            socket: "/srv/sockets/s".into(),
            device: DeviceInfo::new(Device::VhostUser(VhostUser::default())),
        },
    }
}

/// Answers by lines.
struct Lines {
    left: std::vec::IntoIter<Vec<u8>>,
    /// The number of the last request: they count from 1 in each connection.
    number: u64,
}

impl peer::Script for Lines {
    fn request(&mut self, unread: &[u8]) -> Option<usize> {
        let mut requests = serde_json::Deserializer::from_slice(unread).into_iter::<serde_json::Value>();
        let request = requests.next()?.ok()?;
        self.number = request.get("id").and_then(serde_json::Value::as_u64).unwrap_or_default();
        Some(requests.byte_offset())
    }

    fn answer(&mut self, _request: &[u8]) -> Option<Vec<u8>> {
        let number = self.number.to_string();
        let line = self.left.next()?;
        Some(line.split(|byte| *byte == b'$').collect::<Vec<_>>().join(number.as_bytes()))
    }

    fn is_over(&self) -> bool {
        self.left.as_slice().is_empty()
    }
}
