//! The log: one line for people who read the node's journal. The protocol's answers go to the runtime.

use std::io;

use tracing_subscriber::filter::LevelFilter;

use crate::model::fault::Fault;
use crate::model::settings::{Level, Logging};

/// Starts the log; the first start counts.
pub(super) fn start(logging: &Logging) {
    // Failures are told on standard error whatever the level: the peer's default is to say nothing at all.
    let level = match logging.level {
        Level::Panic | Level::Error => LevelFilter::WARN,
        Level::Verbose => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    let subscriber = tracing_subscriber::fmt().with_writer(io::stderr).with_target(false).with_ansi(false);
    // A second start is what fails, and changes nothing.
    subscriber.with_max_level(level).try_init().unwrap_or_default();
}

/// Tells what was left behind.
pub(super) fn left_behind(left: Vec<Fault>) {
    for fault in left {
        tracing::warn!("left behind for a person to clear, its record is set aside: {fault}");
    }
}
