//! What the runtime said, and what it means: a [`Call`] becomes a [`Request`], once (CNI specification 1.1.0, section 2).
//!
//! What a verb needs is in its request and is not optional; nothing later looks at variables or standard input again.
//! DEL is forgiving: whatever it can do without may be wrong, because a DEL that is refused is repeated for ever.

mod config;
#[cfg(test)]
mod tests;
mod valid;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

pub use config::Config;
pub use valid::{MAX_VALID, ValidList};

use super::args::CniArgs;
use super::attachment::Owner;
use super::fault::{Fault, FaultKind, Outcome};
use super::ids::NetnsPath;
use super::version::CniVersion;

/// The verbs of CNI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Attach a container to a network.
    Add,
    /// Detach it.
    Del,
    /// See whether it is still attached.
    Check,
    /// Remove whatever belongs to no valid attachment.
    Gc,
    /// Tell whether an ADD could be served.
    Status,
    /// Tell which versions are spoken.
    Version,
}

impl Command {
    /// Every verb.
    pub const ALL: [Self; 6] = [Self::Add, Self::Del, Self::Check, Self::Gc, Self::Status, Self::Version];

    /// As `CNI_COMMAND` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    /// The variables without which the verb cannot be served.
    fn required(self) -> &'static [&'static str] {
        match self {
            Self::Add | Self::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
            Self::Del => &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
            Self::Gc | Self::Status => &["CNI_PATH"],
            Self::Version => &[],
        }
    }

    /// The oldest version that has the verb.
    fn since(self) -> CniVersion {
        match self {
            Self::Add | Self::Del | Self::Version => CniVersion::V0_1_0,
            Self::Check => CniVersion::V0_4_0,
            Self::Gc | Self::Status => CniVersion::V1_1_0,
        }
    }
}

impl FromStr for Command {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            Fault::new(FaultKind::Environment, format!("CNI_COMMAND {text:?} is not known"))
                .remedy(format!("use one of {known}"))
        })
    }
}

/// What the runtime said, unchecked: the `CNI_*` variables, and the bytes of standard input.
#[derive(Debug, Clone, Default)]
pub struct Call {
    variables: BTreeMap<String, String>,
    stdin: Vec<u8>,
}

/// What the runtime asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Attach this sandbox.
    Add(Sandbox, Config),
    /// Detach this sandbox, whether or not its network namespace is still known.
    Del(Leaving, Config),
    /// See whether this sandbox is still attached.
    Check(Sandbox, Config),
    /// Remove whatever belongs to none of these attachments.
    Gc(Config, ValidList),
    /// Tell whether an ADD could be served.
    Status(Config),
    /// Tell which versions are spoken: print [`super::version::version_reply`].
    Version,
}

impl Request {
    /// The configuration, of a verb that has one.
    pub fn config(&self) -> Option<&Config> {
        match self {
            Self::Add(_, config)
            | Self::Del(_, config)
            | Self::Check(_, config)
            | Self::Gc(config, _)
            | Self::Status(config) => Some(config),
            Self::Version => None,
        }
    }
}

/// A sandbox, as ADD and CHECK name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// The sandbox's id, and the interface to make in it.
    pub owner: Owner,
    /// Its network namespace.
    pub netns: NetnsPath,
    /// `CNI_ARGS`.
    pub args: CniArgs,
}

/// A sandbox, as DEL names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// The sandbox's id, and the interface in it.
    pub owner: Owner,
    /// Its network namespace, if the runtime still names one.
    pub netns: Option<NetnsPath>,
    /// What could be read of `CNI_ARGS`.
    pub args: CniArgs,
}

impl Call {
    /// A call with these variables and nothing on standard input yet; those not of CNI are ignored.
    pub fn new(variables: BTreeMap<String, String>) -> Self {
        Self { variables, stdin: Vec::new() }
    }

    /// The call with the bytes of standard input. More than [`MAX_BYTES`](super::object::MAX_BYTES) are refused later,
    /// so a door need read only one more than that.
    #[must_use]
    pub fn with_stdin(self, stdin: Vec<u8>) -> Self {
        Self { stdin, ..self }
    }

    /// The verb.
    ///
    /// # Errors
    /// None, or one that is not known ([`FaultKind::Environment`]).
    pub fn command(&self) -> Outcome<Command> {
        self.variable("CNI_COMMAND").ok_or_else(|| missing(&["CNI_COMMAND"]))?.parse()
    }

    /// What the call means. For [`Command::Version`] standard input need not have been read.
    ///
    /// # Errors
    /// In this order: variables that are missing ([`FaultKind::Environment`], all of them at once); standard input that
    /// is no JSON object ([`FaultKind::Decode`]) or has no valid name ([`FaultKind::Config`]); variables that are wrong
    /// ([`FaultKind::Environment`]); a version that is not spoken, or that does not have the verb
    /// ([`FaultKind::Version`]); other values of the configuration that are wrong.
    pub fn request(&self) -> Outcome<Request> {
        let command = self.command()?;
        self.refuse_missing(command)?;
        match command {
            Command::Version => Ok(Request::Version),
            Command::Add => self.checked(command).map(|(sandbox, config)| Request::Add(sandbox, config)),
            Command::Check => self.checked(command).map(|(sandbox, config)| Request::Check(sandbox, config)),
            Command::Del => self.leaving(),
            Command::Gc => {
                let config = self.config(command)?;
                let valid = ValidList::read(&config)?;
                Ok(Request::Gc(config, valid))
            }
            Command::Status => self.config(command).map(Request::Status),
        }
    }

    /// The sandbox and the configuration of ADD and CHECK.
    fn checked(&self, command: Command) -> Outcome<(Sandbox, Config)> {
        let head = config::Head::read(&self.stdin)?;
        let sandbox = Sandbox {
            owner: self.owner()?,
            netns: self.text("CNI_NETNS").parse()?,
            args: self.text("CNI_ARGS").parse()?,
        };
        let mut config = head.strict(command, self.plugin_dirs())?;
        config.read_prev_result()?;
        Ok((sandbox, config))
    }

    fn leaving(&self) -> Outcome<Request> {
        let head = config::Head::read(&self.stdin)?;
        let leaving = Leaving {
            owner: self.owner()?,
            netns: self.text("CNI_NETNS").parse().ok(),
            args: CniArgs::what_is_readable(self.text("CNI_ARGS")),
        };
        Ok(Request::Del(leaving, head.forgiving(self.plugin_dirs())))
    }

    /// The configuration of GC and STATUS, which have no previous result.
    fn config(&self, command: Command) -> Outcome<Config> {
        config::Head::read(&self.stdin)?.strict(command, self.plugin_dirs())
    }

    /// A variable that is there and not empty.
    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &str) -> &str {
        self.variable(name).unwrap_or_default()
    }

    fn refuse_missing(&self, command: Command) -> Outcome<()> {
        let needed = command.required().iter().copied();
        let absent: Vec<&str> = needed.filter(|name| self.variable(name).is_none()).collect();
        if absent.is_empty() { Ok(()) } else { Err(missing(&absent)) }
    }

    fn owner(&self) -> Outcome<Owner> {
        Owner::parse(self.text("CNI_CONTAINERID"), self.text("CNI_IFNAME"))
    }

    fn plugin_dirs(&self) -> Vec<PathBuf> {
        self.text("CNI_PATH").split(':').filter(|dir| !dir.is_empty()).map(PathBuf::from).collect()
    }
}

fn missing(names: &[&str]) -> Fault {
    Fault::new(FaultKind::Environment, format!("variables are missing: {}", names.join(", ")))
        .remedy("let the container runtime set them, as section 2 of the CNI specification says")
}
