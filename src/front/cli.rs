//! The command line: networks from a directory, without a container runtime or a cluster.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use super::context::Context;
use super::machine::Machine;
use super::sockets::Offer;
use super::table::{Row, gone, held, table};
use super::wish::select;
use super::{daemon, doctor, install, status, watch};
use crate::engine::ports::{Entry, Journal, Networks};
use crate::engine::scope::Scope;
use crate::engine::{add, check, del, gc, survey};
use crate::host::directory::Directory;
use crate::host::journal::FileJournal;
use crate::model::fault::{Fault, Outcome};
use crate::model::settings::{self, Logging, Places, Rules, Switches};
use crate::model::{Attachment, CniVersion, ContainerId, FaultKind, IfName, NetnsPath, Object};
use crate::plan::resolve::{First, Sandbox, Wish, resolve};
use crate::plan::step::Step;

/// Gives network namespaces several interfaces. As a CNI plugin it is called by a container runtime, with CNI_COMMAND
/// set; these commands do the same by hand.
#[derive(Parser)]
#[command(name = "manifold", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Attach a network namespace to networks: all of them, or none
    Attach(Attach),
    /// Detach a sandbox from its networks; succeeds where there is nothing to detach
    Detach(Detach),
    /// Show what attach would do, step by step, and touch nothing
    Explain(Attach),
    /// Hold what was attached against the node
    Check(Target),
    /// List what is attached on this node
    List(List),
    /// Show the pods of this node with their attachments, devices, addresses and ages
    Status(Status),
    /// Detach every sandbox whose network namespace is gone, and finish what a crash left unfinished
    Prune(Stores),
    /// Look for what is in the way of pods on this node, and say what to do about it
    Doctor(Doctor),
    /// Write the configuration that the container runtime takes, around the default network's, and put the programs that
    /// it calls among its plugins
    Install(install::Options),
    /// Serve the calls that manifold-shim, and the shim and controllers of Multus, pass on
    Daemon(Daemon),
}

#[derive(Args)]
struct Attach {
    #[command(flatten)]
    target: Target,
    /// Networks to attach, as in the annotation k8s.v1.cni.cncf.io/networks: "a,b@net7", or a JSON list
    #[arg(long, default_value = "", hide_default_value = true)]
    networks: String,
    /// The network of the default interface
    #[arg(long, value_name = "NAME")]
    default: Option<String>,
    /// The name of the default interface
    #[arg(long, default_value = "eth0")]
    ifname: String,
    /// Directory of NetworkAttachmentDefinitions (YAML or JSON) and CNI configuration files
    #[arg(long, value_name = "DIR", default_value = settings::NETWORKS_DIR)]
    networks_dir: PathBuf,
    /// The socket of Open vSwitch's database
    #[arg(long, value_name = "PATH", default_value = settings::OVSDB_SOCKET)]
    ovsdb_socket: PathBuf,
    /// The socket of VPP's API
    #[arg(long, value_name = "PATH", default_value = settings::VPP_SOCKET)]
    vpp_socket: PathBuf,
    /// Directory of short links to the directories of sockets
    #[arg(long, value_name = "DIR", default_value = settings::LINK_DIR)]
    link_dir: PathBuf,
    /// How to print what was done
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Args)]
struct Doctor {
    /// Where the container runtime looks for the configuration of its network
    #[arg(long, value_name = "DIR", default_value = settings::CONF_DIR)]
    conf_dir: PathBuf,
    #[command(flatten)]
    stores: Stores,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Args)]
struct Daemon {
    /// The daemon's configuration; one that is not there has all defaults
    #[arg(long, short, value_name = "FILE", default_value = "/etc/cni/net.d/multus.d/daemon-config.json")]
    config: PathBuf,
}

#[derive(Args)]
struct Detach {
    #[command(flatten)]
    target: Target,
    /// Only this interface; may be given several times
    #[arg(long, value_name = "NAME")]
    interface: Vec<String>,
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    stores: Stores,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Args)]
struct Status {
    #[command(flatten)]
    list: List,
    /// Show it anew whenever records change, until it is told to stop (Ctrl-C); as JSON, a line each time
    #[arg(short, long)]
    watch: bool,
}

#[derive(Args)]
struct Target {
    /// The network namespace: a path, or the name of one made by "ip netns add"
    #[arg(long, value_name = "PATH")]
    netns: Option<String>,
    /// The sandbox's id; taken from the name of the network namespace if absent
    #[arg(long, value_name = "ID")]
    container_id: Option<String>,
    #[command(flatten)]
    stores: Stores,
}

#[derive(Args)]
struct Stores {
    /// Directory of records
    #[arg(long, value_name = "DIR", default_value = settings::STATE_DIR)]
    state_dir: PathBuf,
    /// Directory of plugins' cached results
    #[arg(long, value_name = "DIR", default_value = settings::CACHE_DIR)]
    cache_dir: PathBuf,
    /// Directory of plugins
    #[arg(long, value_name = "DIR", default_value = settings::BIN_DIR)]
    bin_dir: PathBuf,
}

#[derive(Clone, Copy, Default, ValueEnum)]
pub(super) enum Output {
    /// A table
    #[default]
    Table,
    /// JSON
    Json,
}

/// Runs the command line. The exit code is 0 for success, 1 for a failure, 2 for wrong words.
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
    if let Some(advice) = fault.advice() {
        writeln!(text, "  remedy: {advice}").unwrap_or_default();
    }
    for other in fault.companions() {
        writeln!(text, "  also: {other}").unwrap_or_default();
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
    };
    text.map(|text| (text, ExitCode::SUCCESS))
}

/// The exit code is 1 where something keeps every pod from its networks.
fn look(options: &Doctor) -> Outcome<(String, ExitCode)> {
    let findings = doctor::examine(&options.conf_dir, options.stores.places());
    let text = shown(options.output, &findings, || doctor::table(&findings))?;
    Ok((text, if doctor::is_bad(&findings) { ExitCode::FAILURE } else { ExitCode::SUCCESS }))
}

fn attach_all(attach: &Attach) -> Outcome<String> {
    let attachments = attach.attachments()?;
    let made = add::add(&attach.target.stores.machine().node(), attachments)?;
    let rows: Vec<Row> = made.iter().map(Row::made).collect();
    shown(attach.output, &rows, || table(&rows))
}

fn detach_all(detach: &Detach) -> Outcome<String> {
    let names: Vec<IfName> = detach.interface.iter().map(|name| name.parse()).collect::<Outcome<_>>()?;
    let container = detach.target.container()?;
    let netns = detach.target.netns()?;
    let machine = detach.target.stores.machine();
    let before = rows(&machine.journal, std::slice::from_ref(&container))?;
    let request = del::Detach {
        container: &container,
        scope: if names.is_empty() { Scope::Any } else { Scope::Interfaces(names) },
        configured: &Vec::new,
        netns: netns.as_ref(),
        unrecorded: del::Unrecorded::Skip,
    };
    super::log::start(&Logging::default());
    del::del(&machine.node(), &request).map(super::log::left_behind)?;
    Ok(gone(&before, &rows(&machine.journal, std::slice::from_ref(&container))?))
}

fn check_all(target: &Target) -> Outcome<String> {
    let container = target.container()?;
    let machine = target.stores.machine();
    check::check(&machine.node(), &container, &Scope::Any, &[])?;
    let entries = machine.journal.entries(&container)?;
    let own = |entry: &&Entry| matches!(entry, Entry::Whole(record) if Scope::Any.covers(&record.attachment));
    Ok(held(&entries.iter().filter(own).map(Row::entry).collect::<Vec<_>>()))
}

/// What the journal holds of some sandboxes.
fn rows(journal: &FileJournal, containers: &[ContainerId]) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for container in containers {
        rows.extend(journal.entries(container)?.iter().map(Row::entry));
    }
    Ok(rows)
}

/// The plan of one attachment, as JSON.
#[derive(Serialize)]
struct Planned<'a> {
    attachment: &'a Attachment,
    steps: &'a [Step],
}

fn explain(attach: &Attach) -> Outcome<String> {
    let machine = attach.target.stores.machine();
    let mut text = String::new();
    let mut plans = Vec::new();
    for attachment in attach.attachments()? {
        let read = survey::read(attachment)?;
        let steps = read.plan(&machine.node())?;
        let attachment = read.attachment;
        writeln!(text, "{}, on network {}:", attachment.owner.ifname, attachment.label).unwrap_or_default();
        for (number, step) in (1..).zip(&steps) {
            writeln!(text, "  {number}. {step}").unwrap_or_default();
        }
        plans.push((attachment, steps));
    }
    let planned: Vec<Planned<'_>> =
        plans.iter().map(|(attachment, steps)| Planned { attachment, steps }).collect();
    shown(attach.output, &planned, || text.trim_end().to_owned())
}

fn list_all(list: &List) -> Outcome<String> {
    let journal = list.stores.machine().journal;
    let rows = rows(&journal, &journal.containers()?)?;
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
    let machine = stores.machine();
    let all = || rows(&machine.journal, &machine.journal.containers()?);
    let before = all()?;
    gc::gc(&machine.node(), &Scope::Any, gc::Valid::Living, &[])?;
    Ok(gone(&before, &all()?))
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

impl Attach {
    fn attachments(&self) -> Outcome<Vec<Attachment>> {
        let netns = self.target.netns()?.ok_or_else(|| {
            Fault::new(FaultKind::Environment, "no network namespace is given")
                .remedy("name one with --netns")
        })?;
        let directory = Directory::new(&self.networks_dir, CniVersion::V0_1_0);
        let default = match &self.default {
            None => None,
            Some(name) => Some(First {
                named: directory.network(None, name)?,
                ifname: self.ifname.parse()?,
                capabilities: Object::default(),
                selection: None,
            }),
        };
        let wish = Wish {
            default,
            selected: select(&directory, &self.networks, None, |_| Ok(()))?,
            ..Wish::default()
        };
        let sandbox = Sandbox {
            container: self.target.container()?,
            netns: Some(netns),
            args: Default::default(),
            standalone: None,
            in_place: false,
            device_info_dir: settings::DEVICE_INFO_DIR.into(),
        };
        let mut attachments = resolve(&sandbox, wish)?;
        let switches = Switches {
            ovsdb: self.ovsdb_socket.clone(),
            vpp: self.vpp_socket.clone(),
            link_dir: self.link_dir.clone(),
            ..Switches::default()
        };
        let places = self.target.stores.places();
        let offer = Offer {
            switches: &switches,
            rules: &Rules::default(),
            places: &places,
            namespace: "",
            pod: None,
        };
        offer.lay(&mut attachments);
        if attachments.is_empty() {
            return Err(Fault::new(FaultKind::Config, "no network is given")
                .remedy("name some with --networks or --default"));
        }
        Ok(attachments)
    }
}

impl Target {
    /// The network namespace; a bare name is one of `ip-netns(8)`.
    fn netns(&self) -> Outcome<Option<NetnsPath>> {
        let path = self
            .netns
            .as_ref()
            .map(|text| if text.contains('/') { text.clone() } else { format!("/run/netns/{text}") });
        path.map(NetnsPath::try_from).transpose()
    }

    fn container(&self) -> Outcome<ContainerId> {
        if let Some(id) = &self.container_id {
            return id.parse();
        }
        let netns = self.netns()?;
        let name = netns.as_ref().and_then(|path| path.as_path().file_name()).and_then(|name| name.to_str());
        let missing = || {
            Fault::new(FaultKind::Environment, "no sandbox is given")
                .remedy("name one with --netns or --container-id")
        };
        name.ok_or_else(missing)?.parse()
    }
}

impl Stores {
    fn machine(&self) -> Machine {
        Machine::new(&self.places(), &[], &Context::default())
    }

    fn places(&self) -> Places {
        Places {
            bin_dir: self.bin_dir.clone(),
            networks_dir: settings::NETWORKS_DIR.into(),
            cache_dir: self.cache_dir.clone(),
            state_dir: self.state_dir.clone(),
            ..Places::default()
        }
    }
}
