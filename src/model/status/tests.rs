use proptest::prelude::*;

use super::*;
use crate::model::device_info::{Device, Memif, MemifMode, MemifRole, Pci};
use crate::model::{Network, Owner};

fn attachment(role: Role) -> Attachment {
    Attachment {
        role,
        label: "ns/blue".to_owned(),
        ..Attachment::new(
            Owner::parse("c1", "net1").unwrap(),
            Network::parse(br#"{"name":"blue","type":"macvlan"}"#, None).unwrap(),
        )
    }
}

fn of(role: Role, result: &str) -> Vec<NetworkStatus> {
    entries(&attachment(role), &serde_json::from_str(result).unwrap(), None)
}

/// Interface, whether it is the default, addresses: of each entry.
fn shown(entries: &[NetworkStatus]) -> Vec<(&str, bool, String)> {
    let each = entries.iter().map(|entry| {
        let ips: Vec<String> = entry.ips.iter().map(ToString::to_string).collect();
        (entry.interface.as_str(), entry.default, ips.join(" "))
    });
    each.collect()
}

/// A bridge's result: two interfaces on the host, one in the pod.
const BRIDGE: &str = r#"{"interfaces":[{"name":"br0","mac":"02:00:00:00:00:01"},{"name":"veth1","mac":"02:00:00:00:00:02"},
    {"name":"net1","mac":"02:00:00:00:00:03","mtu":1450,"sandbox":"/run/netns/p"}],
    "ips":[{"interface":2,"address":"10.1.2.3/24","gateway":"10.1.2.1"},{"interface":2,"address":"fd00::3/64","gateway":"fd00::1"}],
    "routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0","gw":"fd00::9"},{"dst":"10.9.0.0/16","gw":"10.1.2.9"}],
    "dns":{"nameservers":["10.1.2.53"],"domain":"blue.test","search":["a.test","b.test"],"options":["ndots:2"]}}"#;

#[test]
fn the_text_is_what_its_readers_know() {
    let pci = Pci { pci_address: "0000:18:02.5".to_owned(), ..Pci::default() };
    let info = DeviceInfo::new(Device::Pci(pci));
    let mut all = entries(&attachment(Role::Default), &serde_json::from_str(BRIDGE).unwrap(), None);
    let second = r#"{"interfaces":[{"name":"net2","sandbox":"/run/netns/p"}]}"#;
    all.extend(entries(&attachment(Role::Additional), &serde_json::from_str(second).unwrap(), Some(&info)));

    insta::assert_snapshot!(text(&all), @r#"
    [{
        "name": "ns/blue",
        "interface": "net1",
        "ips": [
            "10.1.2.3",
            "fd00::3"
        ],
        "mac": "02:00:00:00:00:03",
        "mtu": 1450,
        "default": true,
        "dns": {
            "nameservers": [
                "10.1.2.53"
            ],
            "domain": "blue.test",
            "search": [
                "a.test",
                "b.test"
            ],
            "options": [
                "ndots:2"
            ]
        },
        "gateway": [
            "10.1.2.1",
            "fd00::9"
        ]
    },{
        "name": "ns/blue",
        "interface": "net2",
        "dns": {},
        "device-info": {
            "type": "pci",
            "version": "1.1.0",
            "pci": {
                "pci-address": "0000:18:02.5"
            }
        }
    }]
    "#);
    assert_eq!(text(&[]), "[]");
    assert!(text(&all).starts_with("[{\n    \"name\"") && text(&all).ends_with("\n}]"));
}

#[test]
fn a_single_interface_is_told_of_only_if_it_is_in_the_pod() {
    let on_the_host = r#"{"interfaces":[{"name":"tap1","mac":"02:00:00:00:00:01","mtu":9000}],"ips":[{"interface":0,"address":"10.1.2.3/24"}]}"#;
    let entries = of(Role::Default, on_the_host);

    assert_eq!(shown(&entries), [("", true, "10.1.2.3".to_owned())]);
    assert_eq!((entries[0].mac.as_str(), entries[0].mtu), ("", None));
}

#[test]
fn a_result_without_interfaces_has_no_entry() {
    assert_eq!(of(Role::Default, r#"{"ips":[{"address":"10.1.2.3/24"}]}"#), []);
    let only_hosts = r#"{"interfaces":[{"name":"a"},{"name":"b"}],"ips":[{"address":"10.1.2.3/24"}]}"#;
    assert_eq!(of(Role::Default, only_hosts), []);
}

#[test]
fn every_address_goes_to_its_interface() {
    let result = r#"{"interfaces":[{"name":"a","sandbox":"/n"},{"name":"h"},{"name":"b","sandbox":"/n"}],
        "ips":[{"interface":0,"address":"10.0.0.1/24"},{"interface":1,"address":"10.0.1.1/24","gateway":"10.0.1.9"},
            {"interface":2,"address":"10.0.2.1/24","gateway":"10.0.2.9"},{"address":"10.0.3.1/24"},{"interface":7,"address":"10.0.4.1/24"}]}"#;

    let entries = of(Role::Default, result);
    assert_eq!(
        shown(&entries),
        [("a", false, "10.0.0.1".to_owned()), ("b", true, "10.0.2.1 10.0.3.1".to_owned())]
    );
    assert!(of(Role::Additional, result).iter().all(|entry| !entry.default));
}

#[test]
fn without_a_gateway_the_first_interface_in_the_pod_is_the_default() {
    let result = r#"{"interfaces":[{"name":"h"},{"name":"a","sandbox":"/n"},{"name":"b","sandbox":"/n"}],
        "ips":[{"interface":2,"address":"10.0.2.1/24"},{"address":"10.0.3.1/24","gateway":"10.0.3.9"}]}"#;

    let entries = of(Role::Default, result);
    assert_eq!(shown(&entries), [("a", true, String::new()), ("b", false, "10.0.2.1 10.0.3.1".to_owned())]);
}

#[test]
fn a_default_route_without_a_next_hop_has_no_gateway() {
    let result = r#"{"interfaces":[{"name":"a","sandbox":"/n"}],"ips":[{"address":"10.0.0.1/24"}],"routes":[{"dst":"0.0.0.0/0"}]}"#;
    assert_eq!(of(Role::Default, result)[0].gateway, [] as [IpAddr; 0]);
}

#[test]
fn what_others_wrote_is_read() {
    let text = r#"[{"name":"cbr0","interface":"eth0","ips":["10.1.1.4"],"default":true,"dns":{},"gateway":["\u003cnil\u003e","10.1.1.1"],"later":1}]"#;
    let entries = parse(text).unwrap();

    assert_eq!(shown(&entries), [("eth0", true, "10.1.1.4".to_owned())]);
    assert_eq!(entries[0].gateway, ["10.1.1.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(parse(" ").unwrap(), []);
    for bad in ["{", "{}", "[null]", r#"[{"interface":"eth0"}]"#, r#"[{"name":"a","ips":["x"]}]"#] {
        assert_eq!(parse(bad).unwrap_err().kind(), FaultKind::Decode, "{bad}");
    }
}

fn any_status() -> impl Strategy<Value = NetworkStatus> {
    let words = ("[a-z]{1,9}/\\PC{0,9}", "\\PC{0,15}", "\\PC{0,17}");
    let ips = || proptest::collection::vec(any::<IpAddr>(), 0..4);
    let dns = proptest::collection::vec("\\PC{0,9}", 0..3).prop_map(|search| Dns {
        search,
        domain: "é<&>\"\\".to_owned(),
        ..Dns::default()
    });
    let memif = Memif { role: Some(MemifRole::Master), path: "/m".to_owned(), mode: Some(MemifMode::Punt) };
    let info = prop_oneof![Just(None), Just(Some(DeviceInfo::new(Device::Memif(memif))))];
    (words, ips(), ips(), any::<Option<u32>>(), any::<bool>(), dns, info).prop_map(
        |((name, interface, mac), ips, gateway, mtu, default, dns, device_info)| NetworkStatus {
            name,
            interface,
            ips,
            mac,
            mtu,
            default,
            dns,
            device_info,
            gateway,
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(entries in proptest::collection::vec(any_status(), 0..5)) {
        prop_assert_eq!(parse(&text(&entries)).unwrap(), entries);
    }

    #[test]
    fn no_text_makes_reading_panic(text in "\\PC{0,64}") {
        drop(parse(&text));
    }
}
