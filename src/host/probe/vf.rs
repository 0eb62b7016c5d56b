//! What is seen of a VF: sysfs, its interface and what its PF holds of it, in as few requests as there can be.

use super::HostProbe;
use crate::host::netlink::device::{self, Device};
use crate::host::netlink::{Socket, addr, route, vf};
use crate::host::sysfs::Netdevs;
use crate::host::vf_registry::Holder;
use crate::model::PciAddress;
use crate::model::fault::Outcome;
use crate::plan::facts::Answer;
use crate::plan::vf::{Function, PfPort, PortFacts, PortUse, VfFacts, VfPort};

impl HostProbe {
    /// What is known of a PCI function.
    pub(super) fn vf(&self, pci: PciAddress) -> Outcome<Answer> {
        if !self.sysfs.exists(pci) {
            return Ok(Answer::Absent);
        }
        let function = self.function(pci)?;
        let representor = match &function {
            Function::Virtual { pf, number, pf_port: Some(_) } => self.sysfs.representor(*pf, *number),
            Function::Virtual { .. } | Function::Physical | Function::Alone => None,
        };
        let held_for = match self.registry.holder(pci)? {
            Holder::Netns(path) => Some(path.to_string()),
            Holder::Nobody => None,
        };
        Ok(Answer::Vf(Box::new(VfFacts {
            function,
            is_network: self.sysfs.is_network(pci),
            driver: self.sysfs.driver(pci),
            driver_override: self.sysfs.driver_override(pci),
            port: self.port(pci)?,
            held_for,
            representor,
            rdma_device: self.sysfs.rdma_device(pci),
        })))
    }

    fn function(&self, pci: PciAddress) -> Outcome<Function> {
        let Some(pf) = self.sysfs.pf_of(pci) else {
            return Ok(if self.sysfs.is_pf(pci) { Function::Physical } else { Function::Alone });
        };
        // A VF that its PF does not count is going away.
        let Some(number) = self.sysfs.number(pf, pci) else { return Ok(Function::Alone) };
        let pf_port = match self.sysfs.uplink(pf) {
            Some(name) => self.sockets.host(|host| pf_port(host, &name, number))?,
            None => None,
        };
        Ok(Function::Virtual { pf, number, pf_port })
    }

    fn port(&self, pci: PciAddress) -> Outcome<PortFacts> {
        let names = match self.sysfs.netdevs(pci) {
            Netdevs::None => return Ok(PortFacts::None),
            Netdevs::Elsewhere => return Ok(PortFacts::Elsewhere),
            Netdevs::Here(names) => names,
        };
        let name = names.first().map(String::as_str).unwrap_or_default();
        self.sockets.host(|host| {
            // It may be leaving between the two looks.
            let Some(device) = device::by_name(host, name)? else { return Ok(PortFacts::Elsewhere) };
            let needed = needed(host, &device)?;
            let port = VfPort {
                name: device.name.parse()?,
                index: device.index,
                mac: device.mac,
                mtu: device.mtu,
                allmulti: device.allmulti,
                altnames: device.altnames,
            };
            Ok(PortFacts::Here(port, needed))
        })
    }
}

fn pf_port(host: &mut Socket, name: &str, number: u32) -> Outcome<Option<PfPort>> {
    let Some(seen) = vf::of_pf(host, name, number)? else { return Ok(None) };
    Ok(Some(PfPort {
        name: name.parse()?,
        index: seen.index,
        ethernet: seen.ethernet,
        settings: seen.settings,
    }))
}

/// Whether the host needs an interface. One that is down serves nobody, so nothing more is asked.
fn needed(host: &mut Socket, device: &Device) -> Outcome<PortUse> {
    if let Some(index) = device.controller {
        let controller = device::by_index(host, index)?.map(|c| c.name).unwrap_or_else(|| index.to_string());
        return Ok(PortUse::Needed(format!("is a port of {controller:?}")));
    }
    if !device.up {
        return Ok(PortUse::Free);
    }
    if route::default_link(host)? == Some(device.index) {
        return Ok(PortUse::Needed("carries the default route".to_owned()));
    }
    let link_local = |ip: &ipnetwork::IpNetwork| match ip {
        ipnetwork::IpNetwork::V4(_) => false,
        ipnetwork::IpNetwork::V6(ip) => ip.ip().is_unicast_link_local(),
    };
    let addresses = addr::of_link(host, device.index)?;
    match addresses.iter().find(|ip| !link_local(ip)) {
        Some(address) => Ok(PortUse::Needed(format!("has address {address}"))),
        None => Ok(PortUse::Free),
    }
}
