//! A switch of the test's own: Debian's Open vSwitch with DPDK, without hugepages and without an adapter, in the node's
//! network namespace, with every file in the test's folder.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The vswitchd that is built with DPDK; the one in the path is not.
const VSWITCHD: &str = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk";
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// How long anything may take here.
const LIMIT: Duration = Duration::from_secs(60);

/// A switch with the bridge `br0`.
pub(crate) struct Switch {
    folder: PathBuf,
    database: Option<Child>,
    daemon: Option<Child>,
}

impl Switch {
    /// Starts it in this folder.
    pub(crate) fn start(folder: &Path) -> Self {
        let mut switch = Self::database_only(folder);
        switch.start_daemon();
        switch.vsctl("add-br br0 -- set bridge br0 datapath_type=netdev");
        switch
    }

    /// Starts one whose packets of all ports share a memory that does not suffice for them: what is connected gets none.
    pub(crate) fn short_of_memory(folder: &Path) -> Self {
        let mut switch = Self::database_only(folder);
        let extra = switch.vsctl("get Open_vSwitch . other_config:dpdk-extra").replace("-m 1024", "-m 32");
        let extra = format!("other_config:dpdk-extra={extra}");
        let words = ["--no-wait", "set", "Open_vSwitch", ".", "other_config:per-port-memory=false", &extra];
        switch.vsctl_words(&words);
        switch.start_daemon();
        switch.vsctl("add-br br0 -- set bridge br0 datapath_type=netdev");
        switch
    }

    /// Starts the database alone: nobody takes up what is written into it.
    pub(crate) fn database_only(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let mut switch = Self { folder: folder.to_owned(), database: None, daemon: None };
        let made =
            switch.command("ovsdb-tool").arg("create").arg(switch.path("conf.db")).arg(SCHEMA).output();
        assert!(made.unwrap().status.success());
        switch.start_database();
        switch.vsctl("--no-wait init");
        let prefix = format!("manifold-{}-{}", std::process::id(), nix::unistd::gettid());
        let extra = format!("--no-huge --legacy-mem -m 1024 --no-pci --no-telemetry --file-prefix={prefix}");
        let settings = format!("other_config:dpdk-extra=\"{extra}\"");
        // Polling threads sleep when there is nothing to do: the tests share two processors.
        switch.vsctl_words(&[
            "--no-wait",
            "set",
            "Open_vSwitch",
            ".",
            "other_config:dpdk-init=true",
            "other_config:per-port-memory=true",
            "other_config:pmd-cpu-mask=0x2",
            "other_config:dpdk-lcore-mask=0x1",
            "other_config:pmd-maxsleep=500",
            &settings,
        ]);
        switch
    }

    /// The socket of its database.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("db.sock")
    }

    pub(crate) fn start_database(&mut self) {
        let socket = format!("punix:{}", self.socket().display());
        let mut command = self.command("ovsdb-server");
        command.arg(self.path("conf.db")).arg("--remote").arg(socket);
        command.arg("--unixctl").arg(self.path("database.ctl"));
        self.database = Some(self.spawn(command, "database.log"));
        wait("the database listens", || std::os::unix::net::UnixStream::connect(self.socket()).is_ok());
    }

    pub(crate) fn start_daemon(&mut self) {
        let mut command = self.command(VSWITCHD);
        command.arg(format!("unix:{}", self.socket().display()));
        command.arg("--unixctl").arg(self.path("daemon.ctl"));
        self.daemon = Some(self.spawn(command, "daemon.log"));
        wait("DPDK is initialised", || self.vsctl("--no-wait get Open_vSwitch . dpdk_initialized") == "true");
    }

    /// Kills the database server, as a fault would.
    pub(crate) fn kill_database(&mut self) {
        end(self.database.take(), Signal::SIGKILL);
    }

    /// Kills ovs-vswitchd, as a fault would.
    pub(crate) fn kill_daemon(&mut self) {
        end(self.daemon.take(), Signal::SIGKILL);
    }

    /// Runs `ovs-vsctl`; answers with what it prints.
    pub(crate) fn vsctl(&self, words: &str) -> String {
        self.vsctl_words(&words.split(' ').collect::<Vec<_>>())
    }

    fn vsctl_words(&self, words: &[&str]) -> String {
        let mut command = self.command("ovs-vsctl");
        command.arg("--timeout=60").arg(format!("--db=unix:{}", self.socket().display())).args(words);
        let done = command.output().unwrap();
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// The ports of a bridge.
    pub(crate) fn ports(&self, bridge: &str) -> Vec<String> {
        self.vsctl(&format!("list-ports {bridge}")).lines().map(str::to_owned).collect()
    }

    /// A column of an interface.
    pub(crate) fn interface(&self, name: &str, column: &str) -> String {
        self.vsctl(&format!("--bare get Interface {name} {column}"))
    }

    /// How many frames came in through a port.
    pub(crate) fn received(&self, bridge: &str, port: &str) -> u64 {
        let done = self.command("ovs-ofctl").args(["dump-ports", bridge, port]).output().unwrap();
        let text = String::from_utf8(done.stdout).unwrap();
        let count = text.split("rx pkts=").nth(1).and_then(|rest| rest.split(',').next()?.parse().ok());
        count.unwrap_or_else(|| panic!("{text} {}", String::from_utf8_lossy(&done.stderr)))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for name in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(name, &self.folder);
        }
        command
    }

    fn spawn(&self, mut command: Command, log: &str) -> Child {
        let log = fs::File::create(self.path(log)).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        end(self.daemon.take(), Signal::SIGKILL);
        end(self.database.take(), Signal::SIGKILL);
    }
}

fn end(child: Option<Child>, signal: Signal) {
    if let Some(mut child) = child {
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        kill(pid, signal).unwrap_or_default();
        drop(child.wait());
    }
}

/// Waits until something holds.
pub(crate) fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not in {LIMIT:?}");
        pause(Duration::from_millis(50));
    }
}

/// Lets some time pass.
#[allow(
    clippy::disallowed_methods,
    reason = "other programs need time, and have no way to say when they are done"
)]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// An application of DPDK in a pod: `dpdk-testpmd` with a vhost-user device, without hugepages. It makes the socket.
pub(crate) struct Application {
    child: Child,
}

impl Application {
    /// Starts it on this socket with this Ethernet address.
    pub(crate) fn start(socket: &str, mac: &str, words: &[&str]) -> Self {
        Self::with(&format!("path={socket},server=1"), mac, words)
    }

    /// The same, for a socket that the switch made.
    pub(crate) fn connect(socket: &str, mac: &str, words: &[&str]) -> Self {
        Self::with(&format!("path={socket},server=0"), mac, words)
    }

    /// Starts it as a container is started: by a script for the shell, with nothing to read.
    pub(crate) fn of_script(script: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        Self { child: command.spawn().unwrap() }
    }

    fn with(end: &str, mac: &str, words: &[&str]) -> Self {
        let prefix = format!("app-{}-{}", std::process::id(), mac.replace(':', ""));
        let device = format!("net_virtio_user0,{end},queues=1,mac={mac}");
        let mut command = Command::new("dpdk-testpmd");
        command.args(["--lcores", "0@0,1@0", "--no-huge", "-m", "256", "--no-pci", "--no-telemetry"]);
        command.args(["--file-prefix", &prefix, "--vdev", &device, "--"]);
        command.args(["--nb-cores=1", "--total-num-mbufs=8192"]).args(words);
        // Until its standard input ends, it goes on.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Self { child: command.spawn().unwrap() }
    }

    /// Ends it; answers with how many packets it received and sent.
    pub(crate) fn finish(mut self) -> (u64, u64) {
        drop(self.child.stdin.take().map(|mut input| input.write_all(b"\n")));
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        drop(self.child.wait());
        let last = text.rsplit("Accumulated forward statistics").next().unwrap().to_owned();
        let count = |key: &str| {
            let rest = last.split(key).nth(1).unwrap_or_else(|| panic!("no {key} in {text}"));
            rest.split_whitespace().next().unwrap().parse().unwrap()
        };
        (count("RX-packets:"), count("TX-packets:"))
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
