//! The stage of a scene: a node with a wire, a pod, a player, and the sheet.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Outcome;
use crate::command::{self, ip};
use crate::conf::{map_texts, with, without};
use crate::fixture::{self, Node, Pod};
use crate::look;
use crate::sheet::Sheet;

/// Where the distribution puts the reference plugins.
const REFERENCE: &str = "/usr/lib/cni";
/// The link that attachments sit on: one end of a wire whose other end is on the node too.
pub(crate) const MASTER: &str = "up0";

/// Whose plugins are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Player {
    /// The reference plugins.
    Reference,
    /// Manifold's.
    Ours,
}

/// Everything a scene needs. All of it is gone with it.
pub(crate) struct Stage<'n> {
    /// Whose plugins are called, unless the scene says otherwise.
    pub(crate) player: Player,
    /// The version of the protocol.
    pub(crate) version: &'static str,
    node: &'n Node,
    pod: Pod,
    plugin: &'static str,
    folder: TempDir,
    /// Texts that are chance, and what stands for them on the sheet.
    chance: Vec<(String, &'static str)>,
    macs: Vec<String>,
    sheet: Sheet,
}

/// What a runtime asks for.
#[derive(Clone)]
pub(crate) struct Ask {
    /// The configuration on standard input.
    pub(crate) conf: Value,
    /// `CNI_CONTAINERID`.
    pub(crate) container: String,
    /// `CNI_IFNAME`.
    pub(crate) ifname: String,
    /// `CNI_NETNS`.
    pub(crate) netns: String,
    /// `CNI_ARGS`.
    pub(crate) args: String,
}

/// What a plugin answered.
pub(crate) struct Answer {
    /// Whether it exited with 0.
    pub(crate) ok: bool,
    /// What it printed, as far as it is JSON.
    pub(crate) printed: Value,
}

impl Player {
    /// The one who does not play.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Reference => Self::Ours,
            Self::Ours => Self::Reference,
        }
    }

    /// A program of the reference plugins.
    pub(crate) fn theirs(plugin: &str) -> PathBuf {
        PathBuf::from(REFERENCE).join(plugin)
    }

    /// The program of a plugin; ours lie beside this one.
    fn program(self, plugin: &str) -> Outcome<PathBuf> {
        let me = std::env::current_exe().map_err(|cause| format!("cannot tell where this is: {cause}"))?;
        let path = match self {
            Self::Reference => Self::theirs(plugin),
            Self::Ours => me.with_file_name(plugin),
        };
        if path.is_file() {
            Ok(path)
        } else {
            Err(format!("there is no {path:?}: run \"cargo build\" first"))
        }
    }
}

impl Ask {
    /// The same with other keys in the configuration.
    pub(crate) fn with(&self, more: Value) -> Self {
        Self { conf: with(self.conf.clone(), more), ..self.clone() }
    }

    /// The variables of a call.
    pub(crate) fn variables(&self, command: &str) -> Vec<(&'static str, String)> {
        vec![
            ("CNI_COMMAND", command.into()),
            ("CNI_CONTAINERID", self.container.clone()),
            ("CNI_NETNS", self.netns.clone()),
            ("CNI_IFNAME", self.ifname.clone()),
            ("CNI_ARGS", self.args.clone()),
            ("CNI_PATH", REFERENCE.into()),
        ]
    }
}

impl<'n> Stage<'n> {
    /// Sets it up on a node that has nothing yet.
    pub(crate) fn new(node: &'n Node, player: Player, speaks: (&'static str, &'static str)) -> Outcome<Self> {
        ip("link add up0 type veth peer name up1")?;
        ip("link set up0 up")?;
        ip("link set up1 up")?;
        let folder = tempfile::Builder::new().prefix("compat-").tempdir();
        let folder = folder.map_err(|cause| format!("cannot make a folder: {cause}"))?;
        let pod = node.pod().map_err(|cause| cause.to_string())?;
        let chance =
            vec![(pod.path().to_string(), "POD"), (folder.path().to_string_lossy().into_owned(), "FOLDER")];
        Ok(Self {
            player,
            version: speaks.1,
            node,
            pod,
            plugin: speaks.0,
            folder,
            chance,
            macs: Vec::new(),
            sheet: Sheet::default(),
        })
    }

    /// Another pod on this node.
    pub(crate) fn another_pod(&mut self) -> Outcome<Pod> {
        let pod = self.node.pod().map_err(|cause| cause.to_string())?;
        self.chance.push((pod.path().to_string(), "ANOTHER POD"));
        Ok(pod)
    }

    /// What was seen.
    pub(crate) fn into_sheet(self) -> Sheet {
        self.sheet
    }

    /// From now on this Ethernet address is no chance.
    pub(crate) fn expect_mac(&mut self, mac: &str) {
        self.macs.push(mac.to_owned());
    }

    /// Asks for an interface `net1` in the pod, with these keys in the configuration.
    pub(crate) fn ask(&self, more: Value) -> Ask {
        let conf = json!({
            "cniVersion": self.version,
            "name": "net",
            "type": self.plugin,
            "master": MASTER,
            "stateDir": self.folder.path().join("state"),
            "cniDir": self.folder.path().join("cache"),
        });
        let conf = if self.plugin == "vlan" { with(conf, json!({"vlanId": 100})) } else { conf };
        Ask {
            conf: with(conf, more),
            container: "pod-1".into(),
            ifname: "net1".into(),
            netns: self.pod.path().to_string(),
            args: String::new(),
        }
    }

    /// An `ipam` object of type `host-local` with these keys; its store is in a folder of the scene.
    pub(crate) fn host_local(&self, more: Value) -> Value {
        with(json!({"type": "host-local", "dataDir": self.folder.path().join("store")}), more)
    }

    /// Runs `ip` in the pod.
    pub(crate) fn ip_in_pod(&self, arguments: &str) -> Outcome<String> {
        let arguments = arguments.to_owned();
        self.pod.inside(move || ip(&arguments))
    }

    /// Writes a file as the pod sees it.
    pub(crate) fn write_in_pod(&self, path: &str, text: &'static str) -> Outcome<()> {
        let path = path.to_owned();
        let write =
            move || std::fs::write(&path, text).map_err(|cause| format!("cannot write {path:?}: {cause}"));
        self.pod.inside(write)
    }

    /// Writes a file in the folder of the scene, and tells where it is.
    pub(crate) fn file(&self, name: &str, text: &str) -> Outcome<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).map_err(|cause| format!("cannot write {path:?}: {cause}"))?;
        Ok(path)
    }

    /// Calls a plugin. A previous result goes along in the versions that have it on this verb.
    pub(crate) fn call(
        &self,
        player: Player,
        command: &str,
        (ask, previous): (&Ask, Option<&Value>),
    ) -> Outcome<Answer> {
        let given = previous.filter(|_| self.version >= "0.4.0");
        let conf =
            given.map_or_else(|| ask.conf.clone(), |p| with(ask.conf.clone(), json!({"prevResult": p})));
        self.call_raw(player, &ask.variables(command), conf.to_string().as_bytes())
    }

    /// Calls a plugin with whatever variables and bytes.
    pub(crate) fn call_raw(
        &self,
        player: Player,
        variables: &[(&str, String)],
        input: &[u8],
    ) -> Outcome<Answer> {
        let ran = command::run(&[player.program(self.plugin)?], variables, input)?;
        let printed = serde_json::from_str(&ran.output).unwrap_or_default();
        let answer = Answer { ok: ran.status == Some(0), printed };
        // Whoever plays, a failure is told by an error object (CNI specification, section 5).
        if !answer.ok && (ran.status != Some(1) || answer.code() == 0 || answer.message().is_empty()) {
            return Err(format!("status {:?} with {:?} and {:?}", ran.status, ran.output, ran.complaint));
        }
        Ok(answer)
    }

    /// Makes a call that must succeed, notes and returns the result.
    pub(crate) fn succeed(
        &mut self,
        label: &str,
        command: &str,
        call: (&Ask, Option<&Value>),
    ) -> Outcome<Value> {
        let answer = self.call(self.player, command, call)?;
        if !answer.ok {
            return Err(format!("{label}: {command} was refused: {}", answer.printed));
        }
        self.note(label, json!({"result": without_empty_dns(answer.printed.clone(), self.version)}))?;
        Ok(answer.printed)
    }

    /// Makes a call that must be refused, with this code if the specification fixes one.
    pub(crate) fn refuse(
        &mut self,
        command: &str,
        call: (&Ask, Option<&Value>),
        code: Option<u64>,
    ) -> Outcome<()> {
        let answer = self.call(self.player, command, call)?;
        answer.must_be_refused(code).map_err(|trouble| format!("{command} {trouble}"))
    }

    /// Makes a call that each player answers in its way, and notes whether it succeeded.
    pub(crate) fn attempt(
        &mut self,
        label: &str,
        command: &str,
        call: (&Ask, Option<&Value>),
    ) -> Outcome<Answer> {
        let answer = self.call(self.player, command, call)?;
        self.note(label, json!({"succeeded": answer.ok}))?;
        Ok(answer)
    }

    /// ADD: must succeed, and tell the true Ethernet address.
    pub(crate) fn add(&mut self, label: &str, ask: &Ask) -> Outcome<Value> {
        let result = self.succeed(label, "ADD", (ask, None))?;
        if let Some(told) = result.pointer("/interfaces/0/mac").and_then(Value::as_str) {
            let links = self.ip_in_pod(&format!("link show {}", ask.ifname))?;
            if !links.contains(&format!("link/ether {told} ")) {
                return Err(format!("the result tells of {told}, but there is {links}"));
            }
        }
        Ok(result)
    }

    /// CHECK: must succeed in the versions that have it, and be refused in the others.
    pub(crate) fn check(&mut self, ask: &Ask, result: &Value) -> Outcome<()> {
        if self.version >= "0.4.0" {
            self.succeed("CHECK", "CHECK", (ask, Some(result))).map(drop)
        } else {
            self.refuse("CHECK", (ask, Some(result)), Some(1))
        }
    }

    /// DEL: must succeed.
    pub(crate) fn del(&mut self, label: &str, ask: &Ask, result: Option<&Value>) -> Outcome<()> {
        self.succeed(label, "DEL", (ask, result)).map(drop)
    }

    /// Notes everything there is to see of an attachment.
    pub(crate) fn look(&mut self, label: &str, ask: &Ask) -> Outcome<()> {
        let name = ask.ifname.clone();
        let (links, routes, settings) = self.pod.inside(move || {
            (look::links(), look::routes(), json!({"link": look::sysctls(&name), "lo": look::sysctls("lo")}))
        });
        let store = look::files(&self.folder.path().join("store"))?;
        let seen = json!({"links": links?, "routes": routes?, "settings": settings, "store": store});
        self.note(label, seen)
    }

    /// Notes what there is besides what was there at the beginning.
    pub(crate) fn left(&mut self, label: &str) -> Outcome<()> {
        let links: Vec<String> = self.pod.interfaces().into_iter().filter(|name| name != "lo").collect();
        let node = fixture::interfaces("/proc/thread-self/net/dev");
        let seen =
            json!({"links": links, "node": node, "store": look::files(&self.folder.path().join("store"))?});
        self.note(label, seen)
    }

    /// Demands that nothing is left in the pod, and no address in the store.
    pub(crate) fn nothing_is_left(&self) -> Outcome<()> {
        let store = look::files(&self.folder.path().join("store"))?;
        let names = store.as_object().into_iter().flat_map(|files| files.keys());
        let kept = |name: &&String| !name.ends_with("|lock") && !name.contains("|last_reserved_ip.");
        let addresses: Vec<&String> = names.filter(kept).collect();
        let links = self.pod.interfaces();
        if links == ["lo"] && addresses.is_empty() {
            return Ok(());
        }
        Err(format!("links {links:?} and addresses {addresses:?} are left"))
    }

    /// Demands that Manifold keeps no record and no claim.
    pub(crate) fn no_record_is_left(&self) -> Outcome<()> {
        for folder in ["state", "cache"] {
            let files = look::files(&self.folder.path().join(folder))?;
            let all = files.to_string();
            if all.contains("pod-") {
                return Err(format!("{folder} has {all}"));
            }
        }
        Ok(())
    }

    /// Notes something, with whatever is chance in it made equal.
    pub(crate) fn note(&mut self, label: &str, seen: Value) -> Outcome<()> {
        let replace = |text: &str| match text {
            text if text == self.version => "VERSION".to_owned(),
            text if is_mac(text) && !self.macs.iter().any(|mac| mac == text) => "MAC".to_owned(),
            text => {
                self.chance.iter().fold(text.to_owned(), |text, (chance, name)| text.replace(chance, name))
            }
        };
        let seen = map_texts(seen, &replace);
        self.sheet.note(label, seen)
    }
}

impl Answer {
    /// The code of an error object, or 0.
    pub(crate) fn code(&self) -> u64 {
        self.printed.get("code").and_then(Value::as_u64).unwrap_or_default()
    }

    fn message(&self) -> &str {
        self.printed.get("msg").and_then(Value::as_str).unwrap_or_default()
    }

    /// Demands a refusal, with this code if one is named.
    pub(crate) fn must_be_refused(&self, code: Option<u64>) -> Outcome<()> {
        match (self.ok, code) {
            (true, _) => Err("should have been refused".into()),
            (false, Some(code)) if code != self.code() => {
                Err(format!("should have been refused with code {code}: {}", self.printed))
            }
            (false, _) => Ok(()),
        }
    }
}

/// From 1.0.0 on, newer releases of the reference library leave out a `dns` that says nothing; older ones, and every
/// release in older versions, write it.
fn without_empty_dns(result: Value, version: &str) -> Value {
    if version >= "1.0.0" && result.get("dns") == Some(&json!({})) { without(result, "dns") } else { result }
}

fn is_mac(text: &str) -> bool {
    text.len() == 17 && text.split(':').filter(|part| part.len() == 2).count() == 6
}
