//! What is in the way of a pod on this node, looked for before a pod finds it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use comfy_table::{Table, presets};
use nix::unistd::geteuid;
use serde::Serialize;

use super::context::Context;
use super::machine::Machine;
use super::serve;
use crate::engine::ports::{Entry, Journal, NetnsState, Patience};
use crate::engine::record::Record;
use crate::host::netlink::{Socket, link};
use crate::model::call::Call;
use crate::model::fault::{Fault, Outcome};
use crate::model::settings::Settings;
use crate::model::thick::SOCKET_DIR;
use crate::model::{ContainerId, FaultKind, Object, object};
use crate::plan::step::{LinkKind, MacvlanMode, VlanProtocol};

/// Longest configuration file looked into, in bytes.
const MAX_CONF: u64 = object::MAX_BYTES as u64;

/// How something was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Health {
    /// As it should be, or not in use.
    Ok,
    /// Some pods will miss it.
    Warning,
    /// No pod gets its networks.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    /// What was looked at.
    what: &'static str,
    /// How it is.
    health: Health,
    /// What was found.
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// Looks at everything. `conf_dir` is where the container runtime looks for its network's configuration; `stores` says
/// where things are if there is none there.
pub(super) fn examine(conf_dir: &Path, fallback: &super::cli::Stores) -> Vec<Finding> {
    let mut findings = vec![rights()];
    let first = first_conf(conf_dir);
    let settings = first.as_ref().ok().and_then(|conf| conf.settings.as_ref());
    let places = settings.map_or_else(|| fallback.places(), |settings| settings.places.clone());
    findings.push(first.as_ref().map_or_else(|fault| bad("configuration", fault), Conf::finding));
    if let Ok(conf) = &first
        && conf.settings.is_some()
    {
        findings.push(status(conf, &places.bin_dir));
    }
    findings.extend([records(&Machine::new(&places, &[], &Context::default())), plugins(&places.bin_dir)]);
    findings.extend(kernel());
    findings.push(kubelet(&places.kubelet_dir.join("pod-resources/kubelet.sock")));
    findings.extend([
        virtual_functions(),
        huge_pages(),
        daemon(first.as_ref().is_ok_and(|conf| conf.is_shim())),
    ]);
    findings
}

/// Whether anything keeps every pod from its networks.
pub(super) fn is_bad(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.health == Health::Bad)
}

/// The findings as a table; what to do stands beneath what was found.
pub(super) fn table(findings: &[Finding]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["", "WHAT", "FOUND"]);
    for finding in findings {
        let sign = match finding.health {
            Health::Ok => "ok",
            Health::Warning => "warn",
            Health::Bad => "BAD",
        };
        let remedy = finding.remedy.iter().map(|remedy| format!("\n  {remedy}"));
        table.add_row([sign, finding.what, &format!("{}{}", finding.found, remedy.collect::<String>())]);
    }
    // The style pads every cell, the first one too.
    table.trim_fmt().lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

fn ok(what: &'static str, found: impl Into<String>) -> Finding {
    Finding { what, health: Health::Ok, found: found.into(), remedy: None }
}

fn warning(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { what, health: Health::Warning, found: found.into(), remedy: Some(remedy.into()) }
}

fn bad(what: &'static str, fault: &Fault) -> Finding {
    let remedy = fault.advice().map(str::to_owned);
    Finding { what, health: Health::Bad, found: fault.to_string(), remedy }
}

fn rights() -> Finding {
    if geteuid().is_root() {
        return ok("rights", "root");
    }
    let fault = Fault::new(FaultKind::Environment, format!("user {} is not root", geteuid()));
    bad("rights", &fault.remedy("run Manifold, and this, as root on the host"))
}

/// The configuration that a container runtime takes: the first of its directory by name.
struct Conf {
    path: PathBuf,
    kind: String,
    object: Object,
    /// Manifold's own; `None` where it is another plugin's, or names a daemon.
    settings: Option<Settings>,
}

fn first_conf(dir: &Path) -> Outcome<Conf> {
    let unreadable = |cause: std::io::Error| {
        Fault::new(FaultKind::Io, format!("cannot read {dir:?}"))
            .because(cause)
            .remedy("name the runtime's directory with --conf-dir")
    };
    let names = fs::read_dir(dir).map_err(unreadable)?.filter_map(Result::ok).map(|entry| entry.path());
    let is_conf = |path: &PathBuf| {
        path.is_file()
            && path.extension().is_some_and(|end| end == "conf" || end == "conflist" || end == "json")
    };
    let path = names.filter(is_conf).min().ok_or_else(|| {
        Fault::new(FaultKind::Config, format!("there is no configuration in {dir:?}"))
            .remedy("write one, as in the quickstart")
    })?;
    read_conf(path.clone()).map_err(|fault| fault.while_doing(format!("{path:?}")))
}

fn read_conf(path: PathBuf) -> Outcome<Conf> {
    let io = |cause| Fault::new(FaultKind::Io, "cannot read it").because(cause);
    if fs::metadata(&path).map_err(io)?.len() > MAX_CONF {
        return Err(Fault::new(FaultKind::Decode, format!("it is longer than {MAX_CONF} bytes")));
    }
    let whole = Object::parse(&fs::read(&path).map_err(io)?, "the configuration")?;
    let mut object = match whole.find("plugins") {
        None => whole.clone(),
        Some(chain) => {
            let chain: Vec<Object> = serde_json::from_str(chain.get())
                .map_err(|cause| Fault::new(FaultKind::Decode, "cannot read \"plugins\"").because(cause))?;
            chain.into_iter().next().unwrap_or_default()
        }
    };
    for key in ["name", "cniVersion"] {
        if let Some(value) = whole.find(key) {
            object.set(key, value.to_owned());
        }
    }
    let text = |key: &str| match object.find(key) {
        None => Ok(String::new()),
        Some(raw) => object::decode::<String>(raw, key),
    };
    let (kind, name) = (text("type")?, text("name")?);
    let is_own = serve::is_meta(&kind) && !kind.ends_with("-shim");
    let settings = is_own.then(|| Settings::read(&object, &name)).transpose()?;
    Ok(Conf { path, kind, object, settings })
}

impl Conf {
    fn is_shim(&self) -> bool {
        serve::is_meta(&self.kind) && self.kind.ends_with("-shim")
    }

    fn finding(&self) -> Finding {
        let Self { path, kind, .. } = self;
        if serve::is_meta(kind) {
            return ok("configuration", format!("the runtime takes {path:?}, type {kind:?}"));
        }
        let found = format!("the runtime takes {path:?}, which is of type {kind:?}");
        warning(
            "configuration",
            found,
            "give Manifold's file a name that comes before it, such as 00-manifold.conf",
        )
    }
}

/// What STATUS would answer the runtime: networks, plugins, masters and the API server, as far as every pod needs them.
fn status(conf: &Conf, bin_dir: &Path) -> Finding {
    let mut object = conf.object.clone();
    let asked = object.put("cniVersion", "1.1.0").and_then(|()| {
        let variables = [("CNI_COMMAND", "STATUS".to_owned()), ("CNI_PATH", bin_dir.display().to_string())];
        let variables = variables.map(|(key, value)| (key.to_owned(), value)).into();
        let request = Call::new(variables).with_stdin(object.to_bytes()).request()?;
        serve::serve(request, &Context::default())
    });
    match asked {
        Ok(_) => ok("STATUS", "pods can be given their networks"),
        Err(fault) => bad("STATUS", &fault),
    }
}

/// Whether records can be written, and what the journal holds.
fn records(machine: &Machine) -> Finding {
    let what = "records";
    match count(machine) {
        Err(fault) => bad(what, &fault),
        Ok(Count { broken, .. }) if broken > 0 => warning(
            what,
            format!("{broken} of them cannot be read"),
            "\"manifold list\" shows them; the runtime's next DEL of the sandbox sets them aside",
        ),
        Ok(Count { gone, .. }) if gone > 0 => warning(
            what,
            format!("{gone} attachments of sandboxes that are gone"),
            "a DEL did not come: \"manifold prune\" takes them down",
        ),
        Ok(Count { whole, .. }) => ok(what, format!("{whole} attachments, of sandboxes that are there")),
    }
}

/// How many entries of the journal are what.
#[derive(Default)]
struct Count {
    whole: usize,
    gone: usize,
    broken: usize,
}

fn count(machine: &Machine) -> Outcome<Count> {
    let probe: ContainerId = format!("doctor-{}", nix::unistd::gettid()).parse()?;
    drop(machine.journal.lock(&probe, Patience::Try)?);
    let mut count = Count::default();
    for container in machine.journal.containers()? {
        for entry in machine.journal.entries(&container)? {
            let counter = match &entry {
                Entry::Broken(..) => &mut count.broken,
                Entry::Whole(record) if is_there(machine, record) => &mut count.whole,
                Entry::Whole(_) => &mut count.gone,
            };
            *counter += 1;
        }
    }
    Ok(count)
}

/// Whether the network namespace of a record is the one it was made in.
fn is_there(machine: &Machine, record: &Record) -> bool {
    let path = record.attachment.netns.as_ref();
    let state = path.map(|path| machine.node().probe.netns(path));
    matches!(state, Some(Ok(NetnsState::There(id))) if record.netns == Some(id))
}

/// The plugins that can be run.
fn plugins(dir: &Path) -> Finding {
    let is_program = |entry: &fs::DirEntry| {
        entry.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    match entries.filter(is_program).count() {
        0 => warning(
            "plugins",
            format!("there is none in {dir:?}"),
            "only kinds made in process will work; set \"binDir\", or install the plugins",
        ),
        number => ok("plugins", format!("{number} in {dir:?}")),
    }
}

/// Which kinds of link the kernel makes.
fn kernel() -> Vec<Finding> {
    let mut socket = match Socket::open() {
        Ok(socket) => socket,
        Err(fault) => return vec![bad("netlink", &fault)],
    };
    let macvlan = LinkKind::Macvlan { mode: MacvlanMode::Bridge, bc_queue_len: None };
    let vlan = LinkKind::Vlan { id: 1, protocol: VlanProtocol::Dot1Q };
    let kinds = [("macvlan", macvlan, "macvlan"), ("vlan", vlan, "8021q")];
    let each = kinds.map(|(what, kind, module)| match link::is_made(&mut socket, &kind) {
        Ok(true) => ok(what, "the kernel makes such links"),
        Ok(false) => {
            let remedy = format!("\"modprobe {module}\", or leave such networks to other nodes");
            warning(what, "the kernel makes no such links", remedy)
        }
        Err(fault) => bad(what, &fault),
    });
    each.into()
}

fn kubelet(socket: &Path) -> Finding {
    match UnixStream::connect(socket) {
        Ok(_) => ok("kubelet", format!("tells which devices pods have, at {socket:?}")),
        Err(cause) => warning(
            "kubelet",
            format!("does not tell which devices pods have: {socket:?}: {cause}"),
            "needed for networks with a resourceName; set \"kubeletDir\" if its directory is another",
        ),
    }
}

/// How many virtual functions each adapter has been told to make, of how many.
fn virtual_functions() -> Finding {
    let adapters = fs::read_dir("/sys/class/net").into_iter().flatten().filter_map(Result::ok);
    let mut each: Vec<String> = adapters
        .filter_map(|adapter| {
            let number = |file| fs::read_to_string(adapter.path().join("device").join(file)).ok();
            let (made, most) = (number("sriov_numvfs")?, number("sriov_totalvfs")?);
            Some(format!("{} {} of {}", adapter.file_name().to_string_lossy(), made.trim(), most.trim()))
        })
        .collect();
    each.sort();
    ok(
        "virtual functions",
        if each.is_empty() { "no adapter offers any".to_owned() } else { each.join(", ") },
    )
}

/// How many huge pages are free, of how many, by size.
fn huge_pages() -> Finding {
    let sizes = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().filter_map(Result::ok);
    let mut each: Vec<String> = sizes
        .filter_map(|size| {
            let number = |file| fs::read_to_string(size.path().join(file)).ok();
            let (free, all) = (number("free_hugepages")?, number("nr_hugepages")?);
            let name = size.file_name().to_string_lossy().replace("hugepages-", "");
            (all.trim() != "0").then(|| format!("{name}: {} of {} free", free.trim(), all.trim()))
        })
        .collect();
    each.sort();
    ok("huge pages", if each.is_empty() { "none are set aside".to_owned() } else { each.join(", ") })
}

/// Whether a daemon answers, where one is to.
fn daemon(is_needed: bool) -> Finding {
    let socket = Path::new(SOCKET_DIR).join("multus.sock");
    match UnixStream::connect(&socket) {
        Ok(_) => ok("daemon", format!("listens at {socket:?}")),
        Err(cause) if is_needed => {
            let fault = Fault::new(FaultKind::Unavailable, format!("no daemon listens at {socket:?}"));
            bad("daemon", &fault.because(cause).remedy("start \"manifold daemon\", and look at its log"))
        }
        Err(_) => ok("daemon", "none runs, and none is needed"),
    }
}
