//! Keeps the configuration that the container runtime takes as it should be.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{primary, programs};
use crate::front::readiness;
use crate::host::conf_dir;
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};
use crate::model::settings::{FILE, Installation, Source};
use crate::plan::runtime_conf::{self, Primary};

/// The mode of the file: it may hold what is nobody else's business.
const MODE: u32 = 0o600;

/// Who keeps the configuration.
///
/// # Guarantees
/// The file is replaced as a whole, and by nothing that Manifold would not read. While it cannot be told what it should
/// be, it stays as it is.
pub(in crate::front) struct Keeper {
    installation: Installation,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What it should be, as far as was found last.
    last: Option<Vec<u8>>,
    /// Where plugins of the primary may be added.
    beside: Option<PathBuf>,
    /// Why it is not as it should be.
    trouble: Option<String>,
    /// Whether the programs were put in their places.
    programs: bool,
    /// Whether nothing is to be written any more.
    closed: bool,
}

/// What a round did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::front) struct Done {
    /// Programs that were put in their places.
    pub(in crate::front) programs: Vec<PathBuf>,
    /// What the configuration is made of, and why it was written; `None` if it was as it should be.
    pub(in crate::front) written: Option<(String, Why)>,
}

/// Why the configuration was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::front) enum Why {
    /// It is to be another one now, or was not there before.
    New,
    /// Somebody removed it.
    Removed,
    /// Somebody changed it.
    Changed,
}

/// What should be there.
struct Wanted {
    text: Vec<u8>,
    of: String,
    beside: Option<PathBuf>,
}

/// Whether a file has the name that is written unless told otherwise, in either form.
fn has_own_name(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| Path::new(FILE).file_stem() == Some(stem))
}

impl Keeper {
    pub(in crate::front) fn new(installation: Installation) -> Self {
        let state =
            State { trouble: Some("the configuration is not written yet".into()), ..State::default() };
        Self { installation, state: Mutex::new(state) }
    }

    /// The file that is kept.
    pub(in crate::front) fn path(&self) -> PathBuf {
        self.installation.path()
    }

    pub(in crate::front) fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Why the configuration is not as it should be; `None` if it is.
    pub(in crate::front) fn trouble(&self) -> Option<String> {
        self.state().trouble.clone()
    }

    /// The directories in which a change may matter.
    pub(in crate::front) fn dirs(&self) -> Vec<PathBuf> {
        let source = match &self.installation.source {
            Source::Primary { dir, .. } => Some(dir.as_path()),
            Source::File(path) => path.parent(),
        };
        let beside = self.state().beside.clone();
        [Some(self.installation.conf_dir.clone()), source.map(Path::to_owned), beside]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Looks whether all is as it should be, and mends what is not.
    ///
    /// # Errors
    /// Why it cannot be as it should be.
    pub(in crate::front) fn round(&self) -> Outcome<Done> {
        let mut state = self.state();
        if state.closed {
            return Ok(Done::default());
        }
        let done = self.mend(&mut state);
        state.trouble = done.as_ref().err().map(Fault::to_string);
        done
    }

    /// Lets the file be; removes it if that is configured, and it is still what was written.
    ///
    /// # Errors
    /// It should go, and is still there.
    pub(in crate::front) fn close(&self) -> Outcome<bool> {
        let mut state = self.state();
        state.closed = true;
        let is_last = || conf_dir::read(&self.path()).ok().is_some_and(|text| Some(text) == state.last);
        if !self.installation.cleanup || !is_last() {
            return Ok(false);
        }
        conf_dir::remove(&self.path()).map(|()| true)
    }

    fn mend(&self, state: &mut State) -> Outcome<Done> {
        let mut done = Done::default();
        if !state.programs || !programs::are_there(&self.installation) {
            done.programs = programs::put(&self.installation)?;
            state.programs = true;
        }
        readiness::look(self.installation.readiness_file.as_deref())?;
        let Wanted { text, of, beside } = self.wanted()?;
        state.beside = beside;
        let path = self.path();
        let found = conf_dir::read(&path);
        if found.as_ref().ok() != Some(&text) {
            conf_dir::put(&path, MODE, &mut text.as_slice())?;
            let why = match (&state.last, found) {
                (Some(last), Ok(_)) if *last == text => Why::Changed,
                (Some(last), Err(_)) if *last == text => Why::Removed,
                _ => Why::New,
            };
            done.written = Some((of, why));
        }
        state.last = Some(text);
        self.clear_the_way()?;
        Ok(done)
    }

    fn wanted(&self) -> Outcome<Wanted> {
        let installation = &self.installation;
        match &installation.source {
            Source::File(path) => {
                let unreadable =
                    |cause| Fault::new(FaultKind::Io, "cannot read it").because(cause).remedy("write it");
                let text = conf_dir::read(path).map_err(unreadable);
                let text = text.and_then(|text| {
                    runtime_conf::is_ours(&text, installation.file.ends_with(".conflist")).map(|()| text)
                });
                let text = text.map_err(|fault| fault.while_doing(format!("cannot take {path:?}")))?;
                Ok(Wanted { text, of: format!("{path:?}"), beside: None })
            }
            Source::Primary { dir, file } => {
                let (path, network) = primary::find(dir, file.as_deref(), &installation.file)?;
                let text = runtime_conf::around(&Primary { path: &path, network: &network }, installation)?;
                let of = format!("{network} of {path:?}");
                Ok(Wanted { text, of, beside: Some(path.with_file_name(network.name.as_str())) })
            }
        }
    }

    /// Removes what would stand in the file's way: the same configuration of ours in the other form, and the one of the
    /// name that it has where none is given. Any other is told, after the file was written: it may be somebody's own.
    fn clear_the_way(&self) -> Outcome<()> {
        let path = self.path();
        let other = path.with_extension(if self.installation.file.ends_with(".conflist") {
            "conf"
        } else {
            "conflist"
        });
        if conf_dir::read(&other).is_ok_and(|text| runtime_conf::program(&text).is_some()) {
            conf_dir::remove(&other)?;
        }
        let files = conf_dir::files(&self.installation.conf_dir).unwrap_or_default();
        for first in files.into_iter().filter(|first| *first < path) {
            let program = conf_dir::read(&first).ok().and_then(|text| runtime_conf::program(&text));
            let remedy = match program {
                Some(program) if has_own_name(&first) && !program.is_peers() => {
                    conf_dir::remove(&first)?;
                    continue;
                }
                Some(_) => {
                    "it has the runtime call Manifold, or Multus: remove it; or set \"cniConfigName\" to a name that comes before it"
                }
                None => "set \"cniConfigName\" to a name that comes before it",
            };
            let what = format!("the runtime takes {first:?}, which comes before {path:?}");
            return Err(Fault::new(FaultKind::Config, what).remedy(remedy));
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
