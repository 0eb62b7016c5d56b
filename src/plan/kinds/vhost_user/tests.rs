use serde_json::{Value, json};

use super::*;
use crate::model::settings::Switches;
use crate::model::sockets::{Volume, VolumeSource};
use crate::model::vhost_user::BridgeName;
use crate::model::{Network, Owner, SocketGround};
use crate::plan::facts::{Answer, Facts, Question};
use crate::plan::keys::tests::assert_read;
use crate::plan::port::{OvsDatabase, Port, PortStep, SwitchEnd, SwitchFacts};
use crate::plan::step::{Bearer, ConfigureStep};
use crate::plan::vpp::{VppApi, VppStep};

fn attachment(keys: Value) -> Attachment {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "fast", "type": "vhost-user", "bridge": "br0"});
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let source =
        VolumeSource::EmptyDir("/var/lib/kubelet/pods/u/volumes/kubernetes.io~empty-dir/vhost".into());
    let volume = Volume { name: "vhost".into(), source, mounts: vec!["/sockets".into()] };
    Attachment {
        netns: Some("/run/netns/pod-1".parse().unwrap()),
        sockets: Some(Box::new(SocketGround { volumes: vec![volume], ..SocketGround::default() })),
        ..Attachment::new(
            Owner::parse("pod-1", "net1").unwrap(),
            Network::parse(conf.to_string().as_bytes(), None).unwrap(),
        )
    }
}

fn seen() -> SwitchFacts {
    SwitchFacts {
        dpdk: true,
        interface_types: vec!["dpdkvhostuserclient".into()],
        socket_dir: None,
        datapath: Some("netdev".into()),
    }
}

fn steps_of(attachment: &Attachment, seen: SwitchFacts) -> Outcome<Vec<Step>> {
    let wanted = VhostUser.read(Ask { conf: &attachment.network.plugins[0], attachment })?;
    let mut facts = Facts::default();
    let bridge: BridgeName = "br0".parse().unwrap();
    facts.note(Question::Switch(OvsDatabase::of(&Switches::default()), bridge), Answer::Switch(seen));
    facts.note(Question::Group("hugetlbfs".into()), Answer::Group(990));
    wanted.steps(&facts)
}

fn steps(keys: Value) -> Outcome<Vec<Step>> {
    steps_of(&attachment(keys), seen())
}

fn port(keys: Value) -> Port {
    let found = |step| if let Step::Port(PortStep::Make(port)) = step { Some(*port) } else { None };
    steps(keys).unwrap().into_iter().find_map(found).unwrap()
}

fn names(steps: &[Step]) -> Vec<String> {
    let name = |step: &Step| {
        let written = serde_json::to_value(step).unwrap();
        written.as_object().unwrap().keys().next().unwrap().clone()
    };
    steps.iter().map(name).collect()
}

#[test]
fn the_socket_comes_before_the_port_and_the_note_behind_the_addresses() {
    let lease = json!({"ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}, "group": "hugetlbfs"});
    let steps = steps(lease).unwrap();

    assert_eq!(names(&steps), ["lease", "socket", "port", "configure", "note"]);
    let Step::Socket(socket) = &steps[1] else { panic!() };
    assert_eq!((socket.file.as_str(), socket.group, &socket.link), ("net1", Some(990), &None));
    let Step::Configure(ConfigureStep { bearer, .. }) = &steps[3] else { panic!() };
    assert_eq!(*bearer, Bearer::Application);
}

#[test]
fn a_dummy_link_carries_the_addresses_of_the_port() {
    let steps = steps(json!({"dummy": true, "mtu": 9000, "mac": "02:00:00:00:00:42"})).unwrap();

    assert_eq!(names(&steps), ["socket", "link", "port", "configure", "note"]);
    let (Step::Link(link), Step::Configure(configure)) = (&steps[1], &steps[3]) else { panic!() };
    assert_eq!((link.mac.unwrap().to_string().as_str(), link.mtu), ("02:00:00:00:00:42", Some(9000)));
    assert_eq!(configure.bearer, Bearer::Link);
}

#[test]
fn every_key_reaches_the_port() {
    let port = port(json!({
        "vlan": 7, "mtu": 1400, "ofport_request": 9, "ingress_policing_rate": 5, "egress_policing_rate": 6,
        "egress_policing_burst": 7, "CREATEBRIDGE": true,
    }));

    assert_eq!((port.vlans, port.mtu, port.ofport_request), (PortVlans::Access(7), Some(1400), Some(9)));
    assert_eq!(port.ingress, Some(RateLimit { rate: 5, burst: 0 }));
    assert_eq!(port.egress, Some(RateLimit { rate: 6, burst: 7 }));
    assert!(port.create_bridge);
    let path = "/var/lib/kubelet/pods/u/volumes/kubernetes.io~empty-dir/vhost/net1";
    assert_eq!(port.end, SwitchEnd::Connects(path.into()));
    let told = serde_json::to_value(&port.endpoint.device).unwrap();
    assert_eq!(told["vhost-user"], json!({"mode": "server", "path": "/sockets/net1"}));
}

#[test]
fn trunks_are_listed_in_order_and_once() {
    let trunk = json!([{"id": 9}, {"minID": 7, "maxID": 9}, {"id": 3}]);
    assert_eq!(port(json!({"trunk": trunk})).vlans, PortVlans::Trunk { native: None, ids: vec![3, 7, 8, 9] });
    let native = port(json!({"trunk": trunk, "vlan": 2})).vlans;
    assert_eq!(native, PortVlans::Trunk { native: Some(2), ids: vec![3, 7, 8, 9] });
    assert_eq!(port(json!({"trunk": []})).vlans, PortVlans::All);
}

#[test]
fn a_switch_that_cannot_is_told_apart() {
    let refused = |seen: SwitchFacts| steps_of(&attachment(json!({})), seen).unwrap_err().to_string();
    let switch = "Open vSwitch at \"/var/run/openvswitch/db.sock\"";

    assert_eq!(refused(SwitchFacts { dpdk: false, ..seen() }), format!("{switch} runs without DPDK"));
    let types = format!("{switch} makes no interfaces of type \"dpdkvhostuserclient\"");
    assert_eq!(refused(SwitchFacts { interface_types: vec![], ..seen() }), types);
    assert_eq!(refused(SwitchFacts { datapath: None, ..seen() }), format!("{switch} has no bridge \"br0\""));
    let kernel = SwitchFacts { datapath: Some(String::new()), ..seen() };
    assert_eq!(refused(kernel), "bridge \"br0\" uses the kernel's datapath");
    let made = attachment(json!({"createBridge": true}));
    assert!(steps_of(&made, SwitchFacts { datapath: None, ..seen() }).is_ok());
}

#[test]
fn the_status_needs_no_pod() {
    let nobody = Attachment { netns: None, sockets: None, ..attachment(json!({})) };

    assert_eq!(steps_of(&nobody, seen()).unwrap(), []);
    assert!(steps_of(&nobody, SwitchFacts { dpdk: false, ..seen() }).is_err());
}

#[test]
fn without_a_record_the_port_is_looked_for_by_its_mark() {
    let attachment = attachment(json!({"ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}}));
    let wanted =
        VhostUser.read(Ask { conf: &attachment.network.plugins[0], attachment: &attachment }).unwrap();

    let traces = wanted.traces();

    assert_eq!(names(&traces), ["lease", "port", "socket", "note"]);
    assert!(matches!(&traces[1], Step::Port(PortStep::Lost(_))));
}

#[test]
fn without_a_configuration_the_port_is_looked_for_at_the_switches_of_the_node() {
    let switches =
        Switches { ovsdb: "/run/other.sock".into(), vpp: "/run/v.sock".into(), ..Switches::default() };
    let ground = SocketGround { switches: switches.clone(), ..SocketGround::default() };
    let attachment = Attachment { sockets: Some(Box::new(ground)), ..attachment(json!({"mtu": "?"})) };

    let remains = VhostUser.remains(&attachment);

    let port = Step::Port(PortStep::Lost(OvsDatabase::of(&switches)));
    assert_eq!(remains, [port, Step::Vpp(VppStep::Lost(VppApi::of(&switches)))]);
}

mod vpp;

#[test]
fn the_keys_that_are_known_are_those_that_are_read() {
    assert_read::<Keys>(&KNOWN);
    assert_read::<TrunkKeys>(&TRUNK);
}
