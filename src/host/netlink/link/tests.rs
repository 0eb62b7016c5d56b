use proptest::prelude::*;

use super::*;

fn told(mut message: LinkMessage) -> Told {
    message.header.index = 7;
    Told { kind: libc::RTM_NEWLINK, body: wire::body(&message) }
}

#[test]
fn every_kind_is_read_as_it_is_asked_for() {
    for mode in [
        MacvlanMode::Bridge,
        MacvlanMode::Private,
        MacvlanMode::Vepa,
        MacvlanMode::Passthru,
        MacvlanMode::Source,
    ] {
        let builder = LinkMacVlan::new("net1", 3, wire_mode(mode));
        let message = builder.append_info_data(InfoMacVlan::BcQueueLen(500)).build();

        let kind = LinkKind::Macvlan { mode, bc_queue_len: Some(500) };
        assert_eq!(read(&told(message)).unwrap().kind, Some(kind));
    }
    for protocol in [VlanProtocol::Dot1Q, VlanProtocol::Dot1Ad] {
        let message = LinkVlan::new("net1", 3, 4094).protocol(wire_protocol(protocol)).build();

        assert_eq!(read(&told(message)).unwrap().kind, Some(LinkKind::Vlan { id: 4094, protocol }));
    }
    assert_eq!(read(&told(LinkDummy::new("net1").build())).unwrap().kind, Some(LinkKind::Dummy));
}

#[test]
fn what_is_said_of_a_link_is_read() {
    let mac = "02:00:00:00:00:07".parse::<MacAddr>().unwrap();
    let builder = LinkMacVlan::new("net1", 3, MacVlanMode::Bridge).alias("mine").link_group(9);
    let mut message = builder.address(mac.bytes().to_vec()).mtu(1400).up().build();
    message.header.flags |= netlink_packet_route::link::LinkFlags::LowerUp;

    let seen = read(&told(message)).unwrap();

    let expected = Seen {
        index: 7,
        name: "net1".to_owned(),
        alias: "mine".to_owned(),
        mac: Some(mac),
        mtu: 1400,
        group: 9,
        parent: Some(3),
        up: true,
        carrier: true,
        kind: Some(LinkKind::Macvlan { mode: MacvlanMode::Bridge, bc_queue_len: None }),
    };
    assert_eq!(seen, expected);
}

#[test]
fn a_link_of_another_kind_has_none() {
    let body = told(rtnetlink::LinkBridge::new("br0").build()).body;

    assert_eq!(read(&Told { kind: libc::RTM_NEWLINK, body: body.clone() }).unwrap().kind, None);
    assert_eq!(read(&Told { kind: libc::RTM_DELLINK, body }), None);
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _seen = read(&Told { kind: libc::RTM_NEWLINK, body });
    }

    #[test]
    fn no_damage_makes_reading_panic(place in 0usize..100, value: u8, cut in 0usize..120) {
        let mut body = told(LinkVlan::new("net1", 3, 7).build()).body;
        if let Some(byte) = body.get_mut(place) {
            *byte = value;
        }
        body.truncate(cut);
        let _seen = read(&Told { kind: libc::RTM_NEWLINK, body });
    }
}
