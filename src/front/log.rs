//! The log: one line per event for people who read the node's journal or the log file. The protocol's answers go to the
//! runtime.

mod file;
mod sinks;

use std::collections::BTreeMap;
use std::time::Duration;
use std::{io, iter};

use tracing::field::Empty;
use tracing::span::Span;
use tracing_subscriber::filter::LevelFilter;

use self::sinks::Sinks;
use super::context::Lap;
use crate::engine::add::Attached;
use crate::model::args::CniArgs;
use crate::model::fault::{ErrorReply, Fault};
use crate::model::pod::PodName;
use crate::model::settings::{Format, Level, Logging};

/// Who called, as the runtime's variables say.
pub(super) struct Caller {
    /// `CNI_COMMAND`.
    pub(super) command: String,
    container: String,
    ifname: String,
    pod: Option<PodName>,
}

impl Caller {
    pub(super) fn of(variables: &BTreeMap<String, String>) -> Self {
        let text = |key: &str| variables.get(key).cloned().unwrap_or_default();
        Self {
            command: text("CNI_COMMAND"),
            container: text("CNI_CONTAINERID"),
            ifname: text("CNI_IFNAME"),
            pod: PodName::of(&CniArgs::what_is_readable(&text("CNI_ARGS"))),
        }
    }
}

/// Starts the log; the first start counts.
pub(super) fn start(logging: &Logging) {
    // Failures are told whatever the level: the peer's default is to say nothing at all.
    let level = match logging.level {
        Level::Panic | Level::Error => LevelFilter::WARN,
        Level::Verbose => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    let subscriber =
        tracing_subscriber::fmt().with_writer(Sinks::of(logging)).with_target(false).with_ansi(false);
    let subscriber = subscriber.with_max_level(level);
    // A second start is what fails, and changes nothing.
    match logging.format {
        Format::Text => subscriber.try_init(),
        Format::Json => subscriber.json().flatten_event(true).with_span_list(false).try_init(),
    }
    .unwrap_or_default();
}

/// What every line of one call says: who called, and what is learned on the way.
pub(super) fn call(caller: &Caller) -> Span {
    let Caller { command, container, ifname, pod } = caller;
    tracing::error_span!(
        "call",
        command,
        container,
        ifname,
        namespace = pod.as_ref().map(|pod| pod.namespace.as_str()),
        pod = pod.as_ref().map(|pod| pod.name.as_str()),
        uid = pod.as_ref().and_then(|pod| pod.uid.as_deref()),
        network = Empty,
        attachments = Empty,
        took = Empty,
    )
}

/// Notes the name of the network the call is for.
pub(super) fn network(name: &str) {
    Span::current().record("network", name);
}

/// Notes what was written for an interface and has no effect.
pub(super) fn warn(made: &Attached) {
    for warning in made.warnings() {
        tracing::warn!("network {:?}: {warning}", made.attachment.label);
    }
}

/// Notes what was attached: interfaces, networks, addresses.
pub(super) fn attached(made: &[Attached]) {
    if tracing::enabled!(tracing::Level::WARN) {
        made.iter().for_each(warn);
    }
    if !tracing::enabled!(tracing::Level::INFO) {
        return;
    }
    let each = made.iter().map(|Attached { attachment, result, .. }| {
        let mut text = format!("{} ({})", attachment.owner.ifname, attachment.label);
        result.ips.iter().for_each(|ip| text.extend([" ".to_owned(), ip.address.to_string()]));
        text
    });
    Span::current().record("attachments", each.collect::<Vec<_>>().join(", "));
}

/// Notes how long the parts of a call took, in milliseconds.
pub(super) fn laps(laps: &[Lap]) {
    if laps.is_empty() || !tracing::enabled!(tracing::Level::INFO) {
        return;
    }
    let each =
        laps.iter().map(|lap| format!("{} {} {:.1}", lap.phase, lap.kind, lap.took.as_secs_f64() * 1000.0));
    Span::current().record("took", each.collect::<Vec<_>>().join(", "));
}

/// What the runtime is told of a failure. What only people of the node are told is noted.
pub(super) fn refusal(fault: &Fault) -> ErrorReply {
    confide(fault);
    fault.to_reply()
}

/// Notes what only people of the node are told of a failure.
pub(super) fn confide(fault: &Fault) {
    let each = iter::once(fault).chain(fault.companions());
    each.filter_map(Fault::confided).for_each(|told| tracing::warn!("{told}"));
}

/// Tells how a call ended. The kubelet asks for the STATUS every few seconds, and shows the answer itself.
pub(super) fn done(command: &str, refusal: Option<&ErrorReply>, took: Duration) {
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match (refusal, command) {
        (Some(ErrorReply { code, msg, details }), "STATUS") => tracing::debug!(code, details, ms, "{msg}"),
        (Some(ErrorReply { code, msg, details }), _) => tracing::error!(code, details, ms, "{msg}"),
        (None, "STATUS") => tracing::debug!(ms, "done"),
        (None, _) => tracing::info!(ms, "done"),
    }
}

/// Tells that a call was served and the runtime was not told.
pub(super) fn unanswered(cause: &io::Error) {
    tracing::error!("cannot write the answer to standard output: {cause}");
}

/// Tells what was left behind.
pub(super) fn left_behind(left: Vec<Fault>) {
    for fault in left {
        tracing::warn!("left behind for a person to clear, its record is set aside: {fault}");
    }
}
