//! `static`: addresses that are written down, in the configuration or in what the runtime gives beside it.

use std::net::IpAddr;

use serde::Deserialize;

use super::route::{self, RouteConf};
use super::{address, at_most, decode, list, one_per_family, words};
use crate::model::fault::Outcome;
use crate::model::folded::Entries;
use crate::model::result::{CniResult, Dns, IpConfig};
use crate::plan::keys::Known;
use crate::plan::kind::Ask;

/// Most addresses of one interface.
const MAX_ADDRESSES: usize = 1024;

pub(super) const KNOWN: Known = Known {
    plain: &[],
    objects: &[("addresses", &ADDRESS), ("dns", &Known::DNS), ("routes", &route::KNOWN)],
};
const ADDRESS: Known = Known { plain: &["address", "gateway"], objects: &[] };

/// The keys of `ipam`.
#[derive(Deserialize)]
struct Keys {
    #[serde(default)]
    addresses: Vec<AddressConf>,
    #[serde(default)]
    routes: Vec<RouteConf>,
    #[serde(default)]
    dns: Dns,
}

#[derive(Deserialize)]
struct AddressConf {
    address: String,
    gateway: Option<String>,
}

/// Reads the `ipam` object of type `static`.
///
/// The later replaces the earlier, and then gateways are lost: `addresses` with those of `CNI_ARGS` added, then
/// `args.cni.ips`, then `runtimeConfig.ips` (CNI conventions). No address at all is accepted here, as the reference
/// accepts it; an interface without one is refused when it is configured.
///
/// # Errors
/// An address without a prefix length; more addresses of a family than the CNI version can express.
pub(super) fn read(ask: Ask<'_>, ipam: &Entries<'_>) -> Outcome<CniResult> {
    let keys: Keys = decode(ipam)?;
    let mut ips = keys.addresses.iter().map(written).collect::<Outcome<Vec<_>>>()?;
    ips.extend(from_cni_args(ask)?);
    for (raw, place) in [(ask.cni_arg("ips"), "args.cni.ips"), (ask.runtime("ips"), "runtimeConfig.ips")] {
        let texts: Vec<String> = list(raw, place)?;
        if !texts.is_empty() {
            ips = texts.iter().map(|text| bare(text, place)).collect::<Outcome<_>>()?;
        }
    }
    at_most(ips.len(), MAX_ADDRESSES, "addresses")?;
    let v4 = ips.iter().filter(|ip| ip.address.is_ipv4()).count();
    one_per_family(ask, v4, ips.len() - v4)?;
    Ok(CniResult { interfaces: Vec::new(), ips, routes: route::read(&keys.routes)?, dns: keys.dns })
}

fn written(conf: &AddressConf) -> Outcome<IpConfig> {
    let address = address::cidr(&conf.address, "the \"address\"")?;
    let gateway = address::optional(conf.gateway.as_deref(), "the \"gateway\" of an address")?;
    Ok(IpConfig { interface: None, address, gateway })
}

fn bare(text: &str, place: &str) -> Outcome<IpConfig> {
    Ok(IpConfig { interface: None, address: address::cidr(text, place)?, gateway: None })
}

/// `IP=a/p,b/p` and `GATEWAY=g,h` of `CNI_ARGS`. A gateway goes to the addresses given beside it whose subnet it is in;
/// those of the configuration keep theirs, as with the reference. Other keys are for other plugins.
fn from_cni_args(ask: Ask<'_>) -> Outcome<Vec<IpConfig>> {
    let args = &ask.attachment.args;
    let mut ips =
        words(args.get("IP")).map(|text| bare(text, "IP of CNI_ARGS")).collect::<Outcome<Vec<_>>>()?;
    for text in words(args.get("GATEWAY")) {
        let gateway: IpAddr = address::address(text, "GATEWAY of CNI_ARGS")?;
        for ip in ips.iter_mut().filter(|ip| ip.address.contains(gateway)) {
            ip.gateway = Some(gateway);
        }
    }
    Ok(ips)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::keys::tests::assert_read;

    #[test]
    fn the_keys_that_are_known_are_those_that_are_read() {
        assert_read::<Keys>(&KNOWN);
        assert_read::<AddressConf>(&ADDRESS);
    }
}
