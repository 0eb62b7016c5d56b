use proptest::prelude::*;

use super::*;

fn network(text: &str) -> Network {
    Network::parse(text.as_bytes(), None).unwrap()
}

fn refusal(text: &str) -> Fault {
    let fault = Network::parse(text.as_bytes(), Some("default")).unwrap_err();
    assert!(fault.advice().is_some(), "{text}: {fault}");
    fault
}

fn plugin(text: &str) -> PluginConf {
    PluginConf::try_from(Object::parse(text.as_bytes(), "the test").unwrap()).unwrap()
}

fn given(text: &str) -> Object {
    Object::parse(text.as_bytes(), "the test").unwrap()
}

/// What the first plugin of a network is told.
fn told(network: &Network, capabilities: &Object, prev_result: Option<&str>) -> String {
    let prev_result = prev_result.map(|text| serde_json::from_str(text).unwrap());
    let request = network.plugins[0].request(network, Inject { capabilities, prev_result }).unwrap();
    String::from_utf8(request.to_bytes()).unwrap()
}

#[test]
fn a_list_is_a_chain_in_its_order() {
    let it =
        network(r#"{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"b"},{"Type":"a","name":"mine"}]}"#);
    assert_eq!((it.to_string().as_str(), it.version), ("n (b, a)", CniVersion::V1_0_0));
}

#[test]
fn a_single_configuration_is_a_chain_of_one_as_written() {
    let text =
        r#"{"type":"macvlan","cniVersion":"0.3.1","name":"n","z":12345678901234567890,"a":[1.50, {}]}"#;
    let it = network(text);
    assert_eq!(it.to_string(), "n (macvlan)");
    assert_eq!(it.plugins[0].object().to_bytes(), text.as_bytes());
}

#[test]
fn a_list_wins_over_a_type_beside_it() {
    assert_eq!(network(r#"{"name":"n","type":"x","plugins":[{"type":"y"}]}"#).to_string(), "n (y)");
}

#[test]
fn the_name_given_is_used_only_where_the_configuration_has_none() {
    for (text, want) in [
        (r#"{"type":"x"}"#, "default"),
        (r#"{"type":"x","name":""}"#, "default"),
        (r#"{"type":"x","name":null}"#, "default"),
        (r#"{"type":"x","NAME":"own"}"#, "own"),
    ] {
        let it = Network::parse(text.as_bytes(), Some("default")).unwrap();
        assert_eq!(it.name.as_str(), want, "{text}");
    }
    assert_eq!(Network::parse(br#"{"type":"x"}"#, None).unwrap_err().kind(), FaultKind::Config);
}

#[test]
fn a_flag_is_a_boolean_or_its_name() {
    let text = |flag: &str| {
        format!(
            r#"{{"name":"n","DisableCheck":{flag},"disableGC":{flag},"loadOnlyInlinedPlugins":{flag},"plugins":[{{"type":"x"}}]}}"#
        )
    };
    for (flag, want) in
        [("true", true), (r#""TRUE""#, true), ("false", false), (r#""False""#, false), ("null", false)]
    {
        let it = network(&text(flag));
        assert_eq!((it.disable_check, it.disable_gc, it.only_inlined), (want, want, want), "{flag}");
    }
    for flag in ["1", r#""yes""#, r#""""#, "[]"] {
        let refusal = refusal(&text(flag));
        assert_eq!(refusal.kind(), FaultKind::Decode, "{flag}");
        assert!(refusal.to_string().ends_with(" neither true nor false"), "{refusal}");
    }
}

#[test]
fn the_newest_version_listed_is_spoken() {
    let text = r#"{"name":"n","cniVersion":"0.3.1","cniVersions":["0.4.0","1.0.0","9.0.0"],"plugins":[{"type":"x"}]}"#;
    assert_eq!(network(text).version, CniVersion::V1_0_0);
    assert_eq!(network(r#"{"name":"n","type":"x"}"#).version, CniVersion::V0_1_0);
    assert_eq!(refusal(r#"{"type":"x","cniVersion":"9.0.0"}"#).kind(), FaultKind::Version);
    assert_eq!(refusal(r#"{"type":"x","cniVersions":["nine"]}"#).kind(), FaultKind::Config);
}

#[test]
fn what_is_no_network_is_refused() {
    for (text, kind, want) in [
        ("[]", FaultKind::Decode, "cannot read the network's configuration: "),
        (r#"{"plugins":{}}"#, FaultKind::Decode, r#"cannot read "plugins": "#),
        (r#"{"plugins":[null]}"#, FaultKind::Decode, r#"cannot read "plugins": "#),
        (r#"{"plugins":["x"]}"#, FaultKind::Decode, r#"cannot read "plugins": "#),
        (r#"{"plugins":[]}"#, FaultKind::Config, r#""plugins" has 0 entries"#),
        (r#"{"plugins":null}"#, FaultKind::Config, r#"network "default" has no plugins"#),
        ("{}", FaultKind::Config, r#"network "default" has no plugins"#),
        (r#"{"plugins":[{"type":"x"},{}]}"#, FaultKind::Config, r#"a plugin configuration has no "type""#),
        (r#"{"type":""}"#, FaultKind::Config, r#"a plugin configuration has no "type""#),
        (r#"{"type":7}"#, FaultKind::Decode, r#"cannot read "type": "#),
        (r#"{"type":"../sh"}"#, FaultKind::Config, r#"plugin type "../sh" is not a file name"#),
        (r#"{"type":"x","name":"a/b"}"#, FaultKind::Config, r#"network name "a/b" is not valid"#),
    ] {
        let fault = refusal(text);
        assert_eq!(fault.kind(), kind, "{text}");
        assert!(fault.to_string().starts_with(want), "{text}: {fault}");
    }
}

#[test]
fn args_that_are_no_object_stay_as_they_are() {
    let it = network(r#"{"name":"n","type":"x","args":"a=b","runtimeConfig":7}"#);
    assert_eq!(
        told(&it, &Object::default(), None),
        r#"{"name":"n","type":"x","args":"a=b","runtimeConfig":7,"cniVersion":"0.1.0"}"#
    );
}

#[test]
fn the_source_is_kept_as_written() {
    let text = r#"{ "name" : "n",  "plugins" : [ {"type":"x"} ] }"#;
    assert_eq!(network(&format!("\n{text}\n")).source.get(), text);
}

#[test]
fn a_network_survives_being_recorded() {
    let it = network(
        r#"{"cniVersion":"1.1.0","name":"n","disableGC":true,"plugins":[{"type":"x","big":12345678901234567890}]}"#,
    );
    let text = serde_json::to_string(&it).unwrap();
    assert_eq!(
        serde_json::from_str::<Network>(&text).unwrap(),
        Network { source: RawValueEq::default(), ..it }
    );
}

#[test]
fn a_plugin_is_told_its_network_and_nothing_else_changes() {
    let it = network(
        r#"{"cniVersion":"1.1.0","name":"n","plugins":[{"big":12345678901234567890,"Name":"old","type":"x","f":1.50}]}"#,
    );
    assert_eq!(
        told(&it, &given(r#"{"mac":"c2:11:22:33:44:66"}"#), Some(r#"{"ips":[]}"#)),
        r#"{"big":12345678901234567890,"name":"n","type":"x","f":1.50,"cniVersion":"1.1.0","prevResult":{"ips":[]}}"#
    );
}

#[test]
fn a_plugin_is_given_the_capabilities_it_declared_true() {
    let all = given(
        r#"{"mac":"m","ips":["i"],"portMappings":[{"hostPort": 80}],"bandwidth":{"ingressRate":9007199254740993}}"#,
    );
    let with = |capabilities: &str| {
        let it = network(&format!(r#"{{"name":"n","type":"x","capabilities":{capabilities}}}"#));
        let text = told(&it, &all, None);
        text.split_once(r#""runtimeConfig":"#).map(|(_, given)| given.to_owned())
    };
    assert_eq!(
        with(r#"{"bandwidth":true,"mac":false,"portMappings":true,"aliases":true}"#).unwrap(),
        r#"{"portMappings":[{"hostPort": 80}],"bandwidth":{"ingressRate":9007199254740993}}}"#
    );
    for none in
        ["{}", "null", "7", r#"["mac"]"#, r#"{"mac":"true"}"#, r#"{"Mac":true}"#, r#"{"aliases":true}"#]
    {
        assert_eq!(with(none), None, "{none}");
    }
}

#[test]
fn what_was_injected_before_is_replaced_in_place() {
    let it = network(
        r#"{"name":"n","PrevResult":1,"RuntimeConfig":{"mac":"old"},"type":"x","capabilities":{"mac":true},"prevresult":2}"#,
    );
    assert_eq!(
        told(&it, &given(r#"{"mac":"new"}"#), Some("{}")),
        r#"{"name":"n","prevResult":{},"runtimeConfig":{"mac":"new"},"type":"x","capabilities":{"mac":true},"cniVersion":"0.1.0"}"#
    );
}

#[test]
fn files_beside_a_list_are_appended_to_it() {
    let mut it =
        Network::parse_open(br#"{"name":"n","plugins":[{"type":"a"}]}"#, None, CniVersion::V0_1_0).unwrap();
    it.append(plugin(r#"{"type":"b"}"#));
    assert_eq!(it.complete().unwrap().to_string(), "n (a, b)");

    let mut empty = Network::parse_open(br#"{"name":"n"}"#, None, CniVersion::V0_1_0).unwrap();
    empty.append(plugin(r#"{"type":"b"}"#));
    assert_eq!(empty.complete().unwrap().to_string(), "n (b)");
}

#[test]
fn a_list_that_loads_only_what_is_inlined_is_left_alone() {
    let text = br#"{"name":"n","loadOnlyInlinedPlugins":true,"plugins":[{"type":"a"}]}"#;
    let mut it = Network::parse_open(text, None, CniVersion::V0_1_0).unwrap();
    it.append(plugin(r#"{"type":"b"}"#));
    assert_eq!(it.complete().unwrap().to_string(), "n (a)");

    let mut none =
        Network::parse_open(br#"{"name":"n","loadOnlyInlinedPlugins":true}"#, None, CniVersion::V0_1_0)
            .unwrap();
    none.append(plugin(r#"{"type":"b"}"#));
    let fault = none.complete().unwrap_err();
    assert_eq!(
        (fault.kind(), fault.to_string().as_str()),
        (FaultKind::Config, r#"network "n" has no plugins"#)
    );
    assert_eq!(fault.advice(), Some(r#"name at least one in "plugins", or drop "loadOnlyInlinedPlugins""#));
}

#[test]
fn a_chain_is_neither_empty_nor_endless() {
    assert!(Network::parse_open(br#"{"name":"n"}"#, None, CniVersion::V0_1_0).unwrap().complete().is_err());
    assert!(Network::parse_open(br#"{"name":"n","plugins":[]}"#, None, CniVersion::V0_1_0).is_err());

    let chain = |n: usize| format!(r#"{{"name":"n","plugins":[{}]}}"#, vec![r#"{"type":"x"}"#; n].join(","));
    let mut longest = network(&chain(MAX_CHAIN));
    longest.append(plugin(r#"{"type":"x"}"#));
    let fault = longest.complete().unwrap_err();
    assert_eq!(
        (fault.kind(), fault.to_string().as_str()),
        (FaultKind::Config, r#"network "n" has 65 plugins"#)
    );
    assert_eq!(refusal(&chain(MAX_CHAIN + 1)).kind(), FaultKind::Config);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        drop(Network::parse(&bytes, Some("default")));
    }

    #[test]
    fn no_object_makes_it_panic(
        key in prop::sample::select(vec!["name", "cniVersion", "cniVersions", "disableGC", "plugins", "type", "capabilities"]),
        value in prop::sample::select(vec!["null", "7", "\"x\"", "[]", "[null]", "[{}]", "{}", "{\"x\":true}", "1e999"]),
    ) {
        let text = format!(r#"{{"name":"n","type":"x","{key}":{value}}}"#);
        if let Ok(it) = Network::parse(text.as_bytes(), None) {
            let request = it.plugins[0].request(&it, Inject { capabilities: &given(r#"{"x":1}"#), prev_result: None });
            prop_assert!(request.is_ok());
        }
    }

    #[test]
    fn foreign_keys_travel_in_order_and_to_the_letter(entries in proptest::collection::vec(("[b-z]{3,6}", any::<i128>()), 0..6)) {
        let reserved = ["name", "type", "args", "ipam", "dns"];
        let mut foreign: Vec<(String, i128)> = Vec::new();
        for (key, number) in entries {
            if !reserved.contains(&key.as_str()) && !foreign.iter().any(|(k, _)| *k == key) {
                foreign.push((key, number));
            }
        }
        let foreign: String = foreign.iter().map(|(k, n)| format!(r#","{k}":{n}"#)).collect();
        let it = network(&format!(r#"{{"type":"x","name":"n"{foreign}}}"#));

        let want = format!(r#"{{"type":"x","name":"n"{foreign},"cniVersion":"0.1.0"}}"#);
        prop_assert_eq!(told(&it, &Object::default(), None), want);
    }
}
