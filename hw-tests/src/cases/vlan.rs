//! vlan: 802.1Q and 802.1ad links on a wire that ends in a neighbour.

use serde_json::{Value, json};

use crate::catalogue::{Case, HoldsFor};
use crate::need::Need;
use crate::node::{Netns, Node};
use crate::plugin::{Attachment, IFNAME, Subject, addresses, addresses_in};
use crate::trouble::{Outcome, equal, holds};

const NEEDS: &[Need] = &[Need::Link("veth"), Need::Link("vlan"), Need::Plugin("host-local")];

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "a_vlan_is_as_configured_and_del_leaves_nothing",
        proves: "ADD makes an 802.1Q link with its id, MTU and address; DEL removes link, lease and record",
        needs: NEEDS,
        holds_for: HoldsFor::Everyone,
        run: a_vlan_is_as_configured_and_del_leaves_nothing,
    },
    Case {
        name: "vlan_frames_carry_their_tag",
        proves: "a pod on vlan 100 reaches a neighbour on vlan 100, and not one on vlan 200",
        needs: NEEDS,
        holds_for: HoldsFor::Everyone,
        run: vlan_frames_carry_their_tag,
    },
    Case {
        name: "a_service_vlan_carries_customer_vlans",
        proves: "\"protocol\": \"802.1ad\" makes an 802.1ad link, and vlan 7 inside it reaches a QinQ neighbour",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: a_service_vlan_carries_customer_vlans,
    },
    Case {
        name: "a_vlan_that_another_pod_has_is_refused",
        proves: "the same id on the same master is refused with code 11 until the pod that has it is gone, which is not told to others",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: a_vlan_that_another_pod_has_is_refused,
    },
    Case {
        name: "a_vlan_may_lie_on_a_link_of_the_pod",
        proves: "with linkInContainer the master is looked for in the pod, and survives DEL",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: a_vlan_may_lie_on_a_link_of_the_pod,
    },
    Case {
        name: "del_succeeds_when_the_pod_is_gone",
        proves: "DEL gives the lease back without the pod's namespace, however often it comes",
        needs: NEEDS,
        holds_for: HoldsFor::Everyone,
        run: del_succeeds_when_the_pod_is_gone,
    },
    Case {
        name: "del_finds_a_vlan_that_the_pod_renamed",
        proves: "DEL takes a vlan down that has another name by then, so the next pod can have it",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: del_finds_a_vlan_that_the_pod_renamed,
    },
    Case {
        name: "check_notices_a_lost_link",
        proves: "CHECK succeeds after ADD and fails once the link was deleted by hand",
        needs: NEEDS,
        holds_for: HoldsFor::Everyone,
        run: check_notices_a_lost_link,
    },
];

/// vlan 100 on the node's end of the wire.
fn vlan_100(node: &Node) -> Value {
    json!({"type": "vlan", "master": "eth-a", "vlanId": 100, "mtu": 1400, "ipam": addresses(node)})
}

fn wired() -> Outcome<(Node, Netns)> {
    let node = Node::new()?;
    let far = node.netns("far")?;
    node.wire(&far)?;
    Ok((node, far))
}

fn a_vlan_is_as_configured_and_del_leaves_nothing(subject: &Subject) -> Outcome<()> {
    let (node, _far) = wired()?;
    let pod = node.netns("pod")?;
    let before = node.own.names()?;
    let attachment = Attachment::new(subject, &node, &pod, vlan_100(&node));

    let result = attachment.add()?;

    let link = pod.link(IFNAME)?;
    link.is_a("vlan")?;
    link.has("id", 100)?;
    link.has("protocol", "802.1Q")?;
    link.has_mtu(1400)?;
    holds(link.is_up(), "the link is down")?;
    equal("the number of addresses", link.addresses().len(), 1)?;
    equal("the address of the link", link.addresses(), addresses_in(&result))?;
    holds(!node.traces(&attachment.container)?.is_empty(), "nothing was written down about the attachment")?;

    attachment.del(Some(&result))?;

    equal("the pod's links", pod.names()?, vec!["lo".to_owned()])?;
    equal("the node's links", node.own.names()?, before)?;
    attachment.left_nothing()
}

fn vlan_frames_carry_their_tag(subject: &Subject) -> Outcome<()> {
    let (node, far) = wired()?;
    let pod = node.netns("pod")?;
    // Each neighbour has a namespace of its own: Linux answers for an address on whichever link the question came.
    let (same, other) = (node.netns("same")?, node.netns("other")?);
    neighbour(&far, &same, 100, "10.77.0.100/24")?;
    neighbour(&far, &other, 200, "10.77.0.200/24")?;

    Attachment::new(subject, &node, &pod, vlan_100(&node)).add()?;

    holds(pod.reaches("10.77.0.100")?, "the neighbour on vlan 100 does not answer")?;
    holds(!pod.reaches("10.77.0.200")?, "the neighbour on vlan 200 answers")?;
    // It would have answered on its own vlan.
    node.own.ip("link add link eth-a name by-hand type vlan id 200")?;
    node.own.ip("address add 10.77.0.99/24 dev by-hand")?;
    node.own.ip("link set by-hand up")?;
    holds(node.own.reaches("10.77.0.200")?, "the neighbour on vlan 200 answers nobody")
}

fn a_service_vlan_carries_customer_vlans(subject: &Subject) -> Outcome<()> {
    let (node, far) = wired()?;
    let (pod, customer) = (node.netns("pod")?, node.netns("customer")?);
    far.ip("link add link eth-b name service type vlan protocol 802.1ad id 100")?;
    far.ip("link set service up")?;
    tagged(&far, "service", 7)?;
    settle(&far, &customer, "10.78.0.1/24")?;
    let config = json!({"type": "vlan", "master": "eth-a", "vlanId": 100, "protocol": "802.1ad"});

    Attachment::new(subject, &node, &pod, config).add()?;

    let link = pod.link(IFNAME)?;
    link.is_a("vlan")?;
    link.has("protocol", "802.1ad")?;
    link.has("id", 100)?;
    tagged(&pod, IFNAME, 7)?;
    pod.ip("address add 10.78.0.2/24 dev tagged")?;
    pod.ip("link set tagged up")?;
    holds(pod.reaches("10.78.0.1")?, "the customer's vlan 7 does not pass through the service vlan")
}

fn a_vlan_that_another_pod_has_is_refused(subject: &Subject) -> Outcome<()> {
    let (node, _far) = wired()?;
    let (pod, latecomer) = (node.netns("pod")?, node.netns("latecomer")?);
    let first = Attachment::new(subject, &node, &pod, vlan_100(&node));
    let second = Attachment::new(subject, &node, &latecomer, vlan_100(&node));
    let result = first.add()?;

    let refusal = second.refusal()?;

    equal("the error code", refusal.code, 11)?;
    holds(refusal.text.contains("is held by another pod"), format!("it is not told why: {}", refusal.text))?;
    holds(!refusal.text.contains(&first.container), format!("the holder is told: {}", refusal.text))?;
    equal("the latecomer's links", latecomer.names()?, vec!["lo".to_owned()])?;
    second.del(None)?;
    second.left_nothing()?;
    pod.link(IFNAME)?.has("id", 100)?;

    first.del(Some(&result))?;
    second.add()?;
    latecomer.link(IFNAME)?.has("id", 100)
}

fn a_vlan_may_lie_on_a_link_of_the_pod(subject: &Subject) -> Outcome<()> {
    let node = Node::new()?;
    let (pod, far) = (node.netns("pod")?, node.netns("far")?);
    pod.ip("link add inner type veth peer name outer")?;
    pod.ip("link set inner up")?;
    // Of the same name on the node, to be left alone.
    node.wire(&far)?;
    node.own.ip("link set eth-a down")?;
    node.own.ip("link set eth-a name inner")?;
    let before = (node.own.names()?, pod.names()?);
    let config = json!({"type": "vlan", "master": "inner", "vlanId": 100, "linkInContainer": true,
        "ipam": addresses(&node)});
    let attachment = Attachment::new(subject, &node, &pod, config);

    let result = attachment.add()?;

    let link = pod.link(IFNAME)?;
    link.is_a("vlan")?;
    equal("what the vlan lies on", link.parent(), "inner")?;

    attachment.del(Some(&result))?;

    equal("the links of node and pod", (node.own.names()?, pod.names()?), before)?;
    attachment.left_nothing()
}

fn del_succeeds_when_the_pod_is_gone(subject: &Subject) -> Outcome<()> {
    let (node, _far) = wired()?;
    let pod = node.netns("pod")?;
    let mut attachment = Attachment::new(subject, &node, &pod, vlan_100(&node));
    attachment.add()?;
    drop(pod);

    attachment.del(None)?;
    attachment.left_nothing()?;

    // As containerd does when it removes a sandbox that it has stopped.
    attachment.netns.clear();
    attachment.del(None)?;
    attachment.left_nothing()
}

fn del_finds_a_vlan_that_the_pod_renamed(subject: &Subject) -> Outcome<()> {
    let (node, _far) = wired()?;
    let pod = node.netns("pod")?;
    let attachment = Attachment::new(subject, &node, &pod, vlan_100(&node));
    let result = attachment.add()?;
    pod.ip(&format!("link set {IFNAME} down"))?;
    pod.ip(&format!("link set {IFNAME} name renamed"))?;

    attachment.del(Some(&result))?;

    attachment.left_nothing()?;
    equal("the pod's links", pod.names()?, vec!["lo".to_owned()])
}

fn check_notices_a_lost_link(subject: &Subject) -> Outcome<()> {
    let (node, _far) = wired()?;
    let pod = node.netns("pod")?;
    let attachment = Attachment::new(subject, &node, &pod, vlan_100(&node));
    let result = attachment.add()?;

    let whole = attachment.check(&result)?;
    pod.ip(&format!("link delete {IFNAME}"))?;
    let lost = attachment.check(&result)?;

    let complaint = whole.err().map(|refusal| refusal.text);
    equal("what CHECK complains of after ADD", complaint, None)?;
    holds(lost.is_err(), "CHECK does not notice that the link is gone")
}

/// A neighbour with an address on this vlan at the far end of the wire, in a namespace of its own.
fn neighbour(far: &Netns, home: &Netns, id: u16, address: &str) -> Outcome<()> {
    tagged(far, "eth-b", id)?;
    settle(far, home, address)
}

fn tagged(netns: &Netns, on: &str, id: u16) -> Outcome<()> {
    netns.ip(&format!("link add link {on} name tagged type vlan id {id}")).map(|_| ())
}

/// Moves the tagged link to its home and gives it an address.
fn settle(from: &Netns, home: &Netns, address: &str) -> Outcome<()> {
    from.ip(&format!("link set tagged netns {}", home.name))?;
    home.ip(&format!("address add {address} dev tagged"))?;
    home.ip("link set tagged up").map(|_| ())
}
