//! The short grammar: `[namespace/]name[@interface]`, with white space wherever two parts meet.

use super::Selection;
use super::fields::Fields;
use crate::model::fault::{Fault, FaultKind, Outcome};

/// How an entry is spelled, for remedies.
const SPELLING: &str = "write [namespace/]name[@interface], with one comma between two networks";

/// Reads one entry. A part that is there but empty counts as absent, except for the name.
pub(super) fn read(item: &str) -> Outcome<Selection> {
    if item.is_empty() {
        return Err(Fault::new(FaultKind::Config, "it is empty").remedy("remove the comma too many"));
    }
    let (network, interface) = parted(item, '@')?;
    let (namespace, name) = match parted(network, '/')? {
        (name, None) => (None, name),
        (namespace, Some(name)) => (Some(namespace), name),
    };
    Fields {
        name: Some(name.to_owned()),
        namespace: namespace.map(str::to_owned),
        interface: interface.map(str::to_owned),
        ..Fields::default()
    }
    .checked()
}

/// The parts before and after a mark that may stand there once.
fn parted(text: &str, mark: char) -> Outcome<(&str, Option<&str>)> {
    match text.split_once(mark) {
        None => Ok((text.trim(), None)),
        Some((_, after)) if after.contains(mark) => {
            Err(Fault::new(FaultKind::Config, format!("it has \"{mark}\" more than once")).remedy(SPELLING))
        }
        Some((before, after)) => Ok((before.trim(), Some(after.trim()))),
    }
}
