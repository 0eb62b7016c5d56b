//! The record: what was planned for one attachment, written before the first effect.

use serde::{Deserialize, Serialize};

use super::ports::NetnsId;
use crate::model::{Attachment, CniResult, DeviceInfo};
use crate::plan::claim::Claim;
use crate::plan::port::NoteStep;
use crate::plan::step::Step;

/// The layout of records this version writes.
pub const FORMAT: u32 = 1;

/// How far an attachment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Planned; any of its steps may have been applied.
    Pending,
    /// All steps are applied.
    Attached,
    /// Being undone.
    Detaching,
}

/// Everything needed to undo, check or report one attachment, with nothing but this in hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Layout of this record, [`FORMAT`].
    pub format: u32,
    /// How far the attachment is.
    pub phase: Phase,
    /// Its place among the attachments of its sandbox: they are undone in reverse.
    pub order: u32,
    /// How often undoing it failed while its pod was gone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// The boot it was made in.
    pub boot: String,
    /// The network namespace its path stood for.
    pub netns: Option<NetnsId>,
    /// What was asked.
    pub attachment: Attachment,
    /// What it has for itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Claim>,
    /// The plan.
    pub steps: Vec<Step>,
    /// What came out, once attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<CniResult>,
    /// What is known of the device behind it, once attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_info: Option<DeviceInfo>,
}

impl Record {
    /// What the application is told, if the interface is a socket.
    pub fn note(&self) -> Option<&NoteStep> {
        self.steps.iter().find_map(|step| if let Step::Note(note) = step { Some(note) } else { None })
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
