//! The Probe of a real node: netlink and a few files, read only.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::rc::Rc;
use std::sync::OnceLock;

use super::exec::Plugins;
use super::file;
use super::netlink::link::{self, Seen};
use super::netlink::{Socket, Sockets, route};
use super::ovsdb::OpenSwitches;
use super::sysfs::Sysfs;
use super::vf_registry::VfRegistry;
use super::vpp::OpenVpps;
use crate::engine::ports::{NetnsState, Probe};
use crate::model::fault::{Fault, Outcome};
use crate::model::{FaultKind, NetnsPath};
use crate::plan::facts::{Answer, LinkFacts, Place, Question};

/// Longest file read, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// The boot that this process runs in: it sees no other.
static BOOT: OnceLock<String> = OnceLock::new();

mod vf;

/// Looks at this node.
pub struct HostProbe {
    sockets: Rc<Sockets>,
    plugins: Rc<Plugins>,
    sysfs: Sysfs,
    registry: VfRegistry,
    switches: Rc<OpenSwitches>,
    vpps: Rc<OpenVpps>,
}

impl HostProbe {
    /// A probe that shares the call's sockets, and looks for these plugins.
    pub fn new(sockets: Rc<Sockets>, plugins: Rc<Plugins>) -> Self {
        let (sysfs, registry) = (Sysfs::default(), VfRegistry::default());
        Self { sockets, plugins, sysfs, registry, switches: Rc::default(), vpps: Rc::default() }
    }

    /// The same, which shares the call's connections to switches.
    #[must_use]
    pub fn with_switches(self, switches: Rc<OpenSwitches>, vpps: Rc<OpenVpps>) -> Self {
        Self { switches, vpps, ..self }
    }

    /// The same, which looks for devices in this tree and finds the account of VFs here.
    #[must_use]
    pub fn with_devices(self, sysfs: Sysfs, registry: VfRegistry) -> Self {
        Self { sysfs, registry, ..self }
    }

    fn ask(
        &self,
        place: Place,
        netns: Option<&NetnsPath>,
        find: impl FnOnce(&mut Socket) -> Outcome<Option<Seen>>,
    ) -> Outcome<Answer> {
        let seen = match (place, netns) {
            (Place::Host, _) => self.sockets.host(find)?,
            (Place::Pod, Some(path)) => self.sockets.pod(path, |pod| find(&mut pod.socket))?,
            (Place::Pod, None) => None,
        };
        Ok(seen.and_then(facts).map_or(Answer::Absent, Answer::Link))
    }
}

impl Probe for HostProbe {
    fn netns(&self, path: &NetnsPath) -> Outcome<NetnsState> {
        self.sockets.look(path)
    }

    fn answer(&self, question: &Question, netns: Option<&NetnsPath>) -> Outcome<Answer> {
        match question {
            Question::Link(place, name) => {
                self.ask(*place, netns, |socket| link::by_name(socket, name.as_str()))
            }
            Question::DefaultLink(place) => {
                self.ask(*place, netns, |socket| match route::default_link(socket)? {
                    Some(index) => link::by_index(socket, index),
                    None => Ok(None),
                })
            }
            Question::Program(program) => self.plugins.find_executable(program).map(|_| Answer::Present),
            Question::ResolvConf(path) => match named(path) {
                Ok(text) => Ok(Answer::Text(text)),
                Err(cause) if is_missing(&cause) => Ok(Answer::Absent),
                Err(cause) => Err(unreadable(path, cause)),
            },
            Question::Vf(vf) => self.vf(*vf),
            Question::Switch(database, bridge) => self.switches.survey(database, bridge).map(Answer::Switch),
            Question::Vpp(api, bridge) => self.vpps.survey(api, Some(*bridge)).map(Answer::Vpp),
            Question::Group(name) => group(name),
        }
    }

    fn boot_id(&self) -> Outcome<String> {
        if let Some(id) = BOOT.get() {
            return Ok(id.clone());
        }
        let id = text(Path::new("/proc/sys/kernel/random/boot_id"))?;
        Ok(BOOT.get_or_init(|| id.trim().to_owned()).clone())
    }
}

/// The number of a group, as the node's own file has it (`group(5)`): other sources of names need a library that a
/// static program has not.
fn group(name: &str) -> Outcome<Answer> {
    let number = |line: &str| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(fields.nth(1)?.parse().ok()).flatten()
    };
    let groups = text(Path::new("/etc/group"))?;
    Ok(groups.lines().find_map(number).map_or(Answer::Absent, Answer::Group))
}

fn facts(seen: Seen) -> Option<LinkFacts> {
    let Seen { index, mac, mtu, group, .. } = seen;
    Some(LinkFacts { name: seen.name.parse().ok()?, index, mac, mtu, group })
}

fn text(path: &Path) -> Outcome<String> {
    read(path).map_err(|cause| unreadable(path, cause))
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}

fn named(path: &Path) -> io::Result<String> {
    String::from_utf8(file::read_named(path, MAX_FILE)?).map_err(io::Error::other)
}

fn is_missing(cause: &io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn unreadable(path: &Path, cause: io::Error) -> Fault {
    Fault::new(FaultKind::Io, format!("cannot read {path:?}"))
        .because(cause)
        .remedy("see that it is a text file, and that Manifold may read it")
}
