//! The door of the protocol: `CNI_*` variables and standard input in, one JSON object on standard output out (CNI
//! specification 1.1.0, section 2).

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use super::context::Context;
use super::log::{self, Caller};
use super::{runtime, serve};
use crate::model::call::{Call, Command};
use crate::model::fault::Outcome;
use crate::model::settings::Logging;
use crate::model::version::version_reply;
use crate::model::{Object, json};

/// Whether the program was called as a plugin.
#[allow(clippy::disallowed_methods, reason = "doors read the environment")]
pub(super) fn is_called() -> bool {
    env::var_os("CNI_COMMAND").is_some()
}

/// Answers the call. The exit code is 0 for success and 1 for an error object.
pub(super) fn answer() -> ExitCode {
    let began = Instant::now();
    let variables = runtime::variables();
    let caller = Caller::of(&variables);
    let call = Call::new(variables);
    let verb = call.command();
    if matches!(verb, Ok(Command::Version)) {
        return print(version_reply().as_bytes(), ExitCode::SUCCESS);
    }
    let stdin = verb.and_then(|_| runtime::stdin());
    log::start(&logging(stdin.as_deref().unwrap_or_default()));
    let _call = log::call(&caller).entered();
    let reply = stdin.and_then(|stdin| run(&call.with_stdin(stdin))).map_err(|fault| log::refusal(&fault));
    log::done(&caller.command, reply.as_ref().err(), began.elapsed());
    match reply {
        Ok(reply) => print(&reply, ExitCode::SUCCESS),
        // Numbers and texts: they cannot fail to be JSON.
        Err(reply) => print(&json::pretty(&reply).unwrap_or_default(), ExitCode::FAILURE),
    }
}

fn run(call: &Call) -> Outcome<Vec<u8>> {
    let request = call.request()?;
    if let Some(config) = request.config() {
        log::network(config.name.as_str());
    }
    serve::serve(request, &Context::default())
}

/// Where and how much is logged, whatever else is wrong with the call.
fn logging(stdin: &[u8]) -> Logging {
    let object = Object::parse(stdin, "the configuration on standard input");
    object.and_then(|object| Logging::read(&object)).unwrap_or_default()
}

fn print(reply: &[u8], code: ExitCode) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(reply).and_then(|()| stdout.flush()) {
        Ok(()) => code,
        Err(cause) => {
            log::unanswered(&cause);
            ExitCode::FAILURE
        }
    }
}
