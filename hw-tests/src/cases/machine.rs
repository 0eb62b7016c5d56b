//! The machine itself.

use std::path::Path;

use crate::catalogue::{Case, HoldsFor};
use crate::need::{Need, sriov_adapters};
use crate::node::Node;
use crate::plugin::Subject;
use crate::trouble::{Outcome, Trouble, equal, holds};

pub(crate) const CASES: &[Case] = &[Case {
    name: "the_machine_has_what_the_others_lack",
    proves: "vlan, ipvlan, macvlan and dummy links can be made, and an adapter offers virtual functions",
    needs: &[
        Need::Link("vlan"),
        Need::Link("ipvlan"),
        Need::Link("macvlan"),
        Need::Link("dummy"),
        Need::SriovAdapter,
    ],
    holds_for: HoldsFor::Everyone,
    run: the_machine_has_what_the_others_lack,
}];

fn the_machine_has_what_the_others_lack(_: &Subject) -> Outcome<()> {
    let node = Node::new()?;

    node.own.ip("link add base type dummy")?;
    node.own.ip("link add link base name tagged type vlan id 7")?;
    node.own.ip("link add link base name shared type macvlan mode private")?;

    node.own.link("base")?.is_a("dummy")?;
    node.own.link("tagged")?.has("id", 7)?;
    node.own.link("shared")?.has("mode", "private")?;

    for adapter in sriov_adapters()? {
        let total = Path::new("/sys/class/net").join(&adapter).join("device/sriov_totalvfs");
        let total =
            std::fs::read_to_string(total).map_err(Trouble::doing(format!("cannot ask {adapter:?}")))?;
        let total: u32 = total.trim().parse().map_err(Trouble::doing("cannot read sriov_totalvfs"))?;
        holds(total > 0, format!("{adapter:?} offers no virtual function"))?;
    }
    equal("the number of links", node.own.names()?.len(), 4)
}
