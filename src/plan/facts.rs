//! What a Kind asks about the node, and what was seen. Asking is pure; the engine lets the Probe answer.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::port::{OvsDatabase, SwitchFacts};
use super::vf::VfFacts;
use super::vpp::{VppApi, VppFacts};
use crate::model::vhost_user::BridgeName;
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
    /// Open vSwitch, and one of its bridges.
    Switch(OvsDatabase, BridgeName),
    /// VPP, and its bridge domain of this number.
    Vpp(VppApi, u32),
    /// The group of this name (`group(5)`).
    Group(String),
}

impl Question {
    /// Whether only a pod's network namespace has the answer.
    pub fn is_about_the_pod(&self) -> bool {
        matches!(self, Self::Link(Place::Pod, _) | Self::DefaultLink(Place::Pod))
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
    /// Its link group.
    pub group: u32,
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
    /// The switch.
    Switch(SwitchFacts),
    /// VPP.
    Vpp(VppFacts),
    /// The group's number.
    Group(u32),
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

    /// The answer to a question, if it was asked.
    fn answer(&self, question: &Question) -> Option<&Answer> {
        self.0.iter().find(|(q, _)| q == question).map(|(_, answer)| answer)
    }

    /// The link that answers the question, if it was asked and one is there.
    pub fn link(&self, question: &Question) -> Option<&LinkFacts> {
        let answer = self.answer(question)?;
        if let Answer::Link(link) = answer { Some(link) } else { None }
    }

    /// The text that answers the question, if it was asked and the file is there.
    pub fn text(&self, question: &Question) -> Option<&str> {
        let answer = self.answer(question)?;
        if let Answer::Text(text) = answer { Some(text) } else { None }
    }

    /// What was seen of the PCI function of this address, if that was asked and it is there.
    pub fn vf(&self, vf: PciAddress) -> Option<&VfFacts> {
        let answer = self.answer(&Question::Vf(vf))?;
        if let Answer::Vf(facts) = answer { Some(facts) } else { None }
    }

    /// What was seen of the switch that the question is about.
    pub fn switch(&self, question: &Question) -> Option<&SwitchFacts> {
        let answer = self.answer(question)?;
        if let Answer::Switch(facts) = answer { Some(facts) } else { None }
    }

    /// What was seen of the VPP that the question is about.
    pub fn vpp(&self, question: &Question) -> Option<&VppFacts> {
        let answer = self.answer(question)?;
        if let Answer::Vpp(facts) = answer { Some(facts) } else { None }
    }

    /// The number of the group of this name, if that was asked and there is one.
    pub fn group(&self, name: &str) -> Option<u32> {
        let answer = self.answer(&Question::Group(name.to_owned()))?;
        if let Answer::Group(number) = answer { Some(*number) } else { None }
    }
}
