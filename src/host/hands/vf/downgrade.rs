//! The file by which the peer's plugin can take down what Manifold attached in its place: after a downgrade it knows a
//! VF by this file alone.

use serde_json::{Map, Value, json};

use super::VfHands;
use crate::engine::ports::Site;
use crate::model::fault::Outcome;
use crate::model::{Attachment, Object};
use crate::plan::step::VlanProtocol;
use crate::plan::vf::{Driven, Pf, VfLinkState, VfSettings, VfTake};

impl VfHands {
    /// Leaves the file, before the VF is changed.
    pub(super) fn leave_peers_file(&self, site: Site<'_>, take: &VfTake) -> Outcome<()> {
        let wanted = may_be_the_peers(site.attachment).then(|| file(site, take)).flatten();
        wanted.map_or(Ok(()), |file| self.registry.leave(&site.attachment.owner, &file))
    }

    /// Removes it, once nothing is left to take down.
    pub(super) fn forget_peers_file(&self, site: Site<'_>) -> Outcome<()> {
        match may_be_the_peers(site.attachment) {
            true => self.registry.forget(&site.attachment.owner),
            false => Ok(()),
        }
    }
}

/// Whether the peer may be put back while the attachment lives: Manifold was called under the name of the program that
/// calls it, or under its own.
fn may_be_the_peers(attachment: &Attachment) -> bool {
    attachment.in_place || attachment.standalone.is_some()
}

/// What the peer would have left; `None` where it could take nothing down, for it needs the PF.
///
/// The peer restores what the configuration in the file asks for. So a setting stands there only if it is known what it
/// was before: what nobody knows is left alone, as Manifold leaves it.
fn file(site: Site<'_>, take: &VfTake) -> Option<Value> {
    let pf = take.pf.as_ref()?;
    let Attachment { network, owner, .. } = site.attachment;
    let mut file = asked(&VfSettings { mac: take.to.mac, ..take.to.where_asked(&take.was) });
    file.insert("name".into(), json!(network.name.as_str()));
    file.insert("type".into(), json!("sriov"));
    file.insert("deviceID".into(), json!(take.vf));
    file.insert("ContIFNames".into(), json!(owner.ifname.as_str()));
    file.insert("DPDKMode".into(), json!(matches!(take.driven, Driven::Application(_))));
    let plugin = network.plugins.iter().find(|conf| conf.kind().as_str() == "sriov");
    if let Some(ipam) = plugin.and_then(|conf| ipam_type(conf.object())) {
        file.insert("ipam".into(), json!({"type": ipam}));
    }
    let Pf { name, number, .. } = pf;
    file.insert("Master".into(), json!(name.as_str()));
    file.insert("VFID".into(), json!(number));
    file.insert("OrigVfState".into(), Value::Object(before(take)));
    Some(Value::Object(file))
}

/// The peer runs this plugin to give addresses back.
fn ipam_type(conf: &Object) -> Option<String> {
    let ipam: Value = serde_json::from_str(conf.find("ipam")?.get()).ok()?;
    Some(ipam.get("type")?.as_str()?.to_owned())
}

/// Settings as a configuration asks for them.
fn asked(settings: &VfSettings) -> Map<String, Value> {
    let switch = |on: bool| json!(if on { "on" } else { "off" });
    let mut keys = Map::new();
    let VfSettings { mac, vlan, spoofchk, trust, link_state, rate } = settings;
    if let Some(mac) = mac {
        keys.insert("MAC".into(), json!(mac));
    }
    if let Some(vlan) = vlan {
        let protocol = match vlan.protocol {
            VlanProtocol::Dot1Q => "802.1q",
            VlanProtocol::Dot1Ad => "802.1ad",
        };
        keys.insert("vlan".into(), json!(vlan.id));
        keys.insert("vlanQoS".into(), json!(vlan.qos));
        keys.insert("vlanProto".into(), json!(protocol));
    }
    if let Some(on) = spoofchk {
        keys.insert("spoofchk".into(), switch(*on));
    }
    if let Some(on) = trust {
        keys.insert("trust".into(), switch(*on));
    }
    if let Some(state) = link_state {
        keys.insert("link_state".into(), json!(state));
    }
    if let Some(rate) = rate {
        keys.insert("min_tx_rate".into(), json!(rate.min));
        keys.insert("max_tx_rate".into(), json!(rate.max));
    }
    keys
}

/// The state of the VF before. What is not known is as on an adapter that nobody touched.
fn before(take: &VfTake) -> Map<String, Value> {
    let VfSettings { mac, vlan, spoofchk, trust, link_state, rate } = &take.was;
    let mut state = Map::new();
    if let Driven::Kernel(kernel) = &take.driven {
        state.insert("HostIFName".into(), json!(kernel.was.name.as_str()));
        state.insert(
            "EffectiveMAC".into(),
            json!(kernel.was.mac.map(|mac| mac.to_string()).unwrap_or_default()),
        );
        state.insert("MTU".into(), json!(kernel.was.mtu));
    }
    // Zeros stand for none. The peer sets what it finds, so they are not written for a VF whose address stays.
    let admin = match (mac, take.to.mac) {
        (Some(mac), _) => mac.to_string(),
        (None, Some(_)) => "00:00:00:00:00:00".to_owned(),
        (None, None) => String::new(),
    };
    state.insert("AdminMAC".into(), json!(admin));
    state.insert("SpoofChk".into(), json!(spoofchk.unwrap_or(true)));
    state.insert("Trust".into(), json!(trust.unwrap_or(false)));
    let protocol = match vlan.map(|vlan| vlan.protocol) {
        Some(VlanProtocol::Dot1Ad) => 0x88a8,
        Some(VlanProtocol::Dot1Q) | None => 0x8100,
    };
    state.insert("Vlan".into(), json!(vlan.map_or(0, |vlan| vlan.id)));
    state.insert("VlanQoS".into(), json!(vlan.map_or(0, |vlan| vlan.qos)));
    state.insert("VlanProto".into(), json!(protocol));
    state.insert("MinTxRate".into(), json!(rate.map_or(0, |rate| rate.min)));
    state.insert("MaxTxRate".into(), json!(rate.map_or(0, |rate| rate.max)));
    let link_state = match link_state {
        Some(VfLinkState::Auto) | None => 0,
        Some(VfLinkState::Enable) => 1,
        Some(VfLinkState::Disable) => 2,
    };
    state.insert("LinkState".into(), json!(link_state));
    state
}
