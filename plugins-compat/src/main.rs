//! The suite that holds Manifold's stand-alone plugins against the reference plugins.
//!
//! A case is a scene: calls as a runtime makes them, and looks at what they left. It is played twice, in network
//! namespaces of its own each time, first by the reference plugin and then by ours, and everything that is seen goes
//! on a sheet. The two sheets must be equal but for the differences that the case declares, and each of those must
//! show: so a case that sees nothing, or a difference that is gone, fails as well.
//!
//! Start reading at [`case`]; the scenes are in [`cases`].

mod case;
mod cases;
mod command;
mod conf;
#[path = "../../tests/common/mod.rs"]
mod fixture;
mod look;
mod options;
mod runner;
mod sheet;
mod stage;

use std::process::ExitCode;

use clap::Parser as _;

/// A `Result` whose error is read by a person.
type Outcome<T> = Result<T, String>;

fn main() -> Outcome<ExitCode> {
    runner::run(&options::Options::parse())
}
