//! The cases, one file per subject.

mod macvlan;
mod mixed;
mod protocol;
mod scenes;
mod vlan;

use crate::case::{Case, Difference};
use crate::options::Options;

/// What differs wherever it is seen: mostly what newer releases of the reference plugins do as ours.
pub(crate) const TOLERATED: &[Difference] = &[
    Difference {
        at: "*/links/net1/txqlen",
        reference: "",
        ours: "1000",
        why: "the reference plugin asks for 0, which nobody wants; ours takes the kernel's default",
    },
    Difference {
        at: "*/settings/link/ipv6.keep_addr_on_down",
        reference: "",
        ours: r#""1""#,
        why: "newer releases set it too",
    },
    Difference {
        at: "*/settings/link/ipv6.ndisc_notify",
        reference: "",
        ours: r#""1""#,
        why: "newer releases set it too",
    },
];

/// The cases that the options choose.
pub(crate) fn chosen(options: &Options) -> impl Iterator<Item = &'static Case> {
    let all = [macvlan::CASES, vlan::CASES, mixed::CASES, protocol::CASES].into_iter().flatten();
    let named =
        |case: &Case| options.filter.is_empty() || options.filter.iter().any(|word| case.name.contains(word));
    all.filter(move |case| named(case) && options.plugin.as_ref().is_none_or(|plugin| plugin == case.plugin))
}
