//! What a pod gets.

use std::ffi::OsString;
use std::thread;

use serde_json::{Value, json};

use super::{NEEDS, Stage};
use crate::adapter::await_that;
use crate::catalogue::{Case, HoldsFor};
use crate::need::Need;
use crate::plugin::{Attachment, IFNAME, Subject, addresses_in};
use crate::trouble::{Outcome, Trouble, equal, holds};

/// What an adapter may lack of that which the cases set.
const SETTINGS: Need = Need::Settings(&["vlanQoS", "spoofchk", "trust", "max_tx_rate"]);

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a_vf_has_every_setting_and_comes_back_as_it_was",
        proves: "mac, vlan, priority, spoofchk, trust, rate, MTU and allmulti are read back; after DEL none differs",
        needs: &[Need::SriovAdapter, SETTINGS],
        holds_for: HoldsFor::Manifold,
        run: every_setting,
    },
    Case {
        name: "a_vf_without_settings_is_left_as_it_is",
        proves: "without keys nothing changes at the PF, and after DEL the VF can still choose its address",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: no_setting,
    },
    Case {
        name: "a_vf_takes_an_address_although_it_was_given_one_before",
        proves: "a VF whose address was set at the PF gets another, and has the former one, set, after DEL",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: locked_address,
    },
    Case {
        name: "what_an_adapter_refuses_undoes_the_rest",
        proves: "a refused link_state is named with its errno, and vlan and spoofchk are as before",
        needs: &[Need::SriovAdapter, Need::Settings(&["spoofchk"]), Need::Refusal("link_state")],
        holds_for: HoldsFor::Manifold,
        run: refused_setting,
    },
    Case {
        name: "a_vf_does_not_touch_another_interface_of_the_pod",
        proves: "a taken name is refused with code 101; the pod's own link and the VF are as before",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: taken_name,
    },
    Case {
        name: "one_of_two_pods_gets_a_vf",
        proves: "of two ADDs at once one succeeds; the other says try later (11) and takes nothing from it",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: two_pods,
    },
    Case {
        name: "seven_vfs_are_attached_at_once",
        proves: "seven ADDs at once and seven DELs at once all succeed, and every VF is as before",
        needs: &[Need::SriovAdapter, Need::Vfs(7)],
        holds_for: HoldsFor::Manifold,
        run: seven_at_once,
    },
    Case {
        name: "pods_on_vfs_of_one_vlan_reach_each_other",
        proves: "real frames: two VFs in VLAN 100 reach each other, and one in VLAN 200 reaches neither",
        needs: &[Need::SriovAdapter, Need::Vfs(3)],
        holds_for: HoldsFor::Manifold,
        run: vlans_are_apart,
    },
    Case {
        name: "a_vf_takes_few_messages",
        proves: "six netlink messages attach a VF without settings and five detach it; nine and eight with every setting",
        needs: &[Need::SriovAdapter, SETTINGS, Need::Program("strace")],
        holds_for: HoldsFor::Manifold,
        run: few_messages,
    },
    Case {
        name: "check_sees_what_a_vf_has_lost",
        proves: "CHECK succeeds after ADD and fails once the VF's VLAN was changed at the PF",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: check_sees_a_loss,
    },
];

fn every_setting(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(2)?;
    let before = stage.picture()?;
    let attachment = stage.attachment(
        subject,
        json!({"mac": "02-AA-00-00-00-10", "vlan": 100, "vlanQoS": 3, "spoofchk": "off", "trust": "on",
            "max_tx_rate": 500, "mtu": 2000, "allmulti": true}),
    );

    let result = attachment.add()?;

    let link = stage.pod.link(IFNAME)?;
    equal("the Ethernet address", link.mac(), "02:aa:00:00:00:10")?;
    link.has_mtu(2000)?;
    holds(link.is_up() && link.has_flag("ALLMULTI"), "the interface is not up, or misses multicast frames")?;
    equal("the addresses", link.addresses(), addresses_in(&result))?;
    let settings = stage.adapter.settings(0)?;
    let expected = [
        ("/address", json!("02:aa:00:00:00:10")),
        ("/vlan_list/0/vlan", json!(100)),
        ("/vlan_list/0/qos", json!(3)),
        ("/spoofchk", json!(false)),
        ("/trust", json!(true)),
        ("/rate/max_tx", json!(500)),
    ];
    for (key, value) in expected {
        equal(key, settings.pointer(key), Some(&value))?;
    }
    equal(
        "the PCI address in the result",
        result.pointer("/interfaces/0/pciID"),
        Some(&json!(stage.adapter.vf(0))),
    )?;
    equal("the MTU in the result", result.pointer("/interfaces/0/mtu"), Some(&json!(2000)))?;
    checked(&attachment, &result)?;

    attachment.del(Some(&result))?;

    equal("the VF", stage.picture()?, before)?;
    equal("the pod's links", stage.pod.names()?, vec!["lo".to_owned()])?;
    attachment.left_nothing()
}

fn no_setting(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    let attachment = stage.attachment(subject, json!({}));

    let result = attachment.add()?;
    for key in ["/vlan_list", "/spoofchk", "/trust", "/rate", "/link_state"] {
        equal(key, stage.adapter.settings(0)?.pointer(key), before.settings.pointer(key))?;
    }
    checked(&attachment, &result)?;
    attachment.del(Some(&result))?;

    equal("the VF", stage.picture()?, before.clone())?;
    stage.node.own.ip(&format!("link set {} address 02:bb:00:00:00:01", before.port)).map(|_| ())
}

fn locked_address(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let port = stage.adapter.port(0)?;
    // The VF's driver reads the address that was set when it goes down.
    stage.adapter.set(0, "mac 02:cc:00:00:00:01")?;
    stage.node.own.ip(&format!("link set {port} up"))?;
    stage.node.own.ip(&format!("link set {port} down"))?;
    let before = stage.picture()?;
    equal("the address before", before.mac.as_str(), "02:cc:00:00:00:01")?;
    let attachment = stage.attachment(subject, json!({"mac": "02:aa:00:00:00:11"}));

    let result = attachment.add()?;
    equal("the address in the pod", stage.pod.link(IFNAME)?.mac(), "02:aa:00:00:00:11")?;
    equal(
        "the PF's address for it",
        stage.adapter.settings(0)?.get("address"),
        Some(&json!("02:aa:00:00:00:11")),
    )?;
    attachment.del(Some(&result))?;

    equal("the VF", stage.picture()?, before)?;
    let changed = stage.node.own.ip(&format!("link set {port} address 02:bb:00:00:00:01"));
    // The address that was set cannot be seen by the next case.
    stage.adapter.remove_vfs()?;
    holds(changed.is_err(), "the VF may change its address, which it could not before")
}

fn refused_setting(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    let attachment =
        stage.attachment(subject, json!({"vlan": 123, "spoofchk": "off", "link_state": "enable"}));

    let refusal = attachment.refusal()?;

    equal("the code", refusal.code, 103)?;
    holds(refusal.text.contains("link_state"), format!("the key is not named: {}", refusal.text))?;
    equal("the VF", stage.picture()?, before)?;
    attachment.del(None)?;
    attachment.left_nothing()
}

fn taken_name(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    stage.pod.ip(&format!("link add {IFNAME} type dummy"))?;
    stage.pod.ip(&format!("address add 10.1.2.3/24 dev {IFNAME}"))?;
    let before = (stage.picture()?, stage.pod.link(IFNAME)?.mac().to_owned());
    let attachment = stage.attachment(subject, json!({"vlan": 5}));

    let refusal = attachment.refusal()?;

    equal("the code", refusal.code, 101)?;
    let own = stage.pod.link(IFNAME)?;
    equal("the VF and the pod's own link", (stage.picture()?, own.mac().to_owned()), before)?;
    equal("its address", own.addresses(), vec!["10.1.2.3/24".to_owned()])?;
    attachment.del(None)?;
    stage.pod.link(IFNAME).map(|_| ())
}

fn two_pods(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let (before, other) = (stage.picture()?, stage.node.netns("other")?);
    let first = stage.attachment(subject, json!({"vlan": 10}));
    let second = Attachment::new(subject, &stage.node, &other, stage.config(json!({"vlan": 20})));

    let answers = thread::scope(|scope| {
        let racing = [&first, &second].map(|one| scope.spawn(|| one.try_add()));
        racing.map(|thread| thread.join().map_err(|_| Trouble::new("an ADD died"))?)
    });

    let [a, b] = answers;
    let (winner, result, vlan, refusal) = match (a?, b?) {
        (Ok(result), Err(refusal)) => (&first, result, 10, refusal),
        (Err(refusal), Ok(result)) => (&second, result, 20, refusal),
        (Ok(_), Ok(_)) => return Err(Trouble::new("both pods got the VF")),
        (Err(a), Err(b)) => return Err(Trouble::new(format!("nobody got the VF: {}; {}", a.text, b.text))),
    };
    equal("the loser's code", refusal.code, 11)?;
    let vlan_now = |vlan: u64| {
        equal("the VLAN", stage.adapter.settings(0)?.pointer("/vlan_list/0/vlan"), Some(&json!(vlan)))
    };
    vlan_now(vlan)?;
    let loser = if std::ptr::eq(winner, &first) { &second } else { &first };
    loser.del(None)?;
    vlan_now(vlan)?;
    checked(winner, &result)?;
    winner.del(Some(&result))?;
    equal("the VF", stage.picture()?, before)
}

fn seven_at_once(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(7)?;
    let picture =
        || (0..7).map(|number| stage.adapter.picture(&stage.node, number)).collect::<Outcome<Vec<_>>>();
    let before = picture()?;
    let pods = (0..7).map(|n| stage.node.netns(&format!("pod{n}"))).collect::<Outcome<Vec<_>>>()?;
    let keys =
        |n: usize| json!({"vlan": 100 + n, "mac": format!("02:aa:00:00:01:{n:02x}"), "spoofchk": "off"});
    let all: Vec<Attachment<'_>> = pods
        .iter()
        .enumerate()
        .map(|(n, pod)| Attachment::new(subject, &stage.node, pod, stage.config_of(n, keys(n))))
        .collect();

    at_once(&all, |one| one.add())?;
    for (n, pod) in pods.iter().enumerate() {
        let settings = stage.adapter.settings(n)?;
        equal("the VLAN", settings.pointer("/vlan_list/0/vlan"), Some(&json!(100 + n)))?;
        equal("the address", pod.link(IFNAME)?.mac(), &format!("02:aa:00:00:01:{n:02x}"))?;
    }
    at_once(&all, |one| one.del(None).map(|()| Value::Null))?;

    equal("the VFs", picture()?, before)
}

fn at_once(
    all: &[Attachment<'_>],
    call: impl Fn(&Attachment<'_>) -> Outcome<Value> + Sync,
) -> Outcome<Vec<Value>> {
    thread::scope(|scope| {
        let threads: Vec<_> = all.iter().map(|one| scope.spawn(|| call(one))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| Trouble::new("a call died"))?).collect()
    })
}

fn vlans_are_apart(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(3)?;
    let pods = (0..3).map(|n| stage.node.netns(&format!("pod{n}"))).collect::<Outcome<Vec<_>>>()?;
    for ((number, pod), vlan) in pods.iter().enumerate().zip([100, 100, 200]) {
        let address =
            json!({"type": "static", "addresses": [{"address": format!("10.88.0.{}/24", number + 1)}]});
        let keys = json!({"vlan": vlan, "mac": format!("02:aa:00:00:02:{number:02x}"), "ipam": address});
        Attachment::new(subject, &stage.node, pod, stage.config_of(number, keys)).add()?;
    }
    let [first, second, third] = pods.as_slice() else { return Err(Trouble::new("there are three pods")) };
    // Carrier comes a while after the interface is up.
    await_that("a pod on the same VLAN does not answer", || first.reaches("10.88.0.2").unwrap_or_default())?;
    holds(second.reaches("10.88.0.1")?, "the way back is another")?;
    holds(!third.reaches("10.88.0.1")?, "VLAN 200 reaches VLAN 100")?;
    for (number, pod) in pods.iter().enumerate() {
        Attachment::new(subject, &stage.node, pod, stage.config_of(number, json!({}))).del(None)?;
    }
    Ok(())
}

fn few_messages(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let every = json!({"mac": "02:aa:00:00:00:40", "vlan": 60, "spoofchk": "off", "trust": "on"});
    for (keys, wanted) in [(json!({}), (6, 5)), (every, (9, 8))] {
        let mut config = stage.config(keys);
        config.as_object_mut().map(|keys| keys.remove("ipam"));
        let attachment = Attachment::new(subject, &stage.node, &stage.pod, config);
        let counted = (messages(&attachment, "ADD")?, messages(&attachment, "DEL")?);
        equal("the messages of ADD and DEL", counted, wanted)?;
    }
    Ok(())
}

/// How many datagrams a call sends to the kernel.
fn messages(attachment: &Attachment<'_>, command: &str) -> Outcome<usize> {
    let trace = attachment.node.path("trace");
    let program = attachment.subject.program(&attachment.config);
    let words = ["strace", "-f", "-qq", "-e", "trace=sendto", "-o"].map(OsString::from);
    let words = words.into_iter().chain([trace.clone().into_os_string(), program.into_os_string()]);
    attachment.program(command, words, None).output()?;
    let text = std::fs::read_to_string(&trace).map_err(Trouble::doing("cannot read the trace"))?;
    Ok(text.lines().filter(|line| line.contains("sendto(")).count())
}

fn check_sees_a_loss(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let attachment = stage.attachment(subject, json!({"vlan": 7}));
    let result = attachment.add()?;
    checked(&attachment, &result)?;

    stage.adapter.set(0, "vlan 8")?;
    let refusal = attachment.check(&result)?.err();

    let text = refusal.map(|refusal| refusal.text).unwrap_or_default();
    holds(text.contains("vlan 7"), format!("CHECK does not miss VLAN 7: {text:?}"))
}

/// Holds that CHECK has nothing to say.
fn checked(attachment: &Attachment<'_>, result: &Value) -> Outcome<()> {
    equal("what CHECK complains of", attachment.check(result)?.err().map(|refusal| refusal.text), None)
}
