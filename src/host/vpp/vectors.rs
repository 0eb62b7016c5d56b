//! Requests and details held against what a VPP 26.06 was sent and answered, as it was recorded.

use serde_json::Value;

use super::message::{self, Message, NewMemif, NewVhost};
use super::seen::{self, Bridge, Interface, KnownSocket, Memif, Vhost};
use super::table::Table;
use super::wire::Reader;

const RECORDING: &str = include_str!("../../../tests/vpp/vpp-26.06.jsonl");
/// Length of number, client and context of a request.
const START: usize = 10;

/// The recorded messages of one direction.
fn recorded(direction: &str) -> Vec<Vec<u8>> {
    let frames = RECORDING.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of = frames.filter(|frame| frame["dir"] == direction);
    let bytes = of.map(|frame| {
        let digits = frame["hex"].as_str().unwrap().to_owned();
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    });
    bytes.collect()
}

fn number(message: &[u8]) -> u16 {
    Reader::new(message).u16().unwrap()
}

fn table() -> Table {
    let answers = recorded("s2c");
    let greeted = answers.iter().find(|answer| number(answer) == message::GREETED).unwrap();
    Table::read(&mut Reader::new(&greeted[18..])).unwrap()
}

/// What stands behind client and context of the recorded requests of this name.
fn asked(name: &str) -> Vec<Vec<u8>> {
    let wanted = table().number(name).unwrap();
    let all = recorded("c2s").into_iter().filter(|asked| number(asked) == wanted);
    all.map(|asked| asked[START..].to_vec()).collect()
}

/// What stands behind the context of the recorded answers of this name.
fn told(name: &str) -> Vec<Vec<u8>> {
    let wanted = table().number(name).unwrap();
    let all = recorded("s2c").into_iter().filter(|told| number(told) == wanted);
    all.map(|told| told[6..].to_vec()).collect()
}

fn all_messages() -> Vec<Message> {
    let mac = "02:00:00:00:aa:01".parse().unwrap();
    let vhost = |v2| message::create_vhost(NewVhost { path: "/x", serves: true, mac, tag: "t" }, v2).unwrap();
    let memif = |v2| message::create_memif(NewMemif { serves: true, queues: 1, socket: 7, mac }, v2);
    vec![
        message::control_ping(),
        message::show_version(),
        vhost(true),
        vhost(false),
        message::delete_vhost(1),
        message::vhost_dump(),
        message::add_memif_socket("/x"),
        message::add_memif_socket_as(1, "/x").unwrap(),
        message::remove_memif_socket(1, true),
        message::remove_memif_socket(1, false),
        message::memif_socket_dump(),
        memif(true),
        memif(false),
        message::delete_memif(1),
        message::memif_dump(),
        message::set_up(1),
        message::set_tag(1, "t").unwrap(),
        message::set_mtu(1, 1400),
        message::interface_dump(),
        message::bridge(1, "t", true, true).unwrap(),
        message::bridge(1, "t", true, false).unwrap(),
        message::bridge_dump(1),
        message::enter_bridge(1, 7),
        message::push_vlan(1, 100),
        message::keep_vlan_apart(1),
    ]
}

#[test]
fn every_message_is_in_the_table_of_a_real_vpp_under_the_digest_of_its_layout() {
    let table = table();

    for Message { name, reply, .. } in all_messages() {
        assert!(table.number(name).is_some() && table.number(reply).is_some(), "{name}, {reply}");
    }
    for name in [message::KEEPALIVE, message::KEEPALIVE_REPLY] {
        assert!(table.number(name).is_some(), "{name}");
    }
}

#[test]
fn requests_have_the_length_that_vpp_takes() {
    let lengths = [
        ("control_ping", 10),
        ("show_version", 10),
        (message::CREATE_VHOST_V2, 348),
        (message::CREATE_VHOST, 347),
        ("delete_vhost_user_if", 14),
        (message::VHOST_DUMP, 14),
        (message::MEMIF_SOCKET_V2, 19),
        (message::MEMIF_SOCKET, 123),
        ("memif_socket_filename_dump", 10),
        (message::CREATE_MEMIF_V2, 66),
        (message::CREATE_MEMIF, 65),
        ("memif_delete", 14),
        (message::MEMIF_DUMP, 10),
        ("sw_interface_set_flags", 18),
        ("sw_interface_tag_add_del", 79),
        ("sw_interface_set_mtu", 30),
        ("sw_interface_dump", 19),
        (message::BRIDGE_V2, 86),
        (message::BRIDGE, 86),
        ("bridge_domain_dump", 18),
        ("sw_interface_set_l2_bridge", 24),
        ("l2_interface_vlan_tag_rewrite", 30),
        ("l2_interface_efp_filter", 15),
    ];
    for asked in all_messages() {
        let matching =
            |(name, _): &&(&str, usize)| asked.name == *name || asked.name.starts_with(&format!("{name}_"));
        let best = lengths.iter().filter(matching).max_by_key(|(name, _)| name.len());
        let (name, length) = best.unwrap_or_else(|| panic!("{}", asked.name));
        // Behind the length of a name comes the name.
        let text = if asked.name == message::MEMIF_SOCKET_V2 && asked.fields[0] == 1 { 2 } else { 0 };
        assert_eq!(START + asked.fields.len(), length + text, "{name}");
    }
}

#[test]
fn requests_are_laid_out_to_the_byte_as_a_real_vpp_took_them() {
    let path = "/run/vpp/recordings/pod/v/net1";
    let mac = |text: &str| text.parse().unwrap();
    let vhost = NewVhost { path, serves: true, mac: mac("02:00:00:00:aa:01"), tag: "vng:abc/net1" };
    let memif = NewMemif { serves: true, queues: 1, socket: 0x3c6e_f35f, mac: mac("02:00:00:00:aa:02") };
    let remove = message::remove_memif_socket(0x3c6e_f35f, true);
    for ours in [
        message::control_ping(),
        message::show_version(),
        message::create_vhost(vhost, true).unwrap(),
        message::delete_vhost(1),
        message::vhost_dump(),
        message::add_memif_socket("abstract:vng/net3,netns_name=vhrig2"),
        remove,
        message::memif_socket_dump(),
        message::create_memif(memif, true),
        message::delete_memif(2),
        message::set_up(1),
        message::set_tag(2, "vng:abc/net2").unwrap(),
        message::interface_dump(),
        message::bridge(0x006e_f35f, "vng", true, true).unwrap(),
        message::bridge(0x006e_f35f, "vng", false, true).unwrap(),
        message::bridge_dump(0x006e_f35f),
        message::enter_bridge(1, 0x006e_f35f),
    ] {
        let theirs = asked(ours.name);
        assert!(theirs.contains(&ours.fields), "{}: {:x?} is not among {theirs:x?}", ours.name, ours.fields);
    }
}

#[test]
fn what_a_real_vpp_tells_is_read() {
    let version = told("show_version_reply_c919bde1").remove(0);
    assert_eq!(seen::version(&version[4..]).as_deref(), Some("26.06-release"));

    let details = told(message::interface_dump().reply);
    let all: Vec<Interface> = details.iter().map(|fields| Interface::read(fields).unwrap()).collect();
    let tags: Vec<&str> = all.iter().map(|seen| seen.tag.as_str()).collect();
    assert_eq!(tags, ["", "vng:abc/net1", "vng:abc/net2", "vng:abc/net3"]);
    assert_eq!((all[1].index, all[1].name.as_str(), all[1].mtu), (1, "VirtualEthernet0/0/0", 9000));
    assert_eq!((all[1].admin_up, all[1].link_up, all[0].admin_up, all[1].rewrite.0), (true, false, false, 0));

    let vhost = Vhost::read(&told(message::vhost_dump().reply)[0]).unwrap();
    let path = "/run/vpp/recordings/pod/v/net1".to_owned();
    assert_eq!(vhost, Vhost { index: 1, serves: true, path, regions: 0, error: 0 });

    let sockets: Vec<KnownSocket> =
        told(message::memif_socket_dump().reply).iter().map(|f| KnownSocket::read(f).unwrap()).collect();
    let named = |name: &str| sockets.iter().find(|socket| socket.is_named(name)).map(|socket| socket.number);
    assert_eq!(named("abstract:vng/net3,netns_name=vhrig2"), Some(0x4750_2932));
    assert_eq!(named("abstract:vng/net3,netns_name=vhrig"), None);
    // One that is longer than what VPP tells of it.
    assert_eq!(named(&format!("/run/vpp/recordings/pod/{}", "q".repeat(150))), Some(0xd1cc_f6e9));

    let bridges: Vec<Bridge> =
        told(message::bridge_dump(1).reply).iter().map(|fields| Bridge::read(fields).unwrap()).collect();
    assert_eq!((bridges[0].number, bridges[0].tag.as_str()), (0x006e_f35f, "vng"));
    assert_eq!((bridges[0].members.len(), bridges[1].members.len()), (3, 1));
    assert!(bridges[0].members.iter().all(|index| [1, 2, 3].contains(index)), "{bridges:?}");
}

#[test]
fn a_memif_is_read_by_the_layout_that_its_digest_stands_for() {
    let fields = [
        [0, 0, 0, 2].as_slice(),
        &[2, 0, 0, 0, 0xaa, 2],
        &[0; 4],
        &[0, 0, 0, 1],
        &[0; 4],
        &[1],
        &[0x3c, 0x6e, 0xf3, 0x5f],
    ];
    let memif = Memif::read(&fields.concat()).unwrap();

    let mac = [2, 0, 0, 0, 0xaa, 2];
    assert_eq!(memif, Memif { index: 2, mac, serves: false, ethernet: true, socket: 0x3c6e_f35f });
    assert_eq!(Memif::read(&fields[..6].concat()), None);
}

#[test]
fn details_that_end_too_early_are_none() {
    for (name, read) in [
        (message::interface_dump().reply, (|f| Interface::read(f).is_some()) as fn(&[u8]) -> bool),
        (message::vhost_dump().reply, |f| Vhost::read(f).is_some()),
        (message::memif_socket_dump().reply, |f| KnownSocket::read(f).is_some()),
        (message::bridge_dump(1).reply, |f| Bridge::read(f).is_some()),
    ] {
        let whole = told(name).remove(0);
        assert!(read(&whole) && !read(&whole[..whole.len() - 1]), "{name}");
    }
}
