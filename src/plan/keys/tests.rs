use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::value::Error;
use serde::de::{Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Value, json};

use super::*;
use crate::model::result::Dns;
use crate::model::{Attachment, Network, NetworkName, Owner};
use crate::plan::chain;

/// Refuses whatever is asked for, in the words of the keys that a struct asks for.
struct Asked;

impl<'de> Deserializer<'de> for Asked {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom(""))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        Err(Error::custom(fields.join(" ")))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The keys that a struct reads.
fn read<'de, T: Deserialize<'de>>() -> BTreeSet<String> {
    let asked = T::deserialize(Asked).err().unwrap().to_string();
    asked.split_whitespace().map(str::to_owned).collect()
}

/// Fails unless a struct reads the keys that are known, and no others.
pub(in crate::plan) fn assert_read<'de, T: Deserialize<'de>>(known: &Known) {
    assert_eq!(known.names().map(str::to_ascii_lowercase).collect::<BTreeSet<_>>(), read::<T>());
}

fn warnings_of(conf: Value, standalone: Option<NetworkName>) -> Vec<String> {
    let network = Network::parse(conf.to_string().as_bytes(), Some("data")).unwrap();
    let attachment =
        Attachment { standalone, ..Attachment::new(Owner::parse("pod-1", "net1").unwrap(), network) };
    chain::unread(&attachment)
}

fn warnings(conf: Value) -> Vec<String> {
    warnings_of(conf, None)
}

#[test]
fn settings_of_the_name_service_are_known() {
    assert_read::<Dns>(&Known::DNS);
}

#[test]
fn each_kind_names_the_key_it_does_not_know_and_the_nearest() {
    for (kind, key, meant) in [
        ("macvlan", "mastr", "master"),
        ("macvlan", "linkInContaner", "linkInContainer"),
        ("vlan", "vlan", "vlanId"),
        ("vlan", "natve", "native"),
        ("sriov", "max-tx-rate", "max_tx_rate"),
        ("sriov", "spoofCheck", "spoofchk"),
        ("sriov", "vlanId", "vlan"),
        ("vhost-user", "socket_dir", "socketDir"),
        ("userspace", "shared-dir", "sharedDir"),
        ("passthru", "capabilites", "capabilities"),
    ] {
        let mut conf = json!({"type": kind});
        conf[key] = json!({"a": 1});
        let told =
            format!("plugin {kind:?}: {key:?} has no effect: there is no such key; did you mean {meant:?}?");
        assert_eq!(warnings(conf), [told]);
    }
}

#[test]
fn a_key_like_no_other_is_named_without_a_hint() {
    let told = warnings(json!({"type": "macvlan", "k": 1, "promiscMode": true}));

    let each = ["k", "promiscMode"];
    let each = each.map(|key| format!("plugin \"macvlan\": {key:?} has no effect: there is no such key"));
    assert_eq!(told, each);
}

#[test]
fn keys_of_plugins_that_are_run_are_their_own_affair() {
    let whereabouts = json!({"type": "whereabouts", "rnge": "10.1.0.0/24"});
    for conf in [
        json!({"type": "bridge", "bridg": "cni0"}),
        json!({"type": "vlan", "native": false, "vlan": 7}),
        json!({"type": "macvlan", "ipam": whereabouts}),
        json!({"type": "macvlan", "ipam": {"type": "static", "native": false, "adresses": []}}),
    ] {
        assert_eq!(warnings(conf), [""; 0]);
    }
}

#[test]
fn keys_deep_within_are_named_with_their_place_once() {
    let ranges = json!([[{"subnet": "10.1.0.0/24", "rangeStrat": "10.1.0.9"}], [{"rangeStrat": 1}, {"RangeStrat": 1}]]);
    let host_local = json!({"type": "host-local", "ranges": ranges, "datadir": "/d", "routes": [{"dest": ""}],
        "addresses": []});
    let fixed = json!({"type": "static", "addresses": [{"adress": ""}], "dns": {"server": []}, "ranges": []});
    let ends = json!({"engine": "vpp", "memif": {"socketFile": "", "rol": "master"}, "brigde": {}});
    let told: Vec<String> = [
        json!({"type": "macvlan", "ipam": host_local, "dns": {"nameserver": []}}),
        json!({"type": "sriov", "ipam": fixed}),
        json!({"type": "userspace", "host": ends}),
        json!({"type": "vhost-user", "trunk": [{"id": 1}, {"min_id": 1, "maxid": 2}]}),
    ]
    .into_iter()
    .flat_map(warnings)
    .collect();

    let expected = [
        ("macvlan", "dns.nameserver", "; did you mean \"nameservers\"?"),
        ("macvlan", "ipam.addresses", ""),
        ("macvlan", "ipam.ranges.rangeStrat", "; did you mean \"rangeStart\"?"),
        ("macvlan", "ipam.ranges.RangeStrat", "; did you mean \"rangeStart\"?"),
        ("macvlan", "ipam.routes.dest", "; did you mean \"dst\"?"),
        ("sriov", "ipam.addresses.adress", "; did you mean \"address\"?"),
        ("sriov", "ipam.dns.server", ""),
        ("sriov", "ipam.ranges", ""),
        ("userspace", "host.brigde", "; did you mean \"bridge\"?"),
        ("userspace", "host.memif.rol", "; did you mean \"role\"?"),
        ("vhost-user", "trunk.min_id", "; did you mean \"minID\"?"),
    ];
    let expected = expected.map(|(kind, key, hint)| {
        format!("plugin {kind:?}: {key:?} has no effect: there is no such key{hint}")
    });
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    assert_eq!(sorted(told), sorted(expected.to_vec()));
}

#[test]
fn addresses_that_nobody_is_asked_for_are_missed() {
    let told = |ipam: Value| warnings(json!({"type": "macvlan", "ipam": ipam}));
    let missed = |hint: &str| {
        vec![format!("plugin \"macvlan\": \"ipam\" has no \"type\", so no address is given{hint}")]
    };

    assert_eq!(told(json!({"typ": "host-local"})), missed("; is \"typ\" meant to be it?"));
    assert_eq!(told(json!({"type": "", "subnet": "10.1.0.0/24"})), missed(""));
    for nothing_asked in [json!(null), json!({}), json!({"type": ""}), json!({"type": null, "ranges": null})]
    {
        assert_eq!(told(nothing_asked), [""; 0]);
    }
    let passthru = warnings(json!({"type": "passthru", "ipam": {}}));
    assert_eq!(passthru, ["plugin \"passthru\": \"ipam\" has no effect: there is no such key"]);
}

#[test]
fn keys_beside_the_plugins_of_a_list_are_told_too() {
    let mut list = json!({
        "cniVersion": "1.1.0", "cniVersions": [], "name": "n", "disableCheck": true, "disableGC": true,
        "loadOnlyInlinedPlugins": true, "plugins": [{"type": "bridge"}], "_comment": "", "cni.dev/x": 1,
    });
    assert_eq!(warnings(list.clone()), [""; 0]);

    list["native"] = json!(false);
    list["disableCheq"] = json!(true);
    let written = "\"native\" has no effect beside \"plugins\": write it into each plugin that it is for";
    let misspelt = "\"disableCheq\" has no effect: there is no such key; did you mean \"disableCheck\"?";
    assert_eq!(warnings(list), [written, misspelt]);
}

#[test]
fn keys_that_others_read_are_passed_over() {
    let everywhere = json!({
        "cniVersion": "1.1.0", "name": "data", "type": "sriov", "ipam": {}, "dns": {}, "args": {"cni": {"x": 1}},
        "capabilities": {"mac": true}, "runtimeConfig": {"mac": ""}, "prevResult": {}, "cni.dev/attachments": [],
        "cni.dev/valid-attachments": [], "disableCheck": true, "disableGC": false, "loadOnlyInlinedPlugins": true,
        "deviceID": "0000:03:02.1", "pciBusID": "0000:03:02.1", "native": true, "_comment": "", "LOGLEVEL": "info",
        "logFile": "/x", "vlna": null,
    });
    assert_eq!(warnings(everywhere), [""; 0]);
    let alone = json!({"type": "macvlan", "stateDir": "/s", "vhostUser": {"rules": []}, "logFormat": "json"});
    assert_eq!(warnings_of(alone.clone(), Some("data".parse().unwrap())), [""; 0]);
    assert_eq!(warnings(alone).len(), 3);
}

#[test]
fn what_is_told_is_bounded() {
    let mut conf = json!({"type": "vlan"});
    for n in 0..100 {
        conf[format!("{n}{}", "x".repeat(1000))] = json!(1);
    }

    let told = warnings(conf);

    assert_eq!(told.len(), MAX_TOLD + 1);
    assert!(told.iter().all(|line| line.len() < 128), "{told:?}");
    assert_eq!(told.last().unwrap(), "plugin \"vlan\": 92 more keys have no effect");
}

#[test]
fn what_is_near_is_what_few_letters_make_the_same() {
    let far = |one: &str, other: &str| {
        distance(&one.chars().collect::<Vec<_>>(), &other.chars().collect::<Vec<_>>())
    };
    assert_eq!([far("", ""), far("", "abc"), far("abc", ""), far("same", "same")], [0, 3, 3, 0]);
    assert_eq!([far("kitten", "sitting"), far("flaw", "lawn"), far("ab", "ba")], [3, 2, 2]);
}
