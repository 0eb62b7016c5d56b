//! The result cache of the CNI reference library: what each attachment was made with and what came out.
//!
//! Runtimes and debugging tools read it, and a node can change between Manifold and the program it stands in for,
//! each finding what the other left. One file per attachment: `<cache dir>/results/<network>-<container>-<ifname>`.

mod ours;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
pub use ours::Ours;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::file;
use crate::model::args::CniArgs;
use crate::model::dialect;
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::{
    Attachment, CniResult, CniVersion, ContainerId, NetnsPath, Network, NetworkName, Object, Owner, object,
};

/// What the library calls the layout of its files.
const KIND: &str = "cniCacheV1";
/// What is Manifold's says so. The library passes over keys it does not know.
const WRITER: &str = "manifold";

/// The directory new files are written in. The library reads every file beside the cached ones, whatever its name,
/// but no directory.
const NURSERY: &str = ".manifold";

/// Longest file read, in bytes: what the longest configuration (in base64) and result would fill.
const MAX_FILE: u64 = 4 * object::MAX_BYTES as u64;
/// Most attachments of one container that are looked for.
const MAX_OF_CONTAINER: usize = 1024;

/// The cached results under one cache directory.
#[derive(Debug, Clone)]
pub struct ResultCache {
    results: PathBuf,
}

/// What the cache tells of an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedResult {
    /// The network's configuration as it was written.
    pub config: Vec<u8>,
    /// The pod's network namespace.
    pub netns: Option<NetnsPath>,
    /// `CNI_ARGS`.
    pub args: CniArgs,
    /// The values of all capabilities given.
    pub capabilities: Object,
    /// The result, unless it cannot be read.
    pub result: Option<CniResult>,
}

/// A file of the cache, keys spelled and ordered as the library does.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CacheFile {
    kind: String,
    container_id: String,
    config: String,
    if_name: String,
    network_name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    netns: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cni_args: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    capability_args: Object,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    writer: Option<String>,
}

impl ResultCache {
    /// The cache in this directory, such as `/var/lib/cni`.
    pub fn new(cache_dir: &Path) -> Self {
        Self { results: cache_dir.join("results") }
    }

    /// Remembers the result of an attachment, in its network's version.
    ///
    /// # Guarantees
    /// Whoever reads sees the old file or the new one, whole. It is not forced to the disk: after a power loss the
    /// sandbox it speaks of is gone as well.
    ///
    /// # Errors
    /// It is not written; an earlier one stands.
    pub fn put(&self, attachment: &Attachment, netns: Option<&NetnsPath>, result: &CniResult) -> Outcome<()> {
        let Attachment { owner, network, args, capabilities, .. } = attachment;
        let file = CacheFile {
            kind: KIND.to_owned(),
            container_id: owner.container.to_string(),
            config: STANDARD.encode(network.source.get()),
            if_name: owner.ifname.to_string(),
            network_name: network.name.to_string(),
            netns: netns.map(NetnsPath::to_string).unwrap_or_default(),
            cni_args: args.pairs().to_vec(),
            capability_args: capabilities.clone(),
            result: sayable(result, network.version)?,
            writer: Some(WRITER.to_owned()),
        };
        let name = name(owner, &network.name);
        let bytes = serde_json::to_vec(&file).map_err(|cause| unusable("write", &name, cause))?;
        self.replace(&name, &bytes).map_err(|cause| unusable("write", &name, cause))
    }

    /// What the cache holds for an attachment to this network. A file that is not the library's, or speaks of another
    /// attachment (the names of files are ambiguous), is left alone and counts as none.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub fn get(&self, owner: &Owner, network: &NetworkName) -> Outcome<Option<CachedResult>> {
        let name = name(owner, network);
        let bytes = match file::read(&self.results.join(&name), MAX_FILE) {
            Ok(bytes) => bytes,
            Err(error) if file::is_none(&error) || error.kind() == io::ErrorKind::FileTooLarge => {
                return Ok(None);
            }
            Err(error) => return Err(unusable("read", &name, error)),
        };
        let file: Option<CacheFile> = serde_json::from_slice(&bytes).ok();
        Ok(file.filter(|file| file.is_of(owner, network)).and_then(|file| file.into_cached(network)))
    }

    /// The attachments of a container that the cache knows of, by interface. Files that are not the library's are passed
    /// over.
    ///
    /// # Errors
    /// The directory is there and cannot be read.
    pub fn of_container(&self, container: &ContainerId) -> Outcome<Vec<(Owner, NetworkName)>> {
        let failed = |cause| unusable("look for", container.as_str(), cause);
        let listing = match fs::read_dir(&self.results) {
            Ok(listing) => listing,
            Err(error) if file::is_none(&error) => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut found = Vec::new();
        let part = format!("-{container}-");
        for entry in listing {
            let name = entry.map_err(failed)?.file_name();
            if !name.to_string_lossy().contains(&part) {
                continue;
            }
            let Ok(bytes) = file::read(&self.results.join(&name), MAX_FILE) else { continue };
            let Ok(file) = serde_json::from_slice::<CacheFile>(&bytes) else { continue };
            let owner = file.if_name.parse().map(|ifname| Owner { container: container.clone(), ifname });
            if let (Ok(owner), Ok(network)) = (owner, file.network_name.parse())
                && file.is_of(&owner, &network)
            {
                found.push((owner, network));
            }
        }
        found.sort_unstable();
        found.truncate(MAX_OF_CONTAINER);
        Ok(found)
    }

    /// Forgets an attachment to this network. One that is not there is forgotten already.
    ///
    /// # Errors
    /// It still stands.
    pub fn remove(&self, owner: &Owner, network: &NetworkName) -> Outcome<()> {
        let name = name(owner, network);
        for path in [self.results.join(NURSERY).join(&name), self.results.join(&name)] {
            file::gone(fs::remove_file(path)).map_err(|error| unusable("remove", &name, error))?;
        }
        Ok(())
    }

    /// Writes a file beside its place and moves it there. Only one call at a time writes for a container (the journal
    /// locks it), so what stands in the nursery is a crash's, and is written over.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let nursery = self.results.join(NURSERY);
        DirBuilder::new().recursive(true).mode(0o700).create(&nursery)?;
        file::put(&nursery.join(name), &self.results.join(name), 0o600, bytes)
    }
}

impl CacheFile {
    fn is_of(&self, owner: &Owner, network: &NetworkName) -> bool {
        self.kind == KIND
            && self.container_id == owner.container.as_str()
            && self.if_name == owner.ifname.as_str()
            && self.network_name == network.as_str()
    }

    fn into_cached(self, network: &NetworkName) -> Option<CachedResult> {
        let config = STANDARD.decode(&self.config).ok()?;
        // A result without a version is in that of its configuration.
        let version =
            Network::parse(&config, Some(network.as_str())).map_or(CniVersion::NEWEST, |n| n.version);
        let mut args = CniArgs::default();
        self.cni_args.into_iter().for_each(|(key, value)| args.set(&key, value));
        Some(CachedResult {
            config,
            netns: self.netns.parse().ok(),
            args,
            capabilities: self.capability_args,
            result: self.result.and_then(|raw| dialect::read(raw.get().as_bytes(), version).ok()),
        })
    }
}

/// The result in the network's version. The oldest have no words for a result without addresses; nor do they tell a
/// plugin of it.
fn sayable(result: &CniResult, version: CniVersion) -> Outcome<Option<Box<RawValue>>> {
    match dialect::raw(result, version) {
        Err(fault) if fault.kind() == FaultKind::Version => Ok(None),
        said => said.map(Some),
    }
}

/// The library's name for an attachment's file. Its parts are checked names: it is one component of a path.
fn name(owner: &Owner, network: &NetworkName) -> String {
    format!("{network}-{}-{}", owner.container, owner.ifname)
}

fn unusable(verb: &str, name: &str, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Fault {
    Fault::new(FaultKind::Io, format!("cannot {verb} the cached result {name:?}"))
        .because(cause)
        .remedy("look at the cache directory, \"cniDir\", and the space on its disk")
}
