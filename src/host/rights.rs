//! What this process may do.

use nix::unistd::geteuid;
use rustix::thread::{CapabilitySet, capabilities};

use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

/// What nothing goes without: making links, and entering namespaces.
const NEEDED: [(&str, CapabilitySet); 2] =
    [("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN), ("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN)];

/// Whether this process may do what every attachment needs.
///
/// # Errors
/// It may not.
pub fn suffice() -> Outcome<()> {
    // Where the kernel does not tell, it will tell of each thing that is not allowed.
    let held = capabilities(None).map_or(CapabilitySet::all(), |sets| sets.effective);
    let absent: Vec<&str> =
        NEEDED.iter().filter(|(_, needed)| !held.contains(*needed)).map(|(name, _)| *name).collect();
    if absent.is_empty() {
        return Ok(());
    }
    let verb = if absent.len() == 1 { "is" } else { "are" };
    Err(Fault::new(
        FaultKind::Environment,
        format!("user {} may not attach pods: {} {verb} absent", geteuid(), absent.join(" and ")),
    )
    .remedy("run Manifold as root on the host; in a container, with \"privileged: true\""))
}
