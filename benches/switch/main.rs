//! How long a port of Open vSwitch with DPDK takes: by Manifold, and by the switch's command-line tools, on a switch with
//! few ports and with many. `docs/benchmarks.md` explains the rows.
//!
//! `make bench-switch`, or `cargo bench --bench switch -- 50` for 50 rounds. Needs root; everything happens in network
//! namespaces that are gone afterwards, on a switch of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    dead_code,
    reason = "a measurement may panic, starts programs, prints its figures, and shares its parts with tests"
)]

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../attach/machine.rs"]
mod machine;
#[path = "../attach/race.rs"]
mod race;
#[path = "../../tests/common/scene.rs"]
mod scene;
#[path = "../../tests/open_vswitch/switch.rs"]
mod switch;
#[path = "../attach/table.rs"]
mod table;

use std::process::{Command, Stdio};
use std::rc::Rc;

use race::{Contender, race};
use scene::{Call, Scene};
use serde_json::json;
use switch::Switch;

/// Rounds, unless the command line says otherwise.
const ROUNDS: usize = 40;
/// Ports of other pods on the crowded switch.
const CROWD: usize = 500;

/// A switch, and who makes ports on it.
struct Stage {
    scene: Scene,
    switch: Switch,
    pod: common::Pod,
}

fn main() {
    let rounds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(ROUNDS);
    println!("{}", machine::describe());
    println!("* {}", version());
    let scene = Scene::new();
    let switch = Switch::start(&scene.path("ovs"));
    // As switches are run: its polling thread does not sleep, and takes up changes at once.
    switch.vsctl("set Open_vSwitch . other_config:pmd-maxsleep=0");
    let pod = scene.node.pod().unwrap();
    let stage = Rc::new(Stage { scene, switch, pod });
    for others in [0, CROWD] {
        stage.crowd(others);
        let times =
            race(rounds, vec![Stage::tools(&stage), Stage::one_tool(&stage), Stage::manifold(&stage)]);
        let title = |verb: &str| format!("{verb} of one port, {others} others on the bridge");
        table::print(&title("ADD"), &times.adds(), &[0]);
        table::print(&title("DEL"), &times.dels(), &[0]);
    }
}

fn version() -> String {
    let output = Command::new("ovs-vsctl").arg("--version").output().unwrap().stdout;
    String::from_utf8_lossy(&output).lines().next().unwrap_or_default().to_owned()
}

impl Stage {
    /// Puts so many ports of others on the bridge. They have no memory and no queue: what they cost is their rows.
    fn crowd(&self, others: usize) {
        for first in (0..others).step_by(50) {
            let ports = (first..(first + 50).min(others)).map(|n| {
                let peer = n ^ 1;
                format!("-- add-port br0 p{n} -- set Interface p{n} type=patch options:peer=p{peer}")
            });
            let words =
                format!("--no-wait {}", ports.collect::<Vec<_>>().join(" ").trim_start_matches("-- "));
            self.switch.vsctl(&words);
        }
        // What was written at once is taken up before anything is measured.
        self.switch.vsctl("set bridge br0 external_ids:crowd=there");
    }

    /// Program by program, as a plugin does that knows the switch by its tools alone.
    fn tools(stage: &Rc<Self>) -> Contender {
        let (adding, deleting) = (Rc::clone(stage), Rc::clone(stage));
        let path = stage.scene.path("tools.sock").display().to_string();
        let add = move || {
            adding.switch.vsctl("br-exists br0");
            adding.switch.vsctl(&format!(
                "add-port br0 tools -- set Interface tools type=dpdkvhostuserclient options:vhost-server-path={path}"
            ));
            adding.switch.vsctl("set Port tools tag=100 external_ids:owner=tools");
            adding.switch.vsctl("--columns=ofport,error,mac_in_use find Interface name=tools");
        };
        let del = move || {
            deleting.switch.vsctl("port-to-br tools");
            deleting.switch.vsctl("del-port br0 tools");
        };
        Contender::new("ovs-vsctl, 4 for ADD, 2 for DEL", add, del)
    }

    /// One program that makes the same port, with all that is set: what is left is mostly the switch.
    fn one_tool(stage: &Rc<Self>) -> Contender {
        let (adding, deleting) = (Rc::clone(stage), Rc::clone(stage));
        let path = stage.scene.path("one.sock").display().to_string();
        let add = move || {
            adding.switch.vsctl(&format!(
                "add-port br0 one tag=100 external_ids:owner=one -- set Interface one type=dpdkvhostuserclient \
                 options:vhost-server-path={path}"
            ));
        };
        let del = move || drop(deleting.switch.vsctl("del-port br0 one"));
        Contender::new("ovs-vsctl, 1 for each", add, del)
    }

    fn manifold(stage: &Rc<Self>) -> Contender {
        let (adding, deleting) = (Rc::clone(stage), Rc::clone(stage));
        Contender::new("manifold, process", move || adding.call("ADD"), move || deleting.call("DEL"))
    }

    fn call(&self, verb: &str) {
        let network = json!({"cniVersion": "1.1.0", "name": "fast", "type": "vhost-user", "bridge": "br0",
            "vlan": 100, "socketDir": self.scene.path("sockets")});
        let mut conf = self.scene.conf(&json!([network]));
        conf["vhostUser"] = json!({"ovsdbSocket": self.switch.socket(), "linkDir": self.scene.path("v")});
        let call = Call { verb, container: "pod-1", ifname: "net1", netns: self.pod.path().as_str() };
        let mut command = self.scene.command(env!("CARGO_BIN_EXE_manifold"), &call);
        command.stderr(Stdio::inherit());
        scene::finish(scene::start(command, conf.to_string().as_bytes())).result();
    }
}
