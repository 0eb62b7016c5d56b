//! vhost-user: what the kernel is told of an interface that it has no part in.

use std::fs::File;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::adapter::await_that;
use crate::catalogue::{Case, HoldsFor};
use crate::command::Program;
use crate::need::Need;
use crate::node::Node;
use crate::plugin::{Attachment, IFNAME, Subject, addresses, addresses_in};
use crate::trouble::{Outcome, Trouble, equal, holds};

/// The ovs-vswitchd that is built with DPDK; the one in the path is not.
const VSWITCHD: &str = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk";

pub(crate) const CASES: &[Case] = &[Case {
    name: "a_dummy_carries_what_is_told_of_a_port_of_a_switch",
    proves: "dummy: name, addresses and Ethernet address of a vhost-user port are on a dummy link in the pod, gone after DEL",
    needs: &[Need::Link("dummy"), Need::Program("ovsdb-server"), Need::Program(VSWITCHD)],
    holds_for: HoldsFor::Manifold,
    run: dummy,
}];

const MAC: &str = "02:aa:00:00:00:60";

fn dummy(subject: &Subject) -> Outcome<()> {
    let node = Node::new()?;
    let switch = Switch::start(&node)?;
    let pod = node.netns("pod")?;
    let config = json!({"type": "vhost-user", "bridge": "br0", "mac": MAC, "mtu": 1400, "dummy": true,
        "socketDir": node.path("sockets"), "ipam": addresses(&node)});
    let own = json!({"vhostUser": {"ovsdbSocket": switch.socket(), "linkDir": node.path("links"), "timeoutSeconds": 120}});
    let attachment = Attachment::new(subject, &node, &pod, config).with(own);

    let result = attachment.add()?;

    let link = pod.link(IFNAME)?;
    link.is_a("dummy")?;
    link.has_mtu(1400)?;
    holds(link.is_up(), "the link is down")?;
    equal("its address", link.mac(), MAC)?;
    equal("its addresses", link.addresses(), addresses_in(&result))?;
    let told = |key: &str| result.pointer(&format!("/interfaces/0/{key}")).and_then(Value::as_str);
    equal("the interface told", (told("name"), told("mac")), (Some(IFNAME), Some(MAC)))?;
    holds(
        told("socketPath").is_some_and(|path| path.ends_with(IFNAME)),
        format!("no socket is told: {result}"),
    )?;
    equal("what CHECK complains of", complaint(&attachment, &result)?, None)?;
    pod.ip(&format!("link delete {IFNAME}"))?;
    let lost = complaint(&attachment, &result)?.unwrap_or_default();
    holds(lost.contains(IFNAME), format!("CHECK does not miss the link: {lost:?}"))?;

    attachment.del(Some(&result))?;

    equal("the pod's links", pod.names()?, vec!["lo".to_owned()])?;
    equal("the ports", switch.vsctl(&["list-ports", "br0"])?.trim(), "")?;
    drop(switch);
    attachment.left_nothing()
}

/// What CHECK complains of.
fn complaint(attachment: &Attachment<'_>, result: &Value) -> Outcome<Option<String>> {
    Ok(attachment.check(result)?.err().map(|refusal| refusal.text))
}

/// Open vSwitch with DPDK, without huge pages and adapters, on sockets of its own; with the bridge `br0`.
struct Switch<'a> {
    node: &'a Node,
    /// Not one of the node's: what the switch's database has kept of a port is no trace that Manifold left.
    folder: TempDir,
}

impl<'a> Switch<'a> {
    fn start(node: &'a Node) -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("hw-switch-").tempdir();
        let switch = Self { node, folder: folder.map_err(Trouble::doing("cannot make a folder"))? };
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        switch.program(20, &["ovsdb-tool", "create", &switch.path("conf.db"), schema]).output()?;
        let remote = format!("--remote=punix:{}", switch.socket());
        let control = format!("--unixctl={}", switch.path("database.ctl"));
        switch.background(&["ovsdb-server", &switch.path("conf.db"), &remote, &control], "database.log")?;
        await_that("the switch's database does not listen", || switch.vsctl(&["--no-wait", "init"]).is_ok())?;
        let extra = "other_config:dpdk-extra=\"--no-huge --legacy-mem -m 64 --no-pci --no-telemetry\"";
        let settings = ["dpdk-init=true", "per-port-memory=true", "pmd-maxsleep=500"];
        let settings = settings.map(|setting| format!("other_config:{setting}"));
        let mut words = vec!["--no-wait", "set", "Open_vSwitch", ".", extra];
        words.extend(settings.iter().map(String::as_str));
        switch.vsctl(&words)?;
        let control = format!("--unixctl={}", switch.path("daemon.ctl"));
        switch.background(&[VSWITCHD, &format!("unix:{}", switch.socket()), &control], "daemon.log")?;
        let bridge = ["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev"];
        switch.vsctl(&bridge)?;
        Ok(switch)
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    fn socket(&self) -> String {
        self.path("db.sock")
    }

    fn vsctl(&self, words: &[&str]) -> Outcome<String> {
        let database = format!("--db=unix:{}", self.socket());
        self.program(280, &[&["ovs-vsctl", &database], words].concat()).output()
    }

    fn program(&self, seconds: u32, words: &[&str]) -> Program {
        let program = self.node.own.program_within(seconds, words.iter().copied());
        ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"]
            .into_iter()
            .fold(program, |program, name| program.env(name, self.folder.path()))
    }

    /// Starts a program that stays until it is told to end.
    fn background(&self, words: &[&str], log: &str) -> Outcome<()> {
        let log = File::create(self.folder.path().join(log)).map_err(Trouble::doing("cannot make a log"))?;
        self.program(900, words).start(log).map(drop)
    }
}

impl Drop for Switch<'_> {
    fn drop(&mut self) {
        for control in ["daemon.ctl", "database.ctl"] {
            self.program(10, &["ovs-appctl", "-t", &self.path(control), "exit"]).run().ok();
        }
    }
}
