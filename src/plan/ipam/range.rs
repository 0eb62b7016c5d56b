//! Ranges of addresses, and the order in which they are handed out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::plan::step::AddressRange;

impl AddressRange {
    /// Whether the address may come out of this range; its ends do, its gateway counts as well.
    pub fn contains(&self, address: &IpAddr) -> bool {
        address.is_ipv4() == self.start.is_ipv4() && (self.start..=self.end).contains(address)
    }

    /// Whether some address is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(&other.start) || other.contains(&self.start)
    }
}

/// Whether one range of the set contains the address.
pub fn set_contains(set: &[AddressRange], address: &IpAddr) -> bool {
    set.iter().any(|range| range.contains(address))
}

/// Whether the address is the gateway of one of the set's ranges, and so is never handed out.
pub fn is_gateway(set: &[AddressRange], address: &IpAddr) -> bool {
    set.iter().any(|range| range.gateway == *address)
}

/// Of the addresses asked for, the one that this set has to serve.
pub fn asked_of<'a>(set: &'a [AddressRange], requested: &[IpAddr]) -> Option<Candidate<'a>> {
    requested.iter().find_map(|&address| {
        let range = set.iter().find(|range| range.contains(&address))?;
        Some(Candidate { address, range })
    })
}

/// An address that may be handed out, and the range it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The address.
    pub address: IpAddr,
    /// Its range.
    pub range: &'a AddressRange,
}

/// The addresses of a set in the order in which the reference plugin tries them, each once, lazily: see [`candidates`].
#[derive(Debug, Clone)]
pub struct Candidates<'a> {
    set: &'a [AddressRange],
    /// Index of the range that `last` is in, or of the one to begin with.
    index: usize,
    /// The address looked at last.
    last: Option<IpAddr>,
    /// The address looked at first.
    first: Option<IpAddr>,
}

/// The addresses of a set, starting after the one reserved last.
///
/// Upwards, from the end of one range to the start of the next, from the last range to the first, until the start
/// comes round again: the address reserved last is the last to be tried. Without it, or when it is in none of the
/// ranges any more, from the start of the first range. Gateways are left out; unlike the reference, which leaves out
/// only the gateway of the range at hand, those of all ranges of the set are.
pub fn candidates(set: &[AddressRange], last: Option<IpAddr>) -> Candidates<'_> {
    let index = last.and_then(|address| set.iter().position(|range| range.contains(&address)));
    Candidates { set, index: index.unwrap_or(0), last: last.filter(|_| index.is_some()), first: None }
}

impl<'a> Candidates<'a> {
    /// The next address, gateways included.
    fn step(&mut self) -> Option<Candidate<'a>> {
        let range = self.set.get(self.index)?;
        let next = match self.last {
            None => Candidate { address: range.start, range },
            Some(last) if last < range.end => Candidate { address: successor(last), range },
            Some(_) => {
                self.index = (self.index + 1) % self.set.len().max(1);
                let range = self.set.get(self.index)?;
                Candidate { address: range.start, range }
            }
        };
        self.last = Some(next.address);
        match self.first {
            Some(first) if first == next.address => None,
            Some(_) => Some(next),
            None => {
                self.first = Some(next.address);
                Some(next)
            }
        }
    }
}

impl<'a> Iterator for Candidates<'a> {
    type Item = Candidate<'a>;

    fn next(&mut self) -> Option<Candidate<'a>> {
        loop {
            let candidate = self.step();
            match candidate {
                Some(found) if is_gateway(self.set, &found.address) => {}
                Some(_) => return candidate,
                None => {
                    self.set = &[];
                    return None;
                }
            }
        }
    }
}

/// The address after this one; after the last of its family, that again.
pub(super) fn successor(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().saturating_add(1)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().saturating_add(1)).into(),
    }
}

/// The address before this one; before the first of its family, that again.
pub(super) fn predecessor(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().saturating_sub(1)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().saturating_sub(1)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// `start-end gateway` in a subnet that does not matter here.
    fn range(text: &str) -> AddressRange {
        let (ends, gateway) = text.split_once(' ').unwrap();
        let (start, end) = ends.split_once('-').unwrap();
        let subnet = if ip(start).is_ipv4() { "10.0.0.0/8" } else { "fd00::/16" };
        AddressRange { subnet: subnet.parse().unwrap(), start: ip(start), end: ip(end), gateway: ip(gateway) }
    }

    fn set(ranges: &[&str]) -> Vec<AddressRange> {
        ranges.iter().map(|text| range(text)).collect()
    }

    #[test]
    fn addresses_go_round_in_the_references_order() {
        let one: &[&str] = &["10.0.0.1-10.0.0.6 10.0.0.1"];
        let two: &[&str] = &["10.0.0.5-10.0.0.7 10.0.0.1", "10.0.1.5-10.0.1.6 10.0.1.5"];
        // The ranges; the address reserved last; the last numbers of all addresses in order.
        let table: &[(&[&str], &str, &[u8])] = &[
            (one, "", &[2, 3, 4, 5, 6]),
            (one, "10.0.0.1", &[2, 3, 4, 5, 6]),
            (one, "10.0.0.3", &[4, 5, 6, 2, 3]),
            (one, "10.0.0.6", &[2, 3, 4, 5, 6]),
            (one, "10.0.0.7", &[2, 3, 4, 5, 6]),
            (one, "fd00::3", &[2, 3, 4, 5, 6]),
            (&["10.0.0.9-10.0.0.9 10.0.0.1"], "", &[9]),
            (&["10.0.0.9-10.0.0.9 10.0.0.1"], "10.0.0.9", &[9]),
            (&["10.0.0.9-10.0.0.9 10.0.0.9"], "", &[]),
            (&["10.0.0.9-10.0.0.9 10.0.0.9"], "10.0.0.9", &[]),
            (two, "", &[5, 6, 7, 6]),
            (two, "10.0.0.7", &[6, 5, 6, 7]),
            (two, "10.0.1.6", &[5, 6, 7, 6]),
            (two, "10.0.1.5", &[6, 5, 6, 7]),
            (&["10.0.0.1-10.0.0.3 10.0.0.6", "10.0.0.5-10.0.0.7 10.0.0.2"], "", &[1, 3, 5, 7]),
            (&["255.255.255.254-255.255.255.255 10.0.0.1"], "", &[254, 255]),
            (&[], "10.0.0.1", &[]),
        ];
        for (ranges, last, expected) in table {
            let set = set(ranges);
            let numbers: Vec<u8> = candidates(&set, last.parse().ok())
                .map(|c| match c.address {
                    IpAddr::V4(v4) => v4.octets()[3],
                    IpAddr::V6(_) => panic!("{}", c.address),
                })
                .collect();
            assert_eq!(numbers, *expected, "{ranges:?} after {last:?}");
        }
    }

    #[test]
    fn a_candidate_comes_with_its_own_range() {
        let set = set(&["10.0.0.5-10.0.0.5 10.0.0.1", "10.0.1.5-10.0.1.5 10.0.1.1"]);
        let gateways: Vec<IpAddr> = candidates(&set, None).map(|c| c.range.gateway).collect();
        assert_eq!(gateways, [ip("10.0.0.1"), ip("10.0.1.1")]);
    }

    #[test]
    fn a_range_of_astronomical_size_yields_at_once() {
        let set = set(&["fd00::1-fd00::ffff:ffff:ffff:ffff fd00::1"]);
        assert_eq!(candidates(&set, None).next().unwrap().address, ip("fd00::2"));
        let last = Some(ip("fd00::ffff:ffff:ffff:fffe"));
        let next: Vec<String> = candidates(&set, last).take(2).map(|c| c.address.to_string()).collect();
        assert_eq!(next, ["fd00::ffff:ffff:ffff:ffff", "fd00::2"]);
    }

    proptest! {
        #[test]
        fn every_address_but_gateways_comes_once(
            ranges in proptest::collection::vec((0u8..12, 1u8..12, any::<u8>()), 1..5),
            last in proptest::option::of(any::<u8>()),
        ) {
            let mut at = 1u8;
            let set: Vec<AddressRange> = ranges.iter().map(|(gap, length, gateway)| {
                let start = at + gap;
                at = start + length;
                range(&format!("10.0.0.{start}-10.0.0.{} 10.0.0.{gateway}", at - 1))
            }).collect();
            let last = last.map(|n| ip(&format!("10.0.0.{n}")));

            let found: Vec<IpAddr> = candidates(&set, last).map(|c| c.address).collect();

            let wanted: BTreeSet<IpAddr> = (0..=255u8).map(|n| ip(&format!("10.0.0.{n}")))
                .filter(|a| set_contains(&set, a) && !is_gateway(&set, a)).collect();
            prop_assert_eq!(found.len(), wanted.len());
            if let Some(last) = last.filter(|l| wanted.contains(l)) {
                prop_assert_eq!(found.last(), Some(&last), "who came last waits longest");
            }
            prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), wanted);
        }

        #[test]
        fn no_range_makes_it_panic_or_run_for_ever(
            start: IpAddr, end: IpAddr, gateway: IpAddr, last: Option<IpAddr>,
        ) {
            let broken = AddressRange { subnet: "10.0.0.0/8".parse().unwrap(), start, end, gateway };
            for candidate in candidates(&[broken.clone(), broken], last).take(64) {
                prop_assert!(candidate.address != gateway);
            }
        }
    }
}
