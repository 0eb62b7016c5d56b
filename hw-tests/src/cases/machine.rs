//! The machine itself.

use crate::catalogue::{Case, HoldsFor};
use crate::need::{Need, sriov_adapter};
use crate::node::Node;
use crate::plugin::Subject;
use crate::profile::Profile;
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

    let adapter = sriov_adapter()?;
    let total = std::fs::read_to_string(Profile::device()?.join("sriov_totalvfs"));
    let total = total.map_err(Trouble::doing(format!("cannot ask {adapter:?}")))?;
    let total: usize = total.trim().parse().map_err(Trouble::doing("cannot read sriov_totalvfs"))?;
    let wanted = Profile::current()?.vfs;
    holds(total >= wanted, format!("{adapter:?} offers {total} virtual functions, not {wanted}"))?;
    equal("the number of links", node.own.names()?.len(), 4)
}
