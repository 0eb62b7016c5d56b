//! An interface that is a port of Open vSwitch.

use super::{Asked, Made, SocketInterface, Spot};
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};
use crate::model::vhost_user::{BridgeName, InterfaceType, PodEnd};
use crate::plan::facts::{Facts, Question};
use crate::plan::mark;
use crate::plan::port::{OvsDatabase, Port, PortStep, SwitchEnd, SwitchFacts};
use crate::plan::socket_place::Place;
use crate::plan::step::Step;

/// Whether Open vSwitch can make such an interface at all.
pub(super) fn possible(asked: &Asked) -> Outcome<()> {
    if asked.interface == InterfaceType::Memif {
        return Err(Fault::new(FaultKind::Config, "Open vSwitch has no memif interfaces")
            .remedy("make it a vhost-user interface, or use engine \"vpp\""));
    }
    let bridge = asked.bridge.as_deref().ok_or_else(|| {
        Fault::new(FaultKind::Config, "no bridge is named")
            .remedy("name a bridge with datapath type \"netdev\"")
    })?;
    bridge.parse::<BridgeName>().map(drop)
}

impl SocketInterface {
    pub(super) fn ovs_question(&self) -> Outcome<Question> {
        let bridge: BridgeName = self.asked.bridge.as_deref().unwrap_or_default().parse()?;
        Ok(Question::Switch(self.database(), bridge))
    }

    pub(super) fn database(&self) -> OvsDatabase {
        OvsDatabase::of(&self.ground.switches)
    }

    /// The port, and where its socket is; `None` if nobody asks for a pod.
    pub(super) fn on_ovs(&self, facts: &Facts, group: Option<u32>) -> Outcome<Option<Made<'_>>> {
        let absent = || Fault::new(FaultKind::Absent, "the switch was not asked");
        let seen = facts.switch(&self.ovs_question()?).ok_or_else(absent)?;
        able(&self.asked, &self.database(), seen)?;
        if self.attachment.netns.is_none() {
            return Ok(None);
        }
        let place = self.place()?;
        Ok(Some(Made { spot: Spot::File(place), step: self.port(place, group, seen)? }))
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
            endpoint: self.endpoint(&Spot::File(place)),
        }))))
    }
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
