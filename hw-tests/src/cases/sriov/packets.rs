//! Frames between applications that drive their VFs themselves.

use serde_json::json;

use super::Stage;
use crate::catalogue::{Case, HoldsFor};
use crate::need::Need;
use crate::plugin::{Attachment, Subject};
use crate::testpmd::{HugePages, Testpmd};
use crate::trouble::{Outcome, Trouble, equal, holds};

pub(super) const CASES: &[Case] = &[Case {
    name: "applications_in_two_pods_reach_each_other",
    proves: "two VFs bound to vfio-pci in one VLAN: DPDK in either pod receives what DPDK in the other sends to its address",
    needs: &[Need::SriovAdapter, Need::Vfs(2), Need::Vfio, Need::Dpdk],
    holds_for: HoldsFor::Manifold,
    run: reach_each_other,
}];

/// The addresses that the pods ask for.
const MACS: [&str; 2] = ["02:aa:00:00:00:61", "02:aa:00:00:00:62"];

/// How many frames have to arrive.
const ENOUGH: u64 = 1000;

fn reach_each_other(subject: &Subject) -> Outcome<()> {
    let _pages = HugePages::for_applications(2)?;
    let stage = Stage::new(2)?;
    let pictures = || -> Outcome<_> { Ok([stage.picture()?, stage.adapter.picture(&stage.node, 1)?]) };
    let (before, other) = (pictures()?, stage.node.netns("other")?);
    let config = |number: usize, mac: &str| {
        stage.config_of(number, json!({"bindDriver": "vfio-pci", "mac": mac, "vlan": 90}))
    };
    let [mac, other_mac] = MACS;
    let attachments = [
        Attachment::new(subject, &stage.node, &stage.pod, config(0, mac)),
        Attachment::new(subject, &stage.node, &other, config(1, other_mac)),
    ];
    for (number, attachment) in attachments.iter().enumerate() {
        attachment.add()?;
        equal("the driver", stage.adapter.driver(number).as_str(), "vfio-pci")?;
    }

    {
        let one = Testpmd::start(&stage.node, &stage.pod, (stage.adapter.vf(0), 0))?;
        let two = Testpmd::start(&stage.node, &other, (stage.adapter.vf(1), 1))?;
        frames(&one, &two, other_mac)?;
        frames(&two, &one, mac)?;
    }

    for attachment in &attachments {
        attachment.del(None)?;
        attachment.left_nothing()?;
    }
    equal("the VFs", pictures()?, before)
}

/// Holds that one receives what the other sends.
fn frames(from: &Testpmd, to: &Testpmd, mac: &str) -> Outcome<()> {
    to.tell(&["set fwd rxonly", "start"])?;
    from.tell(&["set fwd txonly", &format!("set eth-peer 0 {mac}"), "start"])?;
    let arrived = to.await_frames(ENOUGH);
    let (_, sent) = from.stop()?;
    let (received, _) = to.stop()?;
    arrived.map_err(|trouble| Trouble::new(format!("{trouble}; {received} of {sent} frames arrived")))?;
    holds((ENOUGH..=sent).contains(&received), format!("{received} of {sent} frames arrived"))
}
