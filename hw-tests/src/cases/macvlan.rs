//! macvlan in all its modes.

use serde_json::{Value, json};

use crate::catalogue::{Case, HoldsFor};
use crate::need::Need;
use crate::node::Node;
use crate::plugin::{Attachment, IFNAME, Subject, addresses, addresses_in};
use crate::trouble::{Outcome, Trouble, equal, holds};

const NEEDS: &[Need] = &[Need::Link("veth"), Need::Link("macvlan"), Need::Plugin("host-local")];

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "a_macvlan_has_the_mode_it_was_given",
        proves: "bridge, private, vepa and passthru each give such a link, and DEL leaves nothing",
        needs: NEEDS,
        holds_for: HoldsFor::Everyone,
        run: a_macvlan_has_the_mode_it_was_given,
    },
    Case {
        name: "a_macvlan_may_be_in_source_mode",
        proves: "mode source, which the reference plugin does not know, gives such a link, and DEL leaves nothing",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: a_macvlan_may_be_in_source_mode,
    },
];

fn a_macvlan_has_the_mode_it_was_given(subject: &Subject) -> Outcome<()> {
    ["bridge", "private", "vepa", "passthru"].into_iter().try_for_each(|mode| comes_and_goes(subject, mode))
}

fn a_macvlan_may_be_in_source_mode(subject: &Subject) -> Outcome<()> {
    comes_and_goes(subject, "source")
}

fn comes_and_goes(subject: &Subject, mode: &str) -> Outcome<()> {
    in_mode(subject, mode).map_err(Trouble::doing(format!("mode {mode}")))
}

fn in_mode(subject: &Subject, mode: &str) -> Outcome<()> {
    let node = Node::new()?;
    let (pod, far) = (node.netns("pod")?, node.netns("far")?);
    node.wire(&far)?;
    let attachment = Attachment::new(subject, &node, &pod, config(&node, mode));

    let result = attachment.add()?;

    let link = pod.link(IFNAME)?;
    link.is_a("macvlan")?;
    link.has("mode", mode)?;
    link.has_mtu(1400)?;
    holds(link.is_up(), "the link is down")?;
    equal("the address of the link", link.addresses(), addresses_in(&result))?;

    attachment.del(Some(&result))?;

    equal("the pod's links", pod.names()?, vec!["lo".to_owned()])?;
    equal("the node's links", node.own.names()?, vec!["eth-a".to_owned(), "lo".to_owned()])?;
    attachment.left_nothing()
}

fn config(node: &Node, mode: &str) -> Value {
    json!({"type": "macvlan", "master": "eth-a", "mode": mode, "mtu": 1400, "ipam": addresses(node)})
}
