use proptest::prelude::*;

use super::*;

fn one(text: &str) -> Selection {
    let mut all = parse(text).unwrap();
    assert_eq!(all.len(), 1, "{text}");
    all.remove(0)
}

fn refusal(text: &str) -> Fault {
    let fault = parse(text).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Config, "{text}");
    assert!(fault.advice().is_some(), "{text}: {fault}");
    fault
}

fn parts(selection: &Selection) -> (Option<&str>, &str, Option<&str>) {
    (
        selection.namespace.as_deref(),
        selection.name.as_str(),
        selection.interface.as_ref().map(IfName::as_str),
    )
}

#[test]
fn the_short_grammar_has_three_parts_and_white_space_between() {
    let all = parse(" net-a , ns/net-b,ns / net.c @ Eth_0.5\t,net-a@x ,/d@").unwrap();
    let all: Vec<_> = all.iter().map(parts).collect();
    assert_eq!(
        all,
        [
            (None, "net-a", None),
            (Some("ns"), "net-b", None),
            (Some("ns"), "net.c", Some("Eth_0.5")),
            (None, "net-a", Some("x")),
            (None, "d", None),
        ]
    );
}

#[test]
fn nothing_is_selected_by_nothing() {
    for text in ["", "  \n", "[]", " [ ] "] {
        assert_eq!(parse(text).unwrap(), [], "{text:?}");
    }
}

#[test]
fn the_json_grammar_has_every_field() {
    let it = one(r#"[{"Name":"net-a","namespace":"ns","interface":"x1","ips":["10.1.0.5/24","2001:DB8::5"],
            "mac":"C2-11-22-33-44-66","infiniband-guid":"c2:11:22:33:44:55:66:77","deviceID":"0000:3b:00.1",
            "portMappings":[{"hostPort":8080, "containerPort":80,"protocol":"tcp","vendor":1}],
            "bandwidth":{"ingressRate": 9007199254740993},
            "cni-args":{"Z":1.50,"a":{"B":null}},"default-route":["10.1.0.1","::ffff:10.1.0.2"],
            "ipam-claim-reference":"claim","unknown":[1]}]"#);

    assert_eq!(parts(&it), (Some("ns"), "net-a", Some("x1")));
    assert_eq!(it.ips(), ["10.1.0.5/24", "2001:DB8::5"]);
    assert_eq!((it.mac(), it.device_id().unwrap().as_str()), (Some("c2:11:22:33:44:66"), "0000:3b:00.1"));
    assert_eq!(it.default_route, Some(vec!["10.1.0.1".parse().unwrap(), "10.1.0.2".parse().unwrap()]));
    assert_eq!(it.ipam_claim_reference.as_deref(), Some("claim"));
    assert_eq!(it.cni_args.to_bytes(), br#"{"Z":1.50,"a":{"B":null}}"#);
    let capabilities = String::from_utf8(it.capabilities().unwrap().to_bytes()).unwrap();
    assert_eq!(
        capabilities,
        concat!(
            r#"{"mac":"c2:11:22:33:44:66","infinibandGUID":"c2:11:22:33:44:55:66:77","deviceID":"0000:3b:00.1","#,
            r#""ips":["10.1.0.5/24","2001:DB8::5"],"#,
            r#""portMappings":[{"hostPort":8080, "containerPort":80,"protocol":"tcp","vendor":1}],"#,
            r#""bandwidth":{"ingressRate": 9007199254740993}}"#
        )
    );
}

#[test]
fn what_is_null_or_empty_is_not_asked_for() {
    let it = one(
        r#"[{"name":"a","namespace":"","interface":"","ips":null,"mac":"","infiniband-guid":null,"deviceID":"",
            "portMappings":null,"cni-args":null,"default-route":null,"ipam-claim-reference":""}]"#,
    );

    assert_eq!(it, one("a"));
    assert!(it.capabilities().unwrap().is_empty() && it.cni_args.is_empty());
}

#[test]
fn the_former_name_of_the_interface_counts_where_the_present_one_is_absent() {
    let named = |text: &str| parts(&one(text)).2.map(str::to_owned);
    assert_eq!(named(r#"[{"name":"a","interfaceRequest":"old"}]"#), Some("old".into()));
    assert_eq!(named(r#"[{"name":"a","interface":"new","interfaceRequest":"old"}]"#), Some("new".into()));
    assert_eq!(named(r#"[{"name":"a","interface":"","interfaceRequest":"old"}]"#), Some("old".into()));
}

#[test]
fn no_default_route_and_an_empty_one_are_told_apart() {
    assert_eq!(one(r#"[{"name":"a"}]"#).default_route, None);
    assert_eq!(one(r#"[{"name":"a","default-route":[]}]"#).default_route, Some(Vec::new()));
}

#[test]
fn one_network_may_be_selected_often() {
    assert_eq!(parse("a,a,a@x").unwrap().len(), 3);
}

#[test]
fn every_refusal_names_the_entry_and_what_is_wrong() {
    for (text, want) in [
        ("a,", r#"cannot read network selection 2: it is empty"#),
        ("a,,b", r#"cannot read network selection 2: it is empty"#),
        ("n/", r#"cannot read network selection 1 "n/": it names no network"#),
        ("a@b@c", r#"cannot read network selection 1 "a@b@c": it has "@" more than once"#),
        ("x,a/b/c", r#"cannot read network selection 2 "a/b/c": it has "/" more than once"#),
        ("../x", r#"cannot read network selection 1 "../x": namespace ".." cannot exist"#),
        ("..", r#"cannot read network selection 1 "..": network ".." cannot exist"#),
        ("Net", r#"cannot read network selection 1 "Net": network "Net" cannot exist"#),
        ("a b", r#"cannot read network selection 1 "a b": network "a b" cannot exist"#),
        (
            "a@sixteen-bytes-xx",
            r#"cannot read network selection 1 "a@sixteen-bytes-xx": interface name "sixteen-bytes-xx" is longer than 15 bytes"#,
        ),
        ("a@x,b@y,c@x", r#"network selections 1 and 3 both ask for interface "x""#),
        (
            "[null]",
            "cannot read network selection 1: cannot read it: invalid type: null, expected a JSON object at line 1 column 4",
        ),
        (r#"[{"name":"a"},{}]"#, "cannot read network selection 2: it names no network"),
        (
            r#"[{"name":"a","mac":"02:00"}]"#,
            r#"cannot read network selection 1 "a": "02:00" is not a hardware address"#,
        ),
        (
            r#"[{"name":"a","ips":["10.0.0.1","10.0.0.1/33"]}]"#,
            r#"cannot read network selection 1 "a": "10.0.0.1/33" in "ips" is not an address"#,
        ),
        (
            r#"[{"name":"a","default-route":["gate"]}]"#,
            r#"cannot read network selection 1 "a": "gate" in "default-route" is not an address"#,
        ),
        (
            r#"[{"name":"a","deviceID":"../../x"}]"#,
            r#"cannot read network selection 1 "a": device id "../../x" cannot be part of a file name"#,
        ),
        (
            format!(r#"[{{"name":"a","deviceID":"{}"}}]"#, "x".repeat(129)).as_str(),
            format!(
                r#"cannot read network selection 1 "a": device name "{}" is longer than 128 bytes"#,
                "x".repeat(40)
            )
            .as_str(),
        ),
        (
            r#"[{"name":"a","namespace":"n.s"}]"#,
            r#"cannot read network selection 1 "a": namespace "n.s" cannot exist"#,
        ),
    ] {
        assert_eq!(refusal(text).to_string(), want);
    }
}

#[test]
fn json_of_another_shape_is_refused() {
    for text in [
        "{}",
        r#"{"name":"a"}"#,
        r#""a""#,
        "[1]",
        r#"["a"]"#,
        "[[]]",
        "[",
        r#"[{"name":"a"}"#,
        r#"[{"name":"a"}],"#,
        r#"[{"name":1}]"#,
        r#"[{"name":"a","ips":"10.0.0.1"}]"#,
        r#"[{"name":"a","ips":[null]}]"#,
        r#"[{"name":"a","cni-args":"text"}]"#,
        r#"[{"name":"a","cni-args":[]}]"#,
        r#"[{"name":"a","portMappings":{}}]"#,
        r#"[{"name":"a","portMappings":[{"hostPort":65536}]}]"#,
        r#"[{"name":"a","bandwidth":[]}]"#,
        r#"[{"name":"a","bandwidth":{"ingressRate":-1}}]"#,
        r#"[{"name":"a","default-route":"10.0.0.1"}]"#,
    ] {
        refusal(text);
    }
}

#[test]
fn a_storm_of_selections_is_refused() {
    let many = vec!["a"; MAX_SELECTIONS + 1].join(",");
    assert_eq!(refusal(&many).to_string(), "257 networks are selected");
    assert_eq!(parse(&many[2..]).unwrap().len(), MAX_SELECTIONS);

    let json = format!("[{}]", vec![r#"{"name":"a"}"#; MAX_SELECTIONS + 1].join(","));
    assert_eq!(refusal(&json).to_string(), "257 networks are selected");

    let ips = vec![r#""10.0.0.1""#; MAX_ITEMS + 1].join(",");
    let json = format!(r#"[{{"name":"a","ips":[{ips}]}}]"#);
    assert_eq!(refusal(&json).to_string(), r#"cannot read network selection 1 "a": "ips" has 1025 entries"#);

    refusal(&" ".repeat(MAX_TEXT + 1));
}

#[test]
fn a_strangers_text_is_not_repeated_at_length() {
    for text in ["é", "a/", "a"] {
        let fault = refusal(&format!("{}@{}", text.repeat(10_000), text.repeat(10_000)));
        assert!(fault.to_string().chars().count() < 400, "{fault}");
    }
}

#[test]
fn what_is_read_back_is_checked_again() {
    assert!(serde_json::from_str::<Selection>(r#"{"name":"../../etc"}"#).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,80}") {
        drop(parse(&text));
    }

    #[test]
    fn no_short_text_makes_a_name_that_leaves_its_directory(text in "[a-z./@, -]{0,24}") {
        for it in parse(&text).unwrap_or_default() {
            for name in it.namespace.iter().chain([&it.name]) {
                prop_assert!(!name.contains('/') && !name.starts_with('.') && !name.is_empty());
            }
        }
    }

    #[test]
    fn no_json_makes_it_panic(text in r#"\[(\{?("(name|ips|mac|cni-args|interface)":?|[\[\]{},:0-9a]|null){0,12}\}?)\]"#) {
        drop(parse(&text));
    }

    #[test]
    fn a_selection_survives_being_written(
        name in "[a-z]{1,8}",
        mac in proptest::option::of(any::<[u8; 6]>()),
        ip in proptest::collection::vec(any::<std::net::IpAddr>(), 0..3),
        gateways in proptest::option::of(proptest::collection::vec(any::<std::net::Ipv4Addr>(), 0..2)),
        port in any::<u16>(),
        interface in proptest::option::of("[a-z]{1,15}"),
    ) {
        let mut entry = serde_json::json!({
            "name": name, "ips": ip, "portMappings": [{"hostPort": port}], "cni-args": {"k": port},
            "interface": interface, "default-route": gateways,
        });
        if let Some(mac) = mac {
            entry["mac"] = mac.map(|b| format!("{b:02X}")).join("-").into();
        }
        let all = parse(&serde_json::json!([entry]).to_string()).unwrap();

        let text = serde_json::to_string(&all).unwrap();

        prop_assert_eq!(&parse(&text).unwrap(), &all);
        prop_assert_eq!(serde_json::from_str::<Vec<Selection>>(&text).unwrap(), all);
    }
}
