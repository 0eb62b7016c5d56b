//! The cached results that Manifold wrote, for whoever clears those of sandboxes that are gone.

use std::fs;
use std::time::SystemTime;

use super::{CacheFile, MAX_FILE, NURSERY, ResultCache, WRITER, unusable};
use crate::host::file;
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::{NetnsPath, NetworkName, Owner};

/// A cached result that Manifold wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    /// Whose it is.
    pub owner: Owner,
    /// Its network.
    pub network: NetworkName,
    /// The network namespace it was made for, if it can be read.
    pub netns: Option<NetnsPath>,
}

impl ResultCache {
    /// The names of at most so many files, in order: those behind this one, or the first.
    ///
    /// # Errors
    /// The directory is there and cannot be read.
    pub fn names(&self, behind: Option<&str>, most: usize) -> Outcome<Vec<String>> {
        let failed = |cause| {
            Fault::new(FaultKind::Io, format!("cannot list the cached results in {:?}", self.results))
                .because(cause)
                .remedy("make the directory readable, or correct \"cniDir\"")
        };
        let listing = match fs::read_dir(&self.results) {
            Ok(listing) => listing,
            Err(error) if file::is_none(&error) => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in listing {
            names.extend(entry.map_err(failed)?.file_name().into_string());
        }
        names.retain(|name| name != NURSERY && behind.is_none_or(|behind| name.as_str() > behind));
        names.sort_unstable();
        names.truncate(most);
        Ok(names)
    }

    /// What the file of this name holds; `None` for one that is not there, that another program wrote, or that stands
    /// under a name which is not its own.
    pub fn ours(&self, name: &str) -> Option<Ours> {
        let bytes = file::read(&self.results.join(name), MAX_FILE).ok()?;
        let file: CacheFile = serde_json::from_slice(&bytes).ok()?;
        let owner = Owner::parse(&file.container_id, &file.if_name).ok()?;
        let network: NetworkName = file.network_name.parse().ok()?;
        let whole = file.is_of(&owner, &network) && name == super::name(&owner, &network);
        let ours = whole && file.writer.as_deref() == Some(WRITER);
        ours.then(|| Ours { owner, network, netns: file.netns.parse().ok() })
    }

    /// Removes files that a crash left before they got to their place: at most so many, and none that was written to after
    /// that time. Answers with how many they were.
    ///
    /// # Errors
    /// One still stands.
    pub fn clear_nursery(&self, before: SystemTime, most: usize) -> Outcome<usize> {
        let nursery = self.results.join(NURSERY);
        let listing = fs::read_dir(&nursery).into_iter().flatten().filter_map(Result::ok);
        let old = listing.filter(|entry| {
            let written = entry.metadata().and_then(|meta| meta.modified());
            written.is_ok_and(|written| written < before)
        });
        let mut removed = 0;
        for entry in old.take(most) {
            let name = entry.file_name();
            match fs::remove_file(entry.path()) {
                Ok(()) => removed += 1,
                Err(error) if file::is_none(&error) => {}
                Err(error) => return Err(unusable("remove", &name.to_string_lossy(), error)),
            }
        }
        Ok(removed)
    }
}
