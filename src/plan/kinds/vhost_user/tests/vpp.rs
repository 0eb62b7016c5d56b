//! The same on VPP.

use super::*;
use crate::plan::vpp::{Abilities, MemifSocket, VppEnd, VppFacts, VppInterface, VppPort};

const ALL: Abilities = Abilities { vhost_user: true, memif: true, abstract_sockets: true, vlans: true };

fn seen() -> VppFacts {
    VppFacts { version: "26.06".into(), has: ALL, bridge: true }
}

fn asked(keys: Value) -> Attachment {
    let mut on_vpp = json!({"engine": "vpp", "bridge": 7});
    on_vpp.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    attachment(on_vpp)
}

fn plan(attachment: &Attachment, seen: VppFacts) -> Outcome<Vec<Step>> {
    let wanted = VhostUser.read(Ask { conf: &attachment.network.plugins[0], attachment })?;
    let mut facts = Facts::default();
    facts.note(Question::Vpp(VppApi::of(&Switches::default()), 7), Answer::Vpp(seen));
    wanted.steps(&facts)
}

fn made(keys: Value, seen: VppFacts) -> (Vec<String>, VppPort) {
    let steps = plan(&asked(keys), seen).unwrap();
    let found = |step: &Step| {
        if let Step::Vpp(VppStep::Make(port)) = step { Some(port.as_ref().clone()) } else { None }
    };
    (names(&steps), steps.iter().find_map(found).unwrap())
}

fn refusal(keys: Value) -> (FaultKind, String) {
    let fault = plan(&asked(keys), seen()).unwrap_err();
    assert!(fault.advice().is_some_and(|advice| !advice.is_empty()), "{fault}");
    (fault.kind(), fault.to_string())
}

#[test]
fn every_key_reaches_the_interface() {
    let keys = json!({"vlan": 7, "mtu": 1400, "createBridge": true, "mode": "client", "group": "4242"});
    let (steps, port) = made(keys, seen());

    assert_eq!(steps, ["socket", "vpp", "configure", "note"]);
    let path = "/var/lib/kubelet/pods/u/volumes/kubernetes.io~empty-dir/vhost/net1";
    assert_eq!(port.interface, VppInterface::VhostUser(path.into()));
    assert_eq!(port.end, VppEnd::Listens { group: Some(4242) });
    assert_eq!((port.vlan, port.mtu, port.bridge.number, port.bridge.create), (Some(7), Some(1400), 7, true));
    let told = serde_json::to_value(&port.endpoint.device).unwrap();
    assert_eq!(told["vhost-user"], json!({"mode": "client", "path": "/sockets/net1"}));
    let (_, connecting) = made(json!({}), seen());
    assert_eq!((connecting.end, connecting.vlan), (VppEnd::Connects, None));
}

#[test]
fn a_memif_needs_no_file_where_vpp_can_do_without() {
    let keys = json!({"interfaceType": "memif", "queues": 3});
    let (steps, port) = made(keys.clone(), seen());

    assert_eq!(steps, ["vpp", "configure", "note"]);
    let socket = MemifSocket::Abstract { name: "net1".into(), netns: "/run/netns/pod-1".into() };
    assert_eq!(socket.spelled(), "abstract:net1,netns_name=/run/netns/pod-1");
    assert_eq!(port.interface, VppInterface::Memif { socket, queues: 3 });
    assert_eq!(port.end, VppEnd::Listens { group: None });
    let told = serde_json::to_value(&port.endpoint.device).unwrap();
    assert_eq!(told["memif"], json!({"role": "slave", "path": "@net1", "mode": "ethernet"}));

    let older = VppFacts { has: Abilities { abstract_sockets: false, ..ALL }, ..seen() };
    let (steps, port) = made(keys, older);
    assert_eq!(steps, ["socket", "vpp", "configure", "note"]);
    let VppInterface::Memif { socket: MemifSocket::File(path), .. } = port.interface else { panic!() };
    assert!(path.ends_with("vhost/net1"), "{path:?}");
    let file = json!({"interfaceType": "memif", "abstract": false, "mode": "master"});
    let (steps, port) = made(file, seen());
    assert_eq!((steps[0].as_str(), port.end), ("socket", VppEnd::Connects));
}

#[test]
fn without_a_volume_a_memif_without_a_file_is_made_all_the_same() {
    let mut pod = asked(json!({"interfaceType": "memif"}));
    pod.sockets = None;

    let steps = plan(&pod, seen()).unwrap();

    let Some(Step::Note(note)) = steps.last() else { panic!() };
    assert_eq!((note.home.is_none(), note.note.is_abstract), (true, true));
    let older = VppFacts { has: Abilities { abstract_sockets: false, ..ALL }, ..seen() };
    assert_eq!(plan(&pod, older).unwrap_err().to_string(), "the pod has no volume \"vhost\" for its sockets");
    pod.netns = Some("/run/netns/a,b".parse().unwrap());
    assert_eq!(plan(&pod, seen()).unwrap_err().kind(), FaultKind::Config);
}

#[test]
fn what_vpp_does_not_have_is_refused() {
    use FaultKind::{Config, Unsupported};
    for (keys, kind, what) in [
        (json!({"bridge": "br0"}), Config, "\"br0\" is no number of a bridge domain of VPP"),
        (json!({"bridge": 0}), Config, "\"0\" is no number of a bridge domain of VPP"),
        (json!({"bridge": 16_777_216}), Config, "\"16777216\" is no number of a bridge domain of VPP"),
        (json!({"bridge": ""}), Config, "no bridge is named"),
        (json!({"trunk": [{"id": 7}]}), Unsupported, "\"trunk\" is not supported on engine \"vpp\""),
        (json!({"ofport_request": 7}), Unsupported, "\"ofport_request\" is not supported on engine \"vpp\""),
        (
            json!({"ingress_policing_rate": 7}),
            Unsupported,
            "bounds on rates are not supported on engine \"vpp\"",
        ),
        (
            json!({"interfaceType": "memif", "memifMode": "ip"}),
            Unsupported,
            "a memif for anything but Ethernet frames is not supported on engine \"vpp\"",
        ),
        (json!({"interfaceType": "memif", "queues": 256}), Config, "\"queues\" is 256"),
        (json!({"mode": "master"}), Config, "\"mode\" is \"master\""),
    ] {
        assert_eq!(refusal(keys), (kind, what.to_owned()));
    }
}

#[test]
fn a_vpp_that_cannot_is_told_apart() {
    let refused = |keys: Value, seen| plan(&asked(keys), seen).unwrap_err().to_string();
    let vpp = "VPP 26.06 at \"/run/vpp/api.sock\"";
    let lacking = |has| VppFacts { has, ..seen() };

    let vhost = refused(json!({}), lacking(Abilities { vhost_user: false, ..ALL }));
    assert_eq!(vhost, format!("{vpp} makes no vhost-user interfaces"));
    let memif = refused(json!({"interfaceType": "memif"}), lacking(Abilities { memif: false, ..ALL }));
    assert_eq!(memif, format!("{vpp} makes no memif interfaces"));
    let vlans = lacking(Abilities { vlans: false, ..ALL });
    assert_eq!(refused(json!({"vlan": 7}), vlans.clone()), format!("{vpp} cannot keep VLANs apart"));
    assert!(plan(&asked(json!({})), vlans).is_ok());
    let bare = VppFacts { bridge: false, ..seen() };
    assert_eq!(refused(json!({}), bare.clone()), format!("{vpp} has no bridge domain 7"));
    assert!(plan(&asked(json!({"createBridge": true})), bare).is_ok());
}

#[test]
fn without_a_record_the_interface_is_looked_for_by_its_tag() {
    let attachment = asked(json!({"interfaceType": "memif"}));
    let wanted =
        VhostUser.read(Ask { conf: &attachment.network.plugins[0], attachment: &attachment }).unwrap();

    assert_eq!(names(&wanted.traces()), ["vpp", "socket", "note"]);
    let nobody = Attachment { netns: None, ..attachment };
    assert_eq!(plan(&nobody, seen()).unwrap(), []);
}
