//! The door of the protocol: `CNI_*` variables and standard input in, one JSON object on standard output out (CNI
//! specification 1.1.0, section 2).

use std::collections::BTreeMap;
use std::env;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use super::serve;
use crate::model::args::CniArgs;
use crate::model::call::{Call, Command};
use crate::model::fault::{ErrorReply, Fault, Outcome};
use crate::model::pod::PodName;
use crate::model::settings::Logging;
use crate::model::version::version_reply;
use crate::model::{FaultKind, object};

/// Whether the program was called as a plugin.
#[allow(clippy::disallowed_methods, reason = "doors read the environment")]
pub(super) fn is_called() -> bool {
    env::var_os("CNI_COMMAND").is_some()
}

/// Answers the call. The exit code is 0 for success and 1 for an error object.
pub(super) fn answer() -> ExitCode {
    let variables = variables();
    let caller = Caller::of(&variables);
    match run(Call::new(variables)) {
        Ok(reply) => print(&reply, ExitCode::SUCCESS),
        Err(fault) => {
            let reply = fault.to_reply();
            log(&caller, &reply);
            print(&pretty(&reply), ExitCode::FAILURE)
        }
    }
}

/// Who called, for the log.
struct Caller {
    command: String,
    container: String,
    ifname: String,
    pod: Option<PodName>,
}

impl Caller {
    fn of(variables: &BTreeMap<String, String>) -> Self {
        let text = |key: &str| variables.get(key).cloned().unwrap_or_default();
        let pod = PodName::of(&CniArgs::what_is_readable(&text("CNI_ARGS")));
        Self {
            command: text("CNI_COMMAND"),
            container: text("CNI_CONTAINERID"),
            ifname: text("CNI_IFNAME"),
            pod,
        }
    }
}

/// One line for people who read the node's journal; the protocol's answer goes to the runtime.
fn log(caller: &Caller, reply: &ErrorReply) {
    super::log::start(&Logging::default());
    tracing::error!(
        command = caller.command,
        container = caller.container,
        ifname = caller.ifname,
        pod = caller.pod.as_ref().map(tracing::field::display),
        uid = caller.pod.as_ref().and_then(|pod| pod.uid.as_deref()),
        code = reply.code,
        details = reply.details,
        "{}",
        reply.msg
    );
}

fn run(call: Call) -> Outcome<Vec<u8>> {
    let stdin = match call.command()? {
        Command::Version => return Ok(version_reply().into_bytes()),
        Command::Add | Command::Del | Command::Check | Command::Gc | Command::Status => stdin()?,
    };
    let request = call.with_stdin(stdin).request()?;
    if let Some(config) = request.config() {
        super::log::start(&Logging::read(&config.object).unwrap_or_default());
    }
    serve::serve(request)
}

#[allow(clippy::disallowed_methods, reason = "doors read the environment")]
fn variables() -> BTreeMap<String, String> {
    let texts =
        env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.to_string_lossy().into_owned())));
    texts.filter(|(key, _)| key.starts_with("CNI_")).collect()
}

fn stdin() -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = object::MAX_BYTES as u64 + 1;
    let read = io::stdin().lock().take(limit).read_to_end(&mut bytes);
    read.map_err(|cause| Fault::new(FaultKind::Io, "cannot read standard input").because(cause))?;
    Ok(bytes)
}

fn pretty(reply: &ErrorReply) -> Vec<u8> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Numbers and texts, into memory: this cannot fail.
    drop(serde::Serialize::serialize(reply, &mut serializer));
    bytes
}

fn print(reply: &[u8], code: ExitCode) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(reply).and_then(|()| stdout.flush()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}
