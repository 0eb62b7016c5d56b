//! How a VF comes back, whatever became of its pod, its PF and itself.

use serde_json::json;

use super::{NEEDS, Stage};
use crate::adapter::await_that;
use crate::catalogue::{Case, HoldsFor};
use crate::command::Program;
use crate::plugin::{Attachment, IFNAME, Subject};
use crate::trouble::{Outcome, equal, holds};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a_vf_comes_back_when_its_pod_is_gone",
        proves: "the namespace goes first; DEL finds the VF under the pod's name and restores name and settings",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: netns_gone,
    },
    Case {
        name: "a_late_del_leaves_the_next_pods_vf_alone",
        proves: "pod A goes without DEL, B gets the VF; A's late DEL changes nothing, and B's DEL restores what A found",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: late_del,
    },
    Case {
        name: "a_vf_that_the_pod_renamed_comes_back",
        proves: "the pod renames the interface and puts a VLAN on it; DEL finds both, and the VLAN does not stay behind",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: renamed_in_pod,
    },
    Case {
        name: "del_succeeds_when_the_vfs_are_gone",
        proves: "numvfs is set to 0 under the pod; DEL succeeds, and new VFs are not touched by a second one",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: vfs_gone,
    },
    Case {
        name: "a_vf_comes_back_under_a_pf_that_was_renamed_and_is_down",
        proves: "PF renamed and down at DEL: settings are restored all the same",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: pf_renamed_and_down,
    },
    Case {
        name: "a_vf_comes_back_under_a_pf_that_is_bonded",
        proves: "PF enslaved to a bond at DEL: settings are restored through the PF",
        needs: &[super::Need::SriovAdapter, super::Need::Link("bond")],
        holds_for: HoldsFor::Manifold,
        run: pf_bonded,
    },
    Case {
        name: "a_vf_whose_name_was_taken_keeps_the_kernels",
        proves: "another link has the VF's former name: DEL succeeds, settings are restored, nothing else is touched",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: name_taken_on_host,
    },
    Case {
        name: "a_vf_in_use_on_the_node_is_refused",
        proves: "a VF with an address on the host, or in a bridge, is not taken from it",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: in_use,
    },
    Case {
        name: "a_vf_comes_back_under_a_pf_in_another_namespace",
        proves: "the PF's interface is moved away before DEL: settings are restored where it is",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: pf_away_at_del,
    },
    Case {
        name: "a_pf_in_another_namespace_is_named",
        proves: "the refusal says that the PF's interface is not in the host's namespace",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: pf_elsewhere,
    },
];

fn netns_gone(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    let config = stage.config(json!({"mac": "02:aa:00:00:00:12", "vlan": 9, "trust": "on", "mtu": 1600}));
    let pod = stage.node.netns("short-lived")?;
    let attachment = Attachment::new(subject, &stage.node, &pod, config);
    attachment.add()?;

    drop(pod);
    await_that("the interface is not back", || stage.adapter.port(0).is_ok())?;
    equal("the name it comes back under", stage.adapter.port(0)?.as_str(), IFNAME)?;
    attachment.del(None)?;

    equal("the VF", stage.picture()?, before.clone())?;
    attachment.left_nothing()?;
    attachment.del(None)?;
    equal("the VF after a second DEL", stage.picture()?, before)
}

fn late_del(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    let first_pod = stage.node.netns("first")?;
    let first = Attachment::new(
        subject,
        &stage.node,
        &first_pod,
        stage.config(json!({"vlan": 10, "mac": "02:aa:00:00:00:13"})),
    );
    first.add()?;
    drop(first_pod);
    let second = stage.attachment(subject, json!({"vlan": 20, "spoofchk": "off"}));
    let result = second.add()?;
    let during = stage.adapter.settings(0)?;

    first.del(None)?;

    equal("the settings of the second pod's VF", stage.adapter.settings(0)?, during)?;
    equal("the second pod's address", stage.pod.link(IFNAME)?.mac(), before.mac.as_str())?;
    equal("what CHECK complains of", second.check(&result)?.err().map(|refusal| refusal.text), None)?;
    second.del(Some(&result))?;
    equal("the VF", stage.picture()?, before)
}

fn renamed_in_pod(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    let attachment = stage.attachment(subject, json!({}));
    attachment.add()?;
    let add = format!("link add link {IFNAME} name inner type vlan id 5");
    await_that("the VF takes no VLAN", || stage.pod.ip(&add).is_ok())?;
    stage.pod.ip(&format!("link set {IFNAME} down"))?;
    stage.pod.ip(&format!("link set {IFNAME} name mine"))?;
    stage.pod.ip("link set mine address 02:dd:00:00:00:01")?;

    attachment.del(None)?;

    equal("the pod's links", stage.pod.names()?, vec!["lo".to_owned()])?;
    equal("the VF", stage.picture()?, before)
}

fn vfs_gone(subject: &Subject) -> Outcome<()> {
    let mut stage = Stage::new(1)?;
    let attachment = Attachment::new(subject, &stage.node, &stage.pod, stage.config(json!({"vlan": 11})));
    attachment.add()?;
    stage.adapter.remove_vfs()?;

    attachment.del(None)?;
    attachment.left_nothing()?;
    drop(attachment);

    // A second pod has it before the VFs are made anew; then somebody else uses the new one.
    let pod = stage.node.netns("second")?;
    stage.adapter.remake()?;
    let config = stage.config(json!({"vlan": 12}));
    Attachment::new(subject, &stage.node, &pod, config.clone()).add()?;
    stage.adapter.remake()?;
    stage.adapter.set(0, "vlan 77")?;
    let during = stage.picture()?;
    Attachment::new(subject, &stage.node, &pod, config).del(None)?;
    equal("the new VF", stage.picture()?, during)
}

fn pf_renamed_and_down(subject: &Subject) -> Outcome<()> {
    let mut stage = Stage::new(1)?;
    let (before, pf) = (stage.picture()?, stage.adapter.pf.clone());
    let config = stage.config(json!({"vlan": 30, "spoofchk": "off", "trust": "on"}));
    let container = {
        let attachment = Attachment::new(subject, &stage.node, &stage.pod, config.clone());
        attachment.add()?;
        attachment.container
    };
    stage.node.own.ip(&format!("link set {pf} down"))?;
    stage.node.own.ip(&format!("link set {pf} name renamed"))?;
    stage.adapter.pf = "renamed".to_owned();

    let attachment = Attachment::new(subject, &stage.node, &stage.pod, config);
    equal("the container", &attachment.container, &container)?;
    attachment.del(None)?;

    let after = stage.adapter.picture(&stage.node, 0)?;
    stage.node.own.ip(&format!("link set renamed name {pf}"))?;
    stage.adapter.pf = pf;
    equal("the name", &after.port, &before.port)?;
    for key in ["/vlan_list", "/spoofchk", "/trust", "/address"] {
        equal(key, after.settings.pointer(key), before.settings.pointer(key))?;
    }
    Ok(())
}

fn pf_bonded(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    let attachment = stage.attachment(subject, json!({"vlan": 31, "trust": "on"}));
    attachment.add()?;
    stage.node.own.ip("link add bonded type bond mode active-backup")?;
    stage.node.own.ip(&format!("link set {} down master bonded", stage.adapter.pf))?;

    let gone = attachment.del(None);
    let after = stage.picture();

    stage.node.own.ip("link delete bonded")?;
    stage.node.own.ip(&format!("link set {} up", stage.adapter.pf))?;
    gone?;
    equal("the VF", after?, before)
}

fn name_taken_on_host(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    let attachment = stage.attachment(subject, json!({"vlan": 32}));
    attachment.add()?;
    stage.node.own.ip(&format!("link add {} type dummy", before.port))?;

    let gone = attachment.del(None);
    let after = stage.picture();

    stage.node.own.ip(&format!("link delete {}", before.port))?;
    gone?;
    let after = after?;
    holds(after.port != before.port, "two links have one name")?;
    equal("the settings", after.settings, before.settings)?;
    attachment.left_nothing()
}

fn in_use(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let port = stage.adapter.port(0)?;
    stage.node.own.ip(&format!("link set {port} up"))?;
    stage.node.own.ip(&format!("address add 10.66.0.1/24 dev {port}"))?;
    let attachment = stage.attachment(subject, json!({}));

    let refusal = attachment.refusal()?;

    equal("the code", refusal.code, 101)?;
    holds(refusal.text.contains("10.66.0.1/24"), format!("the address is not named: {}", refusal.text))?;
    stage.node.own.ip(&format!("address flush dev {port}"))?;
    stage.node.own.ip("link add hw-bridge type bridge")?;
    let enslave = format!("link set {port} master hw-bridge");
    let enslaved = await_that("the VF goes into no bridge", || stage.node.own.ip(&enslave).is_ok());
    let refusal = enslaved.and_then(|()| attachment.refusal());
    stage.node.own.ip("link delete hw-bridge")?;
    stage.node.own.ip(&format!("link set {port} down"))?;
    let text = refusal?.text;
    holds(text.contains("hw-bridge"), format!("the bridge is not named: {text}"))
}

fn pf_away_at_del(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    let away = stage.node.netns("away")?;
    let pf = &stage.adapter.pf;
    let attachment = stage.attachment(subject, json!({"vlan": 33, "spoofchk": "off"}));
    attachment.add()?;
    stage.node.own.ip(&format!("link set {pf} netns {}", away.name))?;

    let gone = attachment.del(None);

    Program::new(["ip", "-n", &away.name, "link", "set", pf, "netns", "1"]).output()?;
    stage.node.own.ip(&format!("link set {pf} up"))?;
    gone?;
    equal("the VF", stage.picture()?, before)?;
    attachment.left_nothing()
}

fn pf_elsewhere(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let away = stage.node.netns("away")?;
    let pf = &stage.adapter.pf;
    stage.node.own.ip(&format!("link set {pf} netns {}", away.name))?;

    let refusal = stage.attachment(subject, json!({"vlan": 5})).refusal();

    Program::new(["ip", "-n", &away.name, "link", "set", pf, "netns", "1"]).output()?;
    stage.node.own.ip(&format!("link set {pf} up"))?;
    let refusal = refusal?;
    equal("the code", refusal.code, 100)?;
    holds(refusal.text.contains(&stage.adapter.pci()), format!("the PF is not named: {}", refusal.text))
}
