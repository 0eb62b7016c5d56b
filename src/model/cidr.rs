//! Addresses with a prefix length, as CNI texts spell them.

use std::net::IpAddr;

use ipnetwork::{IpNetwork, Ipv4Network};

/// Reads `address/length`, the only spelling the reference library takes: no bare address, no netmask, no sign.
/// Bits beyond the prefix are kept: they are the address.
pub fn parse(text: &str) -> Option<IpNetwork> {
    let (address, length) = text.split_once('/')?;
    let plain = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    let address: IpAddr = address.parse().ok().filter(|_| plain)?;
    IpNetwork::new(address, length.parse().ok()?).ok()
}

/// The same network with an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2) spelled as IPv4. One whose prefix is
/// shorter than the mapping itself has no such spelling and stays.
pub fn canonical(network: IpNetwork) -> IpNetwork {
    let IpNetwork::V6(six) = network else { return network };
    let Some(four) = six.ip().to_ipv4_mapped() else { return network };
    let length = six.prefix().checked_sub(96);
    length.and_then(|n| Ipv4Network::new(four, n).ok()).map_or(network, IpNetwork::V4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_an_address_with_a_length_is_read() {
        assert_eq!(parse("10.0.0.9/24").unwrap().to_string(), "10.0.0.9/24");
        assert_eq!(parse("2001:DB8::1/064").unwrap().to_string(), "2001:db8::1/64");
        for bad in
            ["", "10.0.0.9", "10.0.0.9/", "10.0.0.9/33", "10.0.0.9/+8", "10.0.0.9/255.0.0.0", "::1/129"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_mapped_address_becomes_what_it_maps() {
        let canonical = |text: &str| canonical(parse(text).unwrap()).to_string();
        assert_eq!(canonical("::ffff:10.0.0.9/120"), "10.0.0.9/24");
        assert_eq!(canonical("::ffff:10.0.0.9/90"), "::ffff:10.0.0.9/90");
        assert_eq!(canonical("2001:db8::1/64"), "2001:db8::1/64");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9a-f.:/+]{0,24}") {
            prop_assert!(parse(&text).map(super::canonical).is_none_or(|n| n.prefix() <= 128));
        }
    }
}
