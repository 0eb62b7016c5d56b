//! Frames: from one pod's application through the switch to another's, counted.

use std::time::Duration;

use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};

use super::switch::{Application, pause, wait};
use super::*;

const FIRST: &str = "02:00:00:00:00:0a";
const SECOND: &str = "02:00:00:00:00:0b";

/// Two pods, each with a port in a VLAN.
struct Pair {
    stage: Stage,
    other: Pod,
    vlans: [u16; 2],
    sockets: [String; 2],
}

impl Pair {
    fn new(vlans: [u16; 2]) -> Self {
        let stage = Stage::new();
        let other = stage.scene.node.pod().unwrap();
        let mut pair = Self { stage, other, vlans, sockets: Default::default() };
        let made = [pair.call("ADD", 0), pair.call("ADD", 1)];
        pair.sockets = made.map(|result| socket(&result).to_owned());
        pair
    }

    fn call(&self, verb: &str, n: usize) -> Value {
        let network = self.stage.network(&json!({"vlan": self.vlans[n]}));
        let pod = [&self.stage.pod, &self.other][n];
        self.stage.call_for(verb, (&format!("pod-{n}"), pod), &network).result()
    }

    /// Sends a burst of 128 frames from the first to the second; answers with how many were sent and received.
    fn burst(&self) -> (u64, u64) {
        let second = Application::start(&self.sockets[1], SECOND, &["--forward-mode=rxonly"]);
        self.connected(1);
        let peer = format!("--eth-peer=0,{SECOND}");
        let words = ["--forward-mode=rxonly", "--tx-first", "--burst=128", &peer];
        let first = Application::start(&self.sockets[0], FIRST, &words);
        let port = self.connected(0);
        wait("the switch has the burst", || self.stage.switch.received("br0", &port) >= 128);
        // What it lets through is on its way for a moment longer.
        pause(Duration::from_secs(2));
        let (_, sent) = first.finish();
        let (received, _) = second.finish();
        (sent, received)
    }

    /// Waits until the switch says that the application is there; answers with the port's name.
    fn connected(&self, n: usize) -> String {
        let record = &self.stage.scene.record(&format!("pod-{n}"), "net1")[0];
        let name = record["steps"][1]["port"]["make"]["name"].as_str().unwrap().to_owned();
        wait("the application is connected", || self.stage.switch.interface(&name, "link_state") == "up");
        name
    }

    fn end(self) {
        for n in [0, 1] {
            self.call("CHECK", n);
            self.call("DEL", n);
        }
        self.stage.assert_empty();
    }
}

#[test]
fn all_frames_of_a_burst_pass_from_pod_to_pod_also_after_the_switch_was_restarted() {
    let mut pair = Pair::new([100, 100]);

    assert_eq!(pair.burst(), (128, 128));
    for socket in &pair.sockets {
        // As an application that starts anew has to.
        drop(std::fs::remove_file(socket));
    }
    pair.stage.switch.kill_daemon();
    pair.stage.switch.start_daemon();
    assert_eq!(pair.burst(), (128, 128));

    pair.end();
}

#[test]
fn the_demonstration_runs_to_its_end_and_leaves_nothing() {
    let stage = Stage::with(Switch::database_only);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deployments/demo/vhost");

    let done = std::process::Command::new(script)
        .env("MANIFOLD", env!("CARGO_BIN_EXE_manifold"))
        .env("TMPDIR", stage.scene.path(""))
        .output()
        .unwrap();

    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("pod 2 (blue) received 128"), "{said}");
    let left = std::fs::read_dir(stage.scene.path(""))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("tmp."));
    assert_eq!(left.count(), 0);
}

#[test]
fn no_frame_passes_from_one_vlan_to_another() {
    let pair = Pair::new([100, 200]);

    assert_eq!(pair.burst(), (128, 0));

    pair.end();
}

#[test]
fn a_socket_that_the_switch_makes_is_the_pods_where_the_operator_allows_it() {
    let mut stage = Stage::new();
    stage.more = json!({"rules": [{"serverMode": true}]});
    let other = stage.scene.node.pod().unwrap();
    let keys = json!({"mode": "client", "group": 0});
    let made = stage.add(&keys);
    let second = stage.call_for("ADD", ("pod-2", &other), &stage.network(&json!({}))).result();
    let name = |container: &str| {
        let record = &stage.scene.record(container, "net1")[0];
        record["steps"][1]["port"]["make"]["name"].as_str().unwrap().to_owned()
    };
    let up = |container: &str| {
        let name = name(container);
        wait("the application is connected", || stage.switch.interface(&name, "link_state") == "up");
    };
    assert_eq!(stage.switch.interface(&name("pod-1"), "type"), "dpdkvhostuser");
    let device = &stage.scene.record("pod-1", "net1")[0]["device_info"]["vhost-user"];
    assert_eq!((&device["mode"], &device["path"]), (&json!("client"), &json!(socket(&made))));

    let receiver = Application::connect(socket(&made), SECOND, &["--forward-mode=rxonly"]);
    up("pod-1");
    let peer = format!("--eth-peer=0,{SECOND}");
    let words = ["--forward-mode=rxonly", "--tx-first", "--burst=128", &peer];
    let sender = Application::start(socket(&second), FIRST, &words);
    up("pod-2");
    wait("the switch has the burst", || stage.switch.received("br0", &name("pod-2")) >= 128);
    pause(Duration::from_secs(2));
    let (_, sent) = sender.finish();
    let (received, _) = receiver.finish();

    assert_eq!((sent, received), (128, 128));
    stage.call("CHECK", &keys).result();
    stage.del(&keys);
    stage.call_for("DEL", ("pod-2", &other), &stage.network(&json!({}))).result();
    stage.assert_empty();
}

/// The pod in the page about vhost-user: the script that its container runs.
fn script_of_the_page() -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/vhost-user.md");
    let page = std::fs::read_to_string(page).unwrap();
    let pod = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let pod: Value = serde_saphyr::from_str(pod).unwrap();
    let command = pod["spec"]["containers"][0]["command"].as_array().unwrap();
    assert_eq!((&command[0], &command[1]), (&json!("sh"), &json!("-c")));
    command[2].as_str().unwrap().to_owned()
}

#[test]
fn the_pod_of_the_page_gives_every_frame_back() {
    let stage = Stage::new();
    let other = stage.scene.node.pod().unwrap();
    let made = stage.add(&json!({}));
    let second = stage.call_for("ADD", ("pod-2", &other), &stage.network(&json!({}))).result();
    let name = |container: &str| {
        let record = &stage.scene.record(container, "net1")[0];
        record["steps"][1]["port"]["make"]["name"].as_str().unwrap().to_owned()
    };
    let up = |container: &str| {
        let name = name(container);
        wait("the application is connected", || stage.switch.interface(&name, "link_state") == "up");
    };
    let folder = std::path::Path::new(socket(&made)).parent().unwrap();
    // What another application left; and this machine has no huge pages.
    drop(std::os::unix::net::UnixListener::bind(socket(&made)).unwrap());
    let huge = "--in-memory --single-file-segments";
    let prefix = format!("page-{}", std::process::id());
    let plain = format!("--no-huge -m 256 --no-telemetry --file-prefix={prefix} --lcores 0@0,1@0");
    let script = script_of_the_page();
    assert!(script.contains(huge), "{script}");
    let script = script.replace("/sockets", folder.to_str().unwrap()).replace(huge, &plain);

    let _pod = Application::of_script(&script);
    up("pod-1");
    let mac = made["interfaces"][0]["mac"].as_str().unwrap();
    let words = ["--forward-mode=rxonly", "--tx-first", "--burst=128", &format!("--eth-peer=0,{mac}")];
    let sender = Application::start(socket(&second), FIRST, &words);
    up("pod-2");
    wait("the switch has the burst", || stage.switch.received("br0", &name("pod-2")) >= 128);
    pause(Duration::from_secs(2));

    assert_eq!(sender.finish(), (128, 128));
}

#[test]
fn frames_pass_after_the_database_was_restarted() {
    let mut pair = Pair::new([100, 100]);

    pair.stage.switch.kill_database();
    pair.stage.switch.start_database();
    assert_eq!(pair.burst(), (128, 128));

    pair.end();
}

#[test]
fn check_sees_an_application_that_is_connected_to_a_port_whose_link_is_down() {
    let stage = Stage::with(Switch::short_of_memory);
    let keys = json!({});
    let made = stage.add(&keys);
    stage.call("CHECK", &keys).result();
    let record = &stage.scene.record("pod-1", "net1")[0];
    let name = record["steps"][1]["port"]["make"]["name"].as_str().unwrap().to_owned();

    let _application = Application::start(socket(&made), FIRST, &["--forward-mode=rxonly"]);
    wait("the application is connected", || {
        stage.switch.interface(&name, "status").contains("status=connected")
    });

    assert_eq!(stage.switch.interface(&name, "link_state"), "down");
    let (code, what, remedy) = stage.call("CHECK", &keys).error();
    assert!(
        code == 105 && what.contains("is connected to port") && what.ends_with("its link is down"),
        "{what}"
    );
    assert!(remedy.contains("memory"), "{remedy}");
    stage.del(&keys);
    stage.assert_empty();
}

#[test]
fn a_socket_of_the_switchs_on_another_file_system_is_mounted_and_unmounted() {
    let stage = Stage::with(|folder| {
        // Seen by this test's thread and what it starts, and gone with them.
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let sockets = folder.parent().unwrap().join("sockets");
        std::fs::create_dir(&sockets).unwrap();
        mount(Some("tmpfs"), &sockets, Some("tmpfs"), MsFlags::empty(), none).unwrap();
        mount(none, &sockets, none, MsFlags::MS_SHARED, none).unwrap();
        Switch::start(folder)
    });
    let stage = Stage { more: json!({"rules": [{"serverMode": true}]}), ..stage };
    let keys = json!({"mode": "client"});
    let mounts = || std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();

    let made = stage.add(&keys);

    assert!(mounts().contains(socket(&made)));
    std::os::unix::net::UnixStream::connect(socket(&made)).unwrap();
    stage.call("CHECK", &keys).result();
    stage.del(&keys);
    assert!(!mounts().contains(socket(&made)));
    stage.assert_empty();

    // In a container whose mounts the node does not see, the pod would find an empty file.
    let none: Option<&str> = None;
    mount(none, &stage.scene.path("sockets"), none, MsFlags::MS_PRIVATE, none).unwrap();
    let (_, message, details) = stage.call("ADD", &keys).error();
    assert!(message.contains("not seen outside") && details.contains("Bidirectional"), "{message} {details}");
    stage.del(&keys);
    stage.assert_empty();
    umount(&stage.scene.path("sockets")).unwrap();
}
