//! Hardware in the loop: cases that drive the real `manifold` binary as a CNI plugin on a kernel that has what
//! they need.
//!
//! `--rig emulated` boots a throw-away machine in QEMU and runs this same program inside it; `--rig here` runs
//! the cases on this machine, and `--rig FILE` those for the adapter that the file allows them, too. Every case states what it needs and is skipped aloud where that is missing; in the
//! emulated machine, which has everything, a skipped case counts as failed.
//!
//! Start reading at [`catalogue`]; [`rig`] prepares and boots the machine, [`node`] is what a case works on.

mod adapter;
#[allow(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement may panic, and prints its figures"
)]
mod bench;
mod cases;
mod catalogue;
mod command;
mod link;
mod need;
mod netdevsim;
mod node;
mod options;
mod packages;
mod page;
mod plugin;
mod profile;
mod report;
mod rig;
mod runner;
mod testpmd;
mod trouble;

use std::process::ExitCode;

use clap::Parser as _;

use crate::options::{Options, Rig};
use crate::profile::Profile;
use crate::trouble::Outcome;

fn main() -> Outcome<ExitCode> {
    let options = Options::parse();
    if options.list {
        return catalogue::print(&options).map(|()| ExitCode::SUCCESS);
    }
    match &options.rig {
        Rig::Emulated => return rig::boot(&options),
        Rig::Here => {}
        Rig::Lab(file) => Profile::read(file)?.set()?,
    }
    if let Some(measure) = options.bench {
        return bench::run(&options, measure).map(|()| ExitCode::SUCCESS);
    }
    runner::run(&options)
}
