//! The command line: networks from a directory, without a container runtime or a cluster.

mod words;

use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use serde::Serialize;

pub(super) use self::words::Output;
use self::words::{Attach, Cli, Command, Detach, Doctor, List, Status, Stores, Target};
use super::table::{Row, absent, gone, held, table};
use super::{daemon, doctor, install, status, watch};
use crate::engine::foresee::Foreseen;
use crate::engine::ports::{Entry, Journal};
use crate::engine::scope::Scope;
use crate::engine::{add, check, del, foresee, gc};
use crate::host::journal::FileJournal;
use crate::model::fault::{Fault, Outcome};
use crate::model::settings::Logging;
use crate::model::{ContainerId, FaultKind, IfName};

/// Runs the command line. The exit code is 0 for success, 1 for a failure, 2 for wrong usage.
pub(super) fn run() -> ExitCode {
    let cli = Cli::parse();
    match obey(&cli.command) {
        Ok((text, code)) => match io::stdout().lock().write_all(text.as_bytes()) {
            Ok(()) => code,
            Err(_) => ExitCode::FAILURE,
        },
        Err(fault) => {
            drop(io::stderr().lock().write_all(told(&fault).as_bytes()));
            ExitCode::FAILURE
        }
    }
}

/// A failure in words: what, what to do, and what else.
fn told(fault: &Fault) -> String {
    let mut text = format!("error: {fault}\n");
    // Writing to memory cannot fail.
    if let Some(told) = fault.confided() {
        writeln!(text, "  note: {told}").unwrap_or_default();
    }
    if let Some(advice) = fault.advice() {
        writeln!(text, "  remedy: {advice}").unwrap_or_default();
    }
    for other in fault.companions() {
        writeln!(text, "  also: {other}").unwrap_or_default();
        if let Some(advice) = other.advice() {
            writeln!(text, "    remedy: {advice}").unwrap_or_default();
        }
    }
    text
}

fn obey(command: &Command) -> Outcome<(String, ExitCode)> {
    let text = match command {
        Command::Doctor(options) => return look(options),
        Command::Attach(attach) => attach_all(attach),
        Command::Detach(detach) => detach_all(detach),
        Command::Explain(attach) => explain(attach),
        Command::Check(target) => check_all(target),
        Command::List(list) => list_all(list),
        Command::Status(options) => status_of_all(options),
        Command::Prune(stores) => prune(stores),
        Command::Install(options) => install::run(options),
        Command::Daemon(options) => daemon::run(&options.config).map(|()| String::new()),
        // As the option tells it.
        Command::Version => Ok(Cli::command().render_version()),
    };
    text.map(|text| (text, ExitCode::SUCCESS))
}

/// The exit code is 1 where something keeps every pod from its networks.
fn look(options: &Doctor) -> Outcome<(String, ExitCode)> {
    let findings =
        doctor::examine(&options.conf_dir, options.state_dir.as_deref(), options.bin_dir.as_deref());
    let text = shown(options.output, &findings, || doctor::table(&findings))?;
    Ok((text, if doctor::is_bad(&findings) { ExitCode::FAILURE } else { ExitCode::SUCCESS }))
}

fn attach_all(attach: &Attach) -> Outcome<String> {
    let attachments = attach.attachments()?;
    let made = add::add(&attach.target.stores.machine().node(), attachments)?;
    for attached in &made {
        let label = &attached.attachment.label;
        let warnings = attached.warnings();
        let lines = warnings.iter().map(|warning| format!("warning: network {label:?}: {warning}\n"));
        // What cannot be told there keeps nothing from being attached.
        drop(io::stderr().lock().write_all(lines.collect::<String>().as_bytes()));
    }
    let rows: Vec<Row> = made.iter().map(Row::made).collect();
    shown(attach.output, &rows, || table(&rows))
}

fn detach_all(detach: &Detach) -> Outcome<String> {
    let names: Vec<IfName> = detach.interface.iter().map(|name| name.parse()).collect::<Outcome<_>>()?;
    let netns = detach.target.netns()?;
    let machine = detach.target.stores.machine();
    let container = detach.target.known_container(machine.journal.containers()?)?;
    let before = rows(&machine.journal, std::slice::from_ref(&container));
    let absent = absent(&before, &container, &names);
    let scope = if names.is_empty() { Scope::Any } else { Scope::Interfaces(names) };
    let request = del::Detach { netns: netns.as_ref(), ..del::Detach::recorded(&container, scope) };
    super::log::start(&Logging::default());
    del::del(&machine.node(), &request).map(super::log::left_behind)?;
    Ok(gone(&before, &rows(&machine.journal, std::slice::from_ref(&container))) + &absent)
}

fn check_all(target: &Target) -> Outcome<String> {
    let machine = target.stores.machine();
    let container = target.known_container(machine.journal.containers()?)?;
    check::check(&machine.node(), &container, &Scope::Any, &[])?;
    let entries = machine.journal.entries(&container)?;
    if entries.is_empty() {
        let what = format!("nothing is attached to sandbox {:?}", container.as_str());
        return Err(Fault::new(FaultKind::UnknownContainer, what)
            .remedy("correct its name, or the --state-dir; \"manifold list\" tells what is attached"));
    }
    let own = |entry: &&Entry| matches!(entry, Entry::Whole(record) if Scope::Any.covers(&record.attachment));
    Ok(held(&entries.iter().filter(own).map(Row::entry).collect::<Vec<_>>()))
}

/// What the journal holds of some sandboxes.
fn rows(journal: &FileJournal, containers: &[ContainerId]) -> Vec<Row> {
    let mut rows = Vec::new();
    for container in containers {
        rows.extend(journal.told(container).iter().map(Row::entry));
    }
    rows
}

fn explain(attach: &Attach) -> Outcome<String> {
    let machine = attach.target.stores.machine();
    let mut text = String::new();
    let plans = foresee::foresee(&machine.node(), attach.attachments()?)?;
    for Foreseen { attachment, steps, warnings } in &plans {
        writeln!(text, "{}, on network {}:", attachment.owner.ifname, attachment.label).unwrap_or_default();
        for (number, step) in (1..).zip(steps) {
            writeln!(text, "  {number}. {step}").unwrap_or_default();
        }
        warnings.iter().for_each(|warning| writeln!(text, "  warning: {warning}").unwrap_or_default());
    }
    shown(attach.output, &plans, || text.trim_end().to_owned())
}

fn list_all(list: &List) -> Outcome<String> {
    let journal = list.stores.known_machine()?.journal;
    let rows = rows(&journal, &journal.containers()?);
    shown(list.output, &rows, || table(&rows))
}

fn status_of_all(options: &Status) -> Outcome<String> {
    let Status { list: List { stores, output }, watch } = options;
    let machine = stores.machine();
    if *watch {
        return watch::run(&machine, &stores.state_dir, *output).map(|()| String::new());
    }
    let views = status::views(&machine)?;
    shown(*output, &views, || status::table(&views))
}

/// Keeps the sandboxes whose network namespace is there, and collects the rest.
fn prune(stores: &Stores) -> Outcome<String> {
    let machine = stores.known_machine()?;
    let all = || machine.journal.containers().map(|all| rows(&machine.journal, &all));
    let before = all()?;
    gc::gc(&machine.node(), &Scope::Any, gc::Valid::Living, &gc::Audience::default())?;
    let text = gone(&before, &all()?);
    Ok(if text.is_empty() { "nothing to detach\n".to_owned() } else { text })
}

fn shown<T: Serialize + ?Sized>(
    output: Output,
    value: &T,
    table: impl FnOnce() -> String,
) -> Outcome<String> {
    let mut text = match output {
        Output::Table => table(),
        Output::Json => serde_json::to_string_pretty(value)
            .map_err(|cause| Fault::new(FaultKind::Decode, "cannot print JSON").because(cause))?,
    };
    text.push('\n');
    Ok(text)
}
