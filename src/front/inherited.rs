//! What others left of a sandbox, found in their caches, and taken down by a DEL: the program Manifold stands in for, and
//! the runtime, which attached the sandbox by another plugin before it called Manifold.

use std::path::Path;

use super::machine::Machine;
use crate::engine::inherit::{self, Inherited, Maker};
use crate::engine::ports::{Entry, Journal};
use crate::host::cache::{CachedResult, ResultCache};
use crate::host::peer::{Delegate, Sandboxes};
use crate::model::call::{Leaving, ValidList};
use crate::model::fault::{Fault, Outcome};
use crate::model::settings::{Places, Program, RUNTIME_CACHE_DIR};
use crate::model::{Attachment, IfName, Network, NetworkName, Object, Owner, Role};

/// A sandbox that goes, of which another program may have attached a part.
pub(super) struct Inheritance<'a> {
    pub(super) machine: &'a Machine,
    pub(super) places: &'a Places,
    pub(super) leaving: &'a Leaving,
    /// Whether Manifold had it on record: then only what that program's own file names is not Manifold's.
    pub(super) known: bool,
}

/// What was found, and what could not be read.
#[derive(Default)]
struct Found {
    all: Vec<Inherited>,
    /// Those of them that the runtime's own cache told of.
    of_runtime: Vec<(Owner, NetworkName)>,
    unreadable: Vec<Fault>,
}

/// What the cached results tell of valid sandboxes: what another program attached is in them as well.
///
/// # Errors
/// The cache cannot be read.
pub(super) fn attached(places: &Places, valid: &ValidList) -> Outcome<Vec<(Owner, NetworkName)>> {
    let results = ResultCache::new(&places.cache_dir);
    let each: Outcome<Vec<_>> = valid.sandboxes().map(|container| results.of_container(container)).collect();
    Ok(each?.into_iter().flatten().collect())
}

impl Inheritance<'_> {
    /// Takes down what Manifold has not on record. Comes after the DEL of what it has.
    ///
    /// # Errors
    /// All that could not be undone, the first leading; the file stays for the next DEL.
    pub(super) fn take_down(&self) -> Outcome<()> {
        let cache_dir: &Path = &self.places.cache_dir;
        let container = &self.leaving.owner.container;
        let (sandboxes, results) = (Sandboxes::new(cache_dir), ResultCache::new(cache_dir));
        let Some(found) = self.find(&sandboxes, &results)? else { return Ok(()) };
        inherit::take_down(&self.machine.node(), container, found.all)?;
        // The file is also of what is on record still, such as what another network of the runtime's attached.
        let is_ours = |entry: &Entry| match entry {
            Entry::Whole(record) => record.attachment.standalone.is_none(),
            Entry::Broken(_) => true,
        };
        if self.machine.journal.entries(container)?.iter().any(is_ours) {
            return Ok(());
        }
        // The runtime forgets only what it calls by the name that its configuration has now.
        let of_runtime = ResultCache::new(Path::new(RUNTIME_CACHE_DIR));
        found.of_runtime.iter().try_for_each(|(owner, name)| of_runtime.remove(owner, name))?;
        if found.unreadable.is_empty() {
            return sandboxes.forget(container);
        }
        for fault in found.unreadable {
            tracing::warn!(container = container.as_str(), %fault, "a cached network is set aside");
        }
        sandboxes.set_aside(container)
    }

    fn find(&self, sandboxes: &Sandboxes, results: &ResultCache) -> Outcome<Option<Found>> {
        let mut found = Found::default();
        match sandboxes.read(&self.leaving.owner.container) {
            Ok(None) if self.known => return Ok(None),
            Ok(None) => {
                self.add_cached(results, &mut found)?;
                if found.all.is_empty() {
                    self.add_of_runtime(&mut found)?;
                }
            }
            Ok(Some(sandbox)) => {
                for (place, delegate) in sandbox.delegates.into_iter().enumerate() {
                    match delegate.and_then(|delegate| self.inherited(place, delegate, results)) {
                        Ok(inherited) => found.all.push(inherited),
                        Err(fault) => found.unreadable.push(fault),
                    }
                }
                if !found.unreadable.is_empty() {
                    self.add_cached(results, &mut found)?;
                }
            }
            Err(fault) => {
                found.unreadable.push(fault);
                self.add_cached(results, &mut found)?;
            }
        }
        Ok(Some(found))
    }

    /// An entry of the sandbox's file, with what the cached result adds to it.
    fn inherited(&self, place: usize, delegate: Delegate, results: &ResultCache) -> Outcome<Inherited> {
        let ifname: IfName = match (delegate.interface, place) {
            (Some(interface), _) => interface,
            (None, 0) => self.leaving.owner.ifname.clone(),
            (None, place) => format!("net{place}").parse()?,
        };
        let owner = self.owner(ifname);
        let cached = results.get(&owner, &delegate.network.name)?;
        let mut inherited = self.blank(owner, delegate.network, cached);
        inherited.attachment.label = delegate.label;
        if delegate.ours {
            inherited.maker = Maker::Manifold;
        }
        if inherited.attachment.capabilities.is_empty() {
            inherited.attachment.capabilities = delegate.capabilities;
        }
        Ok(inherited)
    }

    /// Adds what only cached results tell of. Their files have no order: the sandbox's own interface counts as first.
    fn add_cached(&self, results: &ResultCache, found: &mut Found) -> Outcome<()> {
        let mut listed = results.of_container(&self.leaving.owner.container)?;
        listed.sort_by_key(|(owner, _)| *owner != self.leaving.owner);
        for (owner, name) in listed {
            if found.all.iter().any(|one| one.attachment.owner == owner) {
                continue;
            }
            match self.cached(results, owner, &name) {
                Ok(inherited) => found.all.extend(inherited),
                Err(fault) => found.unreadable.push(fault),
            }
        }
        Ok(())
    }

    /// Adds what the runtime attached by another plugin, before it called Manifold. What it attached by Manifold is on
    /// record, or was taken down.
    fn add_of_runtime(&self, found: &mut Found) -> Outcome<()> {
        let results = ResultCache::new(Path::new(RUNTIME_CACHE_DIR));
        let listed = results.of_container(&self.leaving.owner.container)?;
        for (owner, name) in listed.into_iter().filter(|(owner, _)| *owner == self.leaving.owner) {
            match self.cached(&results, owner.clone(), &name) {
                Ok(Some(inherited)) if !calls_manifold(&inherited.attachment.network) => {
                    found.all.push(inherited);
                    found.of_runtime.push((owner, name));
                }
                Ok(_) => {}
                Err(fault) => found.unreadable.push(fault),
            }
        }
        Ok(())
    }

    fn cached(&self, results: &ResultCache, owner: Owner, name: &NetworkName) -> Outcome<Option<Inherited>> {
        let Some(cached) = results.get(&owner, name)? else { return Ok(None) };
        let network = Network::parse(&cached.config, Some(name.as_str()))?;
        Ok(Some(self.blank(owner, network, Some(cached))))
    }

    fn blank(&self, owner: Owner, network: Network, cached: Option<CachedResult>) -> Inherited {
        let network = match &cached {
            Some(cached) => fuller(network, cached),
            None => network,
        };
        let role = if owner == self.leaving.owner { Role::Default } else { Role::Additional };
        let (args, capabilities, result) = match cached {
            None => (Default::default(), Object::default(), None),
            Some(cached) => (cached.args, cached.capabilities, cached.result),
        };
        let args = if args.pairs().is_empty() { self.leaving.args.clone() } else { args };
        let attachment = Attachment {
            netns: self.leaving.netns.clone(),
            role,
            in_place: true,
            args,
            capabilities,
            ..Attachment::new(owner, network)
        };
        Inherited { attachment, result, maker: Maker::Another }
    }

    fn owner(&self, ifname: IfName) -> Owner {
        Owner { container: self.leaving.owner.container.clone(), ifname }
    }
}

/// Whether a runtime that attaches to a network calls Manifold, or the program it stands in for.
fn calls_manifold(network: &Network) -> bool {
    network.plugins.first().is_some_and(|plugin| Program::named(plugin.kind().as_str()).is_some())
}

/// The network as the cached result has it, if that tells more: some releases of that program keep only the keys that
/// every plugin has of a list from a file.
fn fuller(network: Network, cached: &CachedResult) -> Network {
    let keys = |network: &Network| -> usize {
        network.plugins.iter().map(|plugin| plugin.object().iter().count()).sum()
    };
    match Network::parse(&cached.config, Some(network.name.as_str())) {
        Ok(other) if other.name == network.name && keys(&other) > keys(&network) => other,
        Ok(_) | Err(_) => network,
    }
}
