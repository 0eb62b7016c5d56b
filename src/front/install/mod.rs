//! Setting up a node: the configuration that the container runtime takes, around that of the plugin that makes the default
//! network, and the programs that the runtime calls by it. Once, by `manifold install`, or kept so, by the daemon.

mod keeper;
mod primary;
mod programs;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

pub(super) use self::keeper::{Done, Keeper, Why};
use super::daemon;
use crate::host::stream::{Deadline, dial};
use crate::host::watch::{self, Watch};
use crate::model::fault::Outcome;
use crate::model::object;
use crate::model::settings::{Installation, NodeCertificate};
use crate::model::thick::{SOCKET, SOCKET_DIR};

/// Between two looks where no event tells that it is worth one.
const STEP: Duration = Duration::from_millis(500);

/// The words of `manifold install`.
#[derive(Args)]
pub(super) struct Options {
    /// The daemon's configuration, which says what to write and where. Where the default file is not there, all keys have
    /// their defaults
    #[arg(long, short, value_name = "FILE", default_value = daemon::CONFIG)]
    config: PathBuf,
    /// The program that the runtime is to call, in place of the configuration's "type": manifold, manifold-shim, multus
    /// or multus-shim
    #[arg(long, value_name = "NAME")]
    r#type: Option<String>,
    /// How long to wait for the default network's configuration
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u32,
}

/// Sets up the node once.
///
/// # Errors
/// A configuration that cannot work; what is needed is not there in time, or cannot be written.
pub(super) fn run(options: &Options) -> Outcome<String> {
    let mut object = daemon::read(&options.config)?;
    if let Some(program) = &options.r#type {
        object.put("type", program)?;
    }
    NodeCertificate::apply(&mut object)?;
    let keeper = Keeper::new(Installation::read(&object)?);
    let end = Instant::now() + Duration::from_secs(options.wait.into());
    // Without a watch there are still the looks.
    let watch = Watch::new().ok();
    let done = loop {
        if let Some(watch) = &watch {
            watch.drain();
            watch.name(&keeper.dirs());
        }
        match keeper.round() {
            Err(_) if Instant::now() < end => watch::wait(watch.as_ref(), STEP),
            done => break done?,
        }
    };
    Ok(told(&keeper, &done))
}

/// The kubeconfig that calls are served with.
fn kubeconfig(installation: &Installation) -> Option<PathBuf> {
    let file: PathBuf = object::decode(installation.template.find("kubeconfig")?, "\"kubeconfig\"").ok()?;
    Some(file).filter(|file| !file.as_os_str().is_empty())
}

/// What was done, in words.
fn told(keeper: &Keeper, done: &Done) -> String {
    let mut text = String::new();
    // Writing to memory cannot fail.
    for program in &done.programs {
        writeln!(text, "installed {program:?}").unwrap_or_default();
    }
    match &done.written {
        Some((of, _)) => writeln!(text, "wrote {:?}, from {of}", keeper.path()),
        None => writeln!(text, "{:?} is as it should be", keeper.path()),
    }
    .unwrap_or_default();
    let installation = keeper.installation();
    if let Some(file) = kubeconfig(installation).filter(|file| !file.exists()) {
        writeln!(text, "\"kubeconfig\" {file:?} is not there: pods get no networks until it is")
            .unwrap_or_default();
    }
    let socket = installation.socket_dir.as_deref().unwrap_or(Path::new(SOCKET_DIR)).join(SOCKET);
    if installation.program.is_shim() && dial(&socket, Deadline::after(1)).is_err() {
        writeln!(text, "no daemon takes calls at {socket:?} yet: pods wait until \"manifold daemon\" runs")
            .unwrap_or_default();
    }
    text
}
