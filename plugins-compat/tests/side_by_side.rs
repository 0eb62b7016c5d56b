//! Runs the suite of this package with the plugins that were just built. Arguments are its own: see `--help`.
#![expect(clippy::disallowed_methods, reason = "a test starts the program under test")]

use std::os::unix::process::CommandExt as _;
use std::process::Command;

fn main() -> std::io::Result<()> {
    // The suite looks for the plugins beside itself; cargo has built them all there before this test.
    let mut suite = Command::new(env!("CARGO_BIN_EXE_plugins-compat"));
    Err(suite.args(std::env::args_os().skip(1)).exec())
}
