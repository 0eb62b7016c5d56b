//! Calls that end in the middle, and pods that another program attached.

use serde_json::json;

use super::{NEEDS, Stage};
use crate::catalogue::{Case, HoldsFor};
use crate::command::Ran;
use crate::need::Need;
use crate::plugin::{Attachment, IFNAME, Subject};
use crate::trouble::{Outcome, Trouble, equal, holds};

const TRACED: &[Need] = &[Need::SriovAdapter, Need::Program("strace")];

pub(super) const CASES: &[Case] = &[
    Case {
        name: "kill_9_at_every_message_of_an_add_of_a_vf_leaves_nothing",
        proves: "killed before each netlink message of ADD, DEL gives the VF back as it was",
        needs: TRACED,
        holds_for: HoldsFor::Manifold,
        run: killed_adding,
    },
    Case {
        name: "kill_9_at_every_message_of_a_del_of_a_vf_leaves_nothing",
        proves: "killed before each netlink message of DEL, the next DEL gives the VF back as it was",
        needs: TRACED,
        holds_for: HoldsFor::Manifold,
        run: killed_deleting,
    },
    Case {
        name: "a_vf_that_the_peer_attached_is_taken_down",
        proves: "from the peer's file: interface, name, MTU, address and settings are as before, and its files are gone",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: peers_vf,
    },
    Case {
        name: "a_vf_that_the_peer_has_is_refused",
        proves: "the peer's allocation of a living pod is respected: try later (11); that of a dead one is not",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: peers_allocation,
    },
];

/// Most messages that a call may need.
const MESSAGES: u32 = 40;

fn everything() -> serde_json::Value {
    json!({"mac": "02:aa:00:00:00:30", "vlan": 60, "vlanQoS": 2, "spoofchk": "off", "trust": "on", "mtu": 1700})
}

fn killed_adding(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    let attachment = stage.attachment(subject, everything());
    for message in 1..MESSAGES {
        let ran = killed(&attachment, "ADD", message)?;
        attachment.del(None)?;
        let when = format!("the VF after a kill before message {message}");
        equal(&when, stage.picture()?, before.clone())?;
        attachment.left_nothing()?;
        if ran.status == Some(0) {
            return holds(message > 4, "ADD was never killed");
        }
    }
    Err(Trouble::new(format!("ADD needs more than {MESSAGES} messages")))
}

fn killed_deleting(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    let attachment = stage.attachment(subject, everything());
    for message in 1..MESSAGES {
        attachment.add()?;
        let ran = killed(&attachment, "DEL", message)?;
        attachment.del(None)?;
        let when = format!("the VF after a kill before message {message}");
        equal(&when, stage.picture()?, before.clone())?;
        attachment.left_nothing()?;
        if ran.status == Some(0) {
            return holds(message > 3, "DEL was never killed");
        }
    }
    Err(Trouble::new(format!("DEL needs more than {MESSAGES} messages")))
}

/// Runs a call that is killed when it sends its n-th message to the kernel.
fn killed(attachment: &Attachment<'_>, command: &str, message: u32) -> Outcome<Ran> {
    let inject = format!("inject=sendto:signal=KILL:when={message}");
    let program = attachment.subject.program(&attachment.config);
    let words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=sendto", "-e", &inject];
    let words = words.into_iter().map(std::ffi::OsString::from).chain([program.into_os_string()]);
    attachment.program(command, words, None).run()
}

/// Does what the peer does on ADD, and leaves the files it leaves.
fn peers_vf(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    let attachment = stage.attachment(subject, json!({"vlan": 70, "spoofchk": "off"}));
    stage.adapter.set(0, "vlan 70 qos 1")?;
    stage.adapter.set(0, "spoofchk off")?;
    stage.node.own.ip(&format!("link set {} netns {}", before.port, stage.pod.name))?;
    stage.pod.ip(&format!("link set {} name {IFNAME}", before.port))?;
    stage.pod.ip(&format!("link set {IFNAME} mtu 1800 up"))?;
    let cached = json!({
        "cniVersion": "1.0.0", "name": "net-under-test", "type": "sriov", "deviceID": stage.adapter.vf(0),
        "Master": stage.adapter.pf, "VFID": 0, "MTU": 1500, "vlan": 70, "vlanQoS": 1, "vlanProto": "802.1q",
        "spoofchk": "off",
        "OrigVfState": {"HostIFName": before.port, "SpoofChk": true, "Trust": false,
            "AdminMAC": before.mac, "EffectiveMAC": before.mac, "Vlan": 0, "VlanQoS": 0, "VlanProto": 33024,
            "MinTxRate": 0, "MaxTxRate": 0, "LinkState": 0, "MTU": 1500},
    });
    let files = [
        (format!("/var/lib/cni/sriov/{}-{IFNAME}", attachment.container), cached.to_string()),
        (format!("/var/lib/cni/sriov/pci/{}", stage.adapter.vf(0)), stage.pod.path()),
    ];
    for (path, text) in &files {
        let folder = std::path::Path::new(path).parent().unwrap_or(std::path::Path::new("/"));
        std::fs::create_dir_all(folder).map_err(Trouble::doing(format!("cannot make {folder:?}")))?;
        std::fs::write(path, text).map_err(Trouble::doing(format!("cannot write {path}")))?;
    }

    // Called as that one plugin.
    let mut input = attachment.config.clone();
    if let Some(keys) = input.as_object_mut() {
        keys.insert("cniVersion".into(), json!("1.0.0"));
        keys.insert("name".into(), json!("net-under-test"));
    }
    let program = attachment.subject.program(&attachment.config);
    attachment.program("DEL", [program], None).input(input.to_string()).output()?;

    equal("the VF", stage.picture()?, before)?;
    equal("the pod's links", stage.pod.names()?, vec!["lo".to_owned()])?;
    for (path, _) in files {
        holds(!std::path::Path::new(&path).exists(), format!("{path} is still there"))?;
    }
    Ok(())
}

fn peers_allocation(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    let path = format!("/var/lib/cni/sriov/pci/{}", stage.adapter.vf(0));
    std::fs::create_dir_all("/var/lib/cni/sriov/pci").map_err(Trouble::doing("cannot make a folder"))?;
    let other = stage.node.netns("other")?;
    std::fs::write(&path, other.path()).map_err(Trouble::doing(format!("cannot write {path}")))?;
    let attachment = stage.attachment(subject, json!({}));

    let refusal = attachment.refusal()?;
    equal("the code", refusal.code, 11)?;
    holds(refusal.text.contains("is held by another pod"), format!("it is not told why: {}", refusal.text))?;
    holds(!refusal.text.contains(&other.path()), format!("the holder is told: {}", refusal.text))?;
    attachment.del(None)?;
    holds(std::path::Path::new(&path).exists(), "the peer's allocation is gone")?;

    drop(other);
    let result = attachment.add()?;
    let now = std::fs::read_to_string(&path).unwrap_or_default();
    equal("the allocation that the peer sees", now, stage.pod.path())?;
    attachment.del(Some(&result))?;
    holds(!std::path::Path::new(&path).exists(), "our allocation is still there")?;
    equal("the VF", stage.picture()?, before)
}
