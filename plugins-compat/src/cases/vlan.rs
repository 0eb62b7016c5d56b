//! vlan.

use serde_json::json;

use super::scenes::{self, LEAK_OF_SECOND, LINK_IN_CONTAINER, MASTER_GONE, NO_STORE, comes_and_goes};
use crate::Outcome;
use crate::case::{ALL, Case, Difference, NEWEST, WITH_CHECK};
use crate::conf::without;
use crate::stage::{Ask, Stage};

pub(super) const CASES: &[Case] = &[
    Case::vlan("vlan_with_an_address_comes_and_goes", ALL, with_an_address, &[]),
    Case::vlan("vlan_of_both_families_comes_and_goes", NEWEST, of_both_families, &[]),
    Case::vlan("vlan_needs_no_addresses", NEWEST, without_addresses, NO_IPAM),
    Case::vlan("vlan_has_the_mtu_it_was_given", NEWEST, mtu, &[]),
    Case::vlan("vlan_has_the_id_it_was_given", NEWEST, ids, &[]),
    Case::vlan("vlan_refuses_what_cannot_be", NEWEST, refusals, &[]),
    Case::vlan("vlan_can_be_had_once_on_a_master", NEWEST, once_on_a_master, &[]),
    Case::vlan("vlan_of_a_provider", NEWEST, provider, IGNORED_PROTOCOL),
    Case::vlan("vlan_on_a_link_of_the_pod", NEWEST, link_of_the_pod, LINK_IN_CONTAINER),
    Case::vlan("vlan_leaves_nothing_if_no_address_is_free", NEWEST, no_address_is_free, LEAK_OF_SECOND),
    Case::vlan("vlan_is_detached_without_having_been_attached", NEWEST, never_attached, NO_STORE),
    Case::vlan("vlan_is_detached_without_its_pod", NEWEST, without_pod, &[]),
    Case::vlan("vlan_is_detached_without_its_master", NEWEST, without_master, MASTER_GONE),
    Case::vlan("vlan_check_sees_each_loss", WITH_CHECK, check_sees_losses, &[]),
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

/// On vlan 100, with an address and a default route.
fn on_100(stage: &Stage<'_>) -> Ask {
    let ipam = stage.host_local(json!({"subnet": "10.77.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}));
    stage.ask(json!({"ipam": ipam}))
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
    scenes::mtu(stage, &on_100(stage))
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
    let asks = [
        json!({"vlanId": 4095}),
        json!({"vlanId": -1}),
        json!({"vlanId": "100"}),
        json!({"master": ""}),
        json!({"master": "not-there"}),
        json!({"mtu": 1501}),
    ];
    scenes::refused(stage, &asks.map(|more| plain.with(more)))
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
    scenes::never_attached(stage, &on_100(stage))
}

fn without_pod(stage: &mut Stage<'_>) -> Outcome<()> {
    scenes::without_pod(stage, &on_100(stage))
}

fn without_master(stage: &mut Stage<'_>) -> Outcome<()> {
    scenes::without_master(stage, &on_100(stage))
}

fn check_sees_losses(stage: &mut Stage<'_>) -> Outcome<()> {
    let losses: [(&str, &str, &[&str]); 4] = [
        ("mtu", "link set net1 mtu 1300", &["link set net1 mtu 1400"]),
        ("route", "route delete default", &["route add default via 10.77.0.1"]),
        ("address", "address delete 10.77.0.2/24 dev net1", &[]),
        ("link", "link delete net1", &[]),
    ];
    scenes::check_sees(stage, &on_100(stage).with(json!({"mtu": 1400})), &losses)
}
