//! The words of the command line, and what they mean.

use std::io;
use std::path::{Path, PathBuf};

use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum};

use crate::engine::ports::Networks;
use crate::front::context::Context;
use crate::front::machine::Machine;
use crate::front::sockets::Offer;
use crate::front::wish::select;
use crate::front::{daemon, install};
use crate::host::directory::Directory;
use crate::model::fault::{Fault, Outcome};
use crate::model::settings::{self, Places, Rules, Switches};
use crate::model::{Attachment, CniVersion, ContainerId, FaultKind, NetnsPath, Object};
use crate::plan::resolve::{First, Sandbox, Wish, resolve};

/// What a first look at the program shows to do with it.
const EXAMPLES: &str = "\
Try:
  manifold doctor                                      what is in the way of pods on this node
  manifold status --watch                              what is attached, again whenever it changes
  manifold explain --netns pod1 --networks storage     what attach would do
  manifold attach --netns pod1 --networks storage      the network \"storage\" of /etc/cni/multus/net.d
  manifold detach --netns pod1

Exit codes: 0 done, 1 failed, 2 wrong usage.";
const SELECTIONS: &str = "\
Networks are selected as in the annotation k8s.v1.cni.cncf.io/networks:
  --networks storage,lab@lab0                          two networks, the second as interface lab0
  --networks '[{\"name\": \"storage\", \"ips\": [\"192.168.50.7/24\"]}]'";

/// Gives network namespaces several interfaces. As a CNI plugin it is called by a container runtime, with CNI_COMMAND
/// set; these commands do the same by hand.
#[derive(Parser)]
#[command(name = "manifold", version, disable_version_flag = true, max_term_width = 100, after_help = EXAMPLES)]
pub(super) struct Cli {
    /// Print version
    #[arg(short = 'V', visible_short_alias = 'v', long, action = ArgAction::Version)]
    version: Option<bool>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Attach a network namespace to networks: all of them, or none
    #[command(mut_arg("netns", |netns| netns.required(true)), after_help = SELECTIONS)]
    Attach(Attach),
    /// Detach a sandbox from its networks; says so, and succeeds, where there is nothing to detach
    #[command(group = sandbox())]
    Detach(Detach),
    /// Show what attach would do, step by step, and touch nothing
    #[command(mut_arg("netns", |netns| netns.required(true)), after_help = SELECTIONS)]
    Explain(Attach),
    /// Tell whether what was attached is still as it was made
    #[command(group = sandbox())]
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
    /// Print the version of this program; as a CNI plugin it tells those of the protocol
    Version,
}

#[derive(Args)]
#[command(group(ArgGroup::new("what").args(["networks", "default"]).required(true).multiple(true)))]
pub(super) struct Attach {
    /// Networks to attach, such as "a,b@net7"
    #[arg(long, value_name = "SELECTION", default_value = "", hide_default_value = true)]
    pub(super) networks: String,
    /// The network of the default interface
    #[arg(long, value_name = "NAME")]
    pub(super) default: Option<String>,
    /// The name of the default interface
    #[arg(long, value_name = "NAME", default_value = "eth0")]
    pub(super) ifname: String,
    #[command(flatten)]
    pub(super) target: Target,
    /// Directory of NetworkAttachmentDefinitions (YAML or JSON) and CNI configuration files
    #[arg(long, value_name = "DIR", default_value = settings::NETWORKS_DIR, value_parser = absolute, help_heading = PLACES)]
    pub(super) networks_dir: PathBuf,
    /// The socket of Open vSwitch's database
    #[arg(long, value_name = "PATH", default_value = settings::OVSDB_SOCKET, value_parser = absolute, help_heading = PLACES)]
    pub(super) ovsdb_socket: PathBuf,
    /// The socket of VPP's API
    #[arg(long, value_name = "PATH", default_value = settings::VPP_SOCKET, value_parser = absolute, help_heading = PLACES)]
    pub(super) vpp_socket: PathBuf,
    /// Directory of short links to the directories of sockets
    #[arg(long, value_name = "DIR", default_value = settings::LINK_DIR, value_parser = absolute, help_heading = PLACES)]
    pub(super) link_dir: PathBuf,
    /// How to print what was done
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Output,
}

#[derive(Args)]
pub(super) struct Doctor {
    /// Where the container runtime looks for the configuration of its network
    #[arg(long, value_name = "DIR", default_value = settings::CONF_DIR, value_parser = absolute, help_heading = PLACES)]
    pub(super) conf_dir: PathBuf,
    /// Directory of records, if not the one that configuration names
    #[arg(long, value_name = "DIR", value_parser = absolute, help_heading = PLACES)]
    pub(super) state_dir: Option<PathBuf>,
    /// Directory of plugins, if not the one that configuration names
    #[arg(long, value_name = "DIR", value_parser = absolute, help_heading = PLACES)]
    pub(super) bin_dir: Option<PathBuf>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Output,
}

#[derive(Args)]
pub(super) struct Daemon {
    /// The daemon's configuration. Where the default file is not there, all keys have their defaults
    #[arg(long, short, value_name = "FILE", default_value = daemon::CONFIG)]
    pub(super) config: PathBuf,
}

#[derive(Args)]
pub(super) struct Detach {
    #[command(flatten)]
    pub(super) target: Target,
    /// Only this interface; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(super) interface: Vec<String>,
}

#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    pub(super) stores: Stores,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Output,
}

#[derive(Args)]
pub(super) struct Status {
    #[command(flatten)]
    pub(super) list: List,
    /// Show it anew whenever records change, until it is told to stop (Ctrl-C); as JSON, a line each time
    #[arg(short, long)]
    pub(super) watch: bool,
}

#[derive(Args)]
pub(super) struct Target {
    /// The network namespace: a path, or the name of one made by "ip netns add"
    #[arg(long, value_name = "NAME|PATH")]
    pub(super) netns: Option<String>,
    /// The sandbox's id; taken from the name of the network namespace if absent. Of one that is attached, detach and
    /// check take the beginning as well, as status shows it
    #[arg(long, value_name = "ID")]
    pub(super) container_id: Option<String>,
    #[command(flatten)]
    pub(super) stores: Stores,
}

#[derive(Args)]
pub(super) struct Stores {
    /// Directory of records
    #[arg(long, value_name = "DIR", default_value = settings::STATE_DIR, value_parser = absolute, help_heading = PLACES)]
    pub(super) state_dir: PathBuf,
    /// Directory of plugins' cached results
    #[arg(long, value_name = "DIR", default_value = settings::CACHE_DIR, value_parser = absolute, help_heading = PLACES)]
    pub(super) cache_dir: PathBuf,
    /// Directory of plugins
    #[arg(long, value_name = "DIR", default_value = settings::BIN_DIR, value_parser = absolute, help_heading = PLACES)]
    pub(super) bin_dir: PathBuf,
}

#[derive(Clone, Copy, Default, ValueEnum)]
pub(in crate::front) enum Output {
    #[default]
    Table,
    Json,
}

/// The options that have the defaults of Manifold's configuration.
const PLACES: &str = "Places";

/// What a command needs that is about one sandbox: its id, or a namespace whose name it has.
fn sandbox() -> ArgGroup {
    ArgGroup::new("sandbox").args(["netns", "container_id"]).required(true).multiple(true)
}

/// A path as it is kept on record: whoever reads it there may be anywhere.
fn absolute(text: &str) -> io::Result<PathBuf> {
    std::path::absolute(text)
}

impl Attach {
    /// The attachments that are asked for.
    ///
    /// # Errors
    /// A network that is not there or is none; no network namespace; nothing is asked for.
    pub(super) fn attachments(&self) -> Outcome<Vec<Attachment>> {
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
            called: None,
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
            cluster: None,
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
    pub(super) fn netns(&self) -> Outcome<Option<NetnsPath>> {
        let path = self
            .netns
            .as_ref()
            .map(|text| if text.contains('/') { text.clone() } else { format!("/run/netns/{text}") });
        path.map(NetnsPath::try_from).transpose()
    }

    /// The sandbox: by its id, else by the name of its network namespace.
    pub(super) fn container(&self) -> Outcome<ContainerId> {
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

    /// The sandbox, among those that something is attached to; an id that is given may be the beginning of one's. An id
    /// that none has stands for itself.
    ///
    /// # Errors
    /// Several begin so.
    pub(super) fn known_container(&self, known: Vec<ContainerId>) -> Outcome<ContainerId> {
        let given = self.container()?;
        if self.container_id.is_none() || known.contains(&given) {
            return Ok(given);
        }
        let begun: Vec<ContainerId> =
            known.into_iter().filter(|id| id.as_str().starts_with(given.as_str())).collect();
        match begun.as_slice() {
            [] => Ok(given),
            [one] => Ok(one.clone()),
            several => {
                let names: Vec<&str> = several.iter().map(ContainerId::as_str).collect();
                let what = format!("{:?} is the beginning of several sandboxes", given.as_str());
                Err(Fault::new(FaultKind::Environment, what)
                    .because(names.join(", "))
                    .remedy("give more of the id"))
            }
        }
    }
}

impl Stores {
    pub(super) fn machine(&self) -> Machine {
        Machine::new(&self.places(), &[], &Context::default())
    }

    /// The same, for what looks through all records: another directory than the usual one is there, or misspelt.
    ///
    /// # Errors
    /// It is not there.
    pub(super) fn known_machine(&self) -> Outcome<Machine> {
        if self.state_dir.is_dir() || self.state_dir == Path::new(settings::STATE_DIR) {
            return Ok(self.machine());
        }
        let what = format!("the directory of records {:?} is not there", self.state_dir);
        Err(Fault::new(FaultKind::Absent, what)
            .remedy("correct --state-dir: it is the one that attach had, or \"stateDir\""))
    }

    pub(super) fn places(&self) -> Places {
        Places {
            bin_dir: self.bin_dir.clone(),
            networks_dir: settings::NETWORKS_DIR.into(),
            cache_dir: self.cache_dir.clone(),
            state_dir: self.state_dir.clone(),
            ..Places::default()
        }
    }
}
