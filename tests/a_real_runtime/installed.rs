//! A node gets Manifold while its pods run: the runtime reads the configuration that is written for it.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::cell::{names_in, only_child};
use crate::pods::address;
use crate::runtime::Runtime;
use crate::scene::Scene;

/// More than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A runtime whose pods get a bridge and nothing else, and a network "data" that they may select.
fn runtime() -> Runtime {
    let scene = Scene::new();
    scene.network("data.conf", &scene.macvlan("data", 1).to_string());
    let primary = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [
        {"type": "bridge", "bridge": "lab0", "ipam": scene.ipam(0)},
        {"type": "tuning", "capabilities": {"mac": true}},
    ]});
    Runtime::start_with_primary(scene, &primary)
}

/// Writes what is to be installed, and gives the words that name it.
fn config(runtime: &Runtime, kind: &str) -> [String; 2] {
    let path = |name| runtime.scene.path(name);
    let conf = json!({
        "type": kind, "multusConfigFile": "auto", "multusAutoconfigDir": path("conf"), "cniConfigDir": path("conf"),
        "binDir": path("bin"), "confDir": path("networks"), "stateDir": path("state"), "cniDir": path("cache"),
        "socketDir": path("thick"), "daemonSocketDir": path("thick"), "housekeepingSeconds": 0,
        "capabilities": {"io.kubernetes.cri.pod-annotations": true},
    });
    fs::write(path("daemon.json"), conf.to_string()).unwrap();
    ["--config".to_owned(), path("daemon.json").display().to_string()]
}

fn interfaces(runtime: &Runtime, id: &str) -> Vec<String> {
    let links = runtime.seen(id, "link");
    let mut names: Vec<String> =
        links.as_array().unwrap().iter().map(|link| link["ifname"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// Runs pods until the runtime has taken up what was written; the last one has the network it selects.
fn run_attached(runtime: &Runtime, name: &str) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let id = runtime.run(runtime.pod(name, "data")).unwrap();
        if interfaces(runtime, &id) == ["eth0", "lo", "net1"] {
            return id;
        }
        assert!(Instant::now() < end, "the runtime does not take what was written");
        end_pod(runtime, &id);
    }
}

fn end_pod(runtime: &Runtime, id: &str) {
    runtime.stop(id).unwrap();
    runtime.remove(id).unwrap();
}

#[test]
fn pods_of_before_and_after_an_installation_are_taken_down() {
    let runtime = runtime();
    let old = runtime.run(runtime.pod("old", "data")).unwrap();
    assert_eq!(interfaces(&runtime, &old), ["eth0", "lo"]);
    let [config, path] = config(&runtime, "manifold");

    let installed = runtime.manifold(&["install", &config, &path]).output().unwrap();

    assert!(installed.status.success(), "{installed:?}");
    let text = fs::read(runtime.scene.path("conf/00-manifold.conflist")).unwrap();
    let list: Value = serde_json::from_slice(&text).unwrap();
    let capabilities = json!({"io.kubernetes.cri.pod-annotations": true, "mac": true});
    assert_eq!(list["plugins"][0]["capabilities"], capabilities);
    let new = run_attached(&runtime, "new");
    assert!(address(&runtime.seen(&new, "addr"), "eth0").starts_with("10.77.0."));
    assert_eq!(address(&runtime.seen(&new, "addr"), "net1"), "10.77.1.2");
    for id in [old, new] {
        end_pod(&runtime, &id);
    }
    runtime.assert_empty();
}

fn await_that(what: &str, so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < end, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A daemon where the runtime is; killed when dropped.
struct Daemon(Child);

impl Daemon {
    fn start(runtime: &Runtime) -> Self {
        let (command, socket) = Self::prepare(runtime);
        Self::begin(command, &socket)
    }

    /// The command that starts it, and the socket it will listen at.
    fn prepare(runtime: &Runtime) -> (Command, PathBuf) {
        let [config, path] = config(runtime, "manifold-shim");
        let log =
            fs::File::options().create(true).append(true).open(runtime.scene.path("daemon.log")).unwrap();
        let mut command = runtime.manifold(&["daemon", &config, &path]);
        command.stdout(Stdio::null()).stderr(log);
        (command, runtime.scene.path("thick/multus.sock"))
    }

    /// Starts it and waits until it serves.
    fn begin(mut command: Command, socket: &Path) -> Self {
        let daemon = Self(command.spawn().unwrap());
        await_that("the daemon listens", || UnixStream::connect(socket).is_ok());
        daemon
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(only_child(self.0.id()).try_into().unwrap()), signal).unwrap();
    }

    /// Tells it to stop, and waits until it has.
    fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.signal(Signal::SIGKILL);
        }
        self.0.wait().map(drop).unwrap_or_default();
    }
}

#[test]
fn a_daemon_sets_the_node_up_and_pods_outlast_whatever_becomes_of_it() {
    let runtime = runtime();
    let old = runtime.run(runtime.pod("old", "data")).unwrap();
    let daemon = Daemon::start(&runtime);
    let first = run_attached(&runtime, "first");

    fs::remove_file(runtime.scene.path("conf/00-manifold.conflist")).unwrap();
    let second = run_attached(&runtime, "second");
    daemon.stop();
    assert!(runtime.scene.path("conf/00-manifold.conflist").exists());
    // DELs are kept while nobody takes them.
    end_pod(&runtime, &first);
    end_pod(&runtime, &old);

    // A pod that starts meanwhile waits: it does not come to life without its networks.
    let (command, socket) = Daemon::prepare(&runtime);
    let starting = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        Daemon::begin(command, &socket)
    });
    let third = runtime.run(runtime.pod("third", "data")).unwrap();
    let daemon = starting.join().unwrap();
    assert_eq!(interfaces(&runtime, &third), ["eth0", "lo", "net1"]);
    for id in [second, third] {
        end_pod(&runtime, &id);
    }
    // A daemon that is told to stop leaves to the next one what it has not begun.
    await_that("the kept DELs are done", || names_in(&runtime.scene.path("state/spool")).is_empty());
    daemon.stop();
    runtime.assert_empty();
}
