//! The records: whether they can be written, and what they are of.

use super::{Finding, bad, ok, warning};
use crate::engine::ports::{Entry, Journal};
use crate::front::machine::Machine;
use crate::model::ContainerId;
use crate::model::fault::Outcome;

/// Whether records can be written, and what the journal holds.
pub(super) fn look(machine: &Machine) -> Finding {
    let what = "records";
    match count(machine) {
        Err(fault) => bad(what, &fault),
        Ok(Count { broken, .. }) if broken > 0 => warning(
            what,
            format!("{broken} of them cannot be read"),
            "\"manifold list\" shows them; the runtime's next DEL of the sandbox sets them aside",
        ),
        Ok(Count { gone, .. }) if gone > 0 => warning(
            what,
            format!("attachments of sandboxes that are gone: {gone}"),
            "a DEL did not come: \"manifold prune\" takes them down",
        ),
        Ok(Count { whole, .. }) => ok(what, format!("attachments: {whole}, of sandboxes that are there")),
    }
}

/// How many entries of the journal are what.
#[derive(Default)]
struct Count {
    whole: usize,
    gone: usize,
    broken: usize,
}

fn count(machine: &Machine) -> Outcome<Count> {
    let probe: ContainerId = format!("doctor-{}", nix::unistd::gettid()).parse()?;
    machine.journal.is_writable(&probe)?;
    let mut count = Count::default();
    for container in machine.journal.containers()? {
        for entry in machine.journal.told(&container) {
            let counter = match &entry {
                Entry::Broken(_) => &mut count.broken,
                Entry::Whole(record) if machine.node().living_netns(record).is_some() => &mut count.whole,
                Entry::Whole(_) => &mut count.gone,
            };
            *counter += 1;
        }
    }
    Ok(count)
}
