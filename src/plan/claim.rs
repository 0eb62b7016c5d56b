//! Claims: what only one attachment on a node can have.

use serde::{Deserialize, Serialize};

use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

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
