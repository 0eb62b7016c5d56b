//! Claims: what only one attachment on a node can have.

use serde::{Deserialize, Serialize};

use crate::model::device::DeviceId;
use crate::model::fault::{Fault, Outcome};
use crate::model::{FaultKind, PciAddress};

/// Something only one attachment on a node can have, by name: a VLAN id on its master, a VF.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Claim(String);

impl Claim {
    /// A claim by name. It becomes a file's name: no `/`, no control characters, no leading `.`, 1 to 200 bytes.
    ///
    /// # Errors
    /// Another name.
    pub fn new(name: impl Into<String>) -> Outcome<Self> {
        let name = name.into();
        let plain = !name.chars().any(|c| c == '/' || c.is_control());
        if plain && (1..=200).contains(&name.len()) && !name.starts_with('.') {
            return Ok(Self(name));
        }
        Err(Fault::new(FaultKind::Config, format!("{name:?} cannot be claimed"))
            .remedy("use plain interface names"))
    }

    /// The claim of a PCI device.
    pub fn pci(address: PciAddress) -> Self {
        Self(format!("pci {address}"))
    }

    /// The claim of a device that the kubelet gave a pod. Where its id is a PCI address it is that device's claim: who
    /// names the device by its address has the same.
    ///
    /// # Errors
    /// A device that cannot be named in a claim.
    pub fn device(id: &DeviceId) -> Outcome<Self> {
        match id.as_str().parse() {
            Ok(address) => Ok(Self::pci(address)),
            Err(_) => Self::new(format!("device {id}").replace('/', "-")),
        }
    }

    /// The name by which earlier versions claimed the same, for a pod that was given the device by the kubelet. Their
    /// records may be on the node for as long as their pods live.
    #[must_use]
    pub fn former(&self) -> Option<Self> {
        self.0.strip_prefix("pci ").map(|address| Self(format!("device {address}")))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Claim {
    type Error = Fault;

    fn try_from(name: String) -> Outcome<Self> {
        Self::new(name)
    }
}

impl From<Claim> for String {
    fn from(claim: Claim) -> Self {
        claim.0
    }
}
