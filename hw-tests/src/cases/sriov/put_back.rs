//! The peer is put back while pods live that Manifold attached in its place. On the adapter that the kernel simulates,
//! which takes every setting.

use manifold::engine::del::{Detach, Unrecorded, del};
use manifold::engine::scope::Scope;
use manifold::model;
use serde_json::{Value, json};

use super::simulated::{CONTAINER, NEEDS, NUMBER, Stage, every_key};
use crate::catalogue::{Case, HoldsFor};
use crate::plugin::{IFNAME, Subject};
use crate::trouble::{Outcome, Trouble, equal, holds};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a_vf_attached_in_the_peers_place_is_taken_down_by_its_steps",
        proves: "the file that Manifold leaves for the peer holds every former setting: by the peer's steps, the VF is as before",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: peers_steps,
    },
    Case {
        name: "a_vf_whose_record_is_lost_is_restored_by_the_file",
        proves: "without a record, DEL restores every setting by the file that was left for the peer",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: lost_record,
    },
];

/// Gives the VF settings that are not an adapter's first ones, and then attaches it in the peer's place with others.
/// Answers with the settings before, and the attachment.
fn attach_in_place(stage: &Stage) -> Outcome<(Value, model::Attachment)> {
    for setting in [
        "vlan 9 qos 1",
        "mac 02:aa:00:00:00:09",
        "min_tx_rate 5 max_tx_rate 50",
        "spoofchk on",
        "state disable",
    ] {
        stage.node.own.ip(&format!("link set {} vf {NUMBER} {setting}", stage.pf))?;
    }
    let before = stage.settings()?;
    let attachment = model::Attachment { in_place: true, ..stage.attachment(every_key())? };
    stage.attach(attachment.clone())?;
    Ok((before, attachment))
}

/// Takes down what Manifold attached as the peer does: by the file, and nothing else.
fn peers_steps(_: &Subject) -> Outcome<()> {
    let stage = Stage::new()?;
    let port = stage.node.own.link("vfport")?;
    let (before, _) = attach_in_place(&stage)?;
    let file = stage.node.path("sriov").join(format!("pod-1-{IFNAME}"));
    let text = std::fs::read_to_string(&file).map_err(Trouble::doing(format!("cannot read {file:?}")))?;
    let file: Value = serde_json::from_str(&text).map_err(Trouble::doing("the file is no JSON"))?;
    let at = |pointer: &str| file.pointer(pointer).cloned().unwrap_or_default();
    let was = |key: &str| at(&format!("/OrigVfState/{key}"));
    let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
    let switch = |key: &str| if was(key) == json!(true) { "on" } else { "off" };
    let protocol = if was("VlanProto") == json!(0x88a8) { "802.1ad" } else { "802.1q" };
    let states = ["auto", "enable", "disable"];
    let state = was("LinkState").as_u64().and_then(|n| states.get(usize::try_from(n).ok()?));
    let settings = [
        ("/vlan", format!("vlan {} qos {} proto {protocol}", was("Vlan"), was("VlanQoS"))),
        ("/spoofchk", format!("spoofchk {}", switch("SpoofChk"))),
        ("/MAC", format!("mac {}", text(was("AdminMAC")))),
        ("/trust", format!("trust {}", switch("Trust"))),
        ("/max_tx_rate", format!("min_tx_rate {} max_tx_rate {}", was("MinTxRate"), was("MaxTxRate"))),
        ("/link_state", format!("state {}", state.copied().unwrap_or_default())),
    ];
    let (pf, number) = (text(at("/Master")), at("/VFID"));
    for (key, setting) in settings {
        holds(!at(key).is_null(), format!("{key:?} is not in the file"))?;
        stage.node.own.ip(&format!("link set {pf} vf {number} {setting}"))?;
    }
    let name = text(was("HostIFName"));
    stage.pod.ip(&format!("link set {IFNAME} down"))?;
    stage.pod.ip(&format!("link set {IFNAME} name {name}"))?;
    let (mac, mtu) = (text(was("EffectiveMAC")), was("MTU"));
    stage.pod.ip(&format!("link set {name} address {mac} mtu {mtu}"))?;
    stage.pod.ip(&format!("link set {name} netns {}", std::process::id()))?;

    equal("the settings", stage.settings()?, before.clone())?;
    equal("the interface's address", stage.node.own.link("vfport")?.mac(), port.mac())?;
    // Manifold is put in place again, and finds its record.
    stage.del()?;
    equal("the settings after a late DEL", stage.settings()?, before)
}

fn lost_record(_: &Subject) -> Outcome<()> {
    let stage = Stage::new()?;
    let port = stage.node.own.link("vfport")?;
    let (before, attachment) = attach_in_place(&stage)?;
    std::fs::remove_dir_all(stage.node.path("state")).map_err(Trouble::doing("cannot remove the records"))?;

    let container = CONTAINER.parse()?;
    let configured = || vec![attachment.clone()];
    let (scope, unrecorded) = (Scope::Own, Unrecorded::Trace);
    let netns = attachment.netns.as_ref();
    let detach = Detach { container: &container, scope, configured: &configured, netns, unrecorded };
    stage.call(|node| del(node, &detach))?;

    equal("the settings", stage.settings()?, before)?;
    equal("the interface's address", stage.node.own.link("vfport")?.mac(), port.mac())?;
    let left = stage.node.path("sriov").join(format!("pod-1-{IFNAME}"));
    holds(!left.exists(), "the file for the peer is still there")
}
