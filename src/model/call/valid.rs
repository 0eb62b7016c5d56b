//! What the runtime calls valid in a GC.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::config::Config;
use crate::model::attachment::Owner;
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::ids::{ContainerId, NetworkName};
use crate::model::object;

/// Most attachments a runtime may call valid in one GC.
pub const MAX_VALID: usize = 16_384;

/// The key of the list. The second is a typing error of the specification that the reference library keeps for old
/// plugins.
const KEYS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// The attachments to one network of a runtime's that it calls valid.
///
/// A sandbox is valid with the first entry that names it, whatever interface the entry names: a runtime knows one
/// interface of a pod, where Manifold makes several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidList {
    network: NetworkName,
    sandboxes: BTreeSet<ContainerId>,
    attachments: BTreeSet<Owner>,
}

impl ValidList {
    /// Reads the list. One that is not there at all is refused, for an empty one means that everything goes; so is an
    /// entry that names no sandbox, for whose it is nobody can tell.
    pub(super) fn read(config: &Config) -> Outcome<Self> {
        #[derive(Deserialize)]
        struct Entry {
            #[serde(default)]
            containerid: String,
            #[serde(default)]
            ifname: String,
        }
        let given = KEYS.iter().find_map(|key| config.object.find_or_null(key)).ok_or_else(|| {
            Fault::new(FaultKind::Config, "GC came without \"cni.dev/valid-attachments\"").remedy(
                "let the container runtime list the attachments that are to stay; an empty list removes all",
            )
        })?;
        let entries: Option<Vec<Entry>> = object::decode(given, "\"cni.dev/valid-attachments\"")?;
        let entries = entries.unwrap_or_default();
        if entries.len() > MAX_VALID {
            let what = format!("\"cni.dev/valid-attachments\" has {} entries", entries.len());
            return Err(Fault::new(FaultKind::Config, what).remedy(format!("list at most {MAX_VALID}")));
        }
        let mut list = Self::of(config.name.clone(), BTreeSet::new());
        for (number, Entry { containerid, ifname }) in (1..).zip(entries) {
            let container: ContainerId = containerid.parse().map_err(|fault: Fault| {
                fault
                    .recast(FaultKind::Config)
                    .while_doing(format!("entry {number} of \"cni.dev/valid-attachments\" names no sandbox"))
                    .remedy("let the container runtime give the \"containerID\" of every attachment; nothing was removed")
            })?;
            // A plugin is told of whole entries only; for the sandbox any will do.
            let owner = ifname.parse().map(|ifname| Owner { container: container.clone(), ifname });
            list.attachments.extend(owner.ok());
            list.sandboxes.insert(container);
        }
        Ok(list)
    }

    /// The list of these attachments.
    pub fn of(network: NetworkName, attachments: BTreeSet<Owner>) -> Self {
        let sandboxes = attachments.iter().map(|owner| owner.container.clone()).collect();
        Self { network, sandboxes, attachments }
    }

    /// The network that it is about. Of attachments to others of the runtime's it says nothing.
    pub fn network(&self) -> &NetworkName {
        &self.network
    }

    /// Whether a sandbox is valid.
    pub fn has(&self, container: &ContainerId) -> bool {
        self.sandboxes.contains(container)
    }

    /// All valid sandboxes.
    pub fn sandboxes(&self) -> impl Iterator<Item = &ContainerId> {
        self.sandboxes.iter()
    }

    /// The attachments that are named whole.
    pub fn attachments(&self) -> impl Iterator<Item = &Owner> {
        self.attachments.iter()
    }
}
