//! `host-local`: one address out of each set of ranges, from a store on this node.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::range::{asked_of, is_gateway, predecessor, set_contains, successor};
use super::route::{self, RouteConf};
use super::{address, at_most, decode, list, one_per_family, resolv, words, wrong};
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::folded::Entries;
use crate::model::path::given_plain;
use crate::model::result::Route;
use crate::model::{CniResult, NetworkName, object};
use crate::plan::facts::{Facts, Question};
use crate::plan::keys::Known;
use crate::plan::kind::Ask;
use crate::plan::step::{AddressRange, LeaseStep};

/// Where stores are unless the configuration says otherwise.
const DATA_DIR: &str = "/var/lib/cni/networks";
/// Most sets of ranges of one configuration, which is also the most addresses it yields.
const MAX_SETS: usize = 64;
/// Most ranges of one set.
const MAX_RANGES: usize = 256;

/// What an `ipam` object of type `host-local` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLocal {
    store: PathBuf,
    sets: Vec<Vec<AddressRange>>,
    requested: Vec<IpAddr>,
    routes: Vec<Route>,
    resolv_conf: Option<PathBuf>,
}

/// The keys of `ipam` beside those of a range in the old form.
pub(super) const KNOWN: Known =
    Known { plain: &["dataDir", "resolvConf"], objects: &[("ranges", &RANGE), ("routes", &route::KNOWN)] };
/// The keys of a range.
pub(super) const RANGE: Known =
    Known { plain: &["gateway", "rangeEnd", "rangeStart", "subnet"], objects: &[] };

/// The keys of `ipam`, beside those of [`RangeConf`]: one set of one range, the old form.
#[derive(Deserialize)]
struct Keys {
    #[serde(default)]
    ranges: Vec<Vec<RangeConf>>,
    #[serde(default)]
    routes: Vec<RouteConf>,
    datadir: Option<PathBuf>,
    resolvconf: Option<PathBuf>,
}

/// One range as written.
#[derive(Debug, Deserialize)]
struct RangeConf {
    subnet: Option<String>,
    rangestart: Option<String>,
    rangeend: Option<String>,
    gateway: Option<String>,
}

/// Reads the `ipam` object of type `host-local`.
///
/// # Errors
/// Ranges that cannot be right, named with their set; a requested address that no set can serve; a path that is not
/// absolute.
pub(super) fn read(ask: Ask<'_>, ipam: &Entries<'_>) -> Outcome<HostLocal> {
    let keys: Keys = decode(ipam)?;
    let sets = all_sets(ask, decode(ipam)?, keys.ranges)?;
    let v4 = sets.iter().flat_map(|set| set.first()).filter(|range| range.start.is_ipv4()).count();
    one_per_family(ask, v4, sets.len() - v4)?;
    let requested = requested(ask)?;
    check_requested(&sets, &requested)?;
    Ok(HostLocal {
        store: store_in(keys.datadir, &ask.attachment.network.name)?,
        sets,
        requested,
        routes: route::read(&keys.routes)?,
        resolv_conf: given_plain("resolvConf", keys.resolvconf)?,
    })
}

/// The store that an `ipam` object of type `host-local` names, whatever else is in it.
///
/// # Errors
/// A path that is not absolute.
pub(super) fn store(ipam: &RawValue, network: &NetworkName) -> Outcome<PathBuf> {
    #[derive(Deserialize)]
    struct Place {
        datadir: Option<PathBuf>,
    }
    let place: Place = object::decode(ipam, "\"ipam\"")?;
    store_in(place.datadir, network)
}

fn store_in(dir: Option<PathBuf>, network: &NetworkName) -> Outcome<PathBuf> {
    Ok(given_plain("dataDir", dir)?.unwrap_or_else(|| DATA_DIR.into()).join(network.as_str()))
}

impl HostLocal {
    pub(super) fn questions(&self) -> Vec<Question> {
        self.resolv_conf.iter().cloned().map(Question::ResolvConf).collect()
    }

    pub(super) fn given(&self, facts: &Facts) -> Outcome<CniResult> {
        let mut given = CniResult { routes: self.routes.clone(), ..CniResult::default() };
        for question in self.questions() {
            let text = facts.text(&question).ok_or_else(|| self.no_resolv_conf())?;
            given.dns = resolv::parse(text)?;
        }
        Ok(given)
    }

    pub(super) fn step(&self) -> LeaseStep {
        LeaseStep {
            store: self.store.clone(),
            sets: self.sets.clone(),
            requested: self.requested.clone(),
            held: None,
        }
    }

    fn no_resolv_conf(&self) -> Fault {
        let path = self.resolv_conf.clone().unwrap_or_default();
        Fault::new(FaultKind::Absent, format!("{path:?}, named by \"resolvConf\", is not on this node"))
            .remedy("put the file there or correct \"resolvConf\"")
    }
}

/// All sets in the order in which the reference numbers them: those the runtime gives, the old form, the others.
fn all_sets(ask: Ask<'_>, flat: RangeConf, ranges: Vec<Vec<RangeConf>>) -> Outcome<Vec<Vec<AddressRange>>> {
    let mut written: Vec<Vec<RangeConf>> = list(ask.runtime("ipRanges"), "runtimeConfig.ipRanges")?;
    if flat.subnet.as_deref().is_some_and(|subnet| !subnet.is_empty()) {
        written.push(vec![flat]);
    }
    written.extend(ranges);
    if written.is_empty() {
        return Err(wrong(
            "\"ipam\" of type \"host-local\" has no ranges",
            "name at least one in \"ranges\"",
        ));
    }
    at_most(written.len(), MAX_SETS, "sets of ranges")?;
    let sets = written.iter().enumerate().map(|(n, set)| one_set(n, set)).collect::<Outcome<Vec<_>>>()?;
    apart(&sets)?;
    Ok(sets)
}

fn one_set(number: usize, set: &[RangeConf]) -> Outcome<Vec<AddressRange>> {
    if set.is_empty() {
        return Err(wrong(
            format!("range set {number} is empty"),
            "give it a range with a \"subnet\", or remove it",
        ));
    }
    at_most(set.len(), MAX_RANGES, "ranges in one set")?;
    let each = set.iter().map(|conf| {
        let subnet = conf.subnet.as_deref().unwrap_or_default();
        one_range(conf, format_args!("range {subnet:?} of range set {number}"))
    });
    each.collect()
}

/// Reads one range, with what is left out filled in: the gateway is the first address of the subnet, the range goes
/// from there to the last address but, in IPv4, the broadcast address.
///
/// An IPv4 range that is written to begin with the network's own address or to end with the broadcast address is
/// accepted, as the reference accepts it, and stops short of them: the reference hands both out, and no host can use
/// them. A range written to begin behind its end is refused, also where the end is the default.
fn one_range(conf: &RangeConf, place: fmt::Arguments<'_>) -> Outcome<AddressRange> {
    let subnet = subnet(conf, place)?;
    let inside = |text: Option<&str>, key: &str| {
        let found = address::optional(text, format_args!("\"{key}\" of {place}"))?;
        found.filter(|ip| !subnet.contains(*ip)).map_or(Ok(found), |ip| {
            let what = format!("\"{key}\" \"{ip}\" of {place} is not in the subnet");
            Err(wrong(what, "name an address of the subnet"))
        })
    };
    let gateway = address::optional(conf.gateway.as_deref(), format_args!("\"gateway\" of {place}"))?;
    let first = successor(subnet.network());
    let last = if subnet.is_ipv4() { predecessor(subnet.broadcast()) } else { subnet.broadcast() };
    let start = inside(conf.rangestart.as_deref(), "rangeStart")?.unwrap_or(first);
    let end = inside(conf.rangeend.as_deref(), "rangeEnd")?.unwrap_or(last);
    let (start, end) = if subnet.is_ipv4() { (start.max(first), end.min(last)) } else { (start, end) };
    if start > end {
        let what = format!("{place} has no address between \"rangeStart\" and \"rangeEnd\"");
        return Err(wrong(what, "let \"rangeStart\" come before \"rangeEnd\""));
    }
    Ok(AddressRange { subnet, start, end, gateway: gateway.unwrap_or(first) })
}

fn subnet(conf: &RangeConf, place: fmt::Arguments<'_>) -> Outcome<IpNetwork> {
    let Some(text) = conf.subnet.as_deref().filter(|text| !text.is_empty()) else {
        return Err(wrong(format!("{place} has no \"subnet\""), "give every range a \"subnet\""));
    };
    let subnet = address::cidr(text, format_args!("\"subnet\" of {place}"))?;
    let longest = if subnet.is_ipv4() { 30 } else { 126 };
    if subnet.prefix() > longest {
        let what = format!("the subnet of {place} is too small");
        return Err(wrong(what, format!("use a prefix length of at most {longest}")));
    }
    if subnet.ip() != subnet.network() {
        let what = format!("the subnet of {place} has bits set after its prefix");
        return Err(wrong(what, format!("write \"{}/{}\"", subnet.network(), subnet.prefix())));
    }
    Ok(subnet)
}

/// Refuses a set of mixed families, and ranges that share an address.
fn apart(sets: &[Vec<AddressRange>]) -> Outcome<()> {
    let mut ranges = Vec::new();
    for (number, set) in sets.iter().enumerate() {
        if set.iter().any(|range| range.start.is_ipv4()) && set.iter().any(|range| range.start.is_ipv6()) {
            let what = format!("range set {number} mixes IPv4 and IPv6");
            return Err(wrong(what, "make one set for each family"));
        }
        ranges.extend(set.iter().map(|range| (number, range)));
    }
    // In order of their starts (IPv4 before IPv6), two ranges overlap only if two neighbours do.
    ranges.sort_unstable_by_key(|(_, range)| range.start);
    for pair in ranges.windows(2) {
        let [(m, one), (n, other)] = pair else { continue };
        if one.overlaps(other) {
            let what = format!(
                "range \"{}\" of range set {m} and range \"{}\" of range set {n} overlap",
                one.subnet, other.subnet
            );
            return Err(wrong(what, "set them apart with \"rangeStart\" and \"rangeEnd\""));
        }
    }
    Ok(())
}

/// The addresses asked for: `IP=a,b` of `CNI_ARGS`, `args.cni.ips` and `runtimeConfig.ips`, each once. Prefix lengths are
/// accepted and not used, as by the reference; other keys of `CNI_ARGS` are for other plugins.
fn requested(ask: Ask<'_>) -> Outcome<Vec<IpAddr>> {
    let written = words(ask.attachment.args.get("IP")).map(str::to_owned).collect();
    let mut asked = vec![(written, "IP of CNI_ARGS")];
    for (raw, place) in [(ask.cni_arg("ips"), "args.cni.ips"), (ask.runtime("ips"), "runtimeConfig.ips")] {
        asked.push((list::<String>(raw, place)?, place));
    }
    let mut requested = Vec::new();
    for (texts, place) in &asked {
        at_most(texts.len(), MAX_SETS, "requested addresses")?;
        for text in texts {
            let address = address::without_prefix(text, place)?;
            if !requested.contains(&address) {
                requested.push(address);
            }
        }
    }
    Ok(requested)
}

/// Refuses a requested address that is in no set, is a gateway, or comes second for its set: the reference finds out
/// only after it has taken the others.
fn check_requested(sets: &[Vec<AddressRange>], requested: &[IpAddr]) -> Outcome<()> {
    let remedy = "ask for one free address of each range set at most";
    for address in requested {
        let Some(set) = sets.iter().find(|set| set_contains(set, address)) else {
            return Err(wrong(
                format!("the requested address \"{address}\" is in none of the ranges"),
                remedy,
            ));
        };
        if is_gateway(set, address) {
            return Err(wrong(format!("the requested address \"{address}\" is a gateway"), remedy));
        }
        if asked_of(set, requested).is_some_and(|first| first.address != *address) {
            let what = format!("the requested address \"{address}\" is the second of one range set");
            return Err(wrong(what, remedy));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::keys::tests::assert_read;

    #[test]
    fn the_keys_that_are_known_are_those_that_are_read() {
        assert_read::<Keys>(&KNOWN);
        assert_read::<RangeConf>(&RANGE);
    }
}
