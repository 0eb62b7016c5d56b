//! The `routes` of an `ipam` object, with the attributes CNI 1.1.0 added (specification section 5, `routes`).

use serde::Deserialize;

use super::{address, at_most, wrong};
use crate::model::fault::Outcome;
use crate::model::result::Route;
use crate::plan::keys::Known;

/// Most routes of one configuration.
const MAX_ROUTES: usize = 4096;

/// The keys of a route.
pub(super) const KNOWN: Known =
    Known { plain: &["advmss", "dst", "gw", "mtu", "priority", "scope", "table"], objects: &[] };

/// One route as written.
#[derive(Debug, Deserialize)]
pub(super) struct RouteConf {
    dst: String,
    gw: Option<String>,
    mtu: Option<u32>,
    advmss: Option<u32>,
    priority: Option<u32>,
    table: Option<u32>,
    scope: Option<u8>,
}

/// Reads the routes.
///
/// # Errors
/// A destination or gateway that is none, a gateway of the other family, or too many routes.
pub(super) fn read(routes: &[RouteConf]) -> Outcome<Vec<Route>> {
    at_most(routes.len(), MAX_ROUTES, "\"routes\"")?;
    routes.iter().map(one).collect()
}

fn one(conf: &RouteConf) -> Outcome<Route> {
    // The reference library takes 0 for "not set" where 0 has no meaning; table and scope it keeps.
    let set = |value: Option<u32>| value.filter(|v| *v != 0);
    let dst = address::cidr(&conf.dst, "the \"dst\" of a route")?;
    let gw = address::optional(conf.gw.as_deref(), "the \"gw\" of a route")?;
    if let Some(gw) = gw.filter(|gw| gw.is_ipv4() != dst.is_ipv4()) {
        let family = if dst.is_ipv4() { "IPv4" } else { "IPv6" };
        return Err(wrong(
            format!("the \"gw\" \"{gw}\" of the route to {dst} is not {family}"),
            "name a gateway of the destination's family",
        ));
    }
    Ok(Route {
        dst,
        gw,
        mtu: set(conf.mtu),
        advmss: set(conf.advmss),
        priority: set(conf.priority),
        table: conf.table,
        scope: conf.scope,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::keys::tests::assert_read;

    #[test]
    fn the_keys_that_are_known_are_those_that_are_read() {
        assert_read::<RouteConf>(&KNOWN);
    }
}
