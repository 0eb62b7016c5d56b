//! The catalogue of cases.

use std::io::Write as _;

use crate::cases::{compat, machine, macvlan, sriov, vhost_user, vlan};
use crate::need::Need;
use crate::options::Options;
use crate::plugin::Subject;
use crate::trouble::{Outcome, Trouble};

/// One thing to prove.
pub(crate) struct Case {
    /// The law it holds the product to.
    pub(crate) name: &'static str,
    /// The same in a sentence, for the report.
    pub(crate) proves: &'static str,
    /// What it cannot run without.
    pub(crate) needs: &'static [Need],
    /// Whom it can be held against.
    pub(crate) holds_for: HoldsFor,
    /// Runs it, and cleans up after it in any case.
    pub(crate) run: fn(&Subject) -> Outcome<()>,
}

/// Whom a case can be held against.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HoldsFor {
    /// Every plugin of its type.
    Everyone,
    /// Manifold alone: the reference plugins, as old as distributions package them, do not promise it.
    Manifold,
}

/// All cases, by area.
const AREAS: [(&str, &[&[Case]]); 6] = [
    ("the machine", &[machine::CASES]),
    ("vlan", &[vlan::CASES]),
    ("macvlan", &[macvlan::CASES]),
    ("beside the reference plugins", &[compat::CASES]),
    ("SR-IOV", &sriov::CASES),
    ("vhost-user", &[vhost_user::CASES]),
];

/// The cases that the options choose, in order, each with its area.
pub(crate) fn chosen(options: &Options) -> impl Iterator<Item = (&'static str, &'static Case)> {
    let all = AREAS
        .into_iter()
        .flat_map(|(area, groups)| groups.iter().copied().flatten().map(move |case| (area, case)));
    all.filter(|(_, case)| case.name.contains(&options.filter))
}

/// Prints the chosen cases, one per line.
///
/// # Errors
/// Nobody reads.
pub(crate) fn print(options: &Options) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    for (_, case) in chosen(options) {
        writeln!(out, "{} — {}", case.name, case.proves)
            .map_err(Trouble::doing("cannot print the catalogue"))?;
        let needs: Vec<String> = case.needs.iter().map(Need::to_string).collect();
        writeln!(out, "    needs {}", needs.join(", "))
            .map_err(Trouble::doing("cannot print the catalogue"))?;
    }
    Ok(())
}
