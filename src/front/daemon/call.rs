//! One call, as a shim passed it on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::delegate;
use super::desk::{Desk, Sort};
use super::tidy::once;
use crate::front::context::{Context, Lap};
use crate::front::log::{self, Caller};
use crate::front::serve;
use crate::model::call::{Call, Command, Request};
use crate::model::dialect;
use crate::model::fault::{ErrorReply, Fault, FaultKind, Outcome};
use crate::model::object::Object;
use crate::model::settings::Settings;
use crate::model::thick::{Question, Reply};
use crate::model::version::CniVersion;

/// What is asked of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A CNI call, passed on.
    Cni,
    /// An attachment of a running pod.
    Delegate,
}

/// Reads a request.
pub(super) fn read(body: &[u8]) -> Result<Question, ErrorReply> {
    serde_json::from_slice(body)
        .map_err(|cause| Fault::new(FaultKind::Decode, "cannot read the request").because(cause).to_reply())
}

/// What a request is, for whoever lets it in.
pub(super) fn sort(question: &Question) -> Sort {
    match verb(question) {
        Ok(Command::Add) => Sort::Makes,
        Ok(Command::Status) => Sort::Status,
        Ok(Command::Del | Command::Check | Command::Gc | Command::Version) | Err(_) => Sort::Other,
    }
}

/// The file that a request waits for, if there is one.
pub(super) fn awaited(wanted: Wanted, question: &Question) -> Option<PathBuf> {
    match (wanted, sort(question)) {
        // What cannot be read is an error when it is served.
        (Wanted::Cni, Sort::Makes) => Settings::awaited(&config(question).ok()?),
        (Wanted::Cni, Sort::Other | Sort::Status) | (Wanted::Delegate, _) => None,
    }
}

/// Serves a request; its answer is the body of one that went well.
pub(super) fn serve(desk: &Desk, wanted: Wanted, question: &Question) -> Result<Vec<u8>, ErrorReply> {
    answered(desk, &question.env, |context| match wanted {
        Wanted::Cni => cni(desk, question, context),
        Wanted::Delegate => delegate::serve(desk, question, context),
    })
}

/// Answers a request that got no place in time.
pub(super) fn busy(desk: &Desk, env: &BTreeMap<String, String>) -> Result<Vec<u8>, ErrorReply> {
    let (waiting, working) = desk.crowd();
    let what = format!("the daemon is busy: it serves {working} calls, and {waiting} wait");
    let fault =
        Fault::new(FaultKind::Unavailable, what).remedy("see in its log or metrics which calls take so long");
    unserved(desk, env, fault)
}

/// Answers a request that was not let in.
pub(super) fn unserved(
    desk: &Desk,
    env: &BTreeMap<String, String>,
    fault: Fault,
) -> Result<Vec<u8>, ErrorReply> {
    answered(desk, env, |_| Err(fault))
}

/// Does a DEL that was kept, as if it came now.
pub(super) fn again(desk: &Desk, env: &BTreeMap<String, String>, config: Object) -> Result<(), ErrorReply> {
    answered(desk, env, |context| {
        let call = Call::new(env.clone()).with_stdin(laid_over(config, &desk.settings.overlay).to_bytes());
        serve::serve(call.request()?, context)
    })
    .map(drop)
}

/// Does a job and tells the log and the metrics of it.
fn answered(
    desk: &Desk,
    env: &BTreeMap<String, String>,
    job: impl FnOnce(&Context) -> Outcome<Vec<u8>>,
) -> Result<Vec<u8>, ErrorReply> {
    let began = Instant::now();
    let caller = Caller::of(env);
    let _call = log::call(&caller).entered();
    let context = desk.context();
    let reply = job(&context).map_err(|fault| log::refusal(&fault));
    let watch = context.stopwatch.unwrap_or_default();
    let (mut laps, tries) = (watch.laps(), watch.tries());
    desk.metrics.served(&caller.command, reply.as_ref().err().map(|error| error.code), began.elapsed());
    desk.metrics.laps(&laps);
    desk.metrics.api.count(&tries);
    laps.extend(tries.iter().map(Lap::asked));
    log::laps(&laps);
    log::done(&caller.command, reply.as_ref().err(), began.elapsed());
    reply
}

fn cni(desk: &Desk, question: &Question, context: &Context) -> Outcome<Vec<u8>> {
    let config = laid_over(config(question)?, &desk.settings.overlay);
    let request = Call::new(question.env.clone()).with_stdin(config.to_bytes()).request()?;
    let version = request.config().map(|config| config.version);
    if let Some(config) = request.config() {
        log::network(config.name.as_str());
    }
    let is_add = if let Request::Add(sandbox, _) = &request {
        once::settle(desk, &sandbox.owner)?;
        true
    } else {
        false
    };
    let _alone = matches!(request, Request::Gc(..)).then(|| desk.collecting());
    let reply = serve::serve(request, context)?;
    match version.filter(|_| is_add) {
        None => Ok(Vec::new()),
        Some(version) => result(&dialect::read(&reply, version)?),
    }
}

/// The configuration that came on the shim's standard input.
pub(super) fn config(question: &Question) -> Outcome<Object> {
    let bytes = STANDARD.decode(&question.config).map_err(|cause| {
        Fault::new(FaultKind::Decode, "cannot read the request's configuration").because(cause)
    })?;
    Object::parse(&bytes, "the request's configuration")
}

/// The verb of a request.
pub(super) fn verb(question: &Question) -> Outcome<Command> {
    Call::new(question.env.clone()).command()
}

/// A result, as shims read it.
pub(super) fn result(result: &crate::model::CniResult) -> Outcome<Vec<u8>> {
    let reply = Reply { result: Some(dialect::raw(result, CniVersion::NEWEST)?) };
    serde_json::to_vec(&reply)
        .map_err(|cause| Fault::new(FaultKind::Decode, "cannot write the answer").because(cause))
}

/// The configuration of a call under that of the daemon: the daemon's keys count.
fn laid_over(mut config: Object, overlay: &Object) -> Object {
    for (key, value) in overlay.iter() {
        config.set(key, value.to_owned());
    }
    config
}
