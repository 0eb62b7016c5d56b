//! Taking one address out of one set.

use std::collections::HashSet;
use std::net::IpAddr;

use super::birth;
use super::cursor::Cursor;
use super::folder::{Content, Folder};
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::plan::ipam::address::go_text;
use crate::plan::ipam::range::{Candidate, asked_of, candidates, set_contains};
use crate::plan::step::AddressRange;

/// How many candidates are tried before the names in the store are read instead. Reading the names of a crowded store
/// costs thousands of tries; even with 99 % in use, 500 candidates in a row are hardly ever taken.
const TRIES: usize = 512;

/// What is at hand for taking an address. The store's lock is held.
#[derive(Debug)]
pub(super) struct Taking<'a> {
    /// The store.
    folder: &'a Folder,
    /// The set.
    set: &'a [AddressRange],
    /// Its number, from 0.
    number: usize,
    /// Where its round is.
    cursor: Cursor<'a>,
    /// What the address's file says.
    text: &'a str,
}

impl<'a> Taking<'a> {
    /// Out of the set with this number, from 0.
    pub(super) fn new(folder: &'a Folder, (number, set): (usize, &'a [AddressRange]), text: &'a str) -> Self {
        Self { folder, set, number, cursor: Cursor::new(folder, number), text }
    }

    /// Takes the address that was asked of this set, or the next in its round.
    pub(super) fn one(&mut self, requested: &[IpAddr]) -> Outcome<Candidate<'a>> {
        match asked_of(self.set, requested) {
            Some(candidate) => self.asked(candidate),
            None => self.next_free(),
        }
    }

    /// Remembers where the round is, also after a requested address, as the reference does.
    pub(super) fn remember(&mut self, address: &IpAddr) -> Outcome<()> {
        self.cursor.set(address)
    }

    fn asked(&mut self, candidate: Candidate<'a>) -> Outcome<Candidate<'a>> {
        if self.make(&candidate)? {
            return Ok(candidate);
        }
        let name = go_text(&candidate.address);
        let (by, owner) = match self.folder.read(&name)? {
            Content::Unfinished => {
                self.folder.remove(&name)?;
                return self.asked(candidate);
            }
            Content::Text(text) if text.is_empty() => ("an empty file", None),
            Content::Text(text) => ("another interface", Some(text.replace("\r\n", "/"))),
            Content::Absent | Content::Foreign => ("something that is no file", None),
        };
        let path = self.folder.path().join(&name);
        let fault = Fault::new(FaultKind::Exists, format!("the requested address {name:?} is held by {by}"))
            .remedy(format!("ask for another; if the holder is gone, remove {path:?}"));
        Err(match owner {
            Some(owner) => fault.confiding(format!("{path:?} says that {owner:?} has the address")),
            None => fault,
        })
    }

    /// Takes the next free address: the first candidates by trying; past them, by the names in the store.
    fn next_free(&mut self) -> Outcome<Candidate<'a>> {
        let mut round = candidates(self.set, self.cursor.last());
        for candidate in round.by_ref().take(TRIES) {
            if self.make(&candidate)? {
                return Ok(candidate);
            }
        }
        let taken = self.in_use()?;
        for candidate in round.filter(|candidate| !taken.contains(&candidate.address)) {
            if self.make(&candidate)? {
                return Ok(candidate);
            }
        }
        Err(self.exhausted(taken.len()))
    }

    fn make(&self, candidate: &Candidate<'_>) -> Outcome<bool> {
        birth::make(self.folder, &go_text(&candidate.address), self.text)
    }

    /// The set's addresses that have an entry in the store, by the names alone.
    fn in_use(&self) -> Outcome<HashSet<IpAddr>> {
        let addresses = self.folder.addresses()?.into_iter().map(|(_, address)| address);
        Ok(addresses.filter(|address| set_contains(self.set, address)).collect())
    }

    fn exhausted(&self, used: usize) -> Fault {
        let bounds = |range: &AddressRange| format!("{} to {}", range.start, range.end);
        let mut ranges: Vec<String> = self.set.iter().take(4).map(bounds).collect();
        if self.set.len() > ranges.len() {
            ranges.push("more".into());
        }
        let (number, ranges, store) = (self.number, ranges.join(", "), self.folder.path());
        let what = format!(
            "no address is left in range set {number} ({ranges}) of the store {store:?}: {used} are in use"
        );
        Fault::new(FaultKind::Exhausted, what)
            .remedy("delete pods, widen the range, or remove the files of containers that no longer exist")
    }
}
