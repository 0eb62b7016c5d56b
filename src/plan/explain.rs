//! Steps in words, for people.

use std::fmt;

use super::facts::Place;
use super::port::{NoteStep, Port, PortStep, SocketHome, SocketStep, SwitchEnd};
use super::step::{
    AddressRange, Bearer, ConfigureStep, Dad, DefaultRouteStep, LeaseStep, LinkKind, LinkStep, MacvlanMode,
    Step, VlanProtocol, Yields,
};
use super::vf::{AppVf, Driven, KernelVf, VfLinkState, VfRate, VfSettings, VfStep, VfTake, VfVlan};
use super::vpp::{MemifSocket, VppEnd, VppInterface, VppPort, VppStep};
use crate::model::vhost_user::PortVlans;

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease(step) => step.fmt(f),
            Self::Link(step) => step.fmt(f),
            Self::Vf(step) => step.fmt(f),
            Self::Socket(step) => step.fmt(f),
            Self::Port(step) => step.fmt(f),
            Self::Vpp(step) => step.fmt(f),
            Self::Note(step) => step.fmt(f),
            Self::Configure(step) => step.fmt(f),
            Self::Exec(step) => {
                let what = match step.yields {
                    Yields::Result => "run the plugin",
                    Yields::Lease => "lease addresses from the plugin",
                };
                write!(f, "{what} {}", step.program)
            }
            Self::DefaultRoute(step) => step.fmt(f),
            Self::Pass => f.write_str("hand the result on"),
            Self::DeviceFile(step) => match &step.source {
                Some(source) => write!(f, "copy what is known of the device from {}", source.display()),
                None => write!(f, "let the plugins tell of the device in {}", step.file.display()),
            },
            Self::DeviceInfo(_) => f.write_str("learn what is known of the device"),
            Self::Cache(step) => {
                write!(f, "cache the result of network {} for plugins and tools", step.network)
            }
        }
    }
}

impl fmt::Display for LeaseStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sets: Vec<String> =
            self.sets.iter().map(|set| words(set.iter().map(AddressRange::to_string))).collect();
        let each = words(sets.iter().map(|set| format!("one of {set}")));
        match self.requested.as_slice() {
            [] => write!(f, "lease {each}")?,
            asked => write!(f, "lease {}, {each}", words(asked.iter().map(ToString::to_string)))?,
        }
        write!(f, ", from store {}", self.store.display())
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} ({})", self.start, self.end, self.subnet)
    }
}

impl fmt::Display for LinkStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "make a {}", self.kind)?;
        if let Some(master) = &self.master {
            write!(f, " on {}", master.name)?;
            if master.place == Place::Pod {
                write!(f, " in the pod")?;
            }
        }
        if let Some(mac) = self.mac {
            write!(f, ", Ethernet address {mac}")?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, ", MTU {mtu}")?;
        }
        write!(f, ", link group {:#x}", self.group)
    }
}

impl fmt::Display for VfStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("find a virtual function by what was left of it"),
            Self::Take(take) => take.fmt(f),
        }
    }
}

impl fmt::Display for VfTake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.driven {
            Driven::Kernel(kernel) => write!(f, "move {}, the interface of VF {}", kernel.was.name, self.vf)?,
            Driven::Application(AppVf { bind: None }) => write!(f, "give VF {} to an application", self.vf)?,
            Driven::Application(AppVf { bind: Some(bind) }) => {
                write!(f, "bind VF {} to {} for an application", self.vf, bind.to)?;
            }
        }
        if let Some(pf) = &self.pf {
            write!(f, ", VF {} of {}", pf.number, pf.name)?;
        }
        self.to.fmt(f)?;
        if let Driven::Kernel(KernelVf { mtu: Some(mtu), .. }) = &self.driven {
            write!(f, ", MTU {mtu}")?;
        }
        Ok(())
    }
}

impl fmt::Display for SocketStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.home.path().join(self.file.as_str());
        match self.home {
            SocketHome::Volume(_) => write!(f, "make room for socket {}", place.display())?,
            SocketHome::Own(..) => write!(f, "make a directory for socket {}", place.display())?,
        }
        if let Some(group) = self.group {
            write!(f, ", group {group}")?;
        }
        if let Some(label) = &self.label {
            write!(f, ", SELinux context {label}")?;
        }
        match &self.link {
            Some(link) => write!(f, ", short link {}", link.display()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for PortStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(_) => f.write_str("find a port of the switch by its mark"),
            Self::Make(port) => port.fmt(f),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "make port {} on bridge {}", self.name, self.bridge)?;
        if self.create_bridge {
            f.write_str(", with the bridge if need be")?;
        }
        match &self.end {
            SwitchEnd::Connects(path) => write!(f, ", which connects to {}", path.display())?,
            SwitchEnd::Listens { .. } => f.write_str(", which makes the socket")?,
        }
        match &self.vlans {
            PortVlans::All => {}
            PortVlans::Access(id) => write!(f, ", VLAN {id}")?,
            PortVlans::Trunk { native, ids } => {
                write!(f, ", VLANs {}", words(ids.iter().map(u16::to_string)))?;
                if let Some(native) = native {
                    write!(f, ", native {native}")?;
                }
            }
        }
        if let Some(mtu) = self.mtu {
            write!(f, ", MTU {mtu}")?;
        }
        for (limit, whence) in [(self.ingress, "from"), (self.egress, "to")] {
            if let Some(limit) = limit {
                write!(f, ", at most {} kbit/s {whence} the pod", limit.rate)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for VppStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(_) => f.write_str("find an interface of VPP by its tag"),
            Self::Make(port) => port.fmt(f),
        }
    }
}

impl fmt::Display for VppPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, socket) = match &self.interface {
            VppInterface::VhostUser(path) => ("vhost-user", path.display().to_string()),
            VppInterface::Memif { socket: MemifSocket::File(path), .. } => {
                ("memif", path.display().to_string())
            }
            VppInterface::Memif { socket: MemifSocket::Abstract { name, .. }, .. } => {
                ("memif", format!("@{name} in the pod's network namespace"))
            }
        };
        write!(f, "make a {kind} interface of VPP in bridge domain {}", self.bridge.number)?;
        if self.bridge.create {
            f.write_str(", with the domain if need be")?;
        }
        match self.end {
            VppEnd::Connects => write!(f, ", which connects to {socket}")?,
            VppEnd::Listens { .. } => write!(f, ", which makes {socket}")?,
        }
        if let Some(vlan) = self.vlan {
            write!(f, ", VLAN {vlan}")?;
        }
        match self.mtu {
            Some(mtu) => write!(f, ", MTU {mtu}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for NoteStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.home.is_some() { self.file.as_str() } else { "the pod's annotations" };
        write!(f, "tell the application of Ethernet address {} and addresses in {place}", self.note.mac)
    }
}

impl fmt::Display for VfSettings {
    /// Each setting after a comma.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let switch = |on: bool| if on { "on" } else { "off" };
        if let Some(mac) = self.mac {
            write!(f, ", Ethernet address {mac}")?;
        }
        if let Some(VfVlan { id, qos, protocol }) = self.vlan {
            let protocol = match protocol {
                VlanProtocol::Dot1Q => "",
                VlanProtocol::Dot1Ad => "802.1ad ",
            };
            write!(f, ", {protocol}vlan {id} with priority {qos}")?;
        }
        if let Some(on) = self.spoofchk {
            write!(f, ", spoof check {}", switch(on))?;
        }
        if let Some(on) = self.trust {
            write!(f, ", trust {}", switch(on))?;
        }
        if let Some(state) = self.link_state {
            let state = match state {
                VfLinkState::Auto => "auto",
                VfLinkState::Enable => "enable",
                VfLinkState::Disable => "disable",
            };
            write!(f, ", link state {state}")?;
        }
        if let Some(VfRate { min, max }) = self.rate {
            write!(f, ", {min} to {max} Mbit/s")?;
        }
        Ok(())
    }
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Macvlan { mode, .. } => write!(f, "macvlan in mode {mode}"),
            Self::Vlan { id, protocol: VlanProtocol::Dot1Q } => write!(f, "vlan with id {id}"),
            Self::Vlan { id, protocol: VlanProtocol::Dot1Ad } => write!(f, "802.1ad vlan with id {id}"),
            Self::Dummy => f.write_str("dummy link"),
        }
    }
}

impl fmt::Display for MacvlanMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bridge => "bridge",
            Self::Private => "private",
            Self::Vepa => "vepa",
            Self::Passthru => "passthru",
            Self::Source => "source",
        })
    }
}

impl fmt::Display for ConfigureStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fixed = words(self.given.ips.iter().map(|ip| ip.address.to_string()));
        match (self.needs_address, fixed.as_str()) {
            _ if self.bearer == Bearer::Application => {
                f.write_str("leave its addresses to the application")?
            }
            (false, _) => f.write_str("bring it up, without an address")?,
            (true, "") => f.write_str("bring it up with what was leased")?,
            (true, fixed) => write!(f, "bring it up with {fixed}")?,
        }
        if !self.given.routes.is_empty() {
            write!(f, ", routes to {}", words(self.given.routes.iter().map(|r| r.dst.to_string())))?;
        }
        match self.dad {
            Dad::Wait => Ok(()),
            Dad::Optimistic => f.write_str(", optimistic duplicate address detection"),
            Dad::Off => f.write_str(", without duplicate address detection"),
        }
    }
}

impl fmt::Display for DefaultRouteStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = |ipv4: bool| {
            let name = if ipv4 { "IPv4" } else { "IPv6" };
            match self.routing.taken(ipv4) {
                Some(gateway) => Some(format!("the {name} default route goes via {gateway}")),
                None => self.routing.displaces(ipv4).then(|| format!("no {name} default route")),
            }
        };
        f.write_str(&words([true, false].into_iter().filter_map(family)))
    }
}

fn words(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}
