//! Floor 4: the doors. A program is a CNI plugin when `CNI_COMMAND` is set, and a command line otherwise.
//!
//! Doors read the environment, log, print and wire the floors below together; nothing else does.

mod catalogue;
mod cli;
mod inherited;
mod log;
mod machine;
mod meta;
mod pod;
mod publish;
mod readiness;
mod serve;
mod standalone;
mod stdio;
mod table;
mod wish;

use std::process::ExitCode;

/// The program: finds out which door it was called through.
pub fn main() -> ExitCode {
    if stdio::is_called() { stdio::answer() } else { cli::run() }
}
