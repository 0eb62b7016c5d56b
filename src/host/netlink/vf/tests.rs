use proptest::prelude::*;

use super::*;

/// An attribute as the kernel writes it; its length is what fits into 16 bits.
fn nla(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn words(kind: u16, words: &[u32]) -> Vec<u8> {
    nla(kind, &words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>())
}

/// What the kernel writes of a VF: 196 bytes without statistics.
fn vf(number: u32, vlan: u32, trust: u32) -> Vec<u8> {
    let mut mac = number.to_ne_bytes().to_vec();
    mac.extend([2, 0, 0, 0, 0, number as u8]);
    mac.resize(36, 0);
    let mut tag: Vec<u8> = [number, vlan, 5].iter().flat_map(|word| word.to_ne_bytes()).collect();
    tag.extend(ETH_P_8021AD.to_be_bytes());
    tag.extend([0; 2]);
    let all = [
        nla(VF_MAC, &mac),
        words(VF_VLAN, &[number, vlan, 5]),
        words(VF_RATE, &[number, 10, 100]),
        words(3, &[number, 100]),
        words(VF_SPOOFCHK, &[number, 1]),
        words(VF_LINK_STATE, &[number, 2]),
        words(7, &[number, UNKNOWN]),
        words(VF_TRUST, &[number, trust]),
        nla(VF_VLAN_LIST, &nla(1, &tag)),
    ];
    nla(VF_INFO, &all.concat())
}

fn link(numbers: impl Iterator<Item = u32> + Clone, trust: u32) -> Vec<u8> {
    let mut bytes = vec![0; 16];
    bytes[2..4].copy_from_slice(&libc::ARPHRD_ETHER.to_ne_bytes());
    bytes[4..8].copy_from_slice(&7u32.to_ne_bytes());
    bytes[8..12].copy_from_slice(&1u32.to_ne_bytes());
    bytes.extend(nla(3, b"pf0\0"));
    bytes.extend(words(libc::IFLA_NUM_VF, &[numbers.clone().count() as u32]));
    bytes.extend(nla(
        libc::IFLA_VFINFO_LIST | 0x8000,
        &numbers.flat_map(|n| vf(n, n % 4095, trust)).collect::<Vec<u8>>(),
    ));
    bytes.extend(nla(13, b"after\0"));
    bytes
}

#[test]
fn every_setting_is_read() {
    let seen = read(&link(0..7, 1), 3).unwrap();

    let expected = VfSettings {
        mac: Some("02:00:00:00:00:03".parse().unwrap()),
        vlan: Some(VfVlan { id: 3, qos: 5, protocol: VlanProtocol::Dot1Ad }),
        spoofchk: Some(true),
        trust: Some(true),
        link_state: Some(VfLinkState::Disable),
        rate: Some(VfRate { min: 10, max: 100 }),
    };
    assert_eq!(seen, SeenPf { index: 7, ethernet: true, up: true, settings: Some(expected) });
}

#[test]
fn what_a_driver_does_not_know_is_neither_on_nor_off() {
    assert_eq!(read(&link(0..2, UNKNOWN), 1).unwrap().settings.unwrap().trust, None);
    assert_eq!(read(&link(0..2, 0), 1).unwrap().settings.unwrap().trust, Some(false));
}

#[test]
fn a_vf_is_known_by_its_number_and_not_by_its_place() {
    let reversed = link((0..7).rev(), 0);
    assert_eq!(read(&reversed, 6).unwrap().settings.unwrap().vlan.unwrap().id, 6);
    assert_eq!(read(&reversed, 7).unwrap().settings, None);
}

#[test]
fn a_list_whose_length_has_wrapped_is_read_to_its_end() {
    // 196 bytes each: the length of the list wraps at 335 VFs.
    for count in [334, 335, 336, 512, 1000] {
        let bytes = link(0..count, 1);
        for number in [0, 1, 334, count - 1].into_iter().filter(|n| *n < count) {
            let vlan = read(&bytes, number).unwrap().settings.unwrap().vlan.unwrap();
            assert_eq!(u32::from(vlan.id), number % 4095, "{number} of {count}");
        }
    }
}

#[test]
fn a_pf_without_vfs_has_no_settings() {
    assert_eq!(read(&link(0..0, 0), 0).unwrap().settings, None);
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), number: u32) {
        let _seen = read(&bytes, number);
    }

    #[test]
    fn no_damage_makes_reading_panic(place in 0usize..1400, value: u8, cut in 0usize..1500) {
        let mut bytes = link(0..7, 1);
        if let Some(byte) = bytes.get_mut(place) {
            *byte = value;
        }
        bytes.truncate(cut);
        for number in 0..8 {
            let _seen = read(&bytes, number);
        }
    }
}
