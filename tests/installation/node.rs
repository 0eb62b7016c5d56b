//! A node's directories, and the program at work in them.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A node's directories: the runtime's, that of plugins, and the daemon's.
pub(crate) struct Node {
    folder: TempDir,
    /// The daemon's configuration.
    pub(crate) conf: Value,
}

/// A running daemon; ended when dropped.
pub(crate) struct Daemon(Child);

/// The primary of most tests.
pub(crate) fn calico() -> Value {
    json!({"name": "k8s", "cniVersion": "1.0.0", "plugins": [
        {"type": "calico", "ipam": {"type": "calico-ipam"}, "capabilities": {"bandwidth": false}},
        {"type": "portmap", "capabilities": {"portMappings": true}},
    ]})
}

impl Node {
    /// A node with an empty directory of the runtime, and no programs to put anywhere.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        fs::create_dir(path("net.d")).unwrap();
        let conf = json!({
            "multusConfigFile": "auto", "multusAutoconfigDir": path("net.d"), "cniConfigDir": path("net.d"),
            "cniBinDir": "", "socketDir": path("run"), "daemonSocketDir": path("run"), "stateDir": path("state"),
            "cniDir": path("cache"), "logLevel": "verbose", "housekeepingSeconds": 0,
        });
        Self { folder, conf }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file in the runtime's directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path("net.d").join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    pub(crate) fn primary(&self, conf: &Value) {
        self.write("10-calico.conflist", &conf.to_string());
    }

    /// What is in the runtime's directory.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.path("net.d")).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The text that was written.
    pub(crate) fn text(&self) -> Option<String> {
        fs::read_to_string(self.file("00-manifold.conflist")).ok()
    }

    /// The one plugin of the list that was written.
    pub(crate) fn plugin(&self) -> Value {
        let list: Value = serde_json::from_str(&self.text().expect("it is written")).expect("it is whole");
        assert_eq!(list["plugins"].as_array().unwrap().len(), 1);
        list["plugins"][0].clone()
    }

    pub(crate) fn capabilities(&self) -> Vec<String> {
        let names = self.plugin()["capabilities"].as_object().cloned().unwrap_or_default();
        names.into_iter().filter(|(_, value)| *value == json!(true)).map(|(name, _)| name).collect()
    }

    /// `manifold install` with these words; its answer is what it said.
    pub(crate) fn install(&self, words: &[&str]) -> Result<String, String> {
        let output = self.begin(words).wait_with_output().unwrap();
        let Output { status, stdout, stderr } = output;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if status.success() { Ok(text(stdout)) } else { Err(text(stderr)) }
    }

    pub(crate) fn begin(&self, words: &[&str]) -> Child {
        let mut command = self.command("install");
        command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn command(&self, verb: &str) -> Command {
        let config = self.path("daemon.json");
        fs::write(&config, self.conf.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_manifold"));
        command.arg(verb).arg("--config").arg(config).env_remove("CNI_COMMAND").stdin(Stdio::null());
        command
    }

    /// Starts a daemon and waits until it serves.
    pub(crate) fn daemon(&self) -> Daemon {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("daemon.log")).unwrap();
        let daemon = Daemon(self.command("daemon").stdout(Stdio::null()).stderr(log).spawn().unwrap());
        self.await_that("the daemon serves", || UnixStream::connect(self.path("run/multus.sock")).is_ok());
        daemon
    }

    /// Code and text of the daemon's readiness.
    pub(crate) fn ready(&self) -> (u16, String) {
        let mut stream = UnixStream::connect(self.path("run/multus.sock")).unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: dummy\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
        (code, body.to_owned())
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready().0 == 200
    }

    /// Waits until the daemon says that something is in the way.
    pub(crate) fn await_trouble(&self, what: &str) {
        self.await_that(what, || {
            let (code, text) = self.ready();
            code == 503 && text.contains(what)
        });
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }

    pub(crate) fn await_that(&self, what: &str, so: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !so() {
            assert!(Instant::now() < end, "{what} does not become true; the daemon's log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Daemon {
    /// Tells it to stop, and waits until it has.
    pub(crate) fn stop(mut self) {
        kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

/// The number that stays the same as long as a file is not replaced.
pub(crate) fn inode(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap())
}
