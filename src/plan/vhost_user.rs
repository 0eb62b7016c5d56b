//! An interface that is a socket, read and checked: what the Kinds that make such interfaces have in common, whatever
//! the schema of their configuration and the switch.

use std::path::PathBuf;

use super::claim::Claim;
use super::facts::{Facts, Question};
use super::kind::{Ask, Wanted};
use super::mark;
use super::note;
use super::port::{
    Endpoint, Note, NoteStep, OvsDatabase, Port, PortStep, SocketStep, SwitchEnd, SwitchFacts,
};
use super::socket_place::{Place, PlaceAsked};
use super::step::{Bearer, LinkKind, LinkStep, Step};
use super::virtual_link::Layer3;
use crate::model::device_info::{Device, Memif, MemifMode, MemifRole, VhostUser, VhostUserMode};
use crate::model::fault::{Fault, Outcome};
use crate::model::settings::Request;
use crate::model::vhost_user::{BridgeName, Engine, InterfaceType, PodEnd, PortVlans, RateLimit};
use crate::model::{Attachment, DeviceInfo, FaultKind, MacAddr, PluginConf, SocketGround};

/// What a configuration asks for, in whatever schema it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The switch.
    pub engine: Engine,
    /// What is spoken.
    pub interface: InterfaceType,
    /// Which end the application is.
    pub end: PodEnd,
    /// What a memif carries.
    pub memif_mode: MemifMode,
    /// The bridge of Open vSwitch, or the number of a bridge domain of VPP.
    pub bridge: Option<String>,
    /// Whether the bridge is to be made if it is not there.
    pub create_bridge: bool,
    /// Which VLANs it carries.
    pub vlans: PortVlans,
    /// Its MTU in bytes.
    pub mtu: Option<u32>,
    /// Its Ethernet address; `None` derives one.
    pub mac: Option<MacAddr>,
    /// How many pairs of queues the application is to have.
    pub queues: u16,
    /// The number it is to have in OpenFlow.
    pub ofport_request: Option<u16>,
    /// Bound on what comes from the pod.
    pub ingress: Option<RateLimit>,
    /// Bound on what goes to the pod.
    pub egress: Option<RateLimit>,
    /// Where its socket is.
    pub place: PlaceAsked,
    /// The group of the socket's directory: a name or a number.
    pub group: Option<String>,
    /// The SELinux context of the socket's directory.
    pub label: Option<String>,
    /// Whether a link in the pod is to carry name and addresses.
    pub dummy: bool,
    /// What was written and has no effect, for the log.
    pub warnings: Vec<String>,
}

/// An interface that is a socket.
pub struct SocketInterface {
    asked: Asked,
    conf: PluginConf,
    attachment: Attachment,
    ground: SocketGround,
    layer3: Layer3,
    /// Where the socket is; why it can be nowhere is told when the interface is to be made.
    place: Outcome<Place>,
}

impl SocketInterface {
    /// Holds what is asked against the rules of the node's operator.
    ///
    /// # Errors
    /// It is not allowed, or can never be right.
    pub fn read(ask: Ask<'_>, asked: Asked) -> Outcome<Self> {
        possible(&asked)?;
        let ground = ask.attachment.sockets.as_deref().cloned().unwrap_or_default();
        ground.rules.permit(Request {
            engine: asked.engine,
            bridge: asked.bridge.as_deref(),
            create_bridge: asked.create_bridge,
            vlans: &asked.vlans,
            path: asked.place.named_directory(&ground),
            server_mode: asked.engine == Engine::OvsDpdk && asked.end == PodEnd::Connects,
        })?;
        Ok(Self {
            layer3: Layer3::read(ask)?,
            conf: ask.conf.clone(),
            place: asked.place.find(&ask.attachment.owner, &ground),
            attachment: ask.attachment.clone(),
            ground,
            asked,
        })
    }

    fn mac(&self) -> MacAddr {
        self.asked.mac.unwrap_or_else(|| mark::derived_mac(&self.attachment.owner))
    }

    fn place(&self) -> Outcome<&Place> {
        self.place.as_ref().map_err(|fault| {
            let again = Fault::new(fault.kind(), fault.to_string());
            again.remedy(fault.advice().unwrap_or_default().to_owned())
        })
    }

    fn switch(&self) -> Outcome<Question> {
        let bridge: BridgeName = self.asked.bridge.as_deref().unwrap_or_default().parse()?;
        Ok(Question::Switch(self.database(), bridge))
    }

    fn database(&self) -> OvsDatabase {
        let switches = &self.ground.switches;
        OvsDatabase { socket: switches.ovsdb.clone(), patience: switches.patience }
    }

    fn socket(&self, place: &Place, group: Option<u32>) -> Step {
        Step::Socket(SocketStep {
            home: place.home.clone(),
            file: place.file.clone(),
            group,
            label: self.asked.label.clone(),
            link: place.link.clone(),
        })
    }

    fn dummy(&self) -> Option<Step> {
        self.asked.dummy.then(|| {
            Step::Link(LinkStep {
                kind: LinkKind::Dummy,
                master: None,
                mac: Some(self.mac()),
                mtu: self.asked.mtu,
                group: mark::link_group(&self.attachment.owner.container),
            })
        })
    }

    /// The port of Open vSwitch.
    fn port(&self, place: &Place, group: Option<u32>, seen: &SwitchFacts) -> Outcome<Step> {
        let database = self.database();
        let end = match self.asked.end {
            PodEnd::Listens => SwitchEnd::Connects(place.switch_path.clone()),
            PodEnd::Connects => SwitchEnd::Listens { directory: seen.sockets_of(&database.socket), group },
        };
        Ok(Step::Port(PortStep::Make(Box::new(Port {
            name: mark::port_name(&self.attachment.owner),
            bridge: self.asked.bridge.as_deref().unwrap_or_default().parse()?,
            create_bridge: self.asked.create_bridge,
            database,
            end,
            vlans: self.asked.vlans.clone(),
            mtu: self.asked.mtu,
            ofport_request: self.asked.ofport_request,
            ingress: self.asked.ingress,
            egress: self.asked.egress,
            state_dir: self.ground.state_dir.clone(),
            pod: self.ground.pod.as_ref().map(ToString::to_string),
            endpoint: self.endpoint(place),
        }))))
    }

    /// How the interface looks to the pod.
    pub fn endpoint(&self, place: &Place) -> Endpoint {
        let path = place.pod_path();
        let device = match (self.asked.interface, self.asked.end) {
            (InterfaceType::VhostUser, end) => {
                let mode = match end {
                    PodEnd::Listens => VhostUserMode::Server,
                    PodEnd::Connects => VhostUserMode::Client,
                };
                Device::VhostUser(VhostUser { mode: Some(mode), path })
            }
            (InterfaceType::Memif, end) => {
                let role = match end {
                    PodEnd::Listens => MemifRole::Master,
                    PodEnd::Connects => MemifRole::Slave,
                };
                Device::Memif(Memif { role: Some(role), path, mode: Some(self.asked.memif_mode) })
            }
        };
        Endpoint {
            mac: self.mac(),
            mtu: self.asked.mtu,
            socket: place.path(),
            device: DeviceInfo::new(device),
        }
    }

    fn note(&self, place: &Place) -> Step {
        Step::Note(NoteStep {
            home: place.home.clone(),
            file: note::file_name(&self.attachment, place.shared),
            mount: place.mount.clone(),
            note: Note {
                engine: self.asked.engine,
                interface: self.asked.interface,
                end: self.asked.end,
                socket: place.file.clone(),
                bridge: self.asked.bridge.clone(),
                vlans: self.asked.vlans.clone(),
                mac: self.mac(),
                mtu: self.asked.mtu,
                queues: self.asked.queues,
                group: self.asked.group.clone(),
            },
        })
    }

    fn group(&self, facts: &Facts) -> Outcome<Option<u32>> {
        let Some(text) = &self.asked.group else { return Ok(None) };
        if let Ok(number) = text.parse() {
            return Ok(Some(number));
        }
        facts.group(text).map(Some).ok_or_else(|| {
            Fault::new(FaultKind::Absent, format!("there is no group {text:?} on this node"))
                .remedy("make the group, or give its number in \"group\"")
        })
    }
}

/// Whether the switch can make such an interface at all.
fn possible(asked: &Asked) -> Outcome<()> {
    match (asked.engine, asked.interface) {
        (Engine::OvsDpdk, InterfaceType::Memif) => {
            return Err(Fault::new(FaultKind::Config, "Open vSwitch has no memif interfaces")
                .remedy("make it a vhost-user interface"));
        }
        (Engine::OvsDpdk, InterfaceType::VhostUser) => {
            let bridge = asked.bridge.as_deref().ok_or_else(|| {
                Fault::new(FaultKind::Config, "no bridge is named")
                    .remedy("name a bridge with datapath type \"netdev\"")
            })?;
            bridge.parse::<BridgeName>()?;
        }
        (Engine::Vpp, _) => {}
    }
    Ok(())
}

/// Whether Open vSwitch is such that the port can be made.
fn able(asked: &Asked, database: &OvsDatabase, seen: &SwitchFacts) -> Outcome<()> {
    let wanted = match asked.end {
        PodEnd::Listens => "dpdkvhostuserclient",
        PodEnd::Connects => "dpdkvhostuser",
    };
    let switch = format!("Open vSwitch at {:?}", database.socket.display().to_string());
    if !seen.dpdk {
        return Err(Fault::new(FaultKind::Absent, format!("{switch} runs without DPDK")).remedy(
            "start ovs-vswitchd with DPDK (\"ovs-vsctl set Open_vSwitch . other_config:dpdk-init=true\", then start it \
             anew); its log tells why DPDK did not start",
        ));
    }
    if !seen.interface_types.iter().any(|kind| kind == wanted) {
        return Err(Fault::new(
            FaultKind::Absent,
            format!("{switch} makes no interfaces of type {wanted:?}"),
        )
        .remedy("use an Open vSwitch that was built with DPDK and vhost"));
    }
    let bridge = asked.bridge.as_deref().unwrap_or_default();
    match seen.datapath.as_deref() {
        Some("netdev") => Ok(()),
        Some(_) => Err(Fault::new(FaultKind::Config, format!("bridge {bridge:?} uses the kernel's datapath"))
            .remedy(format!("name a bridge for DPDK, or \"ovs-vsctl set bridge {bridge} datapath_type=netdev\""))),
        None if asked.create_bridge => Ok(()),
        None => Err(Fault::new(FaultKind::Absent, format!("{switch} has no bridge {bridge:?}")).remedy(format!(
            "\"ovs-vsctl add-br {bridge} -- set bridge {bridge} datapath_type=netdev\", or set \"createBridge\" in the \
             network"
        ))),
    }
}

impl Wanted for SocketInterface {
    fn claims(&self) -> Outcome<Vec<Claim>> {
        // In a directory of its own a pod can only be in its own way.
        let Some(place) = self.place.as_ref().ok().filter(|place| place.shared) else {
            return Ok(Vec::new());
        };
        let path: PathBuf = place.path();
        Claim::new(format!("socket {} {}", place.file, mark::digest(&path.to_string_lossy())))
            .map(|c| vec![c])
    }

    fn questions(&self) -> Vec<Question> {
        let mut questions = self.layer3.questions();
        if self.asked.engine == Engine::OvsDpdk {
            questions.extend(self.switch());
        }
        let named = self.asked.group.as_ref().filter(|group| group.parse::<u32>().is_err());
        questions.extend(named.cloned().map(Question::Group));
        questions
    }

    fn steps(&self, facts: &Facts) -> Outcome<Vec<Step>> {
        let group = self.group(facts)?;
        let absent = || Fault::new(FaultKind::Absent, "the switch was not asked");
        let seen = match self.asked.engine {
            Engine::OvsDpdk => facts.switch(&self.switch()?).ok_or_else(absent)?,
            Engine::Vpp => {
                return Err(Fault::new(FaultKind::Unsupported, "engine \"vpp\" is not supported yet")
                    .remedy("use engine \"ovs-dpdk\""));
            }
        };
        able(&self.asked, &self.database(), seen)?;
        if self.attachment.netns.is_none() {
            // Nobody asks for a pod: STATUS.
            return Ok(Vec::new());
        }
        let place = self.place()?;
        let mut configure = self.layer3.configure(facts, false)?;
        configure.bearer = if self.asked.dummy { Bearer::Link } else { Bearer::Application };
        let mut make = vec![self.socket(place, group)];
        make.extend(self.dummy());
        make.push(self.port(place, group, seen)?);
        let mut steps = self.layer3.arrange(&self.conf, make, Step::Configure(configure));
        steps.push(self.note(place));
        Ok(steps)
    }

    fn traces(&self) -> Vec<Step> {
        let lease = self.layer3.lease_step(&self.conf);
        let port = Step::Port(PortStep::Lost(self.database()));
        let kept = self.place.as_ref().ok().map(|place| [self.socket(place, None), self.note(place)]);
        lease.into_iter().chain(self.dummy()).chain([port]).chain(kept.into_iter().flatten()).collect()
    }

    fn warnings(&self) -> Vec<String> {
        self.asked.warnings.clone()
    }
}
