//! What the targets stand on: an owner, a network, an attachment, a node that answers every question.

use std::path::{Component, Path};

use manifold::engine::record::{FORMAT, Phase, Record};
use manifold::model::args::CniArgs;
use manifold::model::settings::Rules;
use manifold::model::sockets::{SocketGround, Volume, VolumeSource};
use manifold::model::{Attachment, Fault, Network, Object, Owner};
use manifold::plan::claim::Claim;
use manifold::plan::facts::{Answer, Facts, LinkFacts, Question};
use manifold::plan::port::SwitchFacts;
use manifold::plan::step::Step;
use manifold::plan::vf::{Function, PfPort, PortFacts, PortUse, VfFacts, VfPort, VfSettings};
use manifold::plan::vpp::{Abilities, VppFacts};

pub(crate) fn owner() -> Owner {
    Owner::parse("pod1", "net1").unwrap()
}

pub(crate) fn network() -> Network {
    let text = br#"{"cniVersion":"1.1.0","name":"n","plugins":[{"type":"macvlan","capabilities":{"mac":true,"ips":true,
        "deviceID":true,"portMappings":true,"bandwidth":true,"infinibandGUID":true}}]}"#;
    Network::parse(text, None).unwrap()
}

/// An attachment to a network, on a node where everything is allowed.
pub(crate) fn attachment(network: Network, args: CniArgs, capabilities: Object) -> Attachment {
    let volume = |name: &str, source| Volume { name: name.into(), source, mounts: vec!["/sockets".into()] };
    let ground = SocketGround {
        state_dir: "/var/lib/cni/manifold".into(),
        volumes: vec![
            volume(
                "shared-dir",
                VolumeSource::EmptyDir("/var/lib/kubelet/pods/u/volumes/e/shared-dir".into()),
            ),
            volume("host", VolumeSource::HostPath("/srv/sockets".into())),
        ],
        rules: Rules::default(),
        ..SocketGround::default()
    };
    Attachment {
        netns: Some("/run/netns/pod1".parse().unwrap()),
        in_place: true,
        label: "default/n".into(),
        args,
        capabilities,
        device_file: Some("/run/devinfo/n".into()),
        sockets: Some(Box::new(ground)),
        ..Attachment::new(owner(), network)
    }
}

/// A record of the attachment can be read again.
pub(crate) fn recorded(attachment: &Attachment) {
    planned(attachment, Vec::new(), Vec::new());
}

/// A record with this plan can be read again.
pub(crate) fn planned(attachment: &Attachment, claims: Vec<Claim>, steps: Vec<Step>) {
    let record = Record {
        format: FORMAT,
        phase: Phase::Pending,
        order: 1,
        failures: 0,
        boot: "boot".into(),
        netns: None,
        attachment: attachment.clone(),
        claims,
        steps,
        result: None,
        device_info: None,
    };
    let text = serde_json::to_string(&record).unwrap();
    let mut again: Record = serde_json::from_str(&text).unwrap_or_else(|cause| panic!("{cause}: {text}"));
    // Neither the text of the configuration nor the rules of the operator are part of a record.
    again.attachment.network.source = attachment.network.source.clone();
    if let (Some(read), Some(had)) = (&mut again.attachment.sockets, &attachment.sockets) {
        read.rules = had.rules.clone();
    }
    assert_eq!(again, record);
}

/// Answers for a node that has whatever is asked for; files have this text.
pub(crate) fn facts(questions: Vec<Question>, text: &str) -> Facts {
    let mut facts = Facts::default();
    for question in questions {
        let answer = answer(&question, text);
        facts.note(question, answer);
    }
    facts
}

fn answer(question: &Question, text: &str) -> Answer {
    let link = |name: &str| LinkFacts {
        name: name.parse().unwrap(),
        index: 7,
        mac: "02:00:00:00:00:01".parse().ok(),
        mtu: 1500,
        group: 0,
    };
    match question {
        Question::Link(_, name) => Answer::Link(link(name.as_str())),
        Question::DefaultLink(_) => Answer::Link(link("eth0")),
        Question::Program(_) => Answer::Present,
        Question::ResolvConf(_) => Answer::Text(text.into()),
        Question::Vf(_) => Answer::Vf(Box::new(vf())),
        Question::Switch(..) => Answer::Switch(SwitchFacts {
            dpdk: true,
            interface_types: vec!["dpdkvhostuser".into(), "dpdkvhostuserclient".into()],
            socket_dir: None,
            datapath: Some("netdev".into()),
        }),
        Question::Vpp(..) => Answer::Vpp(VppFacts {
            version: "26.06".into(),
            has: Abilities { vhost_user: true, memif: true, abstract_sockets: true, vlans: true },
            bridge: true,
        }),
        Question::Group(_) => Answer::Group(100),
    }
}

fn vf() -> VfFacts {
    let mac = "02:00:00:00:00:02".parse().ok();
    let port = VfPort {
        name: "vf0".parse().unwrap(),
        index: 9,
        mac,
        mtu: 1500,
        allmulti: false,
        altnames: Vec::new(),
    };
    let pf = PfPort {
        name: "pf0".parse().unwrap(),
        index: 8,
        ethernet: true,
        settings: Some(VfSettings { mac, spoofchk: Some(true), trust: Some(false), ..VfSettings::default() }),
    };
    VfFacts {
        function: Function::Virtual { pf: "0000:3b:00.0".parse().unwrap(), number: 1, pf_port: Some(pf) },
        is_network: true,
        driver: Some("iavf".into()),
        driver_override: None,
        port: PortFacts::Here(port, PortUse::Free),
        held_for: None,
        representor: None,
        rdma_device: None,
    }
}

/// Whether a name leads to an entry of the folder it is looked for in, and nowhere else.
pub(crate) fn is_one_component(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name)
}

/// What is told of a failure is bounded, whatever it quotes.
pub(crate) fn told(fault: &Fault) {
    let reply = fault.to_reply();
    assert!(reply.msg.len() + reply.details.len() < 256 << 10);
}
