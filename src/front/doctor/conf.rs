//! The configuration that a container runtime takes: the first of its directory by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Finding, bad, daemon, ok, refused};
use crate::front::context::Context;
use crate::front::serve;
use crate::host::conf_dir;
use crate::model::call::Call;
use crate::model::fault::{ErrorReply, Fault, Outcome};
use crate::model::settings::{Places, Program, Settings, Switches};
use crate::model::thick::{SOCKET, SOCKET_DIR};
use crate::model::{FaultKind, Object};
use crate::plan::runtime_conf::{first_plugin, program};

/// A configuration, as its plugin gets it.
pub(super) struct Conf {
    path: PathBuf,
    kind: String,
    object: Object,
    part: Part,
}

/// Whose configuration it is.
enum Part {
    /// Another plugin's.
    Foreign,
    /// Manifold's own.
    Own(Ground),
    /// The shim's: the socket of its daemon.
    Shim(PathBuf, Ground),
}

/// What it says of the node.
pub(super) struct Ground {
    /// Where things are.
    pub(super) places: Places,
    /// Where the switches are.
    pub(super) switches: Switches,
    /// The API server, and who asks it.
    pub(super) kubeconfig: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Keys {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    name: String,
    daemonsocketdir: Option<PathBuf>,
}

impl Conf {
    /// The first configuration of a directory.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub(super) fn first_of(dir: &Path) -> Outcome<Self> {
        let unreadable = |cause: std::io::Error| {
            Fault::new(FaultKind::Io, format!("cannot read {dir:?}"))
                .because(cause)
                .remedy("\"manifold install\" sets a node up, docs/operating.md tells how; or name the runtime's directory with --conf-dir")
        };
        let files = conf_dir::files(dir).map_err(unreadable)?;
        let path = files.into_iter().next().ok_or_else(|| {
            Fault::new(FaultKind::Config, format!("there is no configuration in {dir:?}"))
                .remedy("\"manifold install\" writes one, docs/operating.md tells how; or write it yourself")
        })?;
        Self::read(path.clone()).map_err(|fault| fault.while_doing(format!("{path:?}")))
    }

    fn read(path: PathBuf) -> Outcome<Self> {
        let io = |cause| Fault::new(FaultKind::Io, "cannot read it").because(cause);
        let text = conf_dir::read(&path).map_err(io)?;
        let object = first_plugin(Object::parse(&text, "the configuration")?)?;
        let Keys { r#type: kind, name, daemonsocketdir } = object.decode("the configuration")?;
        let ground = |settings: Settings| Ground {
            places: settings.places,
            switches: settings.switches,
            kubeconfig: settings.kubeconfig,
        };
        let part = match Program::named(&kind) {
            None => Part::Foreign,
            // The daemon may know the default network where the file does not.
            Some(program) if program.is_shim() => Part::Shim(
                daemonsocketdir.unwrap_or_else(|| SOCKET_DIR.into()).join(SOCKET),
                ground(Settings::read_without_default(&object, &name)?),
            ),
            Some(_) => Part::Own(ground(Settings::read(&object, &name)?)),
        };
        Ok(Self { path, kind, object, part })
    }

    /// What it says of the node, if it is Manifold's own or its shim's.
    pub(super) fn ground(&self) -> Option<&Ground> {
        match &self.part {
            Part::Own(ground) | Part::Shim(_, ground) => Some(ground),
            Part::Foreign => None,
        }
    }

    /// Whether calls are passed on to a daemon.
    pub(super) fn is_shims(&self) -> bool {
        matches!(self.part, Part::Shim(..))
    }

    /// Whether the runtime takes Manifold's.
    pub(super) fn finding(&self) -> Finding {
        let Self { path, kind, .. } = self;
        match self.part {
            Part::Own(_) | Part::Shim(..) => {
                ok("configuration", format!("the runtime takes {path:?}, type {kind:?}"))
            }
            Part::Foreign => {
                let remedy = if self.is_one_of_ours_later() {
                    "give Manifold's file a name that comes before it, such as 00-manifold.conf"
                } else {
                    "\"manifold install\" writes a configuration that comes before it, docs/operating.md tells how"
                };
                let found =
                    format!("the runtime takes {path:?}, which is of type {kind:?}: Manifold is not called");
                bad("configuration", &Fault::new(FaultKind::Config, found).remedy(remedy))
            }
        }
    }

    /// Whether a file that the runtime does not take would have it call Manifold.
    fn is_one_of_ours_later(&self) -> bool {
        let files = self.path.parent().and_then(|dir| conf_dir::files(dir).ok()).unwrap_or_default();
        files.iter().any(|file| conf_dir::read(file).is_ok_and(|text| program(&text).is_some()))
    }

    /// What STATUS would answer the runtime: networks, plugins, masters and the API server, as far as every pod needs
    /// them. A daemon that does not answer is told of elsewhere.
    pub(super) fn status(&self) -> Option<Finding> {
        let bin_dir = &self.ground()?.places.bin_dir;
        let variables = [("CNI_COMMAND", "STATUS".to_owned()), ("CNI_PATH", bin_dir.display().to_string())];
        let variables = variables.map(|(key, value)| (key.to_owned(), value)).into();
        let mut object = self.object.clone();
        // The first version that knows STATUS.
        let asked = match (object.put("cniVersion", "1.1.0"), &self.part) {
            (Err(fault), _) => Err(fault.to_reply()),
            (Ok(()), Part::Shim(socket, _)) => daemon::status(socket, variables, &object)?,
            (Ok(()), Part::Own(_) | Part::Foreign) => served(variables, &object),
        };
        Some(match asked {
            Ok(()) => ok("STATUS", "the default network and its plugins are there"),
            Err(reply) => refused("STATUS", reply),
        })
    }

    /// Whether the daemon of a shim answers, and what it waits for.
    pub(super) fn daemon(&self) -> Option<Finding> {
        let Part::Shim(socket, _) = &self.part else { return None };
        Some(daemon::look(socket))
    }
}

/// Serves STATUS here.
fn served(variables: BTreeMap<String, String>, object: &Object) -> Result<(), ErrorReply> {
    let request = Call::new(variables).with_stdin(object.to_bytes()).request();
    let done = request.and_then(|request| serve::serve(request, &Context::default()));
    done.map(drop).map_err(|fault| fault.to_reply())
}
