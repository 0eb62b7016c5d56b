//! The record: what was planned for one attachment, written before the first effect.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ports::NetnsId;
use crate::model::{Attachment, CniResult, DeviceInfo};
use crate::plan::claim::Claim;
use crate::plan::port::NoteStep;
use crate::plan::step::{Learned, Step};

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
    /// How many DELs of it failed.
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

/// What becomes of a record after it was written. Each field takes the place of the record's, if it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark<'a> {
    /// How far the attachment is.
    pub phase: Phase,
    /// How many DELs of it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// What steps of the plan have learned, by their place in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub learned: BTreeMap<usize, Learned<'a>>,
    /// What came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Cow<'a, CniResult>>,
    /// What is known of the device behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_info: Option<Cow<'a, DeviceInfo>>,
}

impl Record {
    /// One of which nothing is known yet but what is asked.
    pub fn new(attachment: Attachment, boot: String, phase: Phase) -> Self {
        Self {
            format: FORMAT,
            phase,
            order: 0,
            failures: 0,
            boot,
            netns: None,
            attachment,
            claims: Vec::new(),
            steps: Vec::new(),
            result: None,
            device_info: None,
        }
    }

    /// How far it has come, for a record that was written when it was planned.
    pub fn mark(&self) -> Mark<'_> {
        let attached = self.phase == Phase::Attached;
        let steps = self.steps.iter().enumerate().filter(|_| attached);
        Mark {
            phase: self.phase,
            failures: (self.failures > 0).then_some(self.failures),
            learned: steps.filter_map(|(place, step)| Some((place, step.learned()?))).collect(),
            result: self.result.as_ref().filter(|_| attached).map(Cow::Borrowed),
            device_info: self.device_info.as_ref().filter(|_| attached).map(Cow::Borrowed),
        }
    }

    /// Brings a record to where a mark says it is.
    pub fn reach(&mut self, mark: Mark<'_>) {
        self.phase = mark.phase;
        self.failures = mark.failures.unwrap_or(self.failures);
        for (place, learned) in mark.learned {
            if let Some(step) = self.steps.get_mut(place) {
                step.learn(learned);
            }
        }
        self.result = mark.result.map(Cow::into_owned).or(self.result.take());
        self.device_info = mark.device_info.map(Cow::into_owned).or(self.device_info.take());
    }

    /// Whether it was made in this namespace. Numbers of namespaces are of one boot.
    pub fn is_of(&self, boot: &str, netns: &NetnsId) -> bool {
        self.boot == boot && self.netns.is_some_and(|id| id.may_be(netns))
    }

    /// What the application is told, if the interface is a socket.
    pub fn note(&self) -> Option<&NoteStep> {
        self.steps.iter().find_map(|step| if let Step::Note(note) = step { Some(note) } else { None })
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
