//! Addresses as texts: how configurations write them, and how the store of `host-local` names its files.

use std::fmt::Display;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::wrong;
use crate::model::cidr;
use crate::model::fault::Outcome;

/// An address as Go prints it, which is how the reference plugin names files: RFC 5952, and an IPv4-mapped IPv6
/// address (`::ffff:10.0.0.1`) as the IPv4 address it stands for.
pub fn go_text(address: &IpAddr) -> String {
    address.to_canonical().to_string()
}

/// Reads an address; one that is IPv4-mapped becomes IPv4.
///
/// # Errors
/// A text that is no address; `place` names it in the error.
pub fn address(text: &str, place: impl Display) -> Outcome<IpAddr> {
    text.parse::<IpAddr>().map(|a| a.to_canonical()).map_err(|cause| {
        wrong(format!("{place} {text:?} is not an IP address"), "write an address such as \"10.1.2.3\"")
            .because(cause)
    })
}

/// Reads an address that may be left out; the empty text counts as left out.
///
/// # Errors
/// As [`address`].
pub fn optional(text: Option<&str>, place: impl Display) -> Outcome<Option<IpAddr>> {
    text.filter(|t| !t.is_empty()).map(|t| address(t, place)).transpose()
}

/// Reads an address with a prefix length; the bits after the prefix are kept.
///
/// # Errors
/// A text without a prefix length, or with one that does not fit. An IPv4-mapped address is refused: its prefix length
/// would count bits that an IPv4 address does not have.
pub fn cidr(text: &str, place: impl Display) -> Outcome<IpNetwork> {
    cidr::parse(text).filter(|network| network.ip().to_canonical() == network.ip()).ok_or_else(|| {
        wrong(
            format!("{place} {text:?} is not an address with a prefix length"),
            "write an address and a prefix length such as \"10.1.2.3/24\"",
        )
    })
}

/// Reads an address that may carry a prefix length, and drops that: the range it is in has its own.
///
/// # Errors
/// A text that is neither.
pub fn without_prefix(text: &str, place: impl Display) -> Outcome<IpAddr> {
    if text.contains('/') { cidr(text, place).map(|c| c.ip()) } else { address(text, place) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FaultKind;
    use proptest::prelude::*;

    #[test]
    fn file_names_are_what_go_prints() {
        for (written, named) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("::FFFF:0A00:0001", "10.0.0.1"),
            ("::1.2.3.4", "::102:304"),
            ("::", "::"),
            ("::1", "::1"),
            ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
            ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
            ("fe80:0:0:0:0:0:0:0", "fe80::"),
        ] {
            assert_eq!(go_text(&written.parse().unwrap()), named, "{written}");
        }
    }

    #[test]
    fn a_prefix_length_is_required_and_must_fit() {
        assert_eq!(cidr("10.1.2.3/24", "it").unwrap().to_string(), "10.1.2.3/24");
        for bad in
            ["10.1.2.3", "10.1.2.3/", "10.1.2.3/33", "10.1.2.3/+8", "10.1.2.3/255.0.0.0", "::1/129", "/8"]
        {
            assert_eq!(cidr(bad, "it").unwrap_err().kind(), FaultKind::Config, "{bad}");
        }
    }

    #[test]
    fn an_empty_text_is_no_address_asked_for() {
        assert_eq!(optional(Some(""), "it").unwrap(), None);
        assert_eq!(optional(None, "it").unwrap(), None);
        assert!(optional(Some("10.0.0"), "it").is_err());
    }

    proptest! {
        #[test]
        fn a_file_name_reads_as_the_same_address(address: IpAddr) {
            prop_assert_eq!(go_text(&address).parse::<IpAddr>().unwrap(), address.to_canonical());
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9a-f:./+ ]{0,24}") {
            if let Ok(network) = cidr(&text, "it") {
                prop_assert!(text.contains('/') && network.ip().to_canonical() == network.ip());
            }
        }
    }
}
