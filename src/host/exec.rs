//! Runs plugins as CNI prescribes (specification 1.1.0, sections 2 to 4).
//!
//! [`Plugins`] makes the request: environment, standard input, and which verb a version knows. `process` runs it
//! within limits, beneath another `root` if need be, `talk` feeds and hears it, `answer` tells what it said, and `spoken`
//! whether it refused for its network's version.

pub mod answer;
pub mod excerpt;
mod process;
pub mod root;
mod spoken;
mod talk;
mod turns;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use turns::Purpose;
pub use turns::Turns;

use crate::engine::ports::Site;
use crate::model::dialect;
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::network::Inject;
use crate::model::{CniResult, CniVersion, Network, Object, Owner, PluginType};
use crate::plan::step::ExecStep;

/// The variables that carry a call's parameters (specification 1.1.0, section 2, "Parameters").
const PARAMETERS: [&str; 6] =
    ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"];

/// The plugins of this node, and how they are run.
///
/// # Guarantees
/// Every run ends within the limit, plus five seconds for the kernel to end what was killed. A run that fails in any
/// way leaves no process of its group. Nothing is read from this process's own environment. The caller's may hold
/// secrets, so this has no `Debug`.
#[derive(Clone)]
pub struct Plugins {
    path: Vec<PathBuf>,
    environment: Vec<(OsString, OsString)>,
    limit: Duration,
    turns: Option<Arc<Turns>>,
    root: Option<PathBuf>,
}

/// What a plugin is asked to do.
#[derive(Debug, Clone, Copy)]
enum Verb {
    Add,
    Del,
    Check,
    Status,
    Gc,
    Version,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Status => "STATUS",
            Self::Gc => "GC",
            Self::Version => "VERSION",
        }
    }

    /// Whether a plugin refuses CHECK because it has none, as some do of versions that have it. It says nothing of the
    /// pod, and a runtime that checks what it has just added must not lose every pod to it. There is no code for it.
    fn is_passed_by(self, refusal: &Fault) -> bool {
        let said = refusal.to_string().to_lowercase();
        let ways = ["not implemented", "unimplemented", "not supported", "unsupported"];
        matches!(self, Self::Check)
            && refusal.kind().is_delegates()
            && said.contains("check")
            && ways.iter().any(|way| said.contains(way))
    }
}

/// Kills the plugins that run, each with its group, for a program that ends without waiting for them. What they were run
/// for stays on record.
pub fn kill_all() {
    process::kill_all();
}

/// One call of one plugin. STATUS and GC have no site: their parameters are empty.
struct Call<'a> {
    verb: Verb,
    program: &'a PluginType,
    site: Option<Site<'a>>,
    version: CniVersion,
    request: Object,
}

/// An attachment as GC lists it.
#[derive(Serialize)]
struct Valid<'a> {
    #[serde(rename = "containerID")]
    container: &'a str,
    ifname: &'a str,
}

impl<'a> From<&'a Owner> for Valid<'a> {
    fn from(owner: &'a Owner) -> Self {
        Self { container: owner.container.as_str(), ifname: owner.ifname.as_str() }
    }
}

impl Plugins {
    /// Plugins found in the directories of `path`, the first that has one; run with the caller's `environment`, each
    /// for at most `limit`. Empty directory names are passed over, and so are the `CNI_` parameters of the caller's
    /// own call.
    pub fn new(path: Vec<PathBuf>, environment: Vec<(OsString, OsString)>, limit: Duration) -> Self {
        let path = path.into_iter().filter(|dir| !dir.as_os_str().is_empty()).collect();
        let ours = |name: &OsStr| PARAMETERS.iter().any(|parameter| name == *parameter);
        let environment = environment.into_iter().filter(|(name, _)| !ours(name)).collect();
        Self { path, environment, limit, turns: None, root: None }
    }

    /// The same, no more of them at a time than there are turns.
    #[must_use]
    pub fn in_turns(self, turns: Option<Arc<Turns>>) -> Self {
        Self { turns, ..self }
    }

    /// The same, looked for and run beneath another root directory, if there is one.
    #[must_use]
    pub fn in_root(self, root: Option<PathBuf>) -> Self {
        Self { root, ..self }
    }

    /// The executable of a plugin: the first regular file of that name, symbolic links followed.
    ///
    /// # Errors
    /// [`FaultKind::Absent`], with the directories searched.
    pub fn find(&self, program: &PluginType) -> Outcome<PathBuf> {
        let candidates = self.path.iter().map(|dir| dir.join(program.as_str()));
        // A directory that cannot be looked into has nothing for us; the last word is the list in the error.
        let mut files = candidates.filter(|file| root::is_file(file, self.root.as_deref()));
        files.next().ok_or_else(|| {
            let beneath = self.root.as_ref().map(|root| format!(" beneath {root:?}")).unwrap_or_default();
            let (program, path) = (program.as_str(), &self.path);
            Fault::new(
                FaultKind::Absent,
                format!("plugin {program:?} is in none of the directories {path:?}{beneath}"),
            )
            .remedy("install the plugin in one of them, or add its directory to CNI_PATH or \"binDir\"")
        })
    }

    /// As [`Plugins::find`], of a plugin that is to be run for an ADD: what cannot be started must not be begun, for its DEL
    /// could not be either.
    ///
    /// # Errors
    /// As there; or it is no executable.
    pub fn find_executable(&self, program: &PluginType) -> Outcome<PathBuf> {
        let file = self.find(program)?;
        if root::is_executable(&file, self.root.as_deref()) {
            return Ok(file);
        }
        let what = format!("plugin {:?} is not executable: {file:?}", program.as_str());
        Err(Fault::new(FaultKind::Absent, what).remedy("\"chmod +x\" it, or install it anew"))
    }

    /// ADD: makes what the plugin makes. `prev` is the result of the plugin before it in the chain.
    ///
    /// # Errors
    /// The plugin's own, or that it could not be run or gave no result. It may have done its work in part.
    pub fn add(&self, site: Site<'_>, step: &ExecStep, prev: Option<&CniResult>) -> Outcome<CniResult> {
        let call = Call::at(site, step, Verb::Add, prev)?;
        let said = self.call(&call)?;
        dialect::read(&said, site.attachment.network.version).map_err(|fault| {
            fault.while_doing(format!("plugin {:?} answered ADD with no result", step.program.as_str()))
        })
    }

    /// DEL: undoes what the plugin made; it is told the attachment's result where its version knows that.
    ///
    /// # Errors
    /// The plugin's own, or that it could not be run.
    pub fn del(&self, site: Site<'_>, step: &ExecStep) -> Outcome<()> {
        let known = site.result.filter(|_| site.attachment.network.version.has_check());
        self.call(&Call::at(site, step, Verb::Del, known)?).map(drop)
    }

    /// CHECK: whether what the plugin made is still there. A version that has no CHECK has nothing to hold against it.
    ///
    /// # Errors
    /// The plugin's own, or that it could not be run.
    pub fn check(&self, site: Site<'_>, step: &ExecStep) -> Outcome<()> {
        if !site.attachment.network.version.has_check() {
            return Ok(());
        }
        self.call(&Call::at(site, step, Verb::Check, site.result)?).map(drop)
    }

    /// STATUS: whether the plugin could serve an ADD. A version without STATUS is always ready.
    ///
    /// # Errors
    /// The plugin's own, or that it could not be run.
    pub fn status(&self, network: &Network, plugin: &ExecStep) -> Outcome<()> {
        if !network.version.has_gc_and_status() {
            return Ok(());
        }
        self.call(&Call::anywhere(network, plugin, Verb::Status)?).map(drop)
    }

    /// GC: tells the plugin which attachments of the network are valid. A version without GC is not told, nor is a plugin
    /// that does not speak the network's version: it can have attached nothing to it.
    ///
    /// # Errors
    /// The plugin's own, or that it could not be run.
    pub fn gc(&self, network: &Network, plugin: &ExecStep, valid: &[Owner]) -> Outcome<()> {
        if !network.version.has_gc_and_status() {
            return Ok(());
        }
        let list: Vec<Valid<'_>> = valid.iter().map(Valid::from).collect();
        let mut call = Call::anywhere(network, plugin, Verb::Gc)?;
        call.request.put("cni.dev/valid-attachments", &list)?;
        // The key's name before 1.1.0 was settled; plugins built on the reference library of that time read it.
        call.request.put("cni.dev/attachments", &list)?;
        match self.call(&call) {
            Err(fault) if fault.kind() == FaultKind::Version => Ok(()),
            told => told.map(drop),
        }
    }

    /// Runs a plugin and gives back what it wrote on standard output.
    fn call(&self, call: &Call<'_>) -> Outcome<Vec<u8>> {
        let (plugin, verb) = (call.program.as_str(), call.verb.as_str());
        let failed =
            |fault: Fault, path: &str| fault.while_doing(format!("plugin {plugin:?}{path} failed on {verb}"));
        let program = self.find(call.program).map_err(|fault| failed(fault, ""))?;
        let turn = self.turns.as_ref().map(|turns| turns.take(call.purpose(), self.limit)).transpose();
        let _turn = turn.map_err(|fault| failed(fault, ""))?;
        let said = match self.run(&program, call, self.limit) {
            Err(fault) if call.verb.is_passed_by(&fault) => return Ok(Vec::new()),
            said => said.map_err(|fault| self.explained(&program, call, fault)),
        };
        let said = said.map_err(|fault| failed(fault, &format!(" ({:?})", program.as_os_str())))?;
        if !said.stderr.is_empty() {
            // The reference library copies this to its own standard error; a library has no such thing.
            tracing::debug!(plugin, verb, text = %said.stderr, "the plugin wrote on standard error");
        }
        Ok(said.stdout)
    }

    fn run(&self, program: &Path, call: &Call<'_>, limit: Duration) -> Outcome<process::Ended> {
        let order = process::Order {
            program,
            root: self.root.as_deref(),
            environment: self.environment_of(call),
            stdin: &call.request.to_bytes(),
            limit,
        };
        process::run(&order).and_then(answer::judge)
    }

    /// A refusal, as that of the network's version if the plugin does not speak it. It is asked within the same turn.
    fn explained(&self, program: &Path, call: &Call<'_>, fault: Fault) -> Fault {
        if !spoken::may_be_of_the_version(call.verb, &fault) {
            return fault;
        }
        let limit = self.limit.min(spoken::LIMIT);
        let answer = Call::version(call).and_then(|asked| self.run(program, &asked, limit));
        match answer.ok().and_then(|answer| spoken::versions(&answer.stdout)) {
            Some(spoken) => spoken::explained(fault, call.version, &spoken),
            None => fault,
        }
    }

    /// The caller's environment with the parameters of this call: always all six, as plugins may tell unset from
    /// empty.
    fn environment_of(&self, call: &Call<'_>) -> Vec<(OsString, OsString)> {
        let owner = call.site.map(|site| &site.attachment.owner);
        let netns = call.site.and_then(|site| site.netns);
        let args = call.site.map(|site| site.attachment.args.to_string());
        let values: [OsString; 6] = [
            call.verb.as_str().into(),
            owner.map(|owner| owner.container.as_str()).unwrap_or_default().into(),
            netns.map(|path| path.as_str()).unwrap_or_default().into(),
            owner.map(|owner| owner.ifname.as_str()).unwrap_or_default().into(),
            args.unwrap_or_default().into(),
            self.path.iter().map(|dir| dir.as_os_str()).collect::<Vec<_>>().join(OsStr::new(":")),
        ];
        let parameters = PARAMETERS.into_iter().map(OsString::from).zip(values);
        self.environment.iter().cloned().chain(parameters).collect()
    }
}

impl<'a> Call<'a> {
    /// What a turn is taken for.
    fn purpose(&self) -> Purpose {
        let is_selected = || self.site.is_some_and(|site| site.attachment.selection.is_some());
        match self.verb {
            Verb::Add if is_selected() => Purpose::MakingSelected,
            Verb::Add => Purpose::Making,
            Verb::Del | Verb::Check | Verb::Status | Verb::Gc | Verb::Version => Purpose::Other,
        }
    }

    /// A call for one attachment.
    fn at(site: Site<'a>, step: &'a ExecStep, verb: Verb, prev: Option<&CniResult>) -> Outcome<Self> {
        let network = &site.attachment.network;
        let prev_result = prev.map(|result| dialect::raw(result, network.version)).transpose()?;
        let inject = Inject { capabilities: &site.attachment.capabilities, prev_result };
        let request = step.conf.request(network, inject)?;
        Ok(Self { verb, program: &step.program, site: Some(site), version: network.version, request })
    }

    /// A call for no attachment in particular.
    fn anywhere(network: &Network, plugin: &'a ExecStep, verb: Verb) -> Outcome<Self> {
        let inject = Inject { capabilities: &Object::default(), prev_result: None };
        let request = plugin.conf.request(network, inject)?;
        Ok(Self { verb, program: &plugin.program, site: None, version: network.version, request })
    }

    /// The question which versions the plugin of a call speaks.
    fn version(call: &Call<'a>) -> Outcome<Self> {
        let mut request = Object::default();
        request.put("cniVersion", call.version.as_str())?;
        Ok(Self { verb: Verb::Version, site: None, request, ..*call })
    }
}
