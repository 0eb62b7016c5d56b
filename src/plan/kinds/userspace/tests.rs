use serde_json::{Value, json};

use super::*;
use crate::model::{Attachment, Network};
use crate::plan::keys::tests::assert_read;
use crate::plan::vpp::VppStep;

fn read(host: Value, container: Value) -> Outcome<Box<dyn Wanted>> {
    let conf = json!({"name": "userspace", "type": "userspace", "sharedDir": "/srv/v", "kubeconfig": "/etc/k",
        "logFile": "/var/log/x", "host": host, "container": container});
    let attachment = Attachment {
        netns: Some("/run/netns/pod-1".parse().unwrap()),
        ..Attachment::new(
            Owner::parse("0958c8871b3297d1e0f5", "net1").unwrap(),
            Network::parse(conf.to_string().as_bytes(), None).unwrap(),
        )
    };
    Userspace.read(Ask { conf: &attachment.network.plugins[0], attachment: &attachment })
}

fn host(vhost: Value) -> Value {
    json!({"engine": "ovs-dpdk", "iftype": "vhostuser", "netType": "bridge", "vhost": vhost,
        "bridge": {"bridgeName": "br-dpdk0"}})
}

fn refusal(host: Value, container: Value) -> String {
    read(host, container).err().unwrap().to_string()
}

#[test]
fn what_has_no_effect_is_a_warning() {
    let wanted = read(host(json!({})), json!({"bridge": {"bridgeName": "br1"}})).unwrap();

    let warnings = wanted.warnings();

    let keys: Vec<&str> = warnings.iter().filter_map(|warning| warning.split('"').nth(1)).collect();
    assert_eq!(keys, ["kubeconfig", "logFile", "container.bridge", "host.vhost.mode"]);
}

#[test]
fn a_sockets_name_is_the_hosts_then_the_containers_then_derived() {
    let name = |host_name: Value, container_name: Value| {
        let host = host(json!({"mode": "client", "socketfile": host_name}));
        let wanted = read(host, json!({"vhost": {"socketfile": container_name}})).unwrap();
        let found = |step| if let Step::Socket(socket) = step { Some(socket) } else { None };
        let socket = wanted.traces().into_iter().find_map(found).unwrap();
        socket.home.path().join(socket.file.as_str()).display().to_string()
    };

    assert_eq!(name(json!(null), json!(null)), "/srv/v/0958c8871b32/0958c8871b32-net1");
    assert_eq!(name(json!("a.sock"), json!("b.sock")), "/srv/v/0958c8871b32/a.sock");
    assert_eq!(name(json!(null), json!("b.sock")), "/srv/v/0958c8871b32/b.sock");
}

#[test]
fn what_can_never_be_is_refused() {
    assert_eq!(refusal(json!({}), json!({})), "\"host.engine\" is absent");
    assert_eq!(refusal(json!({"engine": "ovs-dpdk"}), json!({})), "\"host.iftype\" is \"\"");
    let wrong = |key: &str, value: &str| {
        let mut keys = host(json!({"mode": "client"}));
        keys[key] = json!(value);
        refusal(keys, json!({}))
    };
    assert_eq!(wrong("engine", "ovs"), "\"host.engine\" is \"ovs\"");
    assert_eq!(wrong("netType", "interface"), "\"host.netType\" is \"interface\"");
    let ends = refusal(host(json!({"mode": "client"})), json!({"vhost": {"mode": "client"}}));
    assert_eq!(ends, "\"vhost.mode\" of \"host\" and \"container\" make both ends the same");
    let server = refusal(host(json!({"mode": "server"})), json!({}));
    assert_eq!(server, "a socket that the switch makes is not allowed");
    let mut tagged = host(json!({"mode": "client"}));
    tagged["bridge"]["vlanId"] = json!(4095);
    assert_eq!(refusal(tagged, json!({})), "\"host.bridge.vlanId\" is 4095");
    for group in ["4294967295", "a group", "-g"] {
        let group_of_host = refusal(host(json!({"mode": "client", "group": group})), json!({}));
        assert_eq!(group_of_host, format!("\"host.vhost.group\" is {group:?}"));
    }
    let name = refusal(host(json!({"mode": "client", "socketfile": "../x"})), json!({}));
    assert_eq!(name, "\"../x\" is no name of a socket");
}

#[test]
fn memif_roles_are_opposite() {
    let memif = |role: &str| {
        json!({"engine": "vpp", "iftype": "memif", "netType": "bridge", "memif": {"role": role},
            "bridge": {"bridgeName": "4"}})
    };

    let read = read(memif("master"), json!({"memif": {"role": "slave"}})).unwrap();
    assert!(matches!(&read.traces()[..], [Step::Vpp(VppStep::Lost(_)), ..]), "{:?}", read.traces());
    assert_eq!(refusal(memif(""), json!({})), "\"host.memif.role\" is absent");
    assert!(refusal(memif("slave"), json!({"memif": {"role": "slave"}})).contains("make both ends the same"));
    let mut ovs = memif("master");
    ovs["engine"] = json!("ovs-dpdk");
    assert_eq!(refusal(ovs, json!({})), "Open vSwitch has no memif interfaces");
}

#[test]
fn the_keys_that_are_known_are_those_that_are_read() {
    assert_read::<Keys>(&KNOWN);
    assert_read::<End>(&END);
    assert_read::<SocketKeys>(&SOCKET_KEYS);
    assert_read::<BridgeKeys>(&BRIDGE_KEYS);
}
