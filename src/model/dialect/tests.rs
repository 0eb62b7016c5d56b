use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::model::result::{Dns, Interface};

/// Everything a result can hold.
fn full() -> CniResult {
    let net = |text: &str| text.parse().unwrap();
    let ip = |text: &str| Some(text.parse().unwrap());
    CniResult {
        interfaces: vec![
            Interface { name: "cni0".into(), mac: "02:00:00:00:00:01".into(), ..Interface::default() },
            Interface {
                name: "net1".into(),
                mac: "02:00:00:00:00:02".into(),
                mtu: Some(9000),
                sandbox: "/run/netns/p".into(),
                socket_path: "/run/s".into(),
                pci_id: "0000:3b:00.1".into(),
            },
        ],
        ips: vec![
            IpConfig { interface: Some(1), address: net("10.1.0.5/24"), gateway: ip("10.1.0.1") },
            IpConfig { interface: Some(1), address: net("2001:db8::5/64"), gateway: None },
            IpConfig { interface: None, address: net("10.2.0.5/24"), gateway: None },
        ],
        routes: vec![
            Route { gw: ip("10.1.0.254"), ..Route::to(net("0.0.0.0/0")) },
            Route {
                dst: net("2001:db8:1::/48"),
                gw: None,
                mtu: Some(1400),
                advmss: Some(1300),
                priority: Some(10),
                table: Some(0),
                scope: Some(0),
            },
        ],
        dns: Dns {
            nameservers: vec!["10.1.0.53".into()],
            domain: "example".into(),
            search: vec!["a.example".into()],
            options: vec!["ndots:5".into()],
        },
    }
}

fn written(result: &CniResult, version: CniVersion) -> String {
    String::from_utf8(write(result, version).unwrap()).unwrap()
}

fn reread(text: &str) -> CniResult {
    read(text.as_bytes(), CniVersion::NEWEST).unwrap()
}

#[test]
fn the_newest_version_is_alphabetical_and_has_everything() {
    let want = r#"{
    "cniVersion": "1.1.0",
    "dns": {
        "domain": "example",
        "nameservers": [
            "10.1.0.53"
        ],
        "options": [
            "ndots:5"
        ],
        "search": [
            "a.example"
        ]
    },
    "interfaces": [
        {
            "mac": "02:00:00:00:00:01",
            "name": "cni0"
        },
        {
            "mac": "02:00:00:00:00:02",
            "mtu": 9000,
            "name": "net1",
            "pciID": "0000:3b:00.1",
            "sandbox": "/run/netns/p",
            "socketPath": "/run/s"
        }
    ],
    "ips": [
        {
            "address": "10.1.0.5/24",
            "gateway": "10.1.0.1",
            "interface": 1
        },
        {
            "address": "2001:db8::5/64",
            "interface": 1
        },
        {
            "address": "10.2.0.5/24"
        }
    ],
    "routes": [
        {
            "dst": "0.0.0.0/0",
            "gw": "10.1.0.254"
        },
        {
            "advmss": 1300,
            "dst": "2001:db8:1::/48",
            "mtu": 1400,
            "priority": 10,
            "scope": 0,
            "table": 0
        }
    ]
}"#;
    assert_eq!(written(&full(), CniVersion::V1_1_0), want);
    assert_eq!(written(&full(), CniVersion::V1_0_0), want.replace("1.1.0", "1.0.0"));
    assert_eq!(reread(want), full());
}

#[test]
fn before_1_0_keys_stand_as_specified_and_addresses_have_a_version() {
    let want = r#"{
    "cniVersion": "0.4.0",
    "interfaces": [
        {
            "name": "cni0",
            "mac": "02:00:00:00:00:01"
        },
        {
            "name": "net1",
            "mac": "02:00:00:00:00:02",
            "sandbox": "/run/netns/p"
        }
    ],
    "ips": [
        {
            "version": "4",
            "interface": 1,
            "address": "10.1.0.5/24",
            "gateway": "10.1.0.1"
        },
        {
            "version": "6",
            "interface": 1,
            "address": "2001:db8::5/64"
        },
        {
            "version": "4",
            "address": "10.2.0.5/24"
        }
    ],
    "routes": [
        {
            "dst": "0.0.0.0/0",
            "gw": "10.1.0.254"
        },
        {
            "dst": "2001:db8:1::/48",
            "mtu": 1400,
            "advmss": 1300,
            "priority": 10,
            "table": 0,
            "scope": 0
        }
    ],
    "dns": {
        "nameservers": [
            "10.1.0.53"
        ],
        "domain": "example",
        "search": [
            "a.example"
        ],
        "options": [
            "ndots:5"
        ]
    }
}"#;
    assert_eq!(written(&full(), CniVersion::V0_4_0), want);
    assert_eq!(written(&full(), CniVersion::V0_3_1), want.replace("0.4.0", "0.3.1"));
    assert_eq!(written(&full(), CniVersion::V0_3_0), want.replace("0.4.0", "0.3.0"));
}

#[test]
fn the_oldest_versions_have_one_address_per_family() {
    let want = r#"{
    "cniVersion": "0.2.0",
    "ip4": {
        "ip": "10.1.0.5/24",
        "gateway": "10.1.0.1",
        "routes": [
            {
                "dst": "0.0.0.0/0",
                "gw": "10.1.0.254"
            }
        ]
    },
    "ip6": {
        "ip": "2001:db8::5/64",
        "routes": [
            {
                "dst": "2001:db8:1::/48"
            }
        ]
    },
    "dns": {}
}"#;
    let result = CniResult { dns: Dns::default(), ..full() };
    assert_eq!(written(&result, CniVersion::V0_2_0), want);
    assert_eq!(written(&result, CniVersion::V0_1_0), want.replace("0.2.0", "0.1.0"));
}

#[test]
fn a_family_without_an_address_loses_its_routes() {
    let mut result = full();
    result.ips.retain(|ip| ip.address.is_ipv6());

    let text = written(&result, CniVersion::V0_2_0);

    assert!(!text.contains("ip4") && !text.contains("10.1.0.254"), "{text}");
}

#[test]
fn the_oldest_versions_refuse_a_result_without_an_address() {
    let result = CniResult { ips: Vec::new(), ..full() };

    let fault = write(&result, CniVersion::V0_2_0).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::Version);
    assert_eq!(fault.to_string(), "CNI version 0.2.0 has no words for a result without an address");
    assert_eq!(
        fault.advice(),
        Some(r#"set "cniVersion" to "0.3.1" or newer, or give the network an "ipam" plugin"#)
    );
    assert!(raw(&result, CniVersion::V0_1_0).is_err());
}

#[test]
fn an_empty_result_is_what_the_reference_library_prints() {
    let nothing = CniResult::default();
    assert_eq!(written(&nothing, CniVersion::V1_1_0), "{\n    \"cniVersion\": \"1.1.0\"\n}");
    assert_eq!(
        written(&nothing, CniVersion::V0_4_0),
        "{\n    \"cniVersion\": \"0.4.0\",\n    \"dns\": {}\n}"
    );
}

#[test]
fn the_raw_form_is_compact_in_the_same_order() {
    let result = CniResult { dns: Dns::default(), routes: Vec::new(), ..full() };
    assert_eq!(
        raw(&result, CniVersion::V0_2_0).unwrap().get(),
        r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.5/24","gateway":"10.1.0.1"},"ip6":{"ip":"2001:db8::5/64"},"dns":{}}"#
    );
}

#[test]
fn mapped_addresses_are_written_as_what_they_map() {
    let text = r#"{"cniVersion":"1.0.0","ips":[{"address":"::ffff:10.0.0.5/120","gateway":"::ffff:10.0.0.1"}],
        "routes":[{"dst":"::ffff:0.0.0.0/96","gw":"::ffff:10.0.0.1"}]}"#;

    let again = raw(&reread(text), CniVersion::V0_2_0).unwrap();

    assert_eq!(
        again.get(),
        r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.5/24","gateway":"10.0.0.1","routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1"}]},"dns":{}}"#
    );
}

#[test]
fn a_zero_that_means_not_set_is_not_written() {
    let text = r#"{"interfaces":[{"name":"a","mtu":0}],
        "routes":[{"dst":"10.0.0.0/8","mtu":0,"advmss":0,"priority":0,"table":0,"scope":0}]}"#;

    let again = raw(&reread(text), CniVersion::V1_1_0).unwrap();

    assert_eq!(
        again.get(),
        r#"{"cniVersion":"1.1.0","interfaces":[{"name":"a"}],"routes":[{"dst":"10.0.0.0/8","scope":0,"table":0}]}"#
    );
}

#[test]
fn the_oldest_results_become_lists() {
    let text = r#"{"IP6":{"ip":"2001:db8::5/64","routes":[{"dst":"::/0","gw":"2001:db8::1","mtu":1400}]},
        "ip4":{"IP":"10.0.0.5/24","Gateway":"10.0.0.1","routes":[{"dst":"0.0.0.0/0","gw":""}]},
        "interfaces":[{"name":"not a key of this version"}],"dns":null}"#;

    let result = read(text.as_bytes(), CniVersion::V0_1_0).unwrap();

    assert_eq!(
        raw(&result, CniVersion::V1_0_0).unwrap().get(),
        r#"{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.5/24","gateway":"10.0.0.1"},{"address":"2001:db8::5/64"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0","gw":"2001:db8::1"}]}"#
    );
}

#[test]
fn a_result_is_read_in_its_own_version_else_in_the_fallback() {
    let own = r#"{"CNIVersion":"0.2.0","ip4":{"ip":"10.0.0.5/24"}}"#;
    for text in [own, r#"{"cniVersion":"","ip4":{"ip":"10.0.0.5/24"}}"#, r#"{"ip4":{"ip":"10.0.0.5/24"}}"#] {
        assert_eq!(read(text.as_bytes(), CniVersion::V0_2_0).unwrap().ips.len(), 1, "{text}");
    }
    assert_eq!(reread(own).ips.len(), 1);
    assert_eq!(reread(r#"{"ip4":{"ip":"10.0.0.5/24"}}"#), CniResult::default());
}

#[test]
fn null_is_an_empty_result() {
    assert_eq!(reread(" null\n"), CniResult::default());
    assert_eq!(reread("{}"), CniResult::default());
    assert_eq!(reread(r#"{"cniVersion":null,"ips":null,"dns":null}"#), CniResult::default());
}

#[test]
fn before_1_0_an_interface_has_three_keys() {
    let result =
        reread(r#"{"cniVersion":"0.4.0","interfaces":[{"name":"a","mtu":9,"socketPath":"s","pciID":"p"}]}"#);
    assert_eq!(result.interfaces, [Interface { name: "a".into(), ..Interface::default() }]);
}

#[test]
fn an_unknown_version_is_refused_with_code_1() {
    let fault = read(br#"{"cniVersion":"3.0.0"}"#, CniVersion::NEWEST).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Version);
    assert_eq!(fault.to_string(), r#"cannot read the plugin's result: CNI version "3.0.0" is not supported"#);
}

#[test]
fn an_address_for_an_interface_that_is_not_listed_is_refused() {
    for index in ["-1", "1", "4294967296", "9223372036854775807"] {
        let text = format!(
            r#"{{"interfaces":[{{"name":"a"}}],"ips":[{{"address":"10.0.0.5/24","interface":{index}}}]}}"#
        );

        let fault = read(text.as_bytes(), CniVersion::NEWEST).unwrap_err();

        assert_eq!(fault.kind(), FaultKind::Decode);
        assert_eq!(
            fault.to_string(),
            format!(
                r#"cannot read the plugin's result: address "10.0.0.5/24" is for interface {index} of 1"#
            )
        );
        assert!(fault.advice().is_some());
    }
}

#[test]
fn values_of_the_wrong_form_are_refused() {
    for text in [
        "",
        "[]",
        "7",
        r#"{"cniVersion":1}"#,
        r#"{"ips":{}}"#,
        r#"{"ips":[null]}"#,
        r#"{"ips":[{}]}"#,
        r#"{"ips":[{"address":"10.0.0.5"}]}"#,
        r#"{"ips":[{"address":"10.0.0.5/24","gateway":"gate"}]}"#,
        r#"{"ips":[{"address":"10.0.0.5/24","interface":0.5}],"interfaces":[{"name":"a"}]}"#,
        r#"{"interfaces":[null]}"#,
        r#"{"interfaces":[{"name":"a","mtu":-1}]}"#,
        r#"{"routes":[{"gw":"10.0.0.1"}]}"#,
    ] {
        let fault = read(text.as_bytes(), CniVersion::NEWEST).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Decode, "{text}");
        let told = fault.to_string();
        assert!(told.starts_with("cannot read ") && told.contains("the plugin's result: "), "{told}");
    }
}

fn text() -> impl Strategy<Value = String> {
    r#"[a-zA-Z0-9:/."\\<&é ]{0,12}"#
}

fn network() -> impl Strategy<Value = ipnetwork::IpNetwork> {
    let four =
        (any::<[u8; 4]>(), 0..=32_u8).prop_map(|(ip, n)| ipnetwork::IpNetwork::new(ip.into(), n).unwrap());
    let six =
        (any::<[u8; 16]>(), 0..=128_u8).prop_map(|(ip, n)| ipnetwork::IpNetwork::new(ip.into(), n).unwrap());
    prop_oneof![four, six]
}

fn address() -> impl Strategy<Value = Option<std::net::IpAddr>> {
    option::of(network().prop_map(|n| n.ip()))
}

fn interface() -> impl Strategy<Value = Interface> {
    (text(), text(), option::of(1..u32::MAX), text(), text(), text()).prop_map(
        |(name, mac, mtu, sandbox, socket_path, pci_id)| Interface {
            name,
            mac,
            mtu,
            sandbox,
            socket_path,
            pci_id,
        },
    )
}

fn route() -> impl Strategy<Value = Route> {
    let number = || option::of(1..u32::MAX);
    (network(), address(), number(), number(), number(), option::of(any::<u32>()), option::of(any::<u8>()))
        .prop_map(|(dst, gw, mtu, advmss, priority, table, scope)| Route {
            dst,
            gw,
            mtu,
            advmss,
            priority,
            table,
            scope,
        })
}

fn dns() -> impl Strategy<Value = Dns> {
    (vec(text(), 0..3), text(), vec(text(), 0..3), vec(text(), 0..3))
        .prop_map(|(nameservers, domain, search, options)| Dns { nameservers, domain, search, options })
}

/// Any result as Manifold would hold it.
fn any_result() -> impl Strategy<Value = CniResult> {
    let ip = (option::of(any::<prop::sample::Index>()), network(), address());
    (vec(interface(), 0..4), vec(ip, 0..4), vec(route(), 0..4), dns()).prop_map(
        |(interfaces, ips, routes, dns)| {
            let point = |at: prop::sample::Index| at.index(interfaces.len()) as u32;
            let ips = ips.into_iter().map(|(at, address, gateway)| IpConfig {
                interface: at.filter(|_| !interfaces.is_empty()).map(point),
                address,
                gateway,
            });
            canonical(CniResult { ips: ips.collect(), interfaces: interfaces.clone(), routes, dns })
        },
    )
}

proptest! {
    #[test]
    fn the_newest_versions_lose_nothing(result in any_result()) {
        for version in [CniVersion::V1_0_0, CniVersion::V1_1_0] {
            let bytes = write(&result, version).unwrap();
            prop_assert_eq!(&read(&bytes, CniVersion::V0_1_0).unwrap(), &result);
        }
    }

    #[test]
    fn before_1_0_only_new_keys_of_interfaces_are_lost(result in any_result()) {
        let mut want = result.clone();
        for i in &mut want.interfaces {
            *i = Interface { name: i.name.clone(), mac: i.mac.clone(), sandbox: i.sandbox.clone(), ..Interface::default() };
        }
        for version in [CniVersion::V0_3_0, CniVersion::V0_3_1, CniVersion::V0_4_0] {
            let bytes = write(&result, version).unwrap();
            prop_assert_eq!(&read(&bytes, CniVersion::V0_1_0).unwrap(), &want);
        }
    }

    #[test]
    fn the_oldest_versions_keep_what_they_have_said(result in any_result()) {
        for version in [CniVersion::V0_1_0, CniVersion::V0_2_0] {
            let Ok(bytes) = write(&result, version) else {
                prop_assert!(result.ips.is_empty());
                continue;
            };
            let said = read(&bytes, CniVersion::NEWEST).unwrap();
            prop_assert_eq!(write(&said, version).unwrap(), bytes);
        }
    }

    #[test]
    fn the_raw_form_says_what_the_printed_one_says(result in any_result()) {
        for version in CniVersion::ALL {
            let Ok(printed) = write(&result, version) else { continue };
            let raw = raw(&result, version).unwrap();
            prop_assert_eq!(
                read(&printed, CniVersion::NEWEST).unwrap(),
                read(raw.get().as_bytes(), CniVersion::NEWEST).unwrap()
            );
        }
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes in vec(any::<u8>(), 0..64)) {
        drop(read(&bytes, CniVersion::NEWEST));
    }

    #[test]
    fn no_mangled_result_makes_reading_panic(result in any_result(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        for version in CniVersion::ALL {
            let Ok(mut bytes) = write(&result, version) else { continue };
            let at = at.index(bytes.len());
            bytes[at] = with;
            drop(read(&bytes, CniVersion::NEWEST));
        }
    }
}
