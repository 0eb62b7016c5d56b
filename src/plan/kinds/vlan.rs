//! `vlan`: a link that carries one VLAN of its master (IEEE 802.1Q; kernel `net/8021q`).

use serde::Deserialize;

use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};
use crate::plan::claim::Claim;
use crate::plan::keys::{self, Known};
use crate::plan::kind::{Ask, Kind, Wanted};
use crate::plan::step::{LinkKind, VlanProtocol};
use crate::plan::virtual_link::{self, Layer3, VirtualLink, WantedMaster};

/// The plugin type `vlan`, with the keys of the reference plugin, `protocol`, and `dad`.
pub(super) struct Vlan;

#[derive(Deserialize)]
struct Keys {
    master: Option<String>,
    vlanid: Option<i64>,
    protocol: Option<String>,
    mtu: Option<i64>,
    #[serde(default)]
    linkincontainer: bool,
}

const KNOWN: Known =
    Known { plain: &["linkInContainer", "master", "mtu", "protocol", "vlanId"], objects: &[] };

impl Kind for Vlan {
    fn plugin_type(&self) -> &'static str {
        "vlan"
    }

    fn keys(&self) -> &'static [&'static Known] {
        &[&KNOWN, &virtual_link::KNOWN, &keys::EVERYWHERE]
    }

    fn takes_mac(&self) -> bool {
        false
    }

    fn read(&self, ask: Ask<'_>) -> Outcome<Box<dyn Wanted>> {
        let keys: Keys = ask.conf.object().decode("the configuration")?;
        if keys.master.as_deref().unwrap_or_default().is_empty() {
            return Err(Fault::new(FaultKind::Config, "\"master\" is absent")
                .remedy("name the link that carries the VLAN"));
        }
        let id = id(keys.vlanid)?;
        let protocol = protocol(keys.protocol.as_deref())?;
        let master = WantedMaster::read(keys.master.as_deref(), keys.linkincontainer)?;
        Ok(Box::new(VirtualLink {
            owner: ask.attachment.owner.clone(),
            kind: LinkKind::Vlan { id, protocol },
            claims: claim(&master, id, protocol)?.into_iter().collect(),
            master,
            mac: None,
            mtu: virtual_link::mtu(keys.mtu)?,
            announce: false,
            layer3: Layer3::read(ask)?,
            in_vain: Vec::new(),
        }))
    }
}

/// The VLAN id. An absent one is 0, as with the reference plugin: frames with a priority and no VLAN.
fn id(value: Option<i64>) -> Outcome<u16> {
    let value = value.unwrap_or_default();
    u16::try_from(value).ok().filter(|id| *id <= 4094).ok_or_else(|| {
        Fault::new(FaultKind::Config, format!("\"vlanId\" is {value}"))
            .remedy("give a VLAN id from 0 to 4094")
    })
}

fn protocol(name: Option<&str>) -> Outcome<VlanProtocol> {
    match name.unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "802.1q" => Ok(VlanProtocol::Dot1Q),
        "802.1ad" => Ok(VlanProtocol::Dot1Ad),
        _ => Err(Fault::new(FaultKind::Config, format!("\"protocol\" is {:?}", name.unwrap_or_default()))
            .remedy("use \"802.1Q\" or \"802.1ad\"")),
    }
}

/// A VLAN of a master on the host can be had once on a node: the kernel keeps it registered at the master wherever the
/// link goes. In a pod it is the pod's own affair.
fn claim(master: &WantedMaster, id: u16, protocol: VlanProtocol) -> Outcome<Option<Claim>> {
    let tag = match protocol {
        VlanProtocol::Dot1Q => "",
        VlanProtocol::Dot1Ad => "ad",
    };
    master.on_host().map(|name| Claim::new(format!("vlan{tag} {id} on {name}"))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::keys::tests::assert_read;

    #[test]
    fn the_keys_that_are_known_are_those_that_are_read() {
        assert_read::<Keys>(&KNOWN);
    }
}
