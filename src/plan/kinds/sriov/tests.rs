use serde_json::{Value, json};

use super::*;
use crate::model::{Attachment, CniResult, Network};
use crate::plan::facts::Answer;
use crate::plan::keys::tests::assert_read;
use crate::plan::step::ConfigureStep;

const VF: &str = "0000:01:10.2";

fn attachment(keys: Value) -> Attachment {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "fast", "type": "sriov", "deviceID": VF});
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    Attachment {
        netns: Some("/run/netns/pod-1".parse().unwrap()),
        ..Attachment::new(
            Owner::parse("pod-1", "net1").unwrap(),
            Network::parse(conf.to_string().as_bytes(), None).unwrap(),
        )
    }
}

fn read(keys: Value) -> Outcome<Box<dyn Wanted>> {
    let attachment = attachment(keys);
    Sriov.read(Ask { conf: &attachment.network.plugins[0], attachment: &attachment })
}

fn port() -> VfPort {
    VfPort {
        name: "eth4".parse().unwrap(),
        index: 9,
        mac: Some("02:00:00:00:00:09".parse().unwrap()),
        mtu: 1500,
        allmulti: false,
        altnames: Vec::new(),
    }
}

/// A VF as an Intel 82576 has it, unused.
fn seen() -> VfFacts {
    let settings = VfSettings {
        vlan: Some(VfVlan { id: 0, qos: 0, protocol: VlanProtocol::Dot1Q }),
        spoofchk: Some(true),
        trust: Some(false),
        link_state: Some(VfLinkState::Auto),
        rate: Some(VfRate { min: 10, max: 0 }),
        mac: None,
    };
    let pf_port = PfPort { name: "pf0".parse().unwrap(), index: 2, ethernet: true, settings: Some(settings) };
    VfFacts {
        function: Function::Virtual {
            pf: "0000:01:00.0".parse().unwrap(),
            number: 1,
            pf_port: Some(pf_port),
        },
        is_network: true,
        driver: Some("igbvf".to_owned()),
        driver_override: None,
        port: PortFacts::Here(port(), PortUse::Free),
        held_for: None,
        representor: None,
        rdma_device: None,
    }
}

fn steps(keys: Value, seen: VfFacts) -> Outcome<Vec<Step>> {
    let mut facts = Facts::default();
    facts.note(Question::Vf(VF.parse().unwrap()), Answer::Vf(Box::new(seen)));
    read(keys)?.steps(&facts)
}

fn take(keys: Value, seen: VfFacts) -> VfTake {
    let steps = steps(keys, seen).unwrap();
    let found = steps
        .into_iter()
        .find_map(|step| if let Step::Vf(VfStep::Take(take)) = step { Some(*take) } else { None });
    found.unwrap()
}

fn refusal(keys: Value, seen: VfFacts) -> (FaultKind, String) {
    let fault = steps(keys, seen).unwrap_err();
    assert!(fault.advice().is_some(), "{fault}");
    (fault.kind(), fault.to_string())
}

#[test]
fn every_key_means_what_it_says() {
    let keys = json!({"vlan": 100, "vlanQoS": 3, "vlanProto": "802.1AD", "MAC": "02-AA-00-00-00-01",
        "spoofchk": "off", "trust": "on", "link_state": "enable", "max_tx_rate": 500, "mtu": 9000, "allmulti": true,
        "logLevel": "debug", "logFile": "/dev/null"});

    let take = take(keys, seen());

    let expected = VfSettings {
        mac: Some("02:aa:00:00:00:01".parse().unwrap()),
        vlan: Some(VfVlan { id: 100, qos: 3, protocol: VlanProtocol::Dot1Ad }),
        spoofchk: Some(false),
        trust: Some(true),
        link_state: Some(VfLinkState::Enable),
        // The other rate stays.
        rate: Some(VfRate { min: 10, max: 500 }),
    };
    assert_eq!(take.to, expected);
    let Driven::Kernel(kernel) = take.driven else { panic!("an application drives it") };
    assert_eq!((kernel.was, kernel.mtu, kernel.allmulti), (port(), Some(9000), Some(true)));
}

#[test]
fn what_is_not_asked_for_is_not_touched() {
    let take = take(json!({"spoofchk": "", "mac": "", "vlan": null}), seen());

    assert!(take.to.is_empty(), "{:?}", take.to);
}

#[test]
fn values_are_taken_at_their_word() {
    let wrong = [
        json!({"vlan": 4095}),
        json!({"vlan": -1}),
        json!({"vlanQoS": 0}),
        json!({"vlan": 5, "vlanQoS": 8}),
        json!({"vlan": 0, "vlanQoS": 1}),
        json!({"vlan": 0, "vlanProto": "802.1ad"}),
        json!({"vlanProto": "802.1q"}),
        json!({"vlan": 5, "vlanProto": "802"}),
        json!({"spoofchk": "true"}),
        json!({"trust": "ON"}),
        json!({"link_state": "up"}),
        json!({"max_tx_rate": -1}),
        json!({"mtu": -1}),
        json!({"mac": "02:aa"}),
        json!({"mac": "ff:ff:ff:ff:ff:ff"}),
        json!({"deviceID": "eth0"}),
        json!({"deviceID": "../0000:01:10.2"}),
        json!({"bindDriver": "../../x"}),
        json!({"bindDriver": "igbvf"}),
    ];
    for keys in wrong {
        let fault = read(keys.clone()).err().unwrap_or_else(|| panic!("{keys} is taken"));
        assert_eq!(fault.kind(), FaultKind::Config, "{keys}: {fault}");
        assert!(fault.advice().is_some(), "{keys}: {fault}");
    }
    for keys in [json!({"spoofchk": true}), json!({"vlan": "5"}), json!({"vlan": 5.5})] {
        assert_eq!(read(keys.clone()).err().unwrap().kind(), FaultKind::Decode, "{keys}");
    }
}

#[test]
fn a_pod_without_a_device_is_told_where_devices_come_from() {
    for absent in [json!({"deviceID": null}), json!({"deviceID": ""})] {
        let fault = read(absent).unwrap().claims().unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Config);
        assert!(fault.advice().unwrap().contains("resourceName"), "{fault}");
    }
}

#[test]
fn a_vf_is_claimed_by_one_spelling_of_its_address() {
    for spelling in [VF, "01:10.2", "0000:01:10.2"] {
        let claims = read(json!({"deviceID": spelling})).unwrap().claims().unwrap();
        assert_eq!(claims.iter().map(Claim::as_str).collect::<Vec<_>>(), ["pci 0000:01:10.2"]);
    }
}

#[test]
fn what_is_no_free_vf_is_refused() {
    let physical = VfFacts { function: Function::Physical, ..seen() };
    assert_eq!(refusal(json!({}), physical).0, FaultKind::Config);
    let held = VfFacts { held_for: Some("/run/netns/other".to_owned()), ..seen() };
    assert_eq!(refusal(json!({}), held).0, FaultKind::TryLater);
    let away = VfFacts { port: PortFacts::Elsewhere, ..seen() };
    assert_eq!(refusal(json!({}), away).0, FaultKind::TryLater);
    let needed =
        VfFacts { port: PortFacts::Here(port(), PortUse::Needed("is a port of \"br0\"".into())), ..seen() };
    assert_eq!(refusal(json!({}), needed).0, FaultKind::Exists);
    let unbound = VfFacts { port: PortFacts::None, driver: None, ..seen() };
    assert!(refusal(json!({}), unbound).1.contains("no driver is bound"));
    let odd = VfFacts { port: PortFacts::None, driver: Some("pci-stub".to_owned()), ..seen() };
    assert!(refusal(json!({}), odd).1.contains("pci-stub"));
    assert_eq!(steps_without_device().unwrap_err().kind(), FaultKind::Absent);
}

/// A disk of the node, as a network may name it.
fn disk() -> VfFacts {
    VfFacts {
        function: Function::Alone,
        is_network: false,
        port: PortFacts::None,
        driver: Some("nvme".to_owned()),
        ..seen()
    }
}

#[test]
fn what_is_no_network_controller_is_not_taken_from_the_node() {
    let bind = || json!({"bindDriver": "vfio-pci"});
    for keys in [bind(), json!({})] {
        let (kind, text) = refusal(keys, disk());
        assert_eq!(kind, FaultKind::Config);
        assert!(text.contains("0000:01:10.2 is no network controller"), "{text}");
    }
    let used = |driver: &str| VfFacts { driver: Some(driver.to_owned()), ..disk() };
    assert!(steps(bind(), used("vfio-pci")).is_ok() && steps(json!({}), used("vfio-pci")).is_ok());
    assert_eq!(refusal(bind(), used("uio_pci_generic")).0, FaultKind::Config);
    let virtio = || VfFacts { driver: Some(VIRTIO.to_owned()), function: Function::Alone, ..seen() };
    assert_eq!(refusal(json!({}), virtio()).0, FaultKind::Unsupported);
    assert!(steps(bind(), virtio()).is_ok());
}

#[test]
fn what_the_kubelet_gave_is_taken_whatever_it_is() {
    let bound = |id: &str, resource: Option<&str>| {
        let mut given = attachment(json!({"bindDriver": "vfio-pci"}));
        let resource = resource.map(|name| name.parse().unwrap());
        given.device = Some(crate::model::device::Device { id: id.parse().unwrap(), resource });
        let mut facts = Facts::default();
        facts.note(Question::Vf(VF.parse().unwrap()), Answer::Vf(Box::new(disk())));
        let wanted = Sriov.read(Ask { conf: &given.network.plugins[0], attachment: &given }).unwrap();
        wanted.steps(&facts).is_ok()
    };

    assert!(bound(VF, Some("example.com/accelerator")));
    assert!(!bound(VF, None) && !bound("0000:01:10.4", Some("example.com/accelerator")));
}

fn steps_without_device() -> Outcome<Vec<Step>> {
    let mut facts = Facts::default();
    facts.note(Question::Vf(VF.parse().unwrap()), Answer::Absent);
    read(json!({}))?.steps(&facts)
}

#[test]
fn an_infiniband_pf_and_one_that_is_away_are_told_apart() {
    let with = |pf_port: Option<PfPort>| {
        let function = Function::Virtual { pf: "0000:01:00.0".parse().unwrap(), number: 1, pf_port };
        VfFacts { function, ..seen() }
    };
    let infiniband = PfPort { name: "ib0".parse().unwrap(), index: 2, ethernet: false, settings: None };
    assert_eq!(refusal(json!({}), with(Some(infiniband))).0, FaultKind::Unsupported);
    assert_eq!(refusal(json!({}), with(None)).0, FaultKind::Absent);
}

#[test]
fn without_a_pf_only_what_the_vf_can_do_itself_is_done() {
    let alone = || VfFacts { function: Function::Alone, ..seen() };

    let take = take(json!({"mac": "02:aa:00:00:00:01", "mtu": 1400}), alone());

    assert!(take.pf.is_none() && take.to.mac.is_some());
    for keys in
        [json!({"vlan": 5}), json!({"trust": "on"}), json!({"max_tx_rate": 1}), json!({"link_state": "auto"})]
    {
        assert_eq!(refusal(keys, alone()).0, FaultKind::Config);
    }
}

#[test]
fn rates_that_contradict_each_other_are_refused() {
    assert_eq!(refusal(json!({"min_tx_rate": 200, "max_tx_rate": 100}), seen()).0, FaultKind::Config);
    // Ten are promised already.
    assert_eq!(refusal(json!({"max_tx_rate": 5}), seen()).0, FaultKind::Config);
    assert_eq!(take(json!({"min_tx_rate": 200}), seen()).to.rate, Some(VfRate { min: 200, max: 0 }));
}

#[test]
fn an_applications_vf_keeps_its_addresses_to_itself() {
    let vfio = || VfFacts { port: PortFacts::None, driver: Some("mlx5_vfio_pci".to_owned()), ..seen() };
    let ipam = json!({"type": "static", "addresses": [{"address": "10.5.0.7/24"}]});

    let told = steps(json!({"ipam": ipam}), vfio()).unwrap();
    let shown = steps(json!({"ipam": ipam, "dummy": true}), vfio()).unwrap();

    let bearer = |steps: &[Step]| match steps.last() {
        Some(Step::Configure(ConfigureStep { bearer, given, .. })) => {
            assert_ne!(*given, CniResult::default());
            *bearer
        }
        other => panic!("{other:?} comes last"),
    };
    assert_eq!((bearer(&told), bearer(&shown)), (Bearer::Application, Bearer::Link));
    assert!(matches!(&shown[0], Step::Link(link) if link.kind == LinkKind::Dummy && link.master.is_none()));
    assert!(matches!(&told[..], [Step::Vf(VfStep::Take(_)), Step::Configure(_)]));
}

#[test]
fn the_name_service_is_the_networks_own_or_that_of_its_addresses() {
    let fixed = |dns: Value| json!({"type": "static", "addresses": [{"address": "10.5.0.7/24"}], "dns": dns});
    let leased = json!({"type": "dhcp"});
    for (keys, domain, leased) in [
        (json!({"ipam": fixed(json!({"domain": "its"}))}), "its", false),
        (json!({"ipam": fixed(json!({"domain": "its"})), "dns": {"domain": "own"}}), "own", false),
        (json!({"ipam": leased}), "", true),
        (json!({"ipam": leased, "dns": {"domain": "own"}}), "own", false),
    ] {
        let steps = steps(keys.clone(), seen()).unwrap();
        let Some(Step::Configure(configure)) = steps.last() else { panic!("{steps:?}") };
        assert_eq!((configure.given.dns.domain.as_str(), configure.leased_dns), (domain, leased), "{keys}");
    }
}

#[test]
fn a_driver_is_bound_only_if_it_is_another() {
    let vfio = VfFacts { port: PortFacts::None, driver: Some("vfio-pci".to_owned()), ..seen() };
    let bound = |seen| match take(json!({"bindDriver": "vfio-pci"}), seen).driven {
        Driven::Application(app) => app.bind,
        Driven::Kernel(_) => panic!("the kernel drives it"),
    };

    assert_eq!(bound(vfio), None);
    let binding = bound(seen()).unwrap();
    assert_eq!((binding.was.as_deref(), binding.port), (Some("igbvf"), Some(port())));
}

#[test]
fn a_plan_reads_well() {
    let keys = json!({"vlan": 100, "spoofchk": "off", "trust": "on", "max_tx_rate": 500, "mtu": 9000,
        "mac": "02:aa:00:00:00:01"});
    let words: Vec<String> = steps(keys, seen()).unwrap().iter().map(Step::to_string).collect();
    assert_eq!(
        words,
        [
            "move eth4, the interface of VF 0000:01:10.2, VF 1 of pf0, Ethernet address 02:aa:00:00:00:01, vlan 100 \
             with priority 0, spoof check off, trust on, 10 to 500 Mbit/s, MTU 9000",
            "bring it up, without an address",
        ]
    );
    let keys = json!({"bindDriver": "vfio-pci", "ipam": {"type": "static", "addresses": [{"address": "10.5.0.7/24"}]}});
    let words: Vec<String> = steps(keys, seen()).unwrap().iter().map(Step::to_string).collect();
    assert_eq!(
        words,
        [
            "bind VF 0000:01:10.2 to vfio-pci for an application, VF 1 of pf0",
            "leave its addresses to the application",
        ]
    );
}

#[test]
fn a_record_of_a_vf_is_read_as_it_was_written() {
    let keys = json!({"vlan": 100, "bindDriver": "vfio-pci"});
    for step in steps(keys, seen()).unwrap().into_iter().chain([Step::Vf(VfStep::Lost)]) {
        let text = serde_json::to_string(&step).unwrap();
        assert_eq!(serde_json::from_str::<Step>(&text).unwrap(), step, "{text}");
    }
}

#[test]
fn the_keys_that_are_known_are_those_that_are_read() {
    assert_read::<Keys>(&KNOWN);
}
