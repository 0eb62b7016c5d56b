//! CNI calls as a container runtime makes them: variables, a configuration on standard input, a result or an
//! error object on standard output (CNI specification 1.1.0, sections 2 and 5).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::command::{Program, Ran};
use crate::node::{Netns, Node};
use crate::options::{Options, Whom};
use crate::trouble::{Outcome, Trouble, holds};

/// Where the distribution puts the reference plugins.
pub(crate) const REFERENCE: &str = "/usr/lib/cni";

/// The version of the protocol that Manifold is spoken to in, and that of the reference plugins, which are older.
const VERSIONS: (&str, &str) = ("1.1.0", "1.0.0");

/// The name of the network under test.
const NETWORK: &str = "net-under-test";

/// Who serves the calls.
pub(crate) enum Subject {
    /// Manifold, which gets the plugin's configuration as a delegate.
    Manifold(PathBuf),
    /// The reference plugin of the type that the configuration names.
    Reference,
}

/// One interface of one pod, to be asked for, checked and taken down.
pub(crate) struct Attachment<'a> {
    /// Who serves the calls.
    pub(crate) subject: &'a Subject,
    /// Where.
    pub(crate) node: &'a Node,
    /// The pod's container.
    pub(crate) container: String,
    /// The path of the pod's network namespace; may be empty for DEL.
    pub(crate) netns: String,
    /// The plugin's configuration, without version and name.
    pub(crate) config: Value,
    /// Further keys of Manifold's own configuration.
    own: Value,
}

/// What a plugin answered that could not serve a call.
pub(crate) struct Refusal {
    /// The CNI error code.
    pub(crate) code: u64,
    /// Message and details.
    pub(crate) text: String,
}

/// The interface that the calls ask for.
pub(crate) const IFNAME: &str = "net1";

impl Subject {
    /// Whom the options name.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn of(options: &Options) -> Outcome<Self> {
        match options.subject {
            Whom::Manifold => options.manifold().map(Self::Manifold),
            Whom::Reference => Ok(Self::Reference),
        }
    }

    /// Which program it is, for the report.
    ///
    /// # Errors
    /// It does not tell.
    pub(crate) fn version_of_program(&self) -> Outcome<String> {
        match self {
            Self::Manifold(path) => {
                let program = path.to_string_lossy();
                Program::new([program.as_ref(), "--version"]).output().map(|said| said.trim().to_owned())
            }
            Self::Reference => Ok(format!("the reference plugins in {REFERENCE}")),
        }
    }

    /// The version of the protocol that it is spoken to in.
    fn version(&self) -> &'static str {
        match self {
            Self::Manifold(_) => VERSIONS.0,
            Self::Reference => VERSIONS.1,
        }
    }

    pub(crate) fn program(&self, config: &Value) -> PathBuf {
        match self {
            Self::Manifold(path) => path.clone(),
            Self::Reference => {
                Path::new(REFERENCE).join(config.get("type").and_then(Value::as_str).unwrap_or(""))
            }
        }
    }
}

impl<'a> Attachment<'a> {
    /// An attachment of a pod to the network that this configuration describes.
    pub(crate) fn new(subject: &'a Subject, node: &'a Node, pod: &Netns, config: Value) -> Self {
        // Unique, so that whatever mentions it afterwards was left behind by this attachment.
        let container = pod.path().replace('/', "-").trim_start_matches('-').to_owned();
        Self { subject, node, container, netns: pod.path(), config, own: Value::Null }
    }

    /// The same, with these keys in Manifold's own configuration.
    pub(crate) fn with(self, own: Value) -> Self {
        Self { own, ..self }
    }

    /// Makes it and returns the result.
    ///
    /// # Errors
    /// The plugin refused.
    pub(crate) fn add(&self) -> Outcome<Value> {
        accepted("ADD", self.call("ADD", None)?)
    }

    /// Takes it down.
    ///
    /// # Errors
    /// The plugin refused.
    pub(crate) fn del(&self, result: Option<&Value>) -> Outcome<()> {
        accepted("DEL", self.call("DEL", result)?).map(|_| ())
    }

    /// Asks whether it is as it was made.
    ///
    /// # Errors
    /// The plugin could not be run.
    pub(crate) fn check(&self, result: &Value) -> Outcome<Result<Value, Refusal>> {
        self.call("CHECK", Some(result))
    }

    /// Asks for it, of a plugin that may refuse.
    ///
    /// # Errors
    /// The plugin could not be run.
    pub(crate) fn try_add(&self) -> Outcome<Result<Value, Refusal>> {
        self.call("ADD", None)
    }

    /// Asks for it, of a plugin that should refuse.
    ///
    /// # Errors
    /// The plugin did not refuse.
    pub(crate) fn refusal(&self) -> Outcome<Refusal> {
        match self.call("ADD", None)? {
            Ok(result) => Err(Trouble::new(format!("ADD should have been refused, but gave {result}"))),
            Err(refusal) => Ok(refusal),
        }
    }

    /// Holds that no file on the node mentions this attachment any more, nor any address of this result.
    ///
    /// # Errors
    /// Something was left behind.
    pub(crate) fn left_nothing(&self) -> Outcome<()> {
        let traces = self.node.traces(&self.container)?;
        holds(traces.is_empty(), format!("DEL left {traces:?} behind"))
    }

    fn call(&self, command: &str, result: Option<&Value>) -> Outcome<Result<Value, Refusal>> {
        let ran = self.program(command, [self.subject.program(&self.config)], result).run()?;
        reply(command, &ran)
    }

    /// The program that serves a call, started by these words: its own path, or a program that runs it.
    pub(crate) fn program(
        &self,
        command: &str,
        words: impl IntoIterator<Item = impl Into<OsString>>,
        result: Option<&Value>,
    ) -> Program {
        let program = self.node.own.program(words);
        let program =
            self.variables(command).into_iter().fold(program, |p, (name, value)| p.env(name, value));
        program.input(self.input(result).to_string())
    }

    /// The variables of a call.
    pub(crate) fn variables(&self, command: &str) -> [(&'static str, String); 5] {
        [
            ("CNI_COMMAND", command.to_owned()),
            ("CNI_CONTAINERID", self.container.clone()),
            ("CNI_NETNS", self.netns.clone()),
            ("CNI_IFNAME", IFNAME.to_owned()),
            ("CNI_PATH", REFERENCE.to_owned()),
        ]
    }

    /// The standard input of a call.
    pub(crate) fn input(&self, result: Option<&Value>) -> Value {
        let version = self.subject.version();
        let is_manifold = matches!(self.subject, Subject::Manifold(_));
        let mut input = match self.subject {
            Subject::Manifold(_) => json!({
                "type": "manifold",
                "stateDir": self.node.path("state"),
                "delegates": [{"cniVersion": version, "name": NETWORK, "plugins": [self.config]}],
            }),
            Subject::Reference => self.config.clone(),
        };
        if let Some(keys) = input.as_object_mut() {
            keys.insert("cniVersion".into(), version.into());
            keys.insert("name".into(), NETWORK.into());
            keys.extend(result.map(|result| ("prevResult".into(), result.clone())));
            keys.extend(self.own.as_object().filter(|_| is_manifold).cloned().unwrap_or_default());
        }
        input
    }
}

/// The `ipam` part of a configuration: host-local, with its files on the node.
pub(crate) fn addresses(node: &Node) -> Value {
    json!({
        "type": "host-local",
        "dataDir": node.path("addresses"),
        "ranges": [[{"subnet": "10.77.0.0/24"}]],
    })
}

/// The addresses in a result, with their prefix lengths.
pub(crate) fn addresses_in(result: &Value) -> Vec<String> {
    let ips = result.get("ips").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    ips.iter().filter_map(|ip| ip.get("address")?.as_str()).map(str::to_owned).collect()
}

fn accepted(command: &str, reply: Result<Value, Refusal>) -> Outcome<Value> {
    reply.map_err(|refusal| Trouble::new(format!("{command} failed with {}: {}", refusal.code, refusal.text)))
}

/// Reads what a plugin printed. DEL and CHECK print nothing when all is well.
fn reply(command: &str, ran: &Ran) -> Outcome<Result<Value, Refusal>> {
    let unreadable =
        || format!("cannot read the answer to {command} (status {:?}): {:?}", ran.status, ran.complaint);
    let printed = match ran.output.trim() {
        "" => Value::Null,
        text => serde_json::from_str(text).map_err(Trouble::doing(unreadable()))?,
    };
    if ran.status == Some(0) {
        return Ok(Ok(printed));
    }
    let text = |key| printed.get(key).and_then(Value::as_str).unwrap_or_default();
    match printed.get("code").and_then(Value::as_u64) {
        Some(code) => Ok(Err(Refusal { code, text: format!("{} {}", text("msg"), text("details")) })),
        None => Err(Trouble::new(unreadable())),
    }
}
