//! The configuration that a container runtime takes: the first of its directory by name.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{Finding, bad, ok, warning};
use crate::front::context::Context;
use crate::front::serve;
use crate::host::conf_dir;
use crate::model::call::Call;
use crate::model::fault::{Fault, Outcome};
use crate::model::settings::{Places, Program, Settings};
use crate::model::thick::{SOCKET, SOCKET_DIR};
use crate::model::{FaultKind, Object};
use crate::plan::runtime_conf::first_plugin;

/// Longest wait for a part of a daemon's answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer, in bytes.
const MAX_ANSWER: u64 = 64 << 10;

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
    Own(Box<Settings>),
    /// The shim's: the socket of its daemon.
    Shim(PathBuf),
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
                .remedy("name the runtime's directory with --conf-dir")
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
        let part = match Program::named(&kind) {
            None => Part::Foreign,
            Some(program) if program.is_shim() => {
                Part::Shim(daemonsocketdir.unwrap_or_else(|| SOCKET_DIR.into()).join(SOCKET))
            }
            Some(_) => Part::Own(Box::new(Settings::read(&object, &name)?)),
        };
        Ok(Self { path, kind, object, part })
    }

    /// Where things are, if it is Manifold's own.
    pub(super) fn places(&self) -> Option<&Places> {
        match &self.part {
            Part::Own(settings) => Some(&settings.places),
            Part::Foreign | Part::Shim(_) => None,
        }
    }

    /// Whether the runtime takes Manifold's.
    pub(super) fn finding(&self) -> Finding {
        let Self { path, kind, .. } = self;
        match self.part {
            Part::Own(_) | Part::Shim(_) => {
                ok("configuration", format!("the runtime takes {path:?}, type {kind:?}"))
            }
            Part::Foreign => warning(
                "configuration",
                format!("the runtime takes {path:?}, which is of type {kind:?}"),
                "give Manifold's file a name that comes before it, such as 00-manifold.conf",
            ),
        }
    }

    /// What STATUS would answer the runtime: networks, plugins, masters and the API server, as far as every pod needs
    /// them.
    pub(super) fn status(&self) -> Option<Finding> {
        let bin_dir = &self.places()?.bin_dir;
        let mut object = self.object.clone();
        // The first version that knows STATUS.
        let asked = object.put("cniVersion", "1.1.0").and_then(|()| {
            let variables =
                [("CNI_COMMAND", "STATUS".to_owned()), ("CNI_PATH", bin_dir.display().to_string())];
            let variables = variables.map(|(key, value)| (key.to_owned(), value)).into();
            let request = Call::new(variables).with_stdin(object.to_bytes()).request()?;
            serve::serve(request, &Context::default())
        });
        Some(match asked {
            Ok(_) => ok("STATUS", "pods can be given their networks"),
            Err(fault) => bad("STATUS", &fault),
        })
    }

    /// Whether the daemon of a shim answers, and what it waits for.
    pub(super) fn daemon(&self) -> Option<Finding> {
        let Part::Shim(socket) = &self.part else { return None };
        let fault = |what: String| Fault::new(FaultKind::Unavailable, what);
        Some(match readiness(socket) {
            Ok((200, _)) => ok("daemon", format!("serves at {socket:?}")),
            Ok((code, text)) => {
                let fault = fault(format!("the daemon at {socket:?} is not ready ({code})")).because(text);
                bad("daemon", &fault.remedy("do what it says; its log says more"))
            }
            Err(cause) => {
                let fault = fault(format!("no daemon answers at {socket:?}")).because(cause);
                bad("daemon", &fault.remedy("start \"manifold daemon\", and look at its log"))
            }
        })
    }
}

/// What a daemon says of itself: an HTTP status code, and why.
fn readiness(socket: &Path) -> io::Result<(u16, String)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: manifold\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer).map_err(|cause| {
        let silent = cause.kind() == io::ErrorKind::WouldBlock;
        if silent { io::Error::other(format!("it says nothing for {PATIENCE:?}")) } else { cause }
    })?;
    let (head, text) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let code =
        code.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what came is no HTTP answer"))?;
    Ok((code, text.trim().to_owned()))
}
