//! Ports: made as asked, held against what was made, taken down wherever they are.

use super::*;

/// The only port of the pod's.
fn port(stage: &Stage) -> String {
    let ports = stage.switch.ports("br0");
    assert_eq!(ports.len(), 1, "{ports:?}");
    ports[0].clone()
}

#[test]
fn a_port_is_made_as_asked_and_taken_down_again() {
    let stage = Stage::new();
    let keys = json!({
        "vlan": 100, "mtu": 1400, "mac": "02:00:00:00:00:42", "ofport_request": 7, "queues": 2,
        "ingress_policing_rate": 10_000, "ingress_policing_burst": 1000, "egress_policing_rate": 20_000,
        "group": 0, "ipam": {"type": "static", "addresses": [{"address": "10.5.0.7/24"}]},
    });

    let result = stage.add(&keys);

    let name = port(&stage);
    let seen = |column: &str| stage.switch.interface(&name, column);
    assert_eq!((seen("type").as_str(), seen("ofport").as_str()), ("dpdkvhostuserclient", "7"));
    assert_eq!((seen("mtu_request").as_str(), seen("ingress_policing_rate").as_str()), ("1400", "10000"));
    assert_eq!(seen("options:vhost-server-path").trim_matches('"'), socket(&result));
    assert_eq!(stage.switch.vsctl(&format!("get Port {name} tag vlan_mode")), "100\naccess");
    assert_eq!(stage.switch.vsctl("--bare --columns=type list QoS"), "egress-policer");
    assert_eq!(result["interfaces"][0]["mac"], "02:00:00:00:00:42");
    assert_eq!(result["ips"][0]["address"], "10.5.0.7/24");
    assert_eq!(stage.pod.interfaces(), ["lo"], "the kernel has no part in it");
    let folder = std::path::Path::new(socket(&result)).parent().unwrap();
    let note: Value =
        serde_json::from_slice(&std::fs::read(folder.join("netinfo-net1.json")).unwrap()).unwrap();
    assert_eq!(
        (&note["mac"], &note["vlan"], &note["queues"]),
        (&json!("02:00:00:00:00:42"), &json!(100), &json!(2))
    );
    let record = &stage.scene.record("pod-1", "net1")[0];
    let device = json!({"type": "vhost-user", "version": "1.1.0", "vhost-user": {"mode": "server", "path": socket(&result)}});
    assert_eq!(record["device_info"], device);
    stage.call("CHECK", &keys).result();

    stage.del(&keys);
    stage.del(&keys);
    stage.assert_empty();
    assert_eq!(stage.switch.vsctl("--bare --columns=type list QoS"), "");
}

#[test]
fn networks_of_the_peer_are_served_as_they_are() {
    let stage = Stage::new();
    let network = json!({
        "cniVersion": "0.3.1", "name": "userspace", "type": "userspace", "sharedDir": stage.scene.path("sockets"),
        "logFile": "/var/log/userspace.log", "logLevel": "debug",
        "host": {"engine": "ovs-dpdk", "iftype": "vhostuser", "netType": "bridge",
            "vhost": {"mode": "client"}, "bridge": {"bridgeName": "br0", "vlanId": 7}},
        "container": {"engine": "ovs-dpdk", "iftype": "vhostuser", "netType": "interface", "vhost": {"mode": "server"}},
        "ipam": {"type": "static", "addresses": [{"address": "10.5.0.7/24"}]},
    });
    let container = "0958c8871b3297d1e0f5";

    let result = stage.call_for("ADD", (container, &stage.pod), &network).result();

    let name = port(&stage);
    assert_eq!(stage.switch.vsctl(&format!("get Port {name} tag")), "7");
    let path = stage.scene.path("sockets/0958c8871b32/0958c8871b32-net1");
    assert_eq!(socket(&result), path.to_str().unwrap());
    stage.call_for("DEL", (container, &stage.pod), &network).result();
    stage.assert_empty();
}

#[test]
fn a_trunk_is_made_and_held() {
    let stage = Stage::new();
    let keys = json!({"vlan": 5, "trunk": [{"id": 7}, {"minID": 10, "maxID": 12}]});

    stage.add(&keys);

    let name = port(&stage);
    let columns = stage.switch.vsctl(&format!("get Port {name} tag vlan_mode trunks"));
    assert_eq!(columns, "5\nnative-untagged\n[7, 10, 11, 12]");
    stage.call("CHECK", &keys).result();
    stage.switch.vsctl(&format!("set Port {name} trunks=7,8"));
    let (code, what, _) = stage.call("CHECK", &keys).error();
    assert!(code == 105 && what.ends_with("carries other VLANs"), "{what}");
    stage.del(&keys);
    stage.assert_empty();
}

#[test]
fn the_directory_of_a_socket_is_shared_as_asked() {
    let stage = Stage::new();
    let label = "system_u:object_r:container_file_t:s0";
    // By its name, which is looked up on the node.
    let keys = json!({"group": "daemon", "selinuxLabel": label});

    let result = stage.add(&keys);

    let folder = std::path::Path::new(socket(&result)).parent().unwrap();
    let shown = std::process::Command::new("stat").args(["-c", "%G %a"]).arg(folder).output().unwrap();
    assert_eq!(String::from_utf8(shown.stdout).unwrap().trim(), "daemon 3775");
    let mut context = [0; 256];
    let length = rustix::fs::getxattr(folder, "security.selinux", &mut context).unwrap();
    assert_eq!(std::str::from_utf8(&context[..length]).unwrap(), label);
    stage.del(&keys);
    stage.assert_empty();
}

#[test]
fn addresses_of_an_ipam_plugin_that_is_run_are_told() {
    let stage = Stage::new();
    let keys = json!({"cniVersion": "1.0.0", "ipam": {"type": "host-local", "native": false, "dataDir": stage.scene.path("leases"),
        "subnet": "10.6.0.0/24"}});

    let result = stage.add(&keys);

    assert_eq!(result["ips"][0]["address"], "10.6.0.2/24");
    let folder = std::path::Path::new(socket(&result)).parent().unwrap();
    let note = std::fs::read_to_string(folder.join("netinfo-net1.json")).unwrap();
    assert!(note.contains("10.6.0.2/24"), "{note}");
    assert!(stage.scene.path("leases/fast/10.6.0.2").exists());
    stage.call("CHECK", &keys).result();
    stage.del(&keys);
    assert!(!stage.scene.path("leases/fast/10.6.0.2").exists());
    stage.assert_empty();
}

#[test]
fn check_sees_what_becomes_of_a_port_and_its_bridge() {
    let stage = Stage::new();
    let keys = json!({"vlan": 5});
    let lost = || stage.call("CHECK", &keys).error().1;
    stage.add(&keys);
    let name = port(&stage);

    stage.switch.vsctl(&format!("set Port {name} tag=6"));
    assert!(lost().ends_with("carries other VLANs"));
    stage.switch.vsctl(&format!("set Port {name} tag=5"));
    stage.switch.vsctl(&format!("set Interface {name} options:vhost-server-path=/elsewhere"));
    assert!(lost().ends_with("uses another socket"));
    stage.switch.vsctl(&format!(
        "--id=@p get Port {name} -- remove Bridge br0 ports @p -- add-br br1 -- \
        set bridge br1 datapath_type=netdev -- add Bridge br1 ports @p"
    ));
    stage.switch.vsctl(&format!("remove Interface {name} options vhost-server-path"));
    let path = stage.scene.record("pod-1", "net1")[0]["steps"][1]["port"]["make"]["end"]["connects"].clone();
    stage.switch.vsctl(&format!("set Interface {name} options:vhost-server-path={}", path.as_str().unwrap()));
    assert!(lost().ends_with("is not on bridge \"br0\""), "{}", lost());
    stage.switch.vsctl("del-br br0");
    assert!(lost().ends_with("bridge \"br0\" is gone"), "{}", lost());

    // Wherever it is by now.
    stage.del(&keys);
    assert_eq!(stage.switch.ports("br1"), Vec::<String>::new());
    stage.assert_no_files();
}

#[test]
fn a_bridge_is_made_only_if_asked_and_goes_when_it_is_ours_and_empty() {
    let stage = Stage::new();
    let keys = json!({"bridge": "br7", "createBridge": true});
    let other = stage.scene.node.pod().unwrap();
    let network = stage.network(&keys);

    let (code, what, remedy) = stage.call("ADD", &json!({"bridge": "br7"})).error();
    assert!(
        code == 100 && what.contains("has no bridge \"br7\"") && remedy.contains("createBridge"),
        "{what}"
    );
    stage.add(&keys);
    stage.call_for("ADD", ("pod-2", &other), &network).result();
    assert_eq!(stage.switch.ports("br7").len(), 2);
    stage.del(&keys);
    assert_eq!(stage.switch.ports("br7").len(), 1);
    stage.call_for("DEL", ("pod-2", &other), &network).result();
    assert_eq!(stage.switch.vsctl("list-br"), "br0");

    // One that somebody else made stays, empty or not.
    let theirs = json!({"bridge": "br0", "createBridge": true});
    stage.add(&theirs);
    stage.del(&theirs);
    assert_eq!(stage.switch.vsctl("list-br"), "br0");
    stage.assert_empty();
}

#[test]
fn a_port_whose_record_is_lost_is_taken_over_by_the_next_add_or_collected() {
    let stage = Stage::new();
    let keys = json!({"vlan": 5});
    stage.add(&keys);
    let name = port(&stage);
    let uuid = || stage.switch.vsctl(&format!("get Port {name} _uuid"));
    let first = uuid();
    let forget = || std::fs::remove_dir_all(stage.scene.path("state")).unwrap();

    forget();
    stage.add(&keys);
    assert_eq!(uuid(), first, "the same is taken over");
    forget();
    stage.add(&json!({"vlan": 6}));
    assert_ne!(uuid(), first, "another takes its place");
    assert_eq!(stage.switch.vsctl(&format!("get Port {name} tag")), "6");

    // Of two, GC takes the one that no record knows and that is not valid, and none whose record cannot be read.
    let other = stage.scene.node.pod().unwrap();
    let network = stage.network(&keys);
    stage.call_for("ADD", ("pod-2", &other), &network).result();
    let records = stage.scene.records("pod-1");
    std::fs::remove_file(&records).unwrap();
    std::fs::create_dir(&records).unwrap();
    let mut conf = stage.conf(&network);
    conf["cni.dev/valid-attachments"] = json!([{"containerID": "pod-2", "ifname": "net1"}]);
    let call = Call { verb: "GC", container: "", ifname: "", netns: "" };
    stage.scene.call(&call, &conf).error();
    assert_eq!(stage.switch.ports("br0").len(), 2, "nobody can tell whose they are");
    std::fs::remove_dir(&records).unwrap();
    stage.scene.call(&call, &conf).result();
    let left = stage.switch.ports("br0");
    assert!(left.len() == 1 && left[0] != name, "{left:?}");
    stage.call_for("DEL", ("pod-2", &other), &network).result();
    assert_eq!(stage.switch.ports("br0"), Vec::<String>::new());
}

#[test]
fn forty_pods_at_once_get_a_port_each_and_give_it_back() {
    let stage = Stage::new();
    let conf = stage.conf(&stage.network(&json!({}))).to_string();
    let pods: Vec<Pod> = (0..40).map(|_| stage.scene.node.pod().unwrap()).collect();
    let all_at_once = |verb: &'static str| {
        let start = |(n, pod): (usize, &Pod)| {
            let container = format!("storm-{n}");
            let call = Call { verb, container: &container, ifname: "net1", netns: pod.path().as_str() };
            scene::start(stage.scene.command(env!("CARGO_BIN_EXE_manifold"), &call), conf.as_bytes())
        };
        let started: Vec<_> = pods.iter().enumerate().map(start).collect();
        started.into_iter().for_each(|child| drop(scene::finish(child).result()));
    };

    all_at_once("ADD");

    let numbers = stage.switch.vsctl("--bare --columns=ofport find Interface type=dpdkvhostuserclient");
    let numbers: std::collections::BTreeSet<&str> = numbers.split_whitespace().collect();
    assert_eq!(numbers.len(), 40);
    all_at_once("DEL");
    stage.assert_empty();
}
