//! What a Kind asks about the node, and what was seen. Asking is pure; the engine lets the Probe answer.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::vf::VfFacts;
use crate::model::{IfName, MacAddr, PciAddress, PluginType};

/// On which side of the pod's border a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The network namespace Manifold runs in.
    Host,
    /// The pod's network namespace.
    Pod,
}

/// Something a Kind needs to know before it can plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The link of this name.
    Link(Place, IfName),
    /// The link the default route goes through.
    DefaultLink(Place),
    /// The executable of this plugin. That it is absent is a failure, which says where it was looked for.
    Program(PluginType),
    /// The text of a file in the syntax of `resolv.conf(5)`.
    ResolvConf(PathBuf),
    /// The PCI function of this address, as a virtual one.
    Vf(PciAddress),
}

impl Question {
    /// Whether only a pod's network namespace has the answer.
    pub fn is_about_the_pod(&self) -> bool {
        match self {
            Self::Link(place, _) | Self::DefaultLink(place) => *place == Place::Pod,
            Self::Program(_) | Self::ResolvConf(_) | Self::Vf(_) => false,
        }
    }
}

/// What was seen of one link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkFacts {
    /// Its name.
    pub name: IfName,
    /// Its index in its network namespace.
    pub index: u32,
    /// Its Ethernet address, if it has one.
    pub mac: Option<MacAddr>,
    /// Its MTU in bytes.
    pub mtu: u32,
}

/// The answer to one [`Question`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The link.
    Link(LinkFacts),
    /// The text of the file.
    Text(String),
    /// The PCI function.
    Vf(Box<VfFacts>),
    /// It is there.
    Present,
    /// There is no such thing.
    Absent,
}

/// All questions asked, each with its answer.
#[derive(Debug, Clone, Default)]
pub struct Facts(Vec<(Question, Answer)>);

impl Facts {
    /// Notes an answer.
    pub fn note(&mut self, question: Question, answer: Answer) {
        self.0.push((question, answer));
    }

    /// The link that answers the question, if it was asked and one is there.
    pub fn link(&self, question: &Question) -> Option<&LinkFacts> {
        self.0.iter().find_map(|(q, a)| match a {
            Answer::Link(link) if q == question => Some(link),
            Answer::Link(_) | Answer::Text(_) | Answer::Vf(_) | Answer::Present | Answer::Absent => None,
        })
    }

    /// The text that answers the question, if it was asked and the file is there.
    pub fn text(&self, question: &Question) -> Option<&str> {
        self.0.iter().find_map(|(q, a)| match a {
            Answer::Text(text) if q == question => Some(text.as_str()),
            Answer::Link(_) | Answer::Text(_) | Answer::Vf(_) | Answer::Present | Answer::Absent => None,
        })
    }

    /// What was seen of the PCI function of this address, if that was asked and it is there.
    pub fn vf(&self, vf: PciAddress) -> Option<&VfFacts> {
        self.0.iter().find_map(|(q, a)| match a {
            Answer::Vf(facts) if *q == Question::Vf(vf) => Some(facts.as_ref()),
            Answer::Link(_) | Answer::Text(_) | Answer::Vf(_) | Answer::Present | Answer::Absent => None,
        })
    }
}
