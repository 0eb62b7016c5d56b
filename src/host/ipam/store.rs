//! Taking addresses out of a store, giving them back, and seeing whether they are still held.
//!
//! The record of an attachment knows what it holds, so nothing is searched: taking tries the next candidates, giving
//! back removes files by name. Only an attachment whose record was written before a crash has the store searched.

use std::net::IpAddr;
use std::path::Path;

use ipnetwork::IpNetwork;

use super::folder::{Content, Folder};
use super::lock::Lock;
use super::taking::Taking;
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::result::IpConfig;
use crate::model::{CniResult, ContainerId, Owner};
use crate::plan::ipam::address::go_text;
use crate::plan::ipam::range::Candidate;
use crate::plan::step::LeaseStep;

/// To whom a file's content says the address belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// The owner.
    Owner,
    /// The owner's container: the old form, which does not tell the interface.
    Container,
    /// Nobody: the file is empty.
    Nobody,
    /// Nobody: who made the file died before it wrote.
    Unborn,
    /// Somebody else.
    Other,
}

/// Takes one address out of each set, and notes them in the step.
///
/// # Guarantees
/// All or none: if one set has none left, those of the others are given back. No crash leaves an address that
/// cannot be given back. What is noted in the step is what is held, also after an error.
///
/// # Assumes
/// The owner holds none: the reference looks through the whole store for one first and refuses; here the record of the
/// attachment, written before this, sees to it.
///
/// # Errors
/// [`FaultKind::Exhausted`] if a set has none left, [`FaultKind::Exists`] if a requested address is in use,
/// [`FaultKind::TryLater`] if the store stays locked, [`FaultKind::Io`] if it cannot be written.
pub fn take(step: &mut LeaseStep, owner: &Owner) -> Outcome<CniResult> {
    step.held = Some(Vec::new());
    let folder = Folder::make(&step.store)?;
    let _lock = Lock::hold(&folder)?;
    let mut held = Vec::new();
    let outcome = fill(&folder, step, owner, &mut held).map_err(|fault| {
        let mut failures = Vec::new();
        held.retain(|address| release(&folder, address, owner).map_err(|f| failures.push(f)).is_err());
        fault.along_with(failures)
    });
    step.held = Some(held);
    outcome.map(|ips| CniResult { ips, ..CniResult::default() })
}

/// Gives the step's addresses back: those it has noted, else whatever the store says is the owner's.
///
/// # Guarantees
/// What is absent counts as given back. No other owner's file is removed. One failure does not keep the others.
///
/// # Errors
/// [`FaultKind::TryLater`] if the store stays locked, [`FaultKind::Io`] if an address could not be given back.
pub fn give_back(step: &LeaseStep, owner: &Owner) -> Outcome<()> {
    if step.held.as_ref().is_some_and(Vec::is_empty) {
        return Ok(());
    }
    let Some(folder) = Folder::open(&step.store)? else { return Ok(()) };
    let _lock = Lock::hold(&folder)?;
    let failures = match &step.held {
        Some(held) => held.iter().filter_map(|address| release(&folder, address, owner).err()).collect(),
        None => release_all(&folder, owner)?,
    };
    Fault::gather(failures).map_or(Ok(()), Err)
}

/// Gives back the addresses of containers that are not to be kept: their DELs never came.
///
/// # Guarantees
/// Only a file that names container and interface is removed. Whoever takes an address is on record before it is in the
/// store; `keep` is asked with the store locked.
///
/// # Errors
/// [`FaultKind::TryLater`] if the store stays locked, [`FaultKind::Io`] if it cannot be read or an address not be given back.
pub fn collect(store: &Path, keep: &dyn Fn(&ContainerId) -> bool) -> Outcome<()> {
    let Some(folder) = Folder::open(store)? else { return Ok(()) };
    let is_orphan = |name: &String| {
        let named = folder.read(name).ok().and_then(|content| named(&content));
        named.is_some_and(|owner| !keep(&owner.container))
    };
    // A large store takes a while to read: it is locked only for what is found.
    let found = folder.addresses()?.into_iter().map(|(name, _)| name);
    let found: Vec<String> = found.filter(is_orphan).collect();
    if found.is_empty() {
        return Ok(());
    }
    let _lock = Lock::hold(&folder)?;
    let failures = found.iter().filter(|name| is_orphan(name)).filter_map(|name| folder.remove(name).err());
    Fault::gather(failures).map_or(Ok(()), Err)
}

/// Whether the step's addresses are still the owner's. Nothing is written, so no lock is needed.
///
/// # Errors
/// [`FaultKind::Drift`] says which address is lost; [`FaultKind::Io`], that the store could not be read.
pub fn holds(step: &LeaseStep, owner: &Owner) -> Outcome<()> {
    let folder = Folder::open(&step.store)?;
    let Some(held) = &step.held else {
        let found = folder.map_or(Ok(false), |folder| any_held(&folder, owner))?;
        return if found { Ok(()) } else { Err(lost(step, owner, "no address")) };
    };
    for address in held {
        let name = go_text(address);
        let content = folder.as_ref().map_or(Ok(Content::Absent), |folder| folder.read(&name))?;
        if !matches!(holder(&content, owner), Some(Holder::Owner | Holder::Container)) {
            return Err(lost(step, owner, &format!("address {name:?} no longer")));
        }
    }
    Ok(())
}

fn lost(step: &LeaseStep, owner: &Owner, what: &str) -> Fault {
    Fault::new(FaultKind::Drift, format!("{:?} has {what} in the store {:?}", owner.to_string(), step.store))
        .remedy("detach and attach again: somebody else may have been given the address")
}

/// Takes an address for each set; those taken are in `held` also after an error.
fn fill(folder: &Folder, step: &LeaseStep, owner: &Owner, held: &mut Vec<IpAddr>) -> Outcome<Vec<IpConfig>> {
    let mut ips = Vec::new();
    let text = mark(owner);
    for (number, set) in step.sets.iter().enumerate() {
        let mut taking = Taking::new(folder, (number, set), &text);
        let Candidate { address, range } = taking.one(&step.requested)?;
        held.push(address);
        taking.remember(&address)?;
        let network = IpNetwork::new(address, range.subnet.prefix()).map_err(|cause| {
            Fault::new(FaultKind::Config, format!("subnet \"{}\" does not fit its range", range.subnet))
                .because(cause)
        })?;
        ips.push(IpConfig { interface: None, address: network, gateway: Some(range.gateway) });
    }
    Ok(ips)
}

/// Gives one address back if it is the owner's.
///
/// An empty file under an address that the record says is held was the owner's: power failed before its content
/// reached the disk. Any other empty file is left alone, as people block addresses with one.
fn release(folder: &Folder, address: &IpAddr, owner: &Owner) -> Outcome<()> {
    let name = go_text(address);
    match holder(&folder.read(&name)?, owner) {
        Some(Holder::Owner | Holder::Container | Holder::Nobody | Holder::Unborn) => folder.remove(&name),
        Some(Holder::Other) | None => Ok(()),
    }
}

/// Searches the store and gives back what is the owner's: files that name it, else old ones that name its container;
/// and files whose makers died before they wrote, whoever they were.
/// Files that cannot be read are passed over, as by the reference. Answers with the failures.
fn release_all(folder: &Folder, owner: &Owner) -> Outcome<Vec<Fault>> {
    let (mut ours, mut old, mut unfinished) = (Vec::new(), Vec::new(), Vec::new());
    for (name, _) in folder.addresses()? {
        match folder.read(&name).ok().and_then(|content| holder(&content, owner)) {
            Some(Holder::Owner) => ours.push(name),
            Some(Holder::Container) => old.push(name),
            Some(Holder::Unborn) => unfinished.push(name),
            Some(Holder::Nobody | Holder::Other) | None => {}
        }
    }
    let mut names = if ours.is_empty() { old } else { ours };
    names.append(&mut unfinished);
    Ok(names.iter().filter_map(|name| folder.remove(name).err()).collect())
}

/// Whether the store has any address of the owner.
fn any_held(folder: &Folder, owner: &Owner) -> Outcome<bool> {
    let is_ours = |name: &str| {
        let content = folder.read(name).unwrap_or(Content::Foreign);
        matches!(holder(&content, owner), Some(Holder::Owner | Holder::Container))
    };
    Ok(folder.addresses()?.iter().any(|(name, _)| is_ours(name)))
}

/// What an address's file says of its owner.
fn mark(owner: &Owner) -> String {
    format!("{}\r\n{}", owner.container, owner.ifname)
}

/// The owner that a file names whole.
fn named(content: &Content) -> Option<Owner> {
    let Content::Text(text) = content else { return None };
    let (container, ifname) = text.split_once("\r\n")?;
    Owner::parse(container, ifname).ok()
}

fn holder(content: &Content, owner: &Owner) -> Option<Holder> {
    let text = match content {
        Content::Absent | Content::Foreign => return None,
        Content::Unfinished => return Some(Holder::Unborn),
        Content::Text(text) => text,
    };
    Some(if text.is_empty() {
        Holder::Nobody
    } else if *text == mark(owner) {
        Holder::Owner
    } else if text == owner.container.as_str() {
        Holder::Container
    } else {
        Holder::Other
    })
}

#[cfg(test)]
mod tests;
