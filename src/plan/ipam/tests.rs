//! What configurations mean, and which are refused.

use std::net::IpAddr;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::result::Route;
use crate::model::{Attachment, Network, Owner};
use crate::plan::facts::Answer;
use crate::plan::step::LeaseStep;

/// An attachment of the network `net`, whose one plugin has this configuration.
struct Case(Attachment);

impl Case {
    fn of(ipam: &Value) -> Self {
        Self::with(json!({ "ipam": ipam }))
    }

    fn with(mut conf: Value) -> Self {
        let keys = conf.as_object_mut().unwrap();
        keys.insert("name".into(), json!("net"));
        keys.insert("type".into(), json!("macvlan"));
        keys.entry("cniVersion").or_insert(json!("1.0.0"));
        Self(Attachment {
            ..Attachment::new(
                Owner::parse("c1", "net1").unwrap(),
                Network::parse(&serde_json::to_vec(&conf).unwrap(), None).unwrap(),
            )
        })
    }

    fn args(mut self, args: &str) -> Self {
        self.0.args = args.parse().unwrap();
        self
    }

    fn capability(mut self, key: &str, value: Value) -> Self {
        self.0.capabilities.put(key, &value).unwrap();
        self
    }

    fn conf(&self) -> &PluginConf {
        &self.0.network.plugins[0]
    }

    fn read(&self) -> Outcome<Ipam> {
        read(Ask { conf: self.conf(), attachment: &self.0 })
    }

    fn lease(&self) -> LeaseStep {
        let step = self.read().unwrap().lease_step();
        let Some(Step::Lease(step)) = step else { panic!("{step:?} is no lease") };
        step
    }

    fn fixed(&self) -> CniResult {
        let read = self.read().unwrap();
        let Ipam::Static(result) = read else { panic!("{read:?} is not static") };
        result
    }

    fn refusal(&self) -> String {
        let fault = self.read().unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Config, "{fault}");
        assert!(fault.advice().is_some(), "{fault}");
        fault.to_string()
    }
}

fn host_local(mut keys: Value) -> Case {
    keys["type"] = json!("host-local");
    Case::of(&keys)
}

/// A set of one range.
fn only(range: Value) -> Case {
    host_local(json!({ "ranges": [[range]] }))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// `start end gateway` of each range of each set.
fn bounds(step: &LeaseStep) -> Vec<Vec<String>> {
    let text = |r: &crate::plan::step::AddressRange| format!("{} {} {}", r.start, r.end, r.gateway);
    step.sets.iter().map(|set| set.iter().map(text).collect()).collect()
}

#[test]
fn without_a_type_the_interface_is_for_layer_2_only() {
    for conf in [json!({}), json!({"ipam": {}}), json!({"ipam": null}), json!({"ipam": {"type": ""}})] {
        let case = Case::with(conf);
        let ipam = case.read().unwrap();

        assert_eq!(ipam, Ipam::None);
        assert_eq!(ipam.lease_step(), None);
        assert!(!ipam.needs_address());
    }
}

#[test]
fn any_other_type_is_a_plugin_to_run() {
    for ipam in [
        json!({"type": "whereabouts", "range": "10.0.0.0/24"}),
        json!({"type": "static", "native": false, "addresses": "the plugin's own affair"}),
        json!({"type": "host-local", "native": false}),
    ] {
        let case = Case::of(&ipam);
        let read = case.read().unwrap();

        let Some(Step::Exec(step)) = read.lease_step() else { panic!("{read:?}") };
        assert_eq!(step.program.as_str(), ipam["type"]);
        assert_eq!((&step.conf, step.yields), (case.conf(), Yields::Lease));
        assert_eq!(read.given(&Facts::default()).unwrap(), CniResult::default());
        assert!(read.needs_address() && matches!(read.questions()[..], [Question::Program(_)]));
    }
    Case::of(&json!({"type": "../sh"})).refusal();
}

#[test]
fn what_a_range_leaves_out_is_filled_in() {
    for (range, filled) in [
        (json!({"subnet": "10.1.2.0/24"}), "10.1.2.1 10.1.2.254 10.1.2.1"),
        (json!({"subnet": "10.1.2.0/30"}), "10.1.2.1 10.1.2.2 10.1.2.1"),
        (json!({"subnet": "2001:db8::/64"}), "2001:db8::1 2001:db8::ffff:ffff:ffff:ffff 2001:db8::1"),
        (json!({"SUBNET": "10.1.0.0/16", "RangeStart": "10.1.5.0"}), "10.1.5.0 10.1.255.254 10.1.0.1"),
        (json!({"subnet": "10.1.0.0/16", "rangeEnd": "10.1.5.255"}), "10.1.0.1 10.1.5.255 10.1.0.1"),
        (json!({"subnet": "10.1.2.0/24", "gateway": "192.0.2.1"}), "10.1.2.1 10.1.2.254 192.0.2.1"),
        (json!({"subnet": "10.1.2.0/24", "gateway": "", "rangeEnd": null}), "10.1.2.1 10.1.2.254 10.1.2.1"),
        (json!({"subnet": "10.1.2.0/24", "rangeStart": "::ffff:10.1.2.9"}), "10.1.2.9 10.1.2.254 10.1.2.1"),
    ] {
        assert_eq!(bounds(&only(range.clone()).lease()), [[filled]], "{range}");
    }
}

#[test]
fn the_address_of_the_network_and_of_broadcast_are_not_handed_out() {
    let v4 = only(json!({"subnet": "10.1.2.0/29", "rangeStart": "10.1.2.0", "rangeEnd": "10.1.2.7"}));
    assert_eq!(bounds(&v4.lease()), [["10.1.2.1 10.1.2.6 10.1.2.1"]]);

    let v6 = only(json!({"subnet": "2001:db8::/125", "rangeStart": "2001:db8::"}));
    assert_eq!(bounds(&v6.lease()), [["2001:db8:: 2001:db8::7 2001:db8::1"]], "IPv6 has no broadcast");
}

#[test]
fn ranges_that_cannot_be_right_are_refused_by_name() {
    for (range, says) in [
        (json!({}), "no \"subnet\""),
        (json!({"subnet": ""}), "no \"subnet\""),
        (json!({"subnet": "10.1.2.0"}), "prefix length"),
        (json!({"subnet": "10.1.2.0/255.255.255.0"}), "prefix length"),
        (json!({"subnet": "10.1.2.0/31"}), "too small"),
        (json!({"subnet": "2001:db8::/127"}), "too small"),
        (json!({"subnet": "::ffff:10.1.2.0/120"}), "prefix length"),
        (json!({"subnet": "10.1.2.3/24"}), "bits set after its prefix"),
        (json!({"subnet": "10.1.2.0/24", "rangeStart": "10.1.3.1"}), "not in the subnet"),
        (json!({"subnet": "10.1.2.0/24", "rangeEnd": "2001:db8::1"}), "not in the subnet"),
        (
            json!({"subnet": "10.1.2.0/24", "rangeStart": "10.1.2.9", "rangeEnd": "10.1.2.8"}),
            "no address between",
        ),
        (json!({"subnet": "10.1.2.0/24", "rangeStart": "10.1.2.255"}), "no address between"),
        (json!({"subnet": "10.1.2.0/24", "rangeEnd": "10.1.2.0"}), "no address between"),
        (json!({"subnet": "10.1.2.0/24", "gateway": "10.1.2"}), "not an IP address"),
    ] {
        let text = only(range.clone()).refusal();
        assert!(text.contains(says) && text.contains("of range set 0"), "{range}: {text}");
    }
}

#[test]
fn sets_that_cannot_be_right_are_refused() {
    let ten = json!({"subnet": "10.1.2.0/24"});
    let six = json!({"subnet": "2001:db8::/64"});
    for (keys, says) in [
        (json!({}), "no ranges"),
        (json!({"ranges": []}), "no ranges"),
        (json!({"ranges": [[]]}), "range set 0 is empty"),
        (json!({"ranges": [[six], []]}), "range set 1 is empty"),
        (json!({"ranges": [[ten, six]]}), "mixes IPv4 and IPv6"),
        (json!({"ranges": [[ten, ten]]}), "overlap"),
        (json!({"ranges": [[ten], [{"subnet": "10.0.0.0/8"}]]}), "overlap"),
        (json!({"subnet": "10.1.2.0/24", "ranges": [[ten]]}), "overlap"),
        (json!({"ranges": vec![[&ten]; 65]}), "65 sets"),
        (json!({"ranges": [vec![&ten; 257]]}), "257 ranges"),
    ] {
        let text = host_local(keys.clone()).refusal();
        assert!(text.contains(says), "{says}: {text}");
    }
}

#[test]
fn ranges_of_one_subnet_may_stand_side_by_side() {
    let set = json!([
        {"subnet": "10.1.2.0/24", "rangeStart": "10.1.2.100", "rangeEnd": "10.1.2.200"},
        {"subnet": "10.1.2.0/24", "rangeStart": "10.1.2.10", "rangeEnd": "10.1.2.99"},
    ]);
    assert_eq!(host_local(json!({"ranges": [set]})).lease().sets[0].len(), 2);
}

#[test]
fn the_runtimes_ranges_come_first_and_the_old_form_second() {
    let conf = json!({
        "capabilities": {"ipRanges": true},
        "ipam": {"type": "host-local", "subnet": "10.2.0.0/24", "ranges": [[{"subnet": "10.3.0.0/24"}]]},
    });
    let given = json!([[{"subnet": "10.1.0.0/24"}]]);

    let case = Case::with(conf.clone()).capability("ipRanges", given.clone());
    let subnets: Vec<String> = case.lease().sets.iter().map(|s| s[0].subnet.to_string()).collect();
    assert_eq!(subnets, ["10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24"]);

    let mut deaf = conf;
    deaf["capabilities"] = json!({});
    assert_eq!(Case::with(deaf).capability("ipRanges", given).lease().sets.len(), 2);
}

#[test]
fn the_store_is_named_after_the_network() {
    let keys = json!({"subnet": "10.1.2.0/24"});
    assert_eq!(host_local(keys).lease().store, Path::new("/var/lib/cni/networks/net"));

    let keys = json!({"subnet": "10.1.2.0/24", "dataDir": "/run/it"});
    assert_eq!(host_local(keys).lease().store, Path::new("/run/it/net"));

    for dir in ["run", "/run/../etc", "/run/\0"] {
        host_local(json!({"subnet": "10.1.2.0/24", "dataDir": dir})).refusal();
        host_local(json!({"subnet": "10.1.2.0/24", "resolvConf": dir})).refusal();
    }
}

#[test]
fn old_versions_have_room_for_one_address_of_a_family() {
    for (version, fits) in [("0.2.0", false), ("0.3.0", true)] {
        for ipam in [
            json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]}),
            json!({"type": "static", "addresses": [{"address": "10.1.0.1/24"}, {"address": "10.2.0.1/24"}]}),
        ] {
            let case = Case::with(json!({"cniVersion": version, "ipam": ipam}));
            assert_eq!(case.read().is_ok(), fits, "{version}");
        }
        let dual =
            json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]});
        assert!(Case::with(json!({"cniVersion": version, "ipam": dual})).read().is_ok());
    }
}

#[test]
fn requested_addresses_are_gathered_and_prefix_lengths_dropped() {
    let sets = json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}], [{"subnet": "fd00::/64"}]]);
    let case = Case::with(json!({
        "capabilities": {"ips": true},
        "args": {"cni": {"ips": ["10.2.0.7/16", "10.1.0.5"]}},
        "ipam": {"type": "host-local", "ranges": sets},
    }))
    .args("IgnoreUnknown=1;IP=10.1.0.5;K8S_POD_NAME=p")
    .capability("ips", json!(["fd00::7/64"]));

    assert_eq!(case.lease().requested, [ip("10.1.0.5"), ip("10.2.0.7"), ip("fd00::7")]);
}

#[test]
fn one_argument_may_ask_for_several_addresses() {
    let sets = json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]);
    let case = host_local(json!({"ranges": sets}));

    assert_eq!(case.args("IP=10.1.0.5/24,fd00::7").lease().requested, [ip("10.1.0.5"), ip("fd00::7")]);
    host_local(json!({"subnet": "10.1.0.0/24"})).args("IP=10.1.0.5,fd00::7").refusal();
}

#[test]
fn a_requested_address_that_no_set_can_serve_is_refused() {
    let mut sets = json!([[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5"}]]);
    sets[0][0]["gateway"] = json!("10.1.0.9");
    for (asked, says) in [
        (json!(["10.9.0.1"]), "none of the ranges"),
        (json!(["10.1.0.2"]), "none of the ranges"),
        (json!(["10.1.0.9"]), "a gateway"),
        (json!(["10.1.0.6", "10.1.0.7"]), "second of one range set"),
        (json!(["10.1.0.6/33"]), "prefix length"),
        (json!(["ten"]), "not an IP address"),
    ] {
        let case = Case::with(json!({
            "args": {"cni": {"ips": asked}},
            "ipam": {"type": "host-local", "ranges": sets},
        }));
        let text = case.refusal();
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn routes_keep_every_attribute_of_cni_1_1() {
    let routes = json!([
        {"dst": "0.0.0.0/0"},
        {"dst": "192.0.2.0/24", "gw": "10.1.2.9", "mtu": 1400, "advmss": 1360, "priority": 100, "table": 7, "scope": 253},
        {"dst": "fd01::/64", "gw": "", "mtu": 0, "advmss": 0, "priority": 0, "table": 0, "scope": 0},
    ]);
    let full = Route {
        gw: Some(ip("10.1.2.9")),
        mtu: Some(1400),
        advmss: Some(1360),
        priority: Some(100),
        table: Some(7),
        scope: Some(253),
        ..Route::to("192.0.2.0/24".parse().unwrap())
    };
    let zeros = Route { table: Some(0), scope: Some(0), ..Route::to("fd01::/64".parse().unwrap()) };
    let expected = [Route::to("0.0.0.0/0".parse().unwrap()), full, zeros];

    let leased = host_local(json!({"subnet": "10.1.2.0/24", "routes": routes}));
    assert_eq!(leased.read().unwrap().given(&Facts::default()).unwrap().routes, expected);
    let fixed = Case::of(&json!({"type": "static", "routes": routes}));
    assert_eq!(fixed.fixed().routes, expected);

    host_local(json!({"subnet": "10.1.2.0/24", "routes": [{"dst": "default"}]})).refusal();
}

#[test]
fn name_service_comes_from_resolv_conf() {
    let ipam = host_local(json!({"subnet": "10.1.2.0/24", "resolvConf": "/etc/pods.conf"})).read().unwrap();
    let question = Question::ResolvConf("/etc/pods.conf".into());
    assert_eq!(ipam.questions(), std::slice::from_ref(&question));

    let mut facts = Facts::default();
    facts.note(question.clone(), Answer::Text("nameserver 192.0.2.1\n".into()));
    assert_eq!(ipam.given(&facts).unwrap().dns.nameservers, ["192.0.2.1"]);

    let mut facts = Facts::default();
    facts.note(question, Answer::Absent);
    assert_eq!(ipam.given(&facts).unwrap_err().kind(), FaultKind::Absent);
}

#[test]
fn static_addresses_are_replaced_by_args_and_those_by_the_runtimes() {
    let conf = json!({
        "capabilities": {"ips": true},
        "ipam": {
            "type": "static",
            "addresses": [{"address": "10.1.0.5/24", "gateway": "10.1.0.1"}, {"address": "fd00::5/64"}],
            "dns": {"nameservers": ["192.0.2.1"], "domain": "example.com"},
        },
    });
    let texts = |case: &Case| -> Vec<String> {
        let gateway = |g: Option<IpAddr>| g.map(|g| format!(" {g}")).unwrap_or_default();
        case.fixed().ips.iter().map(|i| format!("{}{}", i.address, gateway(i.gateway))).collect()
    };

    let case = Case::with(conf.clone());
    assert_eq!(texts(&case), ["10.1.0.5/24 10.1.0.1", "fd00::5/64"]);
    assert_eq!(case.fixed().dns.domain, "example.com");
    assert!(case.read().unwrap().needs_address() && case.read().unwrap().lease_step().is_none());
    assert_eq!(case.read().unwrap().given(&Facts::default()).unwrap(), case.fixed());

    let case = case.args("IP=10.1.0.7/24, 10.2.0.7/24;GATEWAY=10.1.0.2,10.2.0.1;X=y");
    let added = ["10.1.0.5/24 10.1.0.1", "fd00::5/64", "10.1.0.7/24 10.1.0.2", "10.2.0.7/24 10.2.0.1"];
    assert_eq!(texts(&case), added);

    let mut with_args = conf;
    with_args["args"] = json!({"cni": {"ips": ["10.3.0.1/24"]}});
    let case = Case::with(with_args).args("IP=10.1.0.7/24");
    assert_eq!(texts(&case), ["10.3.0.1/24"]);

    let case = case.capability("ips", json!(["10.4.0.1/24", "fd04::1/64"]));
    assert_eq!(texts(&case), ["10.4.0.1/24", "fd04::1/64"]);
}

#[test]
fn a_static_address_without_a_prefix_length_is_refused() {
    Case::of(&json!({"type": "static", "addresses": [{"address": "10.1.0.5"}]})).refusal();
    Case::of(&json!({"type": "static"})).args("IP=10.1.0.5").refusal();
    Case::of(&json!({"type": "static"})).args("IP=10.1.0.5/24;GATEWAY=x").refusal();
    let conf = json!({"ipam": {"type": "static"}, "args": {"cni": {"ips": ["10.1.0.5"]}}});
    Case::with(conf).refusal();
    let conf = json!({"ipam": {"type": "static"}, "capabilities": {"ips": true}});
    Case::with(conf).capability("ips", json!(["10.1.0.5"])).refusal();
}

/// JSON of any shape, with keys and texts that mean something here.
fn any_json() -> impl Strategy<Value = Value> {
    let key = "(subnet|rangeStart|rangeEnd|gateway|ranges|routes|dst|gw|mtu|scope|dataDir|resolvConf|addresses|address|dns|native|x)";
    let text = prop_oneof![
        "(10\\.[0-3]\\.0\\.[0-9]{1,3}|fd00::[0-9a-f]{1,4})(/[0-9]{1,3})?",
        "/[a-z./]{0,8}",
        "\\PC{0,6}"
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(key, inner, 0..6).prop_map(|map| json!(map)),
        ]
    })
}

/// Ranges that are nearly right.
fn any_range() -> impl Strategy<Value = Value> {
    let host = || proptest::option::of((0u8..4, 0u8..=255).prop_map(|(n, h)| format!("10.0.{n}.{h}")));
    let prefix = prop_oneof![Just(22u8), Just(24), Just(28), Just(30), Just(31)];
    ((0u8..4, prefix), host(), host(), host()).prop_map(|((n, prefix), start, end, gateway)| {
        let subnet = format!("10.0.{}.0/{prefix}", if prefix == 22 { 0 } else { n });
        json!({"subnet": subnet, "rangeStart": start, "rangeEnd": end, "gateway": gateway})
    })
}

proptest! {
    #[test]
    fn no_configuration_makes_it_panic(kind in "(host-local|static|dhcp|)", mut keys in any_json(), args in any_json()) {
        if let Some(keys) = keys.as_object_mut() {
            keys.insert("type".into(), json!(kind));
        }
        let conf = json!({"ipam": keys, "args": {"cni": args}, "runtimeConfig": args});
        match Case::with(conf).read() {
            Ok(ipam) => drop(ipam.given(&Facts::default())),
            Err(fault) => prop_assert!(matches!(fault.kind(), FaultKind::Config | FaultKind::Decode)),
        }
    }

    #[test]
    fn ranges_that_are_accepted_are_sound(set in proptest::collection::vec(any_range(), 1..4)) {
        let case = host_local(json!({ "ranges": [set] }));
        let Ok(_) = case.read() else { return Ok(()) };
        let sets = case.lease().sets;
        for (n, range) in sets[0].iter().enumerate() {
            prop_assert!(range.start <= range.end);
            prop_assert!(range.subnet.contains(range.start) && range.subnet.contains(range.end));
            prop_assert!(range.start != range.subnet.network() && range.end != range.subnet.broadcast());
            prop_assert!(sets[0].iter().skip(n + 1).all(|other| !range.overlaps(other)));
        }
    }
}
