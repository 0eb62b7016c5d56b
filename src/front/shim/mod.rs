//! `manifold-shim`: passes a call on to the daemon, and its answer back. As small and quick as a program can be: it knows
//! the words of `model` and nothing of what is done with them.
//!
//! A DEL that cannot be delivered is kept in a file, for the daemon to do when it is back, and answered as done: a runtime
//! that is told of a failure asks again for a while and then forgets.

pub mod answer;
pub mod http;
mod spool;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use self::http::{Failure, Limits};
use super::runtime;
use crate::model::call::{Call, Command};
use crate::model::fault::{ErrorReply, Fault, Outcome};
use crate::model::settings::STATE_DIR;
use crate::model::thick::{CNI, Question, SOCKET, SOCKET_DIR};
use crate::model::version::{CniVersion, version_reply};
use crate::model::{FaultKind, Object, json};

/// How long an ADD, CHECK or GC waits for a daemon that is not there (yet): as long as the peer's.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a daemon that is there may take to let a call in. One that lives does so at once.
const TAKEN: Duration = Duration::from_secs(30);
/// Between two tries to find it.
const STEP: Duration = Duration::from_millis(100);

/// Serves one call. The exit code is 0 for success and 1 for an error object.
pub fn main() -> ExitCode {
    let variables = runtime::variables();
    if !variables.contains_key("CNI_COMMAND") {
        return about();
    }
    let reply = serve(variables);
    let (bytes, code) = match reply {
        Ok(bytes) => (bytes, ExitCode::SUCCESS),
        // Numbers and texts: they cannot fail to be JSON.
        Err(error) => (json::pretty(&error).unwrap_or_default(), ExitCode::FAILURE),
    };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(&bytes).and_then(|()| stdout.flush()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What it is, for a person who tries.
fn about() -> ExitCode {
    let text = concat!(
        "manifold-shim ",
        env!("CARGO_PKG_VERSION"),
        ": a CNI plugin that passes calls on to \"manifold daemon\"\n",
        "CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n"
    );
    io::stderr().lock().write_all(text.as_bytes()).unwrap_or_default();
    ExitCode::SUCCESS
}

/// The keys of the configuration that are the shim's.
#[derive(Deserialize)]
struct Keys {
    cniversion: Option<String>,
    daemonsocketdir: Option<PathBuf>,
    statedir: Option<PathBuf>,
}

fn serve(variables: BTreeMap<String, String>) -> Result<Vec<u8>, ErrorReply> {
    let told = |fault: Fault| fault.to_reply();
    let verb = Call::new(variables.clone()).command().map_err(told)?;
    if verb == Command::Version {
        return Ok(version_reply().into_bytes());
    }
    let stdin = runtime::stdin().map_err(told)?;
    let config = Object::parse(&stdin, "the configuration on standard input").map_err(told)?;
    let keys: Keys = config.decode("the configuration on standard input").map_err(told)?;
    let version: CniVersion = keys.cniversion.as_deref().unwrap_or_default().parse().map_err(told)?;
    let socket = keys.daemonsocketdir.unwrap_or_else(|| SOCKET_DIR.into()).join(SOCKET);
    let question = Question { env: variables, config: STANDARD.encode(&stdin), attributes: None };
    let body = serde_json::to_vec(&question)
        .map_err(|cause| told(Fault::new(FaultKind::Decode, "cannot write the call").because(cause)))?;
    match deliver(verb, &socket, &body) {
        Ok(answer) => answer::read(verb, version, &answer),
        Err(failure) => undelivered(verb, &socket, failure, || {
            let state = keys.statedir.unwrap_or_else(|| STATE_DIR.into());
            spool::keep(&state, &question.env, config)
        }),
    }
}

/// A pod that starts is worth waiting for; who asks for the status wants to know how it is now; a DEL is kept.
fn patience(verb: Command) -> Duration {
    match verb {
        Command::Add | Command::Check | Command::Gc => PATIENCE,
        Command::Del | Command::Status | Command::Version => Duration::ZERO,
    }
}

/// How long the answer may take. A runtime gives a call four minutes, and asks again for what is still running then; it
/// is not to lose so many to a daemon that hangs. A DEL that takes longer is kept, and done once more; who asks how it is
/// does not wait.
fn limit(verb: Command) -> Duration {
    Duration::from_secs(match verb {
        Command::Add | Command::Gc => 300,
        Command::Del => 90,
        Command::Check | Command::Status | Command::Version => 30,
    })
}

/// Sends the call, again and again while there is no daemon to take it.
fn deliver(verb: Command, socket: &std::path::Path, body: &[u8]) -> Result<http::Answer, Failure> {
    let limits = Limits { taken: TAKEN, answered: limit(verb) };
    let end = Instant::now() + patience(verb);
    loop {
        match http::post(socket, CNI, body, limits) {
            Err(Failure::NotTaken(_)) if Instant::now() + STEP < end => wait(STEP),
            other => return other,
        }
    }
}

/// Lets some time pass: there is nothing to wait for but a daemon that will start some time.
#[allow(clippy::disallowed_methods, reason = "no event tells that a socket has a listener")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// What is answered to a call that was not delivered, or whose answer did not come.
fn undelivered(
    verb: Command,
    socket: &std::path::Path,
    failure: Failure,
    keep: impl FnOnce() -> Outcome<()>,
) -> Result<Vec<u8>, ErrorReply> {
    let fault = || {
        let kind = if verb == Command::Status { FaultKind::Unavailable } else { FaultKind::TryLater };
        let (what, cause) = match failure {
            Failure::NotTaken(cause) => ("no daemon takes calls at", cause),
            Failure::CutOff(cause) => ("no answer came from the daemon at", cause),
        };
        Fault::new(kind, format!("{what} {socket:?}")).because(cause).remedy(
            "see that \"manifold daemon\" runs on this node, and that \"daemonSocketDir\" is its directory",
        )
    };
    match verb {
        Command::Del => keep().map(|()| Vec::new()).map_err(|kept| fault().along_with([kept]).to_reply()),
        Command::Add | Command::Check | Command::Gc | Command::Status | Command::Version => {
            Err(fault().to_reply())
        }
    }
}
