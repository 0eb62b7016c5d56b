//! macvlan.

use serde_json::{Value, json};

use super::scenes::{self, LEAK_OF_SECOND, LINK_IN_CONTAINER, MASTER_GONE, NO_STORE, comes_and_goes};
use crate::Outcome;
use crate::case::{ALL, BEFORE_INTERFACES, Case, Difference, NEWEST, SHAPES, WITH_CHECK, WITH_INTERFACES};
use crate::command::ip;
use crate::conf::{with, without};
use crate::stage::{Ask, MASTER, Stage};

pub(super) const CASES: &[Case] = &[
    Case::macvlan("macvlan_with_an_address_comes_and_goes", ALL, with_an_address, &[]),
    Case::macvlan("macvlan_of_both_families_comes_and_goes", SHAPES, of_both_families, &[]),
    Case::macvlan("macvlan_without_addresses_comes_and_goes", WITH_INTERFACES, without_addresses, &[]),
    Case::macvlan("macvlan_without_addresses_has_no_result", BEFORE_INTERFACES, no_result, LEAK),
    Case::macvlan("macvlan_with_fixed_addresses_and_routes", SHAPES, fixed, &[]),
    Case::macvlan("macvlan_waits_for_an_ipv6_gateway", NEWEST, ipv6_gateway, &[]),
    Case::macvlan("macvlan_switches_ipv6_on", NEWEST, switches_ipv6_on, &[]),
    Case::macvlan("macvlan_answers_with_its_own_dns", SHAPES, own_dns, &[]),
    Case::macvlan("macvlan_on_the_default_route", NEWEST, default_route, &[]),
    Case::macvlan("macvlan_in_every_mode", NEWEST, every_mode, &[]),
    Case::macvlan("macvlan_in_mode_source", NEWEST, mode_source, UNKNOWN_MODE),
    Case::macvlan("macvlan_has_the_mtu_it_was_given", NEWEST, mtu, &[]),
    Case::macvlan("macvlan_has_the_mac_it_was_given", NEWEST, mac, &[]),
    Case::macvlan("macvlan_on_a_link_of_the_pod", NEWEST, link_of_the_pod, LINK_IN_CONTAINER),
    Case::macvlan("macvlan_gives_the_address_asked_for", NEWEST, asked_address, &[]),
    Case::macvlan("macvlan_keys_match_in_any_case", NEWEST, any_case, &[]),
    Case::macvlan("macvlan_refuses_what_cannot_be", NEWEST, refusals, &[]),
    Case::macvlan("macvlan_refuses_what_its_ipam_refuses", NEWEST, ipam_refusals, &[]),
    Case::macvlan("macvlan_leaves_nothing_if_no_address_is_free", NEWEST, no_address_is_free, LEAK_OF_SECOND),
    Case::macvlan("macvlan_leaves_nothing_if_there_is_no_address", NEWEST, no_address, LEAK),
    Case::macvlan("macvlan_leaves_nothing_if_a_route_cannot_be", NEWEST, impossible_route, LEAK),
    Case::macvlan("macvlan_does_not_touch_what_has_its_name", NEWEST, name_is_taken, NOT_OURS),
    Case::macvlan("macvlan_is_detached_without_having_been_attached", ALL, never_attached, NO_STORE),
    Case::macvlan("macvlan_is_detached_without_its_pod", NEWEST, without_pod, &[]),
    Case::macvlan("macvlan_is_detached_without_its_master", NEWEST, without_master, MASTER_GONE),
    Case::macvlan("macvlan_check_sees_each_loss", WITH_CHECK, check_sees_losses, &[]),
    Case::macvlan("macvlan_two_interfaces_are_two_attachments", NEWEST, two_interfaces, &[]),
];

const UNKNOWN_MODE: &[Difference] = &[Difference {
    at: "ADD/succeeded",
    reference: "false",
    ours: "true",
    why: "ours knows mode \"source\"",
}];

const LEAK: &[Difference] = &[Difference {
    at: "after the refusal/links",
    reference: r#"["net1"]"#,
    ours: "[]",
    why: "ours takes back what a refused ADD made; the reference plugin leaves the link to a DEL",
}];

const NOT_OURS: &[Difference] = &[
    Difference {
        at: "after DEL/links",
        reference: "[]",
        ours: r#"["net1","other"]"#,
        why: "ours deletes no link of another kind, whatever its name",
    },
    Difference {
        at: "after the refusal/store/net|lock",
        reference: "",
        ours: r#""""#,
        why: "ours takes the address before it makes the link, and gives it back",
    },
    Difference {
        at: "after the refusal/store/net|last_reserved_ip.0",
        reference: "",
        ours: r#""10.77.0.2""#,
        why: "the same",
    },
    Difference {
        at: "after DEL/store/net|last_reserved_ip.0",
        reference: "",
        ours: r#""10.77.0.2""#,
        why: "the same",
    },
];

fn ipv4() -> Value {
    json!({"ranges": [[{"subnet": "10.77.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]})
}

/// With an address and a default route.
fn addressed(stage: &Stage<'_>) -> Ask {
    stage.ask(json!({"ipam": stage.host_local(ipv4())}))
}

fn with_an_address(stage: &mut Stage<'_>) -> Outcome<()> {
    comes_and_goes(stage, &addressed(stage))
}

fn of_both_families(stage: &mut Stage<'_>) -> Outcome<()> {
    let ranges = json!({"ranges": [
        [{"subnet": "10.77.0.0/24", "rangeStart": "10.77.0.20", "rangeEnd": "10.77.0.30"}],
        [{"subnet": "fd00:77::/64"}],
    ], "routes": [{"dst": "10.99.0.0/16", "gw": "10.77.0.9"}]});
    // Without a gateway of IPv6 nobody waits for the detection of duplicates; host-local always names one.
    let ask = stage.ask(json!({"ipam": stage.host_local(ranges)}));
    comes_and_goes(stage, &ask)
}

fn without_addresses(stage: &mut Stage<'_>) -> Outcome<()> {
    comes_and_goes(stage, &stage.ask(json!({"ipam": {}})))
}

fn no_result(stage: &mut Stage<'_>) -> Outcome<()> {
    let ask = stage.ask(json!({"ipam": {}}));
    stage.refuse("ADD", (&ask, None), None)?;
    stage.left("after the refusal")?;
    stage.del("DEL", &ask, None)?;
    stage.nothing_is_left()
}

fn fixed(stage: &mut Stage<'_>) -> Outcome<()> {
    let ask = stage.ask(json!({"ipam": {
        "type": "static",
        "addresses": [{"address": "10.77.0.5/24", "gateway": "10.77.0.1"}, {"address": "fd00:77::5/64"}],
        "routes": [
            {"dst": "0.0.0.0/0"}, {"dst": "10.98.0.0/16", "gw": "10.77.0.7"}, {"dst": "fd00:98::/48", "gw": "fd00:77::7"},
        ],
    }}));
    comes_and_goes(stage, &ask)
}

fn ipv6_gateway(stage: &mut Stage<'_>) -> Outcome<()> {
    let ask = stage.ask(json!({"ipam": {
        "type": "static",
        "addresses": [{"address": "fd00:77::5/64", "gateway": "fd00:77::1"}],
        "routes": [{"dst": "::/0"}],
    }}));
    let result = stage.add("ADD", &ask)?;
    let tentative = stage.ip_in_pod("-6 address show dev net1 scope global tentative")?;
    if !tentative.trim().is_empty() {
        return Err(format!("the answer came before the detection of duplicates had ended: {tentative}"));
    }
    stage.look("made", &ask)?;
    stage.check(&ask, &result)?;
    stage.del("DEL", &ask, Some(&result))?;
    stage.nothing_is_left()
}

fn switches_ipv6_on(stage: &mut Stage<'_>) -> Outcome<()> {
    stage.write_in_pod("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")?;
    stage.write_in_pod("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "1")?;
    let ask = stage.ask(json!({"ipam": {"type": "static", "addresses": [{"address": "fd00:77::5/64"}]}}));
    comes_and_goes(stage, &ask)
}

fn own_dns(stage: &mut Stage<'_>) -> Outcome<()> {
    let file = stage.file("resolv.conf", "nameserver 10.0.0.9\nsearch of.ipam\n")?;
    let ipam = with(stage.host_local(ipv4()), json!({"resolvConf": file}));
    let dns = json!({"nameservers": ["10.0.0.1"], "domain": "a.b", "search": ["b"], "options": ["ndots:2"]});
    comes_and_goes(stage, &stage.ask(json!({"ipam": ipam, "dns": dns})))
}

fn default_route(stage: &mut Stage<'_>) -> Outcome<()> {
    ip("address add 10.9.0.1/24 dev up0")?;
    let ask = stage.ask(json!({"ipam": {}, "master": ""}));
    stage.refuse("ADD", (&ask, None), None)?;
    stage.nothing_is_left()?;
    ip("route add default via 10.9.0.254")?;
    comes_and_goes(stage, &ask)
}

fn every_mode(stage: &mut Stage<'_>) -> Outcome<()> {
    for mode in ["bridge", "private", "vepa", "passthru"] {
        let ask = stage.ask(json!({"ipam": {}, "mode": mode}));
        stage.add(&format!("ADD {mode}"), &ask)?;
        stage.look(mode, &ask)?;
        stage.del(&format!("DEL {mode}"), &ask, None)?;
        stage.nothing_is_left()?;
    }
    Ok(())
}

fn mode_source(stage: &mut Stage<'_>) -> Outcome<()> {
    let ask = stage.ask(json!({"ipam": {}, "mode": "source"}));
    stage.attempt("ADD", "ADD", (&ask, None))?;
    stage.del("DEL", &ask, None)?;
    stage.nothing_is_left()
}

fn mtu(stage: &mut Stage<'_>) -> Outcome<()> {
    scenes::mtu(stage, &stage.ask(json!({"ipam": {}})))
}

fn mac(stage: &mut Stage<'_>) -> Outcome<()> {
    const MACS: [&str; 3] = ["02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"];
    MACS.iter().for_each(|mac| stage.expect_mac(mac));
    let [configured, argument, runtime] = MACS;
    let plain = stage.ask(json!({"ipam": {}}));
    let with_conf = plain.with(json!({"mac": configured}));
    let with_args = Ask { args: format!("IgnoreUnknown=1;MAC={argument}"), ..plain.clone() };
    let capability = json!({"capabilities": {"mac": true}, "RuntimeConfig": {"mac": runtime}});
    let all = Ask { args: with_args.args.clone(), ..with_conf.with(capability.clone()) };
    let asks = [
        ("configuration", with_conf.clone()),
        ("CNI_ARGS", with_args.clone()),
        ("runtime", plain.with(capability)),
        ("CNI_ARGS before configuration", Ask { args: with_args.args, ..with_conf }),
        ("runtime before all", all),
        ("upper case", plain.with(json!({"mac": "02:00:00:00:00:0A"}))),
        ("dashes", plain.with(json!({"mac": "02-00-00-00-00-0a"}))),
        ("dots", plain.with(json!({"mac": "0200.0000.000a"}))),
    ];
    for (label, ask) in asks {
        let result = stage.add(&format!("ADD {label}"), &ask)?;
        stage.look(label, &ask)?;
        stage.succeed(&format!("CHECK {label}"), "CHECK", (&ask, Some(&result)))?;
        stage.del(&format!("DEL {label}"), &ask, Some(&result))?;
        stage.nothing_is_left()?;
    }
    stage.refuse("ADD", (&plain.with(json!({"mac": "nonsense"})), None), None)?;
    stage.left("refused")
}

fn link_of_the_pod(stage: &mut Stage<'_>) -> Outcome<()> {
    stage.ip_in_pod("link add inner type veth peer name outer")?;
    stage.ip_in_pod("link set inner up")?;
    let ask = stage.ask(json!({"ipam": {}, "master": "inner", "linkInContainer": true}));
    stage.attempt("ADD", "ADD", (&ask, None))?;
    stage.attempt("DEL", "DEL", (&ask, None))?;
    stage.left("left")
}

fn asked_address(stage: &mut Stage<'_>) -> Outcome<()> {
    let plain = addressed(stage);
    let by_runtime = json!({"capabilities": {"ips": true}, "runtimeConfig": {"ips": ["10.77.0.32/24"]}});
    let ranges = json!({"capabilities": {"ipRanges": true},
        "runtimeConfig": {"ipRanges": [[{"subnet": "10.78.0.0/24"}]]}});
    let asks = [
        ("made", plain.clone()),
        ("arguments", Ask { args: "IgnoreUnknown=1;IP=10.77.0.30".into(), ..plain.clone() }),
        ("args", plain.with(json!({"args": {"cni": {"ips": ["10.77.0.31"]}}}))),
        ("runtime", plain.with(by_runtime)),
        ("ranges", plain.with(ranges)),
    ];
    for (number, (label, ask)) in asks.into_iter().enumerate() {
        let ask = Ask { container: format!("pod-{number}"), ..ask };
        let result = stage.add(&format!("ADD {label}"), &ask)?;
        if label == "made" {
            stage.look(label, &ask)?;
        } else {
            stage.left(label)?;
        }
        stage.del(&format!("DEL {label}"), &ask, Some(&result))?;
        stage.nothing_is_left()?;
    }
    for address in ["10.77.0.1", "10.99.0.1", "nonsense"] {
        let ask = Ask { args: format!("IgnoreUnknown=1;IP={address}"), ..plain.clone() };
        stage.refuse("ADD", (&ask, None), None)?;
        stage.del(&format!("DEL after {address}"), &plain, None)?;
    }
    stage.nothing_is_left()
}

fn any_case(stage: &mut Stage<'_>) -> Outcome<()> {
    let plain = stage.ask(json!({}));
    let conf = ["master", "type"].into_iter().fold(plain.conf.clone(), without);
    let spelled = json!({
        "MASTER": MASTER,
        "Type": "macvlan",
        "MTU": 1300,
        "MODE": "private",
        "IPAM": stage.host_local(json!({"Subnet": "10.77.0.0/24", "RANGESTART": "10.77.0.9"})),
    });
    comes_and_goes(stage, &Ask { conf: with(conf, spelled), ..plain })
}

fn refusals(stage: &mut Stage<'_>) -> Outcome<()> {
    let plain = stage.ask(json!({"ipam": {}}));
    let asks = [
        plain.with(json!({"mode": "nonsense"})),
        plain.with(json!({"master": "not-there"})),
        plain.with(json!({"mtu": "1400"})),
    ];
    scenes::refused(stage, &asks)
}

/// What address management refuses, which the reference plugin asks with the link made.
fn ipam_refusals(stage: &mut Stage<'_>) -> Outcome<()> {
    let plain = stage.ask(json!({"ipam": {}}));
    let host_local = |ranges: Value| stage.host_local(ranges);
    let all = [
        json!({"type": "static", "addresses": [{"address": "10.77.0.5"}]}),
        host_local(json!({})),
        host_local(json!({"ranges": [[]]})),
        host_local(json!({"ranges": [[{"subnet": "10.77.0.1/24"}]]})),
        host_local(json!({"ranges": [[{"subnet": "10.77.0.0/31"}]]})),
        host_local(json!({"ranges": [[{"subnet": "10.77.0.0/24", "rangeStart": "10.78.0.1"}]]})),
        host_local(json!({"ranges": [[{"subnet": "10.77.0.0/24"}], [{"subnet": "10.77.0.0/25"}]]})),
        json!({"type": "not-there"}),
    ];
    for (number, ipam) in all.into_iter().enumerate() {
        let ask = plain.with(json!({"ipam": ipam}));
        stage.refuse("ADD", (&ask, None), None).map_err(|trouble| format!("{number}: {trouble}"))?;
        stage.del(&format!("DEL {number}"), &plain, None)?;
        stage.nothing_is_left()?;
    }
    stage.no_record_is_left()
}

fn no_address_is_free(stage: &mut Stage<'_>) -> Outcome<()> {
    let one = json!({"subnet": "10.77.0.0/24", "rangeStart": "10.77.0.9", "rangeEnd": "10.77.0.9"});
    let first = stage.ask(json!({"ipam": stage.host_local(one)}));
    let second = Ask { container: "pod-2".into(), ifname: "net2".into(), ..first.clone() };
    let result = stage.add("ADD", &first)?;
    stage.refuse("ADD", (&second, None), None)?;
    stage.left("after the refusal")?;
    stage.del("DEL of the second", &second, None)?;
    stage.del("DEL of the first", &first, Some(&result))?;
    stage.nothing_is_left()?;
    stage.add("ADD of the second", &second)?;
    stage.del("DEL", &second, None)?;
    stage.nothing_is_left()
}

fn no_address(stage: &mut Stage<'_>) -> Outcome<()> {
    let ask = stage.ask(json!({"ipam": {"type": "static"}}));
    stage.refuse("ADD", (&ask, None), None)?;
    stage.left("after the refusal")?;
    stage.del("DEL", &ask, None)?;
    stage.nothing_is_left()
}

fn impossible_route(stage: &mut Stage<'_>) -> Outcome<()> {
    let range = json!({"subnet": "10.77.0.0/24", "routes": [{"dst": "10.99.0.0/16", "gw": "10.98.0.1"}]});
    let ask = stage.ask(json!({"ipam": stage.host_local(range)}));
    stage.refuse("ADD", (&ask, None), None)?;
    stage.left("after the refusal")?;
    stage.del("DEL", &ask, None)?;
    stage.nothing_is_left()
}

fn name_is_taken(stage: &mut Stage<'_>) -> Outcome<()> {
    stage.ip_in_pod("link add net1 type veth peer name other")?;
    let ask = addressed(stage);
    stage.refuse("ADD", (&ask, None), None)?;
    stage.left("after the refusal")?;
    stage.del("DEL", &ask, None)?;
    stage.left("after DEL")
}

fn never_attached(stage: &mut Stage<'_>) -> Outcome<()> {
    scenes::never_attached(stage, &addressed(stage))
}

fn without_pod(stage: &mut Stage<'_>) -> Outcome<()> {
    scenes::without_pod(stage, &addressed(stage))
}

fn without_master(stage: &mut Stage<'_>) -> Outcome<()> {
    scenes::without_master(stage, &addressed(stage))
}

fn check_sees_losses(stage: &mut Stage<'_>) -> Outcome<()> {
    // With the address goes the route.
    let both = &["address add 10.77.0.2/24 broadcast + dev net1", "route add default via 10.77.0.1"];
    let losses: [(&str, &str, &[&str]); 4] = [
        ("address", "address delete 10.77.0.2/24 dev net1", both),
        ("route", "route delete default", &["route add default via 10.77.0.1"]),
        ("mac", "link set net1 address 02:00:00:00:00:0d", &[]),
        ("link", "link delete net1", &[]),
    ];
    scenes::check_sees(stage, &addressed(stage), &losses)
}

fn two_interfaces(stage: &mut Stage<'_>) -> Outcome<()> {
    let first = stage.ask(json!({"ipam": stage.host_local(json!({"subnet": "10.77.0.0/24"}))}));
    let second = Ask { ifname: "net2".into(), ..first.clone() };
    let results = (stage.add("ADD net1", &first)?, stage.add("ADD net2", &second)?);
    stage.refuse("ADD", (&first, None), None)?;
    stage.left("both")?;
    stage.check(&first, &results.0)?;
    stage.del("DEL net1", &first, Some(&results.0))?;
    stage.left("one")?;
    stage.succeed("CHECK net2", "CHECK", (&second, Some(&results.1)))?;
    stage.del("DEL net2", &second, Some(&results.1))?;
    stage.nothing_is_left()?;
    stage.no_record_is_left()
}
