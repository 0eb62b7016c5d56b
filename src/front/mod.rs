//! Floor 4: the doors. A program is a CNI plugin when `CNI_COMMAND` is set, and a command line otherwise.
//!
//! Doors read the environment, log, print and wire the floors below together; nothing else does.

#[cfg(feature = "node")]
mod catalogue;
#[cfg(feature = "node")]
mod cli;
#[cfg(feature = "node")]
mod context;
#[cfg(feature = "node")]
mod daemon;
#[cfg(feature = "node")]
mod doctor;
#[cfg(feature = "node")]
mod inherited;
#[cfg(feature = "node")]
mod install;
#[cfg(feature = "node")]
mod log;
#[cfg(feature = "node")]
mod machine;
#[cfg(feature = "node")]
mod meta;
#[cfg(feature = "node")]
mod pod;
#[cfg(feature = "node")]
mod publish;
#[cfg(feature = "node")]
mod readiness;
#[cfg(feature = "node")]
mod rooted;
mod runtime;
#[cfg(feature = "node")]
mod serve;
#[cfg(feature = "shim")]
pub mod shim;
#[cfg(feature = "node")]
mod sockets;
#[cfg(feature = "node")]
mod standalone;
#[cfg(feature = "node")]
mod status;
#[cfg(feature = "node")]
mod stdio;
#[cfg(feature = "node")]
mod table;
#[cfg(feature = "node")]
mod timed;
#[cfg(feature = "node")]
mod watch;
#[cfg(feature = "node")]
mod wish;

#[cfg(feature = "node")]
use std::process::ExitCode;

/// The program: finds out which door it was called through.
#[cfg(feature = "node")]
pub fn main() -> ExitCode {
    if let Some((root, program)) = rooted::wanted() {
        return rooted::run(&root, &program);
    }
    if stdio::is_called() { stdio::answer() } else { cli::run() }
}
