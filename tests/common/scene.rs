//! A node with an uplink, and the program called on it as a container runtime calls it.

#![allow(dead_code, reason = "every test uses its part")]
#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a test may panic, and starts programs")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::Node;

/// Where Debian puts the reference plugins.
pub(crate) const PLUGINS: &str = "/usr/lib/cni";

/// A throw-away node: this thread's network namespace, with the uplink `up0` and a default route, and a folder.
pub(crate) struct Scene {
    pub(crate) node: Node,
    folder: TempDir,
}

/// One call of the program.
pub(crate) struct Call<'a> {
    pub(crate) verb: &'a str,
    pub(crate) container: &'a str,
    pub(crate) ifname: &'a str,
    pub(crate) netns: &'a str,
}

/// What the program answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) ok: bool,
    pub(crate) json: Value,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let node = Node::enter().expect("a node");
        for words in [
            "link add up0 type veth peer name up1",
            "link set up0 up",
            "link set up1 up",
            "addr add 192.0.2.1/24 dev up0",
            "route add default via 192.0.2.2",
        ] {
            ip(words);
        }
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("networks")).expect("a folder of networks");
        Self { node, folder }
    }

    /// A path beneath the scene's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a network into the folder of networks.
    pub(crate) fn network(&self, file: &str, text: &str) {
        fs::write(self.path("networks").join(file), text).expect("a network");
    }

    /// Manifold's configuration around these delegates.
    pub(crate) fn conf(&self, delegates: &Value) -> Value {
        json!({
            "cniVersion": "1.1.0", "name": "meta", "type": "manifold", "delegates": delegates,
            "stateDir": self.path("state"), "cniDir": self.path("cache"), "confDir": self.path("networks"),
            "binDir": PLUGINS,
        })
    }

    /// An `ipam` that takes addresses of `10.77.<n>.0/24` out of a store in the scene's folder.
    pub(crate) fn ipam(&self, n: u8) -> Value {
        json!({"type": "host-local", "dataDir": self.path("ipam"), "ranges": [[{"subnet": format!("10.77.{n}.0/24")}]]})
    }

    /// A macvlan network with such addresses.
    pub(crate) fn macvlan(&self, name: &str, n: u8) -> Value {
        json!({"cniVersion": "1.1.0", "name": name, "type": "macvlan", "master": "up0", "ipam": self.ipam(n)})
    }

    /// The command that calls the program, with the runtime's variables set.
    pub(crate) fn command(&self, program: &str, call: &Call<'_>) -> Command {
        let mut command = Command::new(program);
        command
            .env("CNI_COMMAND", call.verb)
            .env("CNI_CONTAINERID", call.container)
            .env("CNI_IFNAME", call.ifname)
            .env("CNI_NETNS", call.netns)
            .env("CNI_PATH", PLUGINS)
            .env("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=p")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Calls the program with these bytes on its standard input.
    pub(crate) fn call_raw(&self, call: &Call<'_>, stdin: &[u8]) -> Answer {
        answer(&feed(self.command(env!("CARGO_BIN_EXE_manifold"), call), stdin))
    }

    /// Calls the program with this configuration.
    pub(crate) fn call(&self, call: &Call<'_>, conf: &Value) -> Answer {
        self.call_raw(call, conf.to_string().as_bytes())
    }

    /// Calls the command line.
    pub(crate) fn manifold(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_manifold"));
        command.env_remove("CNI_COMMAND").args(words);
        // The doctor finds them in the configuration.
        if words.first() != Some(&"doctor") {
            for (flag, name) in [("--state-dir", "state"), ("--cache-dir", "cache")] {
                command.arg(flag).arg(self.path(name));
            }
            command.args(["--bin-dir", PLUGINS]);
        }
        command.output().expect("the program runs")
    }

    /// What the doctor says where the runtime has this configuration, by what it looked at; and whether nothing is bad.
    pub(crate) fn examined(&self, file: &str, conf: &Value) -> (bool, Value) {
        fs::create_dir_all(self.path("net.d")).expect("a folder");
        fs::write(self.path("net.d").join(file), conf.to_string()).expect("a file");
        let conf_dir = self.path("net.d").display().to_string();
        let output = self.manifold(&["doctor", "-o", "json", "--conf-dir", &conf_dir]);
        let findings: Vec<Value> = serde_json::from_slice(&output.stdout).expect("findings");
        let named = |finding: Value| (finding["what"].as_str().expect("a name").to_owned(), finding);
        let by_name: serde_json::Map<_, _> = findings.into_iter().map(named).collect();
        (output.status.success(), by_name.into())
    }

    /// The file of a sandbox's records.
    pub(crate) fn records(&self, container: &str) -> PathBuf {
        self.path(&format!("state/records/{container}.json"))
    }

    /// Changes each line of an interface's record, and leaves out those that become none.
    pub(crate) fn alter(&self, container: &str, ifname: &str, change: impl Fn(&str) -> Option<String>) {
        let text = fs::read_to_string(self.records(container)).expect("records");
        let beginning = format!("{{\"ifname\":\"{ifname}\",");
        let altered = text.lines().filter_map(|line| match line.starts_with(&beginning) {
            true => change(line),
            false => Some(line.to_owned()),
        });
        let altered: String = altered.map(|line| line + "\n").collect();
        fs::write(self.records(container), altered).expect("records");
    }

    /// The states of a record, the last first; none if there is no record.
    pub(crate) fn states(&self, container: &str, ifname: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.records(container)).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut state = serde_json::Map::new();
        let mut states = Vec::new();
        for line in lines.filter(|line| line["ifname"] == ifname) {
            state.extend(line.as_object().expect("an object").clone());
            states.insert(0, state.clone().into());
        }
        states
    }

    /// The states of a record that there is.
    pub(crate) fn record(&self, container: &str, ifname: &str) -> Vec<Value> {
        let states = self.states(container, ifname);
        assert!(!states.is_empty(), "no record of {container} {ifname}");
        states
    }

    /// Everything kept in files, by path beneath the scene's folder: records, claims, caches, addresses. What a store
    /// keeps when it is empty (its lock, its last address) does not count, nor do locks that stay.
    pub(crate) fn kept(&self) -> BTreeMap<String, String> {
        let mut kept = BTreeMap::new();
        for place in ["state", "cache", "ipam"] {
            gather(&self.path(place), self.folder.path(), &mut kept);
        }
        kept.retain(|path, _| {
            !path.ends_with("/lock") && !path.ends_with(".lock") && !path.contains("/last_reserved_ip.")
        });
        kept
    }
}

fn gather(path: &Path, root: &Path, kept: &mut BTreeMap<String, String>) {
    let Ok(listing) = fs::read_dir(path) else { return };
    for entry in listing {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            gather(&path, root, kept);
        } else {
            let name = path.strip_prefix(root).expect("beneath the folder").display().to_string();
            kept.insert(name, fs::read_to_string(&path).unwrap_or_default());
        }
    }
}

/// Runs a command with these bytes on its standard input.
pub(crate) fn feed(command: Command, stdin: &[u8]) -> Output {
    start(command, stdin).wait_with_output().expect("the program ends")
}

/// Starts a command with these bytes on its standard input.
pub(crate) fn start(mut command: Command, stdin: &[u8]) -> Child {
    let mut child = command.spawn().expect("the program starts");
    // A program that fails early does not read on.
    drop(child.stdin.take().expect("a pipe").write_all(stdin));
    child
}

/// Waits for what a started call answers.
pub(crate) fn finish(child: Child) -> Answer {
    answer(&child.wait_with_output().expect("the program ends"))
}

fn answer(output: &Output) -> Answer {
    // What tests configure is what they mean.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("there is no such key"), "{said}");
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    Answer { ok: output.status.success(), json }
}

impl Answer {
    /// The result, of a call that must have succeeded.
    pub(crate) fn result(self) -> Value {
        assert!(self.ok, "{self:?}");
        self.json
    }

    /// Whether the call succeeded.
    pub(crate) fn succeeded(&self) -> bool {
        self.ok
    }

    /// Code, message and details, of a call that must have failed.
    pub(crate) fn error(self) -> (u64, String, String) {
        assert!(!self.ok, "{self:?}");
        let text = |key: &str| self.json[key].as_str().unwrap_or_default().to_owned();
        (self.json["code"].as_u64().expect("a code"), text("msg"), text("details"))
    }
}

/// Runs `ip` in this thread's network namespace.
pub(crate) fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).output().expect("ip runs");
    assert!(done.status.success(), "ip {words}: {}", String::from_utf8_lossy(&done.stderr));
}

/// What `ip -d -j` says in this thread's network namespace.
pub(crate) fn seen(words: &str) -> Value {
    let done = Command::new("ip").args(["-d", "-j"]).args(words.split(' ')).output().expect("ip runs");
    serde_json::from_slice(&done.stdout).unwrap_or(Value::Array(Vec::new()))
}
