//! A conversation with a real VPP 26.06, as it was recorded: `vpp-26.06.jsonl`. It covers every request but those about
//! VLANs and MTU, and the return codes of what goes wrong.

use std::collections::BTreeMap;

use serde_json::Value;

use super::peer::{Answers, Request, Told};

/// What the recorded VPP called its client.
pub(crate) const GREETED: u32 = 0x8000_0001;

/// The recording.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    /// Each message, and whether the client sent it.
    frames: Vec<(bool, Vec<u8>)>,
    /// The names of messages, with the digests of their layouts.
    names: BTreeMap<u16, String>,
}

impl Recording {
    pub(crate) fn load() -> Self {
        let text = include_str!("vpp-26.06.jsonl");
        let frame = |line: &str| {
            let frame: Value = serde_json::from_str(line).unwrap();
            let digits = frame["hex"].as_str().unwrap();
            let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
            (frame["dir"] == "c2s", (0..digits.len()).step_by(2).map(byte).collect())
        };
        let frames: Vec<(bool, Vec<u8>)> = text.lines().map(frame).collect();
        let entry = |entry: &[u8]| {
            let name: Vec<u8> = entry[2..].iter().copied().take_while(|byte| *byte != 0).collect();
            (u16::from_be_bytes([entry[0], entry[1]]), String::from_utf8(name).unwrap())
        };
        let names = frames[1].1[20..].chunks(66).map(entry).collect();
        Self { frames, names }
    }

    /// The answer to a client's greeting, without the messages of these names.
    pub(crate) fn greeting(&self, context: &[u8], unknown: &[&str]) -> Vec<u8> {
        let recorded = &self.frames[1].1;
        let entries = recorded[20..].chunks(66);
        let known: Vec<&[u8]> = entries
            .filter(|entry| {
                let name = self.plain_name(u16::from_be_bytes([entry[0], entry[1]]));
                !unknown.iter().any(|other| name == *other || name == format!("{other}_reply"))
            })
            .collect();
        let count = u16::try_from(known.len()).unwrap().to_be_bytes();
        [&recorded[..6], context, &recorded[10..18], &count, &known.concat()].concat()
    }

    /// A message's name without the digest of its layout.
    pub(crate) fn plain_name(&self, number: u16) -> String {
        self.names[&number].rsplit_once('_').unwrap().0.to_owned()
    }

    /// The number of a message with this whole name.
    pub(crate) fn number(&self, name: &str) -> u16 {
        let found = self.names.iter().find(|(_, known)| *known == name);
        *found.unwrap_or_else(|| panic!("no message {name}")).0
    }

    /// The whole name of a message.
    pub(crate) fn whole_name(&self, plain: &str) -> String {
        let found = self.names.iter().find(|(number, _)| self.plain_name(**number) == plain);
        found.unwrap_or_else(|| panic!("no message {plain}")).1.clone()
    }
}

/// Answers each request as the recorded VPP answered one of that name: the first, unless another is chosen.
#[derive(Debug, Clone)]
pub(crate) struct Replay {
    recording: Recording,
    /// By name, which of the recorded answers is given.
    pub(crate) choose: BTreeMap<&'static str, usize>,
}

impl Replay {
    pub(crate) fn new() -> Self {
        Self { recording: Recording::load(), choose: BTreeMap::new() }
    }

    /// All that was recorded to be answered to requests of this name, each with its answers.
    fn recorded(&self, name: &str) -> Vec<Vec<Told>> {
        let number = |frame: &[u8]| u16::from_be_bytes([frame[0], frame[1]]);
        let asked = self.recording.frames.iter().filter(|(ours, frame)| {
            *ours && number(frame) != 15 && self.recording.plain_name(number(frame)) == name
        });
        let answers = |frame: &[u8]| {
            let told = self.recording.frames.iter().filter(|(ours, told)| {
                !ours && number(told) != 16 && told[2..6] == frame[6..10] && self.belongs(frame, told)
            });
            told.map(|(_, told)| (self.recording.names[&number(told)].clone(), told[6..].to_vec())).collect()
        };
        asked.map(|(_, frame)| answers(frame)).collect()
    }

    /// Whether an answer of this context is one to that request: two connections were recorded, which count alike.
    fn belongs(&self, asked: &[u8], told: &[u8]) -> bool {
        let name = |frame: &[u8]| self.recording.plain_name(u16::from_be_bytes([frame[0], frame[1]]));
        let stem = |name: String| {
            ["_reply", "_dump", "_details"]
                .iter()
                .fold(name, |name, end| name.trim_end_matches(end).to_owned())
        };
        stem(name(asked)) == stem(name(told))
    }
}

impl Answers for Replay {
    fn answer(&mut self, request: &Request) -> Vec<Told> {
        let name = request.name.as_str();
        let mut recorded = self.recorded(name);
        match self.choose.get(name) {
            Some(at) => recorded.remove(*at),
            None if !recorded.is_empty() => recorded.remove(0),
            // What was never asked of it: a list is empty, all else is done.
            None if name.ends_with("_dump") => Vec::new(),
            None => vec![(self.recording.whole_name(&format!("{name}_reply")), vec![0; 8])],
        }
    }
}
