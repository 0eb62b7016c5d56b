//! An interface of VPP.

use super::{Asked, Made, SocketInterface, Spot};
use crate::model::FaultKind;
use crate::model::device_info::MemifMode;
use crate::model::fault::{Fault, Outcome};
use crate::model::vhost_user::{InterfaceType, MAX_SOCKET_PATH, PodEnd, PortVlans, SocketFile};
use crate::plan::facts::{Facts, Question};
use crate::plan::step::Step;
use crate::plan::vpp::{BridgeDomain, MemifSocket, VppApi, VppEnd, VppFacts, VppInterface, VppPort, VppStep};

/// Highest number of a bridge domain (`L2_BD_ID_MAX`).
const MAX_DOMAIN: u32 = (1 << 24) - 1;
/// Most queues of a memif in one direction: what a request has room for.
const MAX_QUEUES: u16 = 255;

/// Whether VPP can make such an interface at all.
pub(super) fn possible(asked: &Asked) -> Outcome<()> {
    let unsupported = |what: &str, remedy: &'static str| {
        Err(Fault::new(FaultKind::Unsupported, format!("{what} on engine \"vpp\"")).remedy(remedy))
    };
    if let PortVlans::Trunk { .. } = asked.vlans {
        let remedy = "leave \"trunk\" out: without \"vlan\" too, frames of all VLANs pass with their tags";
        return unsupported("\"trunk\" is not supported", remedy);
    }
    if asked.ofport_request.is_some() {
        return unsupported("\"ofport_request\" is not supported", "leave it out: VPP has no OpenFlow");
    }
    if asked.ingress.is_some() || asked.egress.is_some() {
        return unsupported("bounds on rates are not supported", "leave them out, or use Open vSwitch");
    }
    if asked.interface == InterfaceType::Memif {
        if asked.memif_mode != MemifMode::Ethernet {
            let remedy = "use \"ethernet\": other packets do not go into a bridge domain";
            return unsupported("a memif for anything but Ethernet frames is not supported", remedy);
        }
        if asked.queues > MAX_QUEUES {
            return Err(Fault::new(FaultKind::Config, format!("\"queues\" is {}", asked.queues))
                .remedy(format!("give a memif 1 to {MAX_QUEUES}")));
        }
    }
    domain(asked).map(drop)
}

/// The number of the bridge domain.
fn domain(asked: &Asked) -> Outcome<u32> {
    let text = asked.bridge.as_deref().ok_or_else(|| {
        Fault::new(FaultKind::Config, "no bridge is named")
            .remedy("give the number of a bridge domain of VPP")
    })?;
    let number = text.parse().ok().filter(|number| (1..=MAX_DOMAIN).contains(number));
    number.ok_or_else(|| {
        let shown: String = text.chars().take(20).collect();
        Fault::new(FaultKind::Config, format!("{shown:?} is no number of a bridge domain of VPP"))
            .remedy(format!("give 1 to {MAX_DOMAIN}"))
    })
}

impl SocketInterface {
    pub(super) fn vpp(&self) -> VppApi {
        VppApi::of(&self.ground.switches)
    }

    pub(super) fn vpp_question(&self) -> Outcome<Question> {
        Ok(Question::Vpp(self.vpp(), domain(&self.asked)?))
    }

    /// The interface, and where its socket is; `None` if nobody asks for a pod.
    pub(super) fn on_vpp(&self, facts: &Facts, group: Option<u32>) -> Outcome<Option<Made<'_>>> {
        let absent = || Fault::new(FaultKind::Absent, "VPP was not asked");
        let seen = facts.vpp(&self.vpp_question()?).ok_or_else(absent)?;
        able(&self.asked, &self.vpp(), seen)?;
        let Some(netns) = &self.attachment.netns else { return Ok(None) };
        let nameless = self.asked.interface == InterfaceType::Memif && self.asked.abstract_socket;
        let (spot, interface) = if nameless && seen.has.abstract_sockets {
            let name = self.asked.place.name(&self.attachment.owner)?;
            let socket = abstract_socket(&name, netns.as_str())?;
            (Spot::Abstract(name), self.memif(socket))
        } else {
            let place = self.place()?;
            let path = place.switch_path.clone();
            let interface = match self.asked.interface {
                InterfaceType::VhostUser => VppInterface::VhostUser(path),
                InterfaceType::Memif => self.memif(MemifSocket::File(path)),
            };
            (Spot::File(place), interface)
        };
        let step = Step::Vpp(VppStep::Make(Box::new(self.vpp_port(interface, &spot, group)?)));
        Ok(Some(Made { spot, step }))
    }

    fn memif(&self, socket: MemifSocket) -> VppInterface {
        VppInterface::Memif { socket, queues: u8::try_from(self.asked.queues).unwrap_or(u8::MAX) }
    }

    fn vpp_port(&self, interface: VppInterface, spot: &Spot<'_>, group: Option<u32>) -> Outcome<VppPort> {
        Ok(VppPort {
            api: self.vpp(),
            interface,
            end: match self.asked.end {
                PodEnd::Listens => VppEnd::Connects,
                PodEnd::Connects => VppEnd::Listens { group },
            },
            bridge: BridgeDomain { number: domain(&self.asked)?, create: self.asked.create_bridge },
            vlan: match self.asked.vlans {
                PortVlans::Access(id) => Some(id),
                PortVlans::All | PortVlans::Trunk { .. } => None,
            },
            mtu: self.asked.mtu,
            state_dir: self.ground.state_dir.clone(),
            endpoint: self.endpoint(spot),
        })
    }
}

/// A socket without a file in the pod's network namespace, which VPP enters by itself.
fn abstract_socket(name: &SocketFile, netns: &str) -> Outcome<MemifSocket> {
    let socket = MemifSocket::Abstract { name: name.to_string(), netns: netns.into() };
    let plain = !netns.contains(|c: char| c == ',' || c.is_whitespace());
    if plain && socket.spelled().len() <= MAX_SOCKET_PATH {
        return Ok(socket);
    }
    let what = format!("VPP cannot be told of a socket in network namespace {netns:?}");
    Err(Fault::new(FaultKind::Config, what)
        .remedy("set \"abstract\" to false in the network, and give the pod a volume for the socket"))
}

/// Whether VPP is such that the interface can be made.
fn able(asked: &Asked, api: &VppApi, seen: &VppFacts) -> Outcome<()> {
    let vpp = format!("VPP {} at {:?}", seen.version, api.socket.display().to_string());
    let lacks = |what: &str, remedy: String| {
        Err(Fault::new(FaultKind::Absent, format!("{vpp} {what}")).remedy(remedy))
    };
    let plugin =
        |name: &str| format!("load its plugin: \"plugin {name} {{ enable }}\" in VPP's startup.conf");
    match asked.interface {
        InterfaceType::VhostUser if !seen.has.vhost_user => {
            return lacks("makes no vhost-user interfaces", plugin("vhost_plugin.so"));
        }
        InterfaceType::Memif if !seen.has.memif => {
            return lacks("makes no memif interfaces", plugin("memif_plugin.so"));
        }
        InterfaceType::VhostUser | InterfaceType::Memif => {}
    }
    if asked.vlans != PortVlans::All && !seen.has.vlans {
        return lacks("cannot keep VLANs apart", "use VPP 21.06 or later".to_owned());
    }
    if seen.bridge || asked.create_bridge {
        return Ok(());
    }
    let number = domain(asked)?;
    lacks(
        &format!("has no bridge domain {number}"),
        format!("\"vppctl create bridge-domain {number}\", or set \"createBridge\" in the network"),
    )
}
