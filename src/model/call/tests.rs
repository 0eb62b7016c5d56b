use proptest::prelude::*;

use super::*;

const STDIN: &str = r#"{"cniVersion":"1.1.0","name":"net","type":"manifold"}"#;

/// A call with every variable, changed by `changes`; an empty value removes the variable.
fn call(command: &str, stdin: &str, changes: &[(&str, &str)]) -> Call {
    let usual = [
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/c1"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin:/usr/lib/cni:"),
        ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=p"),
    ];
    let mut variables: BTreeMap<String, String> =
        usual.iter().chain(changes).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    variables.retain(|_, value| !value.is_empty());
    Call::new(variables).with_stdin(stdin.as_bytes().to_vec())
}

fn refusal(command: &str, stdin: &str, changes: &[(&str, &str)]) -> Fault {
    let fault = call(command, stdin, changes).request().unwrap_err();
    assert!(fault.advice().is_some(), "{fault}");
    fault
}

fn del(stdin: &str, changes: &[(&str, &str)]) -> (Leaving, Config) {
    let request = call("DEL", stdin, changes).request().unwrap();
    let Request::Del(leaving, config) = request else { panic!("{request:?}") };
    (leaving, config)
}

fn gc(stdin: &str) -> Outcome<Vec<String>> {
    let request = call("GC", stdin, &[]).request()?;
    let Request::Gc(_, valid) = request else { panic!("{request:?}") };
    Ok(valid.attachments().map(Owner::to_string).collect())
}

#[test]
fn an_add_has_everything() {
    let stdin = r#"{"CNIVERSION":"0.4.0","Name":"net","RuntimeConfig":{"mac":"c2:11:22:33:44:66"},
        "prevResult":{"ips":[{"version":"4","address":"10.0.0.5/24"}]},"vendor":12345678901234567890}"#;

    let request = call("ADD", stdin, &[]).request().unwrap();

    let Request::Add(sandbox, config) = request else { panic!("{request:?}") };
    assert_eq!(sandbox.owner.to_string(), "c1/eth0");
    assert_eq!(sandbox.netns.as_str(), "/run/netns/c1");
    assert_eq!(sandbox.args.get("K8S_POD_NAME"), Some("p"));
    assert_eq!((config.name.as_str(), config.version), ("net", CniVersion::V0_4_0));
    assert_eq!(config.plugin_dirs, [PathBuf::from("/opt/cni/bin"), PathBuf::from("/usr/lib/cni")]);
    assert_eq!(config.prev_result.unwrap().ips.len(), 1);
    assert_eq!(config.runtime_config.to_bytes(), br#"{"mac":"c2:11:22:33:44:66"}"#);
    assert_eq!(config.object.get("vendor").unwrap().get(), "12345678901234567890");
}

#[test]
fn each_verb_lists_all_variables_it_misses() {
    let none = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"].map(|name| (name, ""));
    for (command, want) in [
        ("ADD", "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH"),
        ("CHECK", "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH"),
        ("DEL", "CNI_CONTAINERID, CNI_IFNAME, CNI_PATH"),
        ("GC", "CNI_PATH"),
        ("STATUS", "CNI_PATH"),
        ("", "CNI_COMMAND"),
    ] {
        let fault = refusal(command, "no JSON", &none);
        assert_eq!(fault.kind().code(), 4);
        assert_eq!(fault.to_string(), format!("variables are missing: {want}"));
    }
}

#[test]
fn gc_and_status_name_no_sandbox() {
    let none = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"].map(|name| (name, ""));
    assert!(matches!(call("STATUS", STDIN, &none).request(), Ok(Request::Status(_))));
    let stdin = r#"{"cniVersion":"1.1.0","name":"net","cni.dev/valid-attachments":[]}"#;
    assert!(
        matches!(call("GC", stdin, &none).request(), Ok(Request::Gc(_, valid)) if valid == ValidList::of("net".parse().unwrap(), [].into()))
    );
}

#[test]
fn version_needs_nothing_but_the_verb() {
    let variables = BTreeMap::from([("CNI_COMMAND".to_owned(), "VERSION".to_owned())]);
    assert_eq!(Call::new(variables).request().unwrap(), Request::Version);
}

#[test]
fn an_unknown_verb_is_refused_with_code_4() {
    for verb in ["UPDATE", "add", "ADD "] {
        let fault = refusal(verb, STDIN, &[]);
        assert_eq!(fault.kind(), FaultKind::Environment);
        assert_eq!(fault.to_string(), format!("CNI_COMMAND {verb:?} is not known"));
    }
}

#[test]
fn standard_input_is_an_object_with_a_valid_name() {
    for verb in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        for (stdin, code) in [
            ("", 6),
            ("[]", 6),
            ("null", 6),
            (r#"{"name":"net""#, 6),
            (r#"{"name":7}"#, 6),
            (r#"{"cniVersion":"1.1.0"}"#, 7),
            (r#"{"name":null}"#, 7),
            (r#"{"name":"../net"}"#, 7),
        ] {
            assert_eq!(refusal(verb, stdin, &[]).kind().code(), code, "{verb} {stdin}");
        }
    }
}

#[test]
fn wrong_variables_are_refused_with_code_4() {
    for (name, value) in
        [("CNI_CONTAINERID", "../c"), ("CNI_IFNAME", "a/b"), ("CNI_NETNS", "c1"), ("CNI_ARGS", "word")]
    {
        for verb in ["ADD", "CHECK"] {
            assert_eq!(refusal(verb, STDIN, &[(name, value)]).kind().code(), 4, "{verb} {name}");
        }
    }
}

#[test]
fn a_verb_needs_a_version_that_has_it() {
    let stdin =
        |version: &str| format!(r#"{{"cniVersion":"{version}","name":"net","cni.dev/attachments":[]}}"#);
    for (verb, too_old, enough) in
        [("CHECK", "0.3.1", "0.4.0"), ("GC", "1.0.0", "1.1.0"), ("STATUS", "1.0.0", "1.1.0")]
    {
        let fault = refusal(verb, &stdin(too_old), &[]);

        assert_eq!(fault.kind(), FaultKind::Version);
        assert_eq!(fault.to_string(), format!("CNI version {too_old} has no {verb}"));
        let remedy = format!(r#"set the network's "cniVersion" to "{enough}" or newer"#);
        assert_eq!(fault.advice(), Some(remedy.as_str()));
        assert!(call(verb, &stdin(enough), &[]).request().is_ok());
    }
    for verb in ["ADD", "CHECK", "GC", "STATUS"] {
        assert_eq!(refusal(verb, &stdin("1.2.0"), &[]).kind(), FaultKind::Version);
    }
}

#[test]
fn an_absent_version_is_the_oldest() {
    for stdin in
        [r#"{"name":"net"}"#, r#"{"name":"net","cniVersion":""}"#, r#"{"name":"net","cniVersion":null}"#]
    {
        let request = call("ADD", stdin, &[]).request().unwrap();
        assert!(matches!(request, Request::Add(_, config) if config.version == CniVersion::V0_1_0));
    }
}

#[test]
fn a_previous_result_that_cannot_be_read_stops_add_and_check() {
    let stdin = r#"{"cniVersion":"1.0.0","name":"net","prevResult":{"ips":[{}]}}"#;
    for verb in ["ADD", "CHECK"] {
        let fault = refusal(verb, stdin, &[]);
        assert_eq!(fault.kind(), FaultKind::Decode);
        assert!(
            fault
                .to_string()
                .starts_with(r#"cannot read "prevResult": cannot read "ips" of the plugin's result: "#),
            "{fault}"
        );
    }
}

#[test]
fn a_del_knows_the_namespace_if_the_runtime_does() {
    assert_eq!(del(STDIN, &[]).0.netns, Some("/run/netns/c1".parse().unwrap()));
    assert_eq!(del(STDIN, &[("CNI_NETNS", "")]).0.netns, None);
}

#[test]
fn a_del_passes_over_what_it_can_do_without() {
    let stdin =
        r#"{"cniVersion":"9.9.9","name":"net","prevResult":{"ips":[7]},"runtimeConfig":[],"x":1e999}"#;

    let (leaving, config) = del(stdin, &[("CNI_NETNS", "relative"), ("CNI_ARGS", "word;K8S_POD_NAME=p=q")]);

    assert_eq!((leaving.netns, leaving.args.to_string().as_str()), (None, "K8S_POD_NAME=p=q"));
    assert_eq!((config.version, config.prev_result), (CniVersion::NEWEST, None));
    assert!(config.runtime_config.is_empty());
}

#[test]
fn gc_knows_the_valid_attachments_under_either_key() {
    let stdin = |key: &str, list: &str| format!(r#"{{"cniVersion":"1.1.0","name":"net","{key}":{list}}}"#);
    let two = r#"[{"containerID":"c1","ifname":"eth0"},{"containerID":"c2","ifname":"net1"}]"#;
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        assert_eq!(gc(&stdin(key, two)).unwrap(), ["c1/eth0", "c2/net1"]);
        assert_eq!(gc(&stdin(key, "null")).unwrap(), [""; 0]);
        let odd = r#"[{"ContainerID":"c3","IFName":"a"}]"#;
        assert_eq!(gc(&stdin(key, odd)).unwrap(), ["c3/a"]);
        for bad in ["{}", "[null]", "[7]", r#"[{"containerID":1,"ifname":"a"}]"#] {
            assert_eq!(gc(&stdin(key, bad)).unwrap_err().kind(), FaultKind::Decode, "{bad}");
        }
    }
}

#[test]
fn a_sandbox_is_valid_whatever_interface_an_entry_names() {
    for entry in [
        r#"{"containerID":"c1"}"#,
        r#"{"containerID":"c1","ifname":""}"#,
        r#"{"containerID":"c1","ifname":"../x"}"#,
        r#"{"containerID":"c1","ifname":"eth0"}"#,
    ] {
        let stdin = format!(r#"{{"cniVersion":"1.1.0","name":"net","cni.dev/valid-attachments":[{entry}]}}"#);

        let request = call("GC", &stdin, &[]).request().unwrap();

        let Request::Gc(_, valid) = request else { panic!("{request:?}") };
        assert!(valid.has(&"c1".parse().unwrap()), "{entry}");
        assert_eq!(valid.attachments().count(), usize::from(entry.contains("eth0")), "{entry}");
    }
}

#[test]
fn a_gc_with_an_entry_that_names_no_sandbox_is_refused() {
    for entry in
        ["{}", r#"{"ifname":"eth0"}"#, r#"{"containerID":""}"#, r#"{"containerID":"../x","ifname":"a"}"#]
    {
        let list = format!(r#"[{{"containerID":"c1","ifname":"a"}},{entry}]"#);
        let fault = gc(&format!(r#"{{"cniVersion":"1.1.0","name":"net","cni.dev/attachments":{list}}}"#))
            .unwrap_err();

        assert_eq!(fault.kind(), FaultKind::Config, "{entry}");
        let told = r#"entry 2 of "cni.dev/valid-attachments" names no sandbox: "#;
        assert!(fault.to_string().starts_with(told), "{fault}");
    }
}

#[test]
fn a_gc_that_lists_nothing_is_not_one_that_removes_all() {
    let fault = refusal("GC", STDIN, &[]);
    assert_eq!(fault.kind(), FaultKind::Config);
    assert_eq!(fault.to_string(), r#"GC came without "cni.dev/valid-attachments""#);
}

#[test]
fn a_gc_with_too_many_attachments_is_refused() {
    let list = vec![r#"{"containerID":"c","ifname":"a"}"#; MAX_VALID + 1].join(",");
    let stdin = format!(r#"{{"cniVersion":"1.1.0","name":"net","cni.dev/valid-attachments":[{list}]}}"#);
    assert_eq!(gc(&stdin).unwrap_err().kind(), FaultKind::Config);
}

proptest! {
    #[test]
    fn no_call_makes_it_panic(
        verb in prop::sample::select(Command::ALL.map(Command::as_str).to_vec()),
        values in proptest::collection::vec(".{0,12}", 5),
        stdin in prop_oneof![
            ".{0,64}",
            r#"\{"name":"a"(,"(cniVersion|prevResult|runtimeConfig|cni.dev/attachments)":(null|7|"1.1.0"|\{\}|\[\{\}\]))*\}"#
        ],
    ) {
        let names = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH", "CNI_ARGS"];
        let changes: Vec<_> = names.into_iter().zip(values.iter().map(String::as_str)).collect();
        drop(call(verb, &stdin, &changes).request());
        drop(call(verb, &stdin, &[]).request());
    }

    #[test]
    fn no_value_of_another_key_refuses_a_del(
        key in prop::sample::select(vec!["cniVersion", "prevResult", "runtimeConfig", "args", "plugins", "capabilities"]),
        value in prop::sample::select(vec!["null", "7", "-1e999", "\"text\"", "[]", "[null]", "{}", "{\"ips\":[{}]}", "true"]),
        netns in ".{0,12}",
        args in ".{0,12}",
    ) {
        let stdin = format!(r#"{{"name":"net","{key}":{value}}}"#);
        let it = call("DEL", &stdin, &[("CNI_NETNS", &netns), ("CNI_ARGS", &args)]);
        prop_assert!(it.request().is_ok());
    }
}
