//! PCI addresses (kernel `drivers/pci`, "domain:bus:device.function").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::fault::{Fault, FaultKind};

/// The address of a PCI function; prints as sysfs names it, `0000:03:02.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PciAddress {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

impl FromStr for PciAddress {
    type Err = Fault;

    /// Reads `0000:03:02.1`, in any letter case; without a domain it is the first.
    fn from_str(text: &str) -> Result<Self, Fault> {
        parse(text).ok_or_else(|| {
            Fault::new(FaultKind::Config, format!("{text:?} is not a PCI address"))
                .remedy("write domain, bus, device and function such as \"0000:03:02.1\"")
        })
    }
}

fn parse(text: &str) -> Option<PciAddress> {
    let (front, function) = text.split_once('.')?;
    let mut parts = front.split(':').rev();
    let (device, bus) = (parts.next()?, parts.next()?);
    let domain = parts.next().unwrap_or("0000");
    let address = PciAddress {
        // The kernel makes up domains of more than four digits for bridges such as Intel's VMD.
        domain: hexadecimal(domain, 4..=8)?,
        bus: u8::try_from(hexadecimal(bus, 2..=2)?).ok()?,
        device: u8::try_from(hexadecimal(device, 2..=2)?).ok().filter(|device| *device < 32)?,
        function: u8::try_from(hexadecimal(function, 1..=1)?).ok().filter(|function| *function < 8)?,
    };
    parts.next().is_none().then_some(address)
}

fn hexadecimal(text: &str, lengths: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let plain = lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

impl TryFrom<String> for PciAddress {
    type Error = Fault;

    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

impl From<PciAddress> for String {
    fn from(address: PciAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, device, function } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function:x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_is_written_as_sysfs_has_it() {
        let spellings =
            [("0000:03:02.1", "0000:03:02.1"), ("03:02.1", "0000:03:02.1"), ("0000:AF:1F.7", "0000:af:1f.7")];
        for (text, normal) in spellings.into_iter().chain([("10000:01:00.0", "10000:01:00.0")]) {
            assert_eq!(text.parse::<PciAddress>().unwrap().to_string(), normal);
        }
    }

    #[test]
    fn what_could_leave_its_directory_is_no_address() {
        let bad = [
            "",
            ".",
            "..",
            "../0000:03:02.1",
            "0000:03:02",
            "0000:03:20.0",
            "0000:03:02.8",
            "03:02.1/..",
            "a:0000:03:02.1",
            "mlx5_core.sf.4",
            "0000:+3:02.1",
            "000:03:02.1",
        ];
        for text in bad {
            assert_eq!(text.parse::<PciAddress>().unwrap_err().kind(), FaultKind::Config, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_address_survives_its_text(domain: u32, bus: u8, device in 0u8..32, function in 0u8..8) {
            let address = PciAddress { domain, bus, device, function };
            prop_assert_eq!(address.to_string().parse::<PciAddress>().unwrap(), address);
        }

        #[test]
        fn no_text_makes_an_address_panic(text in ".{0,20}") {
            drop(text.parse::<PciAddress>());
        }
    }
}
