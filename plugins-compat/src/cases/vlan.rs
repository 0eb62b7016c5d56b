//! vlan.

use serde_json::{Value, json};

use crate::Outcome;
use crate::case::{ALL, Case, Difference, NEWEST, WITH_CHECK};
use crate::command::ip;
use crate::conf::without;
use crate::stage::{Ask, Stage};

pub(super) const CASES: &[Case] = &[
    case("vlan_with_an_address_comes_and_goes", ALL, with_an_address, &[]),
    case("vlan_of_both_families_comes_and_goes", NEWEST, of_both_families, &[]),
    case("vlan_needs_no_addresses", NEWEST, without_addresses, NO_IPAM),
    case("vlan_has_the_mtu_it_was_given", NEWEST, mtu, &[]),
    case("vlan_has_the_id_it_was_given", NEWEST, ids, &[]),
    case("vlan_refuses_what_cannot_be", NEWEST, refusals, &[]),
    case("vlan_can_be_had_once_on_a_master", NEWEST, once_on_a_master, &[]),
    case("vlan_of_a_provider", NEWEST, provider, IGNORED_PROTOCOL),
    case("vlan_on_a_link_of_the_pod", NEWEST, link_of_the_pod, LINK_IN_CONTAINER),
    case("vlan_leaves_nothing_if_no_address_is_free", NEWEST, no_address_is_free, LEAK),
    case("vlan_is_detached_without_having_been_attached", NEWEST, never_attached, NO_STORE),
    case("vlan_is_detached_without_its_pod", NEWEST, without_pod, &[]),
    case("vlan_is_detached_without_its_master", NEWEST, without_master, MASTER_GONE),
    case("vlan_check_sees_each_loss", WITH_CHECK, check_sees_losses, &[]),
];

const NO_IPAM: &[Difference] = &[
    Difference {
        at: "ADD/succeeded",
        reference: "false",
        ours: "true",
        why: "a pod may bring its own addresses, as with macvlan",
    },
    Difference { at: "DEL/succeeded", reference: "false", ours: "true", why: "the same" },
    Difference {
        at: "left/links",
        reference: r#"["net1"]"#,
        ours: "[]",
        why: "the reference plugin makes the link, is refused by IPAM, and refuses the DEL for the same reason",
    },
];

const IGNORED_PROTOCOL: &[Difference] = &[Difference {
    at: "made/links/net1/linkinfo/info_data/protocol",
    reference: r#""802.1Q""#,
    ours: r#""802.1ad""#,
    why: "the reference plugin does not know \"protocol\"",
}];

const LINK_IN_CONTAINER: &[Difference] = &[
    Difference {
        at: "ADD/succeeded",
        reference: "false",
        ours: "true",
        why: "older releases look for the master on the node alone",
    },
    Difference { at: "DEL/succeeded", reference: "false", ours: "true", why: "the same" },
];

const LEAK: &[Difference] = &[Difference {
    at: "after the refusal/links",
    reference: r#"["net1","net2"]"#,
    ours: r#"["net1"]"#,
    why: "ours takes back what a refused ADD made; the reference plugin leaves the link to a DEL",
}];

const NO_STORE: &[Difference] = &[Difference {
    at: "left/store/net|lock",
    reference: r#""""#,
    ours: "",
    why: "ours makes no store in order to find nothing in it",
}];

const MASTER_GONE: &[Difference] = &[
    Difference {
        at: "DEL/succeeded",
        reference: "false",
        ours: "true",
        why: "DEL needs no master; the reference plugin refuses without it, for ever",
    },
    Difference {
        at: "left/store/net|10.77.0.2",
        reference: r#""pod-1\r\nnet1""#,
        ours: "",
        why: "the same: the refused DEL keeps the address",
    },
];

const fn case(
    name: &'static str,
    versions: &'static [&'static str],
    play: fn(&mut Stage<'_>) -> Outcome<()>,
    differs: &'static [Difference],
) -> Case {
    Case { name, plugin: "vlan", versions, play, differs }
}

/// On vlan 100, with an address and a default route.
fn on_100(stage: &Stage<'_>) -> Ask {
    let ipam = stage.host_local(json!({"subnet": "10.77.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}));
    stage.ask(json!({"ipam": ipam}))
}

/// ADD, CHECK, DEL and DEL again.
fn comes_and_goes(stage: &mut Stage<'_>, ask: &Ask) -> Outcome<()> {
    let result = stage.add("ADD", ask)?;
    stage.look("made", ask)?;
    stage.check(ask, &result)?;
    stage.del("DEL", ask, Some(&result))?;
    stage.left("left")?;
    stage.nothing_is_left()?;
    stage.del("second DEL", ask, None)?;
    stage.nothing_is_left()?;
    stage.no_record_is_left()
}

fn with_an_address(stage: &mut Stage<'_>) -> Outcome<()> {
    comes_and_goes(stage, &on_100(stage))
}

fn of_both_families(stage: &mut Stage<'_>) -> Outcome<()> {
    let ask = stage.ask(json!({"dns": {"nameservers": ["10.0.0.1"]}, "ipam": {
        "type": "static",
        "addresses": [{"address": "10.77.0.5/24", "gateway": "10.77.0.1"}, {"address": "fd00:77::5/64"}],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "fd00:98::/48", "gw": "fd00:77::7"}],
    }}));
    comes_and_goes(stage, &ask)
}

fn without_addresses(stage: &mut Stage<'_>) -> Outcome<()> {
    let ask = stage.ask(json!({"ipam": {}}));
    stage.attempt("ADD", "ADD", (&ask, None))?;
    stage.attempt("DEL", "DEL", (&ask, None))?;
    stage.left("left")
}

fn mtu(stage: &mut Stage<'_>) -> Outcome<()> {
    ip("link set up0 mtu 1450")?;
    for mtu in [0, 1280, 1450] {
        let ask = on_100(stage).with(json!({"mtu": mtu}));
        let result = stage.add(&format!("ADD {mtu}"), &ask)?;
        stage.look(&format!("mtu {mtu}"), &ask)?;
        stage.del(&format!("DEL {mtu}"), &ask, Some(&result))?;
    }
    for mtu in [1451, -1] {
        stage.refuse("ADD", (&on_100(stage).with(json!({"mtu": mtu})), None), None)?;
    }
    stage.nothing_is_left()
}

fn ids(stage: &mut Stage<'_>) -> Outcome<()> {
    for id in [0, 1, 4094] {
        let ask = on_100(stage).with(json!({"vlanId": id}));
        stage.add(&format!("ADD {id}"), &ask)?;
        stage.look(&format!("id {id}"), &ask)?;
        stage.del(&format!("DEL {id}"), &ask, None)?;
    }
    let plain = on_100(stage);
    let without_id = Ask { conf: without(plain.conf.clone(), "vlanId"), ..plain };
    stage.add("ADD without id", &without_id)?;
    stage.look("without id", &without_id)?;
    stage.del("DEL without id", &without_id, None)?;
    stage.nothing_is_left()
}

fn refusals(stage: &mut Stage<'_>) -> Outcome<()> {
    let plain = on_100(stage);
    let more: [Value; 6] = [
        json!({"vlanId": 4095}),
        json!({"vlanId": -1}),
        json!({"vlanId": "100"}),
        json!({"master": ""}),
        json!({"master": "not-there"}),
        json!({"mtu": 1501}),
    ];
    for (number, more) in more.into_iter().enumerate() {
        let refused = stage.refuse("ADD", (&plain.with(more), None), None);
        refused.map_err(|trouble| format!("{number}: {trouble}"))?;
        stage.nothing_is_left()?;
    }
    stage.left("left")
}

fn once_on_a_master(stage: &mut Stage<'_>) -> Outcome<()> {
    let pod = stage.another_pod()?;
    let first = on_100(stage);
    let second = Ask { container: "pod-2".into(), netns: pod.path().to_string(), ..first.clone() };
    let result = stage.add("ADD", &first)?;
    stage.refuse("ADD", (&second, None), None)?;
    stage.left("after the refusal")?;
    if pod.interfaces() != ["lo"] {
        return Err(format!("the refused pod has {:?}", pod.interfaces()));
    }
    stage.del("DEL of the second", &second, None)?;
    stage.look("the first is as it was", &first)?;
    stage.del("DEL of the first", &first, Some(&result))?;
    stage.succeed("ADD of the second", "ADD", (&second, None))?;
    stage.del("DEL", &second, None)?;
    stage.nothing_is_left()?;
    stage.no_record_is_left()
}

fn provider(stage: &mut Stage<'_>) -> Outcome<()> {
    comes_and_goes(stage, &on_100(stage).with(json!({"protocol": "802.1ad"})))
}

fn link_of_the_pod(stage: &mut Stage<'_>) -> Outcome<()> {
    stage.ip_in_pod("link add inner type veth peer name outer")?;
    stage.ip_in_pod("link set inner up")?;
    let ask = on_100(stage).with(json!({"master": "inner", "linkInContainer": true}));
    stage.attempt("ADD", "ADD", (&ask, None))?;
    stage.attempt("DEL", "DEL", (&ask, None))?;
    let links = stage.ip_in_pod("-brief link show type vlan")?;
    if links.trim().is_empty() { Ok(()) } else { Err(format!("{links} is left")) }
}

fn no_address_is_free(stage: &mut Stage<'_>) -> Outcome<()> {
    let one = json!({"subnet": "10.77.0.0/24", "rangeStart": "10.77.0.9", "rangeEnd": "10.77.0.9"});
    let first = stage.ask(json!({"ipam": stage.host_local(one)}));
    let second =
        Ask { container: "pod-2".into(), ifname: "net2".into(), ..first.with(json!({"vlanId": 101})) };
    stage.add("ADD", &first)?;
    stage.refuse("ADD", (&second, None), None)?;
    stage.left("after the refusal")?;
    stage.del("DEL of the second", &second, None)?;
    stage.del("DEL of the first", &first, None)?;
    stage.nothing_is_left()
}

fn never_attached(stage: &mut Stage<'_>) -> Outcome<()> {
    let ask = on_100(stage);
    stage.del("DEL", &ask, None)?;
    stage.left("left")?;
    stage.nothing_is_left()?;
    stage.no_record_is_left()
}

fn without_pod(stage: &mut Stage<'_>) -> Outcome<()> {
    let pod = stage.another_pod()?;
    let ask = Ask { netns: pod.path().to_string(), ..on_100(stage) };
    let made = stage.succeed("ADD", "ADD", (&ask, None));
    drop(pod);
    made?;
    stage.del("DEL", &ask, None)?;
    stage.left("left")?;
    let stopped = Ask { netns: String::new(), ..ask };
    stage.del("DEL without a name", &stopped, None)?;
    stage.nothing_is_left()?;
    stage.no_record_is_left()
}

fn without_master(stage: &mut Stage<'_>) -> Outcome<()> {
    let ask = on_100(stage);
    let result = stage.add("ADD", &ask)?;
    ip("link delete up0")?;
    stage.attempt("DEL", "DEL", (&ask, Some(&result)))?;
    stage.left("left")?;
    stage.no_record_is_left()
}

fn check_sees_losses(stage: &mut Stage<'_>) -> Outcome<()> {
    let ask = on_100(stage).with(json!({"mtu": 1400}));
    let result = stage.add("ADD", &ask)?;
    stage.check(&ask, &result)?;
    let losses = [
        ("mtu", "link set net1 mtu 1300", Some("link set net1 mtu 1400")),
        ("route", "route delete default", Some("route add default via 10.77.0.1")),
        ("address", "address delete 10.77.0.2/24 dev net1", None),
        ("link", "link delete net1", None),
    ];
    for (label, lose, mend) in losses {
        stage.ip_in_pod(lose)?;
        stage
            .refuse("CHECK", (&ask, Some(&result)), None)
            .map_err(|trouble| format!("{label}: {trouble}"))?;
        if let Some(mend) = mend {
            stage.ip_in_pod(mend)?;
            stage.succeed(&format!("CHECK with {label} again"), "CHECK", (&ask, Some(&result)))?;
        }
    }
    stage.del("DEL", &ask, Some(&result))?;
    stage.nothing_is_left()
}
