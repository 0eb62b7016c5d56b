//! Hardware addresses: those of Ethernet, and the longer ones that only travel through.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::fault::{Fault, FaultKind};

/// A unicast Ethernet address of six bytes; prints as `02:00:5e:10:00:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr([u8; 6]);

impl MacAddr {
    /// An address a link can carry.
    ///
    /// # Errors
    /// A multicast address, or all zeros: the kernel's `is_valid_ether_addr` refuses both.
    pub fn new(bytes: [u8; 6]) -> Result<Self, Fault> {
        let [first, ..] = bytes;
        if first & 1 == 1 || bytes == [0; 6] {
            return Err(Fault::new(FaultKind::Config, format!("{} cannot be a link's address", Self(bytes)))
                .remedy("use a unicast address, such as one that starts with 02"));
        }
        Ok(Self(bytes))
    }

    /// A locally administered unicast address made of the low 46 bits of `seed`.
    pub fn local(seed: u64) -> Self {
        let [_, _, a, b, c, d, e, f] = seed.to_be_bytes();
        Self([(a & 0xfc) | 0x02, b, c, d, e, f])
    }

    /// The six bytes, most significant first.
    pub fn bytes(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for MacAddr {
    type Err = Fault;

    /// Reads the three common spellings: `02:00:5e:10:00:00`, `02-00-5e-10-00-00`, `0200.5e10.0000`.
    fn from_str(text: &str) -> Result<Self, Fault> {
        let wrong = || {
            Fault::new(FaultKind::Config, format!("{text:?} is not an Ethernet address"))
                .remedy("write six bytes such as \"02:00:5e:10:00:01\"")
        };
        let digits = digits(text).filter(|d| d.len() == 12);
        let number = digits.and_then(|d| u64::from_str_radix(&d, 16).ok()).ok_or_else(wrong)?;
        let [_, _, a, b, c, d, e, f] = number.to_be_bytes();
        Self::new([a, b, c, d, e, f])
    }
}

/// A hardware address of six, eight or twenty bytes (Ethernet, EUI-64, IP over InfiniBand) in one of the three
/// spellings of [`MacAddr`], as lower-case text with colons. Whether a link can carry it is not looked at.
///
/// # Errors
/// Anything else ([`FaultKind::Config`]).
pub fn hardware_address(text: &str) -> Result<String, Fault> {
    let digits = digits(text).filter(|d| matches!(d.len(), 12 | 16 | 40)).ok_or_else(|| {
        Fault::new(FaultKind::Config, format!("{text:?} is not a hardware address"))
            .remedy("write six, eight or twenty bytes such as \"02:00:5e:10:00:01\"")
    })?;
    let mut spelled = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && n % 2 == 0 {
            spelled.push(':');
        }
        spelled.push(digit.to_ascii_lowercase());
    }
    Ok(spelled)
}

/// The hexadecimal digits of `text`, if it is one of the three spellings, of any length.
fn digits(text: &str) -> Option<String> {
    let (mark, size) = match text {
        _ if text.contains(':') => (':', 2),
        _ if text.contains('-') => ('-', 2),
        _ => ('.', 4),
    };
    let fits = text.split(mark).all(|g| g.len() == size && g.bytes().all(|b| b.is_ascii_hexdigit()));
    fits.then(|| text.replace(mark, ""))
}

impl TryFrom<String> for MacAddr {
    type Error = Fault;

    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_three_spellings_mean_the_same() {
        let want = MacAddr::new([2, 0, 0x5e, 0x10, 0, 1]).unwrap();
        for text in ["02:00:5e:10:00:01", "02-00-5E-10-00-01", "0200.5e10.0001"] {
            assert_eq!(text.parse::<MacAddr>().unwrap(), want, "{text}");
        }
    }

    #[test]
    fn what_a_link_cannot_carry_is_refused() {
        for text in [
            "",
            "0",
            "02:00:5e:10:00",
            "02:00:5e:10:00:01:02",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "02005e100001",
            "02:00-5e:10:00:01",
            "é2:00:5e:10:00:01",
        ] {
            assert!(text.parse::<MacAddr>().is_err(), "{text}");
        }
    }

    #[test]
    fn longer_addresses_are_spelled_alike() {
        for (text, want) in [
            ("0200.5E10.0001", "02:00:5e:10:00:01"),
            ("02-00-5E-10-00-01-02-03", "02:00:5e:10:00:01:02:03"),
            ("01:00:5e:00:00:01", "01:00:5e:00:00:01"),
        ] {
            assert_eq!(hardware_address(text).unwrap(), want);
        }
        let infiniband = vec!["0a"; 20].join(":");
        assert_eq!(hardware_address(&infiniband.replace(':', "-")).unwrap(), infiniband);
        for bad in ["", "02", "02:00:5e:10:00:01:02", "0200.5e10", "02:00-5e:10:00:01"] {
            assert_eq!(hardware_address(bad).unwrap_err().kind(), FaultKind::Config, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_local_address_is_valid_and_reads_back(seed in any::<u64>()) {
            let mac = MacAddr::local(seed);
            prop_assert_eq!(mac.bytes()[0] & 3, 2);
            prop_assert_eq!(mac.to_string().parse::<MacAddr>().unwrap(), mac);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,20}") {
            drop(text.parse::<MacAddr>());
        }
    }
}
