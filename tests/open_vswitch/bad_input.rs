//! What tenants write: refused before the switch hears of it.

use super::*;

#[test]
fn wrong_values_are_refused_and_leave_nothing() {
    let stage = Stage::new();
    for (keys, wanted) in [
        (json!({"bridge": "br0; rm -rf"}), "is no name of a bridge"),
        (json!({"bridge": ""}), "no bridge is named"),
        (json!({"engine": "ovs"}), "\"engine\" is \"ovs\""),
        (json!({"interfaceType": "memif"}), "Open vSwitch has no memif interfaces"),
        (json!({"mode": "both"}), "\"mode\" is \"both\""),
        (json!({"mode": "client"}), "a socket that the switch makes is not allowed"),
        (json!({"vlan": 0}), "\"vlan\" is 0"),
        (json!({"vlan": 4095}), "\"vlan\" is 4095"),
        (json!({"trunk": [{"minID": 9, "maxID": 7}]}), "an entry of \"trunk\" is neither a VLAN nor a range"),
        (json!({"queues": 0}), "\"queues\" is 0"),
        (json!({"ofport_request": 65280}), "\"ofport_request\" is 65280"),
        (
            json!({"egress_policing_burst": 5}),
            "\"egress_policing_burst\" is set without \"egress_policing_rate\"",
        ),
        (json!({"socketFile": "../../etc/x"}), "is no name of a socket"),
        (json!({"socketFile": "x".repeat(65)}), "is no name of a socket"),
        (json!({"volume": "../x"}), "is no name of a volume"),
        (json!({"socketDir": "sockets"}), "\"sockets\""),
        (json!({"socketDir": "/run/../etc"}), "\"/run/../etc\""),
        (json!({"group": "no such group"}), "\"group\" is \"no such group\""),
        (json!({"group": "manifold-nobody"}), "there is no group \"manifold-nobody\" on this node"),
        (json!({"selinuxLabel": "a b"}), "\"selinuxLabel\" is \"a b\""),
        (json!({"mac": "01:00:00:00:00:01"}), "cannot be a link's address"),
    ] {
        let (code, what, remedy) = stage.call("ADD", &keys).error();
        assert!(what.contains(wanted), "{keys}: {what}");
        assert!([7, 100].contains(&code) && !remedy.is_empty(), "{keys}: {code} {remedy}");
        stage.assert_no_files();
    }
    assert_eq!(stage.switch.vsctl("get Open_vSwitch . next_cfg"), "1", "the switch heard of nothing");
}

#[test]
fn the_operators_rules_are_kept() {
    let mut stage = Stage::new();
    stage.more = json!({"rules": [{"bridges": ["br0"], "vlans": ["100-199"], "paths": [stage.scene.path("sockets")],
        "groups": [107], "selinuxLabels": ["system_u:object_r:container_file_t:*"]}]});
    let refused = |keys: Value| stage.call("ADD", &keys).error().1;

    assert!(refused(json!({})).contains("a port that carries all VLANs is not allowed"));
    assert!(refused(json!({"vlan": 200})).contains("VLAN 200 is not allowed"));
    assert!(refused(json!({"vlan": 100, "bridge": "br1"})).contains("bridge \"br1\" is not allowed"));
    assert!(refused(json!({"vlan": 100, "createBridge": true})).contains("making a bridge is not allowed"));
    assert!(refused(json!({"vlan": 100, "socketDir": "/srv"})).contains("directory \"/srv\" is not allowed"));
    assert!(refused(json!({"vlan": 100, "group": "root"})).contains("group \"root\" is not allowed"));
    let label = "system_u:object_r:etc_t:s0";
    assert!(refused(json!({"vlan": 100, "selinuxLabel": label})).contains("etc_t:s0\" is not allowed"));
    stage.assert_empty();
    let allowed = json!({"vlan": 100, "group": 107});
    stage.add(&allowed);
    // What was made is taken down, whatever the rules say by then.
    stage.more = json!({"rules": []});
    stage.del(&allowed);
    stage.assert_empty();
}
