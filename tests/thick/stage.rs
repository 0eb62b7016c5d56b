//! A node with a daemon, and pods.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::common::Pod;
use crate::scene::{self, Answer, Call, PLUGINS, Scene};

/// A node on which calls go through the shim.
pub(crate) struct Stage {
    pub(crate) scene: Scene,
    /// The configuration that the runtime gives the shim.
    pub(crate) conf: Value,
    /// That of the daemon.
    pub(crate) daemon_conf: Value,
    /// What the runtime says of the pod, `CNI_ARGS`.
    pub(crate) args: String,
}

/// A running daemon; ended when dropped.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Stage {
    /// A node whose pods get an exec'd default network and a native one.
    pub(crate) fn new() -> Self {
        let scene = Scene::new();
        let bridge = json!({"cniVersion": "1.0.0", "name": "base", "type": "bridge", "bridge": "br0", "ipam": scene.ipam(0)});
        let data = scene.macvlan("data", 1);
        let mut conf = scene.conf(&json!([bridge, data]));
        conf["type"] = json!("manifold-shim");
        conf["cniVersion"] = json!("1.1.0");
        conf["daemonSocketDir"] = json!(scene.path("run"));
        let daemon_conf = json!({
            "socketDir": scene.path("run"), "stateDir": scene.path("state"), "cniDir": scene.path("cache"),
            "binDir": PLUGINS, "logLevel": "verbose", "housekeepingSeconds": 0,
        });
        Self {
            scene,
            conf,
            daemon_conf,
            args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=p".to_owned(),
        }
    }

    pub(crate) fn pod(&self) -> Pod {
        self.scene.node.pod().unwrap()
    }

    /// Starts a daemon and waits until it serves.
    pub(crate) fn daemon(&self) -> Daemon {
        let daemon = self.start();
        self.await_that("the daemon listens", || UnixStream::connect(self.socket()).is_ok());
        daemon
    }

    /// Starts a daemon.
    pub(crate) fn start(&self) -> Daemon {
        fs::write(self.scene.path("daemon.json"), self.daemon_conf.to_string()).unwrap();
        self.start_another()
    }

    /// Starts a daemon with the configuration that is there.
    pub(crate) fn start_another(&self) -> Daemon {
        let config = self.scene.path("daemon.json");
        let log = self.scene.path("daemon.log");
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_manifold"));
        command.arg("daemon").arg("--config").arg(config).env_remove("CNI_COMMAND");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Daemon { child, log }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.scene.path("run/multus.sock")
    }

    /// Starts a call through the shim.
    pub(crate) fn begin(&self, verb: &str, container: &str, pod: &Pod) -> Child {
        let call = Call { verb, container, ifname: "eth0", netns: pod.path().as_str() };
        let mut command = self.scene.command(env!("CARGO_BIN_EXE_manifold-shim"), &call);
        command.env("CNI_ARGS", &self.args);
        scene::start(command, self.conf.to_string().as_bytes())
    }

    /// Makes a call through the shim.
    pub(crate) fn call(&self, verb: &str, container: &str, pod: &Pod) -> Answer {
        scene::finish(self.begin(verb, container, pod))
    }

    /// Asks the daemon as the peer's programs do.
    pub(crate) fn http(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: dummy\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        answer(&mut stream)
    }

    /// The DELs that are kept.
    pub(crate) fn spool(&self) -> usize {
        fs::read_dir(self.scene.path("state/spool")).map_or(0, Iterator::count)
    }

    /// What all daemons said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.scene.path("daemon.log")).unwrap_or_default()
    }

    /// Waits until something is so.
    pub(crate) fn await_that(&self, what: &str, mut so: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !so() {
            let log = self.log();
            assert!(Instant::now() < end, "{what} does not become true; the daemon's log:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn assert_empty(&self) {
        assert_eq!(self.scene.kept(), Default::default());
    }
}

/// Code and body of an HTTP answer.
pub(crate) fn answer(stream: &mut impl Read) -> (u16, String) {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    (code, body.to_owned())
}

impl Daemon {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// How it ended, if it did: well or not.
    pub(crate) fn ending(&mut self) -> Option<bool> {
        self.child.try_wait().unwrap().map(|status| status.success())
    }

    /// Waits until it ends by itself.
    pub(crate) fn ended(mut self) -> bool {
        self.child.wait().unwrap().success()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}
