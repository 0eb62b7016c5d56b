use super::*;
use crate::model::selection;

fn named(name: &str) -> Named {
    let keys = r#""capabilities":{"mac":true},"args":{"cni":{"a":1}}"#;
    let conf = format!(r#"{{"name":"{name}","type":"macvlan",{keys}}}"#);
    Named::new(format!("ns/{name}"), Network::parse(conf.as_bytes(), None).unwrap())
}

fn sandbox() -> Sandbox {
    Sandbox {
        container: "c1".parse().unwrap(),
        netns: None,
        args: "IgnoreUnknown=1".parse().unwrap(),
        standalone: None,
        called: None,
        in_place: false,
        device_info_dir: "/devinfo".into(),
    }
}

fn wish(text: &str) -> Wish {
    let selected = selection::parse(text).unwrap().into_iter().map(|s| (s.clone(), named(&s.name))).collect();
    let default = First {
        named: named("default"),
        ifname: "eth0".parse().unwrap(),
        capabilities: Object::default(),
        selection: None,
    };
    Wish { default: Some(default), always: vec![named("always")], selected, ..Wish::default() }
}

fn names(attachments: &[Attachment]) -> Vec<&str> {
    attachments.iter().map(|a| a.owner.ifname.as_str()).collect()
}

#[test]
fn interfaces_are_numbered_by_their_place() {
    let made = resolve(&sandbox(), wish("a,b@data0,a")).unwrap();

    assert_eq!(names(&made), ["eth0", "net1", "net2", "data0", "net4"]);
    assert_eq!(made[0].role, Role::Default);
    assert!(made[1..].iter().all(|a| a.role == Role::Additional));
}

#[test]
fn without_a_default_network_the_first_is_still_net1() {
    let made = resolve(&sandbox(), Wish { default: None, always: vec![], ..wish("a,b") }).unwrap();
    assert_eq!(names(&made), ["net1", "net2"]);
}

#[test]
fn two_of_one_name_are_refused() {
    let fault = resolve(&sandbox(), wish("a@net3,b")).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::Config);
    assert_eq!(fault.to_string(), "networks \"ns/a\" and \"ns/b\" both want interface \"net3\"");
}

#[test]
fn what_a_selection_asks_reaches_capabilities_arguments_and_plugins() {
    let text = r#"[{"name":"a","mac":"02:00:00:00:00:07","ips":["10.0.0.7/24"],"cni-args":{"b":2}}]"#;
    let made = resolve(&sandbox(), wish(text)).unwrap();

    let last = made.last().unwrap();
    assert_eq!(last.args.to_string(), "IgnoreUnknown=1;MAC=02:00:00:00:00:07;IP=10.0.0.7/24");
    assert_eq!(last.capabilities.get("mac").unwrap().get(), "\"02:00:00:00:00:07\"");
    assert!(last.capabilities.get("ips").is_none(), "no plugin declared it");
    let conf = String::from_utf8(last.network.plugins[0].object().to_bytes()).unwrap();
    assert!(conf.contains(r#""args":{"cni":{"a":1,"b":2}}"#), "{conf}");
}

#[test]
fn several_addresses_reach_plugins_as_an_argument_unless_a_capability_tells_them() {
    let made = |capabilities: &str| {
        let conf = format!(r#"{{"name":"a","type":"macvlan","capabilities":{capabilities}}}"#);
        let network = Network::parse(conf.as_bytes(), None).unwrap();
        let text = r#"[{"name":"a","ips":["10.0.0.7/24","fd00::7/64"]}]"#;
        let selection = selection::parse(text).unwrap().remove(0);
        let first = First {
            named: Named::new("ns/a", network.clone()),
            ifname: "eth0".parse().unwrap(),
            capabilities: Object::default(),
            selection: Some(selection.clone()),
        };
        let selected = vec![(selection, Named::new("ns/a", network))];
        let made = resolve(&sandbox(), Wish { default: Some(first), selected, ..Wish::default() }).unwrap();
        made.iter().map(|one| one.args.get("IP").map(str::to_owned)).collect::<Vec<_>>()
    };
    let both = || Some("10.0.0.7/24,fd00::7/64".to_owned());

    assert_eq!(made("{}"), [both(), both()]);
    assert_eq!(made(r#"{"ips":true}"#), [both(), None], "a default network is told by arguments alone");
}

#[test]
fn a_device_reaches_every_plugin_and_whoever_asks_for_its_file() {
    let conf = r#"{"name":"l","plugins":[{"type":"a","capabilities":{"deviceID":true,"CNIDeviceInfoFile":true}},
        {"type":"b","deviceID":"old"}]}"#;
    let network = Network::parse(conf.as_bytes(), None).unwrap();
    let device =
        Device { id: "0000:01:10.0".parse().unwrap(), resource: Some("intel.com/vf".parse().unwrap()) };
    let named = Named { device: Some(device.clone()), ..Named::new("ns/l", network) };
    let selection = selection::parse(r#"[{"name":"l","deviceID":"0000:09:00.0"}]"#).unwrap().remove(0);
    let wish = Wish { selected: vec![(selection, named)], ..Wish::default() };

    let made = resolve(&sandbox(), wish).unwrap().remove(0);

    let text = |at: usize| String::from_utf8(made.network.plugins[at].object().to_bytes()).unwrap();
    assert!(text(0).ends_with(r#","deviceID":"0000:01:10.0","pciBusID":"0000:01:10.0"}"#), "{}", text(0));
    assert_eq!(text(1), r#"{"type":"b","deviceID":"0000:01:10.0","pciBusID":"0000:01:10.0"}"#);
    assert_eq!(made.capabilities.get("deviceID").unwrap().get(), "\"0000:01:10.0\"");
    let file = "/devinfo/cni/ns-l-c1_net1";
    assert_eq!(made.capabilities.get("CNIDeviceInfoFile").unwrap().get(), format!("{file:?}"));
    assert_eq!((made.device, made.device_file), (Some(device), Some(file.into())));
}

#[test]
fn a_pod_may_name_its_device_itself() {
    let made = resolve(&sandbox(), wish(r#"[{"name":"a","deviceID":"0000:09:00.0"}]"#)).unwrap();

    let device = made.last().unwrap().device.clone().unwrap();
    assert_eq!((device.id.as_str(), device.resource), ("0000:09:00.0", None));
    assert!(made.iter().rev().skip(1).all(|a| a.device.is_none() && a.device_file.is_none()));
}

#[test]
fn a_pod_does_not_replace_the_device_that_a_network_names() {
    let conf = |keys: &str| format!(r#"{{"name":"a","type":"host-device",{keys}}}"#);
    let given = |keys: &str, resource: Option<&str>| {
        let network = Network::parse(conf(keys).as_bytes(), None).unwrap();
        let device = resource.map(|resource| Device {
            id: "0000:05:00.0".parse().unwrap(),
            resource: Some(resource.parse().unwrap()),
        });
        let named = Named { device, ..Named::new("ns/a", network) };
        let selection = selection::parse(r#"[{"name":"a","deviceID":"0000:09:00.0"}]"#).unwrap().remove(0);
        let wish = Wish { selected: vec![(selection, named)], ..Wish::default() };
        let made = resolve(&sandbox(), wish).unwrap().remove(0);
        let plugin = made.network.plugins[0].object();
        let id = |raw: Option<&serde_json::value::RawValue>| raw.map(|raw| raw.get().to_owned());
        (id(plugin.find("pciBusID")), id(plugin.find("deviceID")), id(made.capabilities.find("deviceID")))
    };
    let text = |id: &str| Some(format!("\"0000:{id}:00.0\""));

    let own = r#""pcibusid":"0000:01:00.0""#;
    assert_eq!(given(own, None), (text("01"), None, None));
    let declared = r#""device":"eth7","capabilities":{"deviceID":true}"#;
    assert_eq!(given(declared, None), (None, None, text("09")));
    let empty = r#""deviceID":"","pciBusID":null"#;
    assert_eq!(given(empty, None), (text("09"), text("09"), None));
    assert_eq!(given(own, Some("intel.com/vf")), (text("05"), text("05"), None));
}

/// What each attachment does with its default routes: `4` or `6` taken, `-4` or `-6` given up.
fn routings(text: &str) -> Vec<String> {
    let made = resolve(&sandbox(), wish(text)).unwrap();
    let words = |a: &Attachment| {
        let taken = a.routing.take_default.iter().map(|ip| if ip.is_ipv4() { "4" } else { "6" });
        let yielded = [(a.routing.yield_ipv4, "-4"), (a.routing.yield_ipv6, "-6")];
        let yielded = yielded.into_iter().filter(|(yes, _)| *yes).map(|(_, word)| word);
        taken.chain(yielded).collect::<Vec<_>>().join(" ")
    };
    made.iter().map(words).collect()
}

#[test]
fn who_takes_a_default_route_takes_it_from_all_others() {
    let one = r#"[{"name":"a","default-route":["10.0.0.1"]},{"name":"b"}]"#;
    assert_eq!(routings(one), ["-4", "-4", "4", "-4"]);
    let both = r#"[{"name":"a","default-route":["10.0.0.1","fd00::1"]}]"#;
    assert_eq!(routings(both), ["-4 -6", "-4 -6", "4 6"]);
    let split = r#"[{"name":"a","default-route":["fd00::1"]},{"name":"b","default-route":["10.0.0.1"]}]"#;
    assert_eq!(routings(split), ["-4 -6", "-4 -6", "6 -4", "4 -6"]);
}

#[test]
fn an_empty_list_of_default_routes_changes_nothing() {
    assert_eq!(routings(r#"[{"name":"a","default-route":[]},{"name":"b"}]"#), ["", "", "", ""]);
    let beside = r#"[{"name":"a","default-route":[]},{"name":"b","default-route":["10.0.0.1"]}]"#;
    assert_eq!(routings(beside), ["-4", "-4", "-4", "4"]);
}

#[test]
fn a_second_default_route_of_a_family_is_refused() {
    for text in [
        r#"[{"name":"a","default-route":["10.0.0.1"]},{"name":"b","default-route":["10.0.1.1"]}]"#,
        r#"[{"name":"a","default-route":["fd00::1","fd00::2"]}]"#,
    ] {
        let fault = resolve(&sandbox(), wish(text)).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Config);
    }
    let text = r#"[{"name":"a","default-route":["10.0.0.1"]},{"name":"b","default-route":["10.0.1.1"]}]"#;
    assert_eq!(
        resolve(&sandbox(), wish(text)).unwrap_err().to_string(),
        "\"default-route\" asks for two IPv4 gateways: 10.0.0.1 for \"net2\" (ns/a) and 10.0.1.1 for \"net3\" (ns/b)"
    );
}
