//! Whether a plugin refuses a call because it does not speak the version of its network.
//!
//! A plugin built on the reference library looks at the version before it does anything, but only after the parameters:
//! of a verb that is younger than itself it says that the sandbox is missing. And its code for a version may be that of
//! a plugin it runs. So it is asked what it speaks, once it has refused.

use std::time::Duration;

use serde::Deserialize;

use super::Verb;
use crate::model::fault::{Fault, FaultKind};
use crate::model::{CniVersion, Object};

/// How long a plugin may take to tell which versions it speaks.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// Whether a refusal may be one of the version.
pub(super) fn may_be_of_the_version(verb: Verb, fault: &Fault) -> bool {
    match (fault.kind(), verb) {
        (FaultKind::Delegate(1), _) => true,
        // The sandbox is not known, or a parameter is wrong: there is none.
        (FaultKind::Delegate(3 | 4), Verb::Status | Verb::Gc) => true,
        _ => false,
    }
}

/// The versions in an answer to VERSION.
pub(super) fn versions(stdout: &[u8]) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Spoken {
        supportedversions: Vec<String>,
    }
    let answer = Object::parse(stdout, "the plugin's versions").ok()?;
    let Spoken { supportedversions } = answer.decode("the plugin's versions").ok()?;
    Some(supportedversions).filter(|spoken| !spoken.is_empty())
}

/// The refusal as what it is, if the version is none of those that are spoken.
pub(super) fn explained(fault: Fault, version: CniVersion, spoken: &[String]) -> Fault {
    if spoken.iter().any(|one| one == version.as_str()) {
        return fault;
    }
    let spoken = spoken.join(", ");
    fault
        .recast(FaultKind::Version)
        .while_doing(format!("it does not speak CNI {version}, but {spoken}"))
        .remedy("write a \"cniVersion\" that the plugin speaks into its network, or install a newer plugin")
}
