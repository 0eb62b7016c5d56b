//! The primary: the configuration of the plugin that makes the default network, among those of the container runtime.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::host::conf_dir;
use crate::host::directory::Directory;
use crate::model::fault::{Fault, Outcome};
use crate::model::{CniVersion, FaultKind, Network};
use crate::plan::runtime_conf;

/// What the names of the peer's own files begin with: they are none whatever is in them.
const PEERS: &str = "00-multus";

/// The file that a name stands for; without one, the first in the order of runtimes that is not Manifold's own. One that
/// cannot be read is not passed over: it may be half written.
///
/// # Errors
/// There is none, or it is no network.
pub(super) fn find(dir: &Path, name: Option<&str>, own: &str) -> Outcome<(PathBuf, Network)> {
    let path = match name {
        Some(name) => dir.join(name),
        None => first(dir, own)?,
    };
    if conf_dir::read(&path).is_ok_and(|text| runtime_conf::program(&text).is_some()) {
        return Err(Fault::new(FaultKind::Config, format!("{path:?} is Manifold's own configuration"))
            .remedy("name the default network's in \"multusMasterCNI\""));
    }
    // A network without a version is of the first: what an absent "cniVersion" means to a runtime.
    let named = Directory::file(&path, CniVersion::V0_1_0).map_err(|fault| {
        let what = format!("cannot take {path:?} for the default network");
        let advice = fault.advice().map(str::to_owned);
        let advice = advice.unwrap_or_else(|| "correct the file, or wait until it is whole".to_owned());
        fault.while_doing(what).remedy(advice)
    })?;
    Ok((path, named.network))
}

fn first(dir: &Path, own: &str) -> Outcome<PathBuf> {
    let unreadable = |cause: std::io::Error| {
        Fault::new(FaultKind::Io, format!("cannot read {dir:?}"))
            .because(cause)
            .remedy("name the runtime's directory in \"multusAutoconfigDir\"")
    };
    let files = conf_dir::files(dir).map_err(unreadable)?;
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut others = files.into_iter().filter(|path| {
        name(path).is_some_and(|name| name != own && !name.starts_with(PEERS)) && is_anothers(path)
    });
    others.next().ok_or_else(|| {
        Fault::new(FaultKind::Absent, format!("there is no configuration of a default network in {dir:?}"))
            .remedy("install the cluster's network plugin, or name its file in \"multusMasterCNI\"")
    })
}

/// Whether a file is there and has the runtime call something else, as far as can be told.
fn is_anothers(path: &Path) -> bool {
    match conf_dir::read(path) {
        Ok(text) => runtime_conf::program(&text).is_none(),
        Err(cause) => cause.kind() != ErrorKind::NotFound,
    }
}
