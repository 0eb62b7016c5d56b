//! An interface that is a socket, read and checked: what the Kinds that make such interfaces have in common, whatever
//! the schema of their configuration; and for each switch, what it has to make.

mod ovs;
mod vpp;

use std::path::PathBuf;

use super::claim::Claim;
use super::facts::{Facts, Question};
use super::kind::{Ask, Wanted};
use super::mark;
use super::note;
use super::port::{Endpoint, Note, NoteStep, OvsDatabase, PortStep, SocketHome, SocketStep};
use super::socket_place::{Place, PlaceAsked};
use super::step::{Bearer, LinkKind, LinkStep, Step};
use super::virtual_link::Layer3;
use super::vpp::{VppApi, VppStep};
use crate::model::device_info::{Device, Memif, MemifMode, MemifRole, VhostUser, VhostUserMode};
use crate::model::fault::{Fault, Outcome};
use crate::model::settings::Request;
use crate::model::vhost_user::{Engine, InterfaceType, PodEnd, PortVlans, RateLimit, SocketFile};
use crate::model::{Attachment, DeviceInfo, FaultKind, MacAddr, SocketGround};

/// Longest name of a group, in bytes.
const MAX_GROUP: usize = 32;

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
    /// Whether a memif's socket may be none with a file, where the switch can do that.
    pub abstract_socket: bool,
    /// The group of the socket's directory: a name or a number.
    pub group: Option<String>,
    /// The SELinux context of the socket's directory.
    pub label: Option<String>,
    /// Whether a link in the pod is to carry name and addresses.
    pub dummy: bool,
    /// What was written and has no effect, for the log.
    pub warnings: Vec<String>,
}

/// Steps that undo what may be left at the node's switches of an attachment whose configuration cannot be read.
pub fn remains(attachment: &Attachment) -> Vec<Step> {
    let switches = attachment.sockets.as_deref().map(|ground| ground.switches.clone()).unwrap_or_default();
    vec![
        Step::Port(PortStep::Lost(OvsDatabase::of(&switches))),
        Step::Vpp(VppStep::Lost(VppApi::of(&switches))),
    ]
}

/// A group's name (`useradd(8)`: letters, digits, `_`, `-`, `.`), or its number.
///
/// # Errors
/// It can be neither.
pub fn group(key: &str, text: Option<String>) -> Outcome<Option<String>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    // To chown(2) the greatest number means that the group stays what it is.
    let is_none = text.parse() == Ok(u32::MAX);
    if text.len() <= MAX_GROUP && text.bytes().all(plain) && !text.starts_with('-') && !is_none {
        return Ok(Some(text));
    }
    let shown: String = text.chars().take(MAX_GROUP).collect();
    Err(Fault::new(FaultKind::Config, format!("{key:?} is {shown:?}"))
        .remedy("give the name or the number of a group of the node"))
}

/// Where an interface's socket is.
enum Spot<'a> {
    /// It is a file.
    File(&'a Place),
    /// It has this name in the pod's network namespace, and no file.
    Abstract(SocketFile),
}

/// What a switch is to make, and where its socket is.
struct Made<'a> {
    spot: Spot<'a>,
    step: Step,
}

/// An interface that is a socket.
pub struct SocketInterface {
    asked: Asked,
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
        match asked.engine {
            Engine::OvsDpdk => ovs::possible(&asked)?,
            Engine::Vpp => vpp::possible(&asked)?,
        }
        let ground = ask.attachment.sockets.as_deref().cloned().unwrap_or_default();
        ground.rules.permit(Request {
            engine: asked.engine,
            bridge: asked.bridge.as_deref(),
            create_bridge: asked.create_bridge,
            vlans: &asked.vlans,
            path: asked.place.named_directory(&ground),
            shares: (asked.group.is_some() || asked.label.is_some()) && asked.place.is_the_nodes(&ground),
            group: asked.group.as_deref(),
            label: asked.label.as_deref(),
            server_mode: asked.engine == Engine::OvsDpdk && asked.end == PodEnd::Connects,
        })?;
        Ok(Self {
            layer3: Layer3::read(ask)?,
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

    fn socket(&self, place: &Place, group: Option<u32>) -> Step {
        Step::Socket(SocketStep {
            home: place.home.clone(),
            file: place.file.clone(),
            named: place.shared && self.asked.place.file.is_some(),
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

    /// How the interface looks to the pod.
    fn endpoint(&self, spot: &Spot<'_>) -> Endpoint {
        let (path, socket) = match spot {
            Spot::File(place) => (place.pod_path(), place.path()),
            // As tools show it, ss(8) among them.
            Spot::Abstract(name) => (format!("@{name}"), format!("@{name}").into()),
        };
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
        Endpoint { mac: self.mac(), mtu: self.asked.mtu, socket, device: DeviceInfo::new(device) }
    }

    /// What the application is told. Without a file for a socket, it finds it beside none: in the volume that the pod has
    /// nevertheless, or only in its annotations.
    fn note(&self, spot: &Spot<'_>) -> Step {
        let volume = |place: &&Place| matches!(place.home, SocketHome::Volume(_));
        let (place, socket) = match spot {
            Spot::File(place) => (Some(*place), place.file.clone()),
            Spot::Abstract(name) => (self.place.as_ref().ok().filter(volume), name.clone()),
        };
        Step::Note(NoteStep {
            home: place.map(|place| place.home.clone()),
            file: note::file_name(&self.attachment, place.is_some_and(|place| place.shared)),
            mount: place.and_then(|place| place.mount.clone()),
            note: Note {
                engine: self.asked.engine,
                interface: self.asked.interface,
                end: self.asked.end,
                socket,
                is_abstract: matches!(spot, Spot::Abstract(_)),
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
        questions.extend(match self.asked.engine {
            Engine::OvsDpdk => self.ovs_question(),
            Engine::Vpp => self.vpp_question(),
        });
        let named = self.asked.group.as_ref().filter(|group| group.parse::<u32>().is_err());
        questions.extend(named.cloned().map(Question::Group));
        questions
    }

    fn steps(&self, facts: &Facts) -> Outcome<Vec<Step>> {
        let group = self.group(facts)?;
        let made = match self.asked.engine {
            Engine::OvsDpdk => self.on_ovs(facts, group)?,
            Engine::Vpp => self.on_vpp(facts, group)?,
        };
        // Nobody asks for a pod: STATUS.
        let Some(Made { spot, step }) = made else { return Ok(Vec::new()) };
        let mut configure = self.layer3.configure(facts, false)?;
        configure.bearer = if self.asked.dummy { Bearer::Link } else { Bearer::Application };
        let mut make = Vec::new();
        if let Spot::File(place) = spot {
            make.push(self.socket(place, group));
        }
        make.extend(self.dummy());
        make.push(step);
        let mut steps = self.layer3.arrange(make, Step::Configure(configure));
        steps.push(self.note(&spot));
        Ok(steps)
    }

    fn traces(&self) -> Vec<Step> {
        let lease = self.layer3.lease_step();
        let port = match self.asked.engine {
            Engine::OvsDpdk => Step::Port(PortStep::Lost(self.database())),
            Engine::Vpp => Step::Vpp(VppStep::Lost(self.vpp())),
        };
        let kept = self.place.as_ref().ok();
        let kept = kept.map(|place| [self.socket(place, None), self.note(&Spot::File(place))]);
        lease.into_iter().chain(self.dummy()).chain([port]).chain(kept.into_iter().flatten()).collect()
    }

    fn warnings(&self) -> Vec<String> {
        self.asked.warnings.clone()
    }
}
