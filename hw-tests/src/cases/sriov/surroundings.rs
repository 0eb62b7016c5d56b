//! What surrounds a VF: namespaces that nobody names, links of the pod's on it, and its PF.

use std::fs::File;

use serde_json::json;

use super::{NEEDS, Stage};
use crate::adapter::await_that;
use crate::catalogue::{Case, HoldsFor};
use crate::need::Need;
use crate::plugin::{Attachment, IFNAME, Subject};
use crate::trouble::{Outcome, Trouble, equal, holds};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a_vf_is_found_in_a_namespace_without_a_name",
        proves: "the namespace's path is gone and a process keeps it alive: DEL takes the VF out of it all the same",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: nameless,
    },
    Case {
        name: "a_vf_that_the_pod_bonded_comes_back",
        proves: "the pod made it a port of a bond with another Ethernet address: DEL takes it out, with its own address",
        needs: &[Need::SriovAdapter, Need::Link("bond")],
        holds_for: HoldsFor::Manifold,
        run: bonded_in_pod,
    },
    Case {
        name: "a_vf_that_is_up_on_the_host_is_attached",
        proves: "an interface that is up, and another VF's beside it, make no difference to the pod's",
        needs: &[Need::SriovAdapter, Need::Vfs(2)],
        holds_for: HoldsFor::Manifold,
        run: up_on_host,
    },
    Case {
        name: "the_hosts_namespace_is_no_pod",
        proves: "a pod with hostNetwork is refused, and the VF keeps its name and settings",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: hosts_namespace,
    },
    Case {
        name: "a_vf_is_attached_while_its_pf_is_down",
        proves: "settings are made and undone, there is no carrier; a rate is refused, with the PF as the reason",
        needs: &[Need::SriovAdapter, Need::Settings(&["spoofchk", "trust", "max_tx_rate"])],
        holds_for: HoldsFor::Manifold,
        run: pf_down,
    },
    Case {
        name: "del_succeeds_when_the_pf_has_lost_its_driver",
        proves: "the PF's driver is unbound under the pod, its VFs are gone: DEL succeeds and leaves nothing",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: pf_without_driver,
    },
];

fn nameless(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    let pod = stage.node.netns("nameless")?;
    let config = stage.config(json!({"vlan": 14, "mac": "02:aa:00:00:00:14"}));
    let attachment = Attachment::new(subject, &stage.node, &pod, config);
    attachment.add()?;
    let said = stage.node.path("said");
    let output = File::create(&said).map_err(Trouble::doing(format!("cannot make {said:?}")))?;
    // It stays for as long as its standard input is open.
    let mut process = pod.program(["cat"]).start(output)?;
    let entered = await_that("no process is in the pod", || {
        pod.processes().is_ok_and(|processes| !processes.is_empty())
    });

    drop(pod);
    let away = stage.adapter.port(0).is_err();
    let gone = attachment.del(None);
    let after = stage.picture();

    drop(process.stdin.take());
    process.wait().map_err(Trouble::doing("cannot wait for the process in the pod"))?;
    entered?;
    holds(away, "the interface came back by itself")?;
    gone?;
    equal("the VF", after?, before)?;
    attachment.left_nothing()
}

fn bonded_in_pod(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    let attachment = stage.attachment(subject, json!({"vlan": 15}));
    attachment.add()?;
    stage.pod.ip("link add bond7 address 02:ee:00:00:00:01 type bond mode active-backup")?;
    stage.pod.ip(&format!("link set {IFNAME} down"))?;
    let enslave = format!("link set {IFNAME} master bond7");
    await_that("the VF goes into no bond", || stage.pod.ip(&enslave).is_ok())?;
    equal("the address in the bond", stage.pod.link(IFNAME)?.mac(), "02:ee:00:00:00:01")?;

    attachment.del(None)?;

    equal("the VF", stage.picture()?, before)?;
    equal("the pod's links", stage.pod.names()?, vec!["bond7".to_owned(), "lo".to_owned()])?;
    attachment.left_nothing()
}

fn up_on_host(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(2)?;
    let (before, port) = (stage.picture()?, stage.adapter.port(0)?);
    let beside = stage.adapter.port(1)?;
    for port in [&port, &beside] {
        stage.node.own.ip(&format!("link set {port} up"))?;
    }
    let attachment = stage.attachment(subject, json!({"mac": "02:aa:00:00:00:15"}));

    let result = attachment.add()?;
    let link = stage.pod.link(IFNAME)?;
    equal("the address in the pod", link.mac(), "02:aa:00:00:00:15")?;
    holds(link.is_up(), "the interface is down")?;
    attachment.del(Some(&result))?;

    holds(stage.node.own.link(&beside)?.is_up(), "the other VF's interface is down")?;
    stage.node.own.ip(&format!("link set {beside} down"))?;
    equal("the VF", stage.picture()?, before)
}

fn hosts_namespace(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    let mut attachment = stage.attachment(subject, json!({"vlan": 16}));
    attachment.netns = "/proc/1/ns/net".to_owned();

    let refusal = attachment.refusal()?;

    holds(refusal.text.contains("the host's own"), refusal.text)?;
    equal("the VF", stage.picture()?, before.clone())?;
    attachment.del(None)?;
    equal("the VF after DEL", stage.picture()?, before)?;
    attachment.left_nothing()
}

fn pf_down(subject: &Subject) -> Outcome<()> {
    let mut stage = Stage::new(1)?;
    let (before, pf) = (stage.picture()?, stage.adapter.pf.clone());
    stage.node.own.ip(&format!("link set {pf} down"))?;
    {
        let keys = json!({"vlan": 17, "spoofchk": "off", "trust": "on"});
        let attachment = stage.attachment(subject, keys);
        let result = attachment.add()?;
        let settings = stage.adapter.settings(0)?;
        equal("the VLAN", settings.pointer("/vlan_list/0/vlan"), Some(&json!(17)))?;
        holds(!stage.pod.link(IFNAME)?.has_flag("LOWER_UP"), "there is a carrier without a PF")?;
        attachment.del(Some(&result))?;

        let refusal = stage.attachment(subject, json!({"vlan": 18, "max_tx_rate": 300})).refusal()?;
        holds(refusal.text.contains("the PF is down"), refusal.text)?;
    }
    for key in ["/vlan_list", "/spoofchk", "/trust", "/rate"] {
        equal(key, stage.adapter.settings(0)?.pointer(key), before.settings.pointer(key))?;
    }
    equal("the name", stage.adapter.port(0)?, before.port)?;
    stage.node.own.ip(&format!("link set {pf} up"))?;
    // A VF that has met a PF that was down does not work for a while.
    stage.adapter.remake()
}

fn pf_without_driver(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let attachment = stage.attachment(subject, json!({"vlan": 19, "mac": "02:aa:00:00:00:19"}));
    attachment.add()?;
    let driver = stage.adapter.unbind_pf()?;

    let gone = attachment.del(None);
    let again = attachment.del(None);

    stage.adapter.bind_pf(&driver)?;
    gone?;
    again?;
    attachment.left_nothing()
}
