//! What changes attachments, all at once and in any order: pods come and go, with and without a DEL, are in one network of
//! the runtime's or in two, select other networks, and are detached from by hand, while the runtime collects, a person
//! prunes, and the daemon is killed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::common::Pod;
use crate::live::Cluster;
use crate::scene::{self, Call};
use crate::stage::Daemon;

/// How many steps are taken.
const STEPS: usize = 300;
/// What pods select on the way.
const SELECTIONS: [&str; 7] = [
    "",
    "red",
    "red,other/blue@data0",
    "other/blue,slow",
    "red,red",
    "other/blue@data0,red@data1",
    "slow@slow0,red",
];
/// A plugin that takes its time, and whose ADD fails now and then.
const SLOW: &str = r#"#!/bin/bash
cat >/dev/null
sleep 0.$((RANDOM % 4))
[ "$CNI_COMMAND" = ADD ] || exit 0
[ $((RANDOM % 6)) != 0 ] || { echo '{"cniVersion":"1.0.0","code":999,"msg":"not now"}'; exit 1; }
printf '{"cniVersion":"1.0.0","interfaces":[{"name":"%s","sandbox":"%s"}]}' "$CNI_IFNAME" "$CNI_NETNS"
"#;

/// The same numbers each time; in which order calls end is another matter.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides as u64).unwrap()
    }
}

/// A network of the runtime's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Net {
    First,
    Second,
}

impl Net {
    fn ifname(self) -> &'static str {
        match self {
            Self::First => "eth0",
            Self::Second => "eth1",
        }
    }
}

/// A pod of the cluster, and its sandbox if it has one.
struct Member {
    name: String,
    starts: usize,
    netns: Option<Pod>,
    /// The ADD or DEL that is being done.
    call: Option<(&'static str, Net, Child)>,
    /// In which networks it is.
    first: bool,
    second: bool,
}

impl Member {
    /// Some runtimes start a container anew under the id it had.
    fn container(&self) -> String {
        format!("{}-{}", self.name, self.starts / 3)
    }

    fn is_in(&mut self, net: Net) -> &mut bool {
        match net {
            Net::First => &mut self.first,
            Net::Second => &mut self.second,
        }
    }

    fn interfaces(&self) -> Vec<String> {
        self.netns.as_ref().unwrap().interfaces()
    }
}

struct Mingle {
    cluster: Cluster,
    members: Vec<Member>,
    /// Calls that are about no pod.
    others: Vec<Child>,
    daemon: Option<Daemon>,
}

impl Mingle {
    fn new() -> Self {
        let mut cluster = Cluster::selecting("");
        let bin = cluster.stage.scene.path("bin");
        fs::create_dir(&bin).unwrap();
        fs::write(bin.join("slow"), SLOW).unwrap();
        fs::set_permissions(bin.join("slow"), fs::Permissions::from_mode(0o755)).unwrap();
        cluster.server.put_definition("ns/slow", r#"{"cniVersion":"1.0.0","type":"slow"}"#, &json!({}));
        cluster.stage.daemon_conf["binDir"] = json!(bin);
        cluster.stage.daemon_conf["housekeepingSeconds"] = json!(1);
        let members = (0..5).map(|n| {
            let name = format!("m{n}");
            cluster.server.put_pod(&format!("ns/{name}"), &name, &json!({"k8s.v1.cni.cncf.io/networks": ""}));
            Member { name, starts: 0, netns: None, call: None, first: false, second: false }
        });
        let members = members.collect();
        let daemon = Some(cluster.stage.daemon());
        Self { cluster, members, others: Vec::new(), daemon }
    }

    fn conf(&self, net: Net) -> Value {
        let mut conf = self.cluster.stage.conf.clone();
        if net == Net::Second {
            conf["name"] = json!("second");
            conf["delegates"] = json!([self.cluster.stage.scene.macvlan("second", 2)]);
        }
        conf
    }

    /// Starts an ADD or DEL. In its second network the pod is none of the cluster, and selects nothing.
    fn begin(&mut self, n: usize, verb: &'static str, net: Net) {
        let conf = self.conf(net).to_string();
        let member = &mut self.members[n];
        if (verb, net) == ("ADD", Net::First) {
            member.starts += 1;
            member.netns = Some(self.cluster.stage.pod());
        }
        *member.is_in(net) = false;
        let (container, name) = (member.container(), &member.name);
        let args = match net {
            Net::First => {
                format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME={name};K8S_POD_UID={name}")
            }
            Net::Second => "IgnoreUnknown=1".to_owned(),
        };
        let netns = member.netns.as_ref().map_or("", |pod| pod.path().as_str());
        let call = Call { verb, container: &container, ifname: net.ifname(), netns };
        let mut command = self.cluster.stage.scene.command(env!("CARGO_BIN_EXE_manifold-shim"), &call);
        command.env("CNI_ARGS", args);
        member.call = Some((verb, net, scene::start(command, conf.as_bytes())));
    }

    /// Hears the answers of calls that have ended, or of all. What fails is followed by a DEL, as a runtime has it.
    fn gather(&mut self, all: bool) {
        let has_ended = |child: &mut Child| all || child.try_wait().unwrap().is_some();
        self.others.retain_mut(|child| !has_ended(child) || child.wait().is_err());
        for n in 0..self.members.len() {
            let member = &mut self.members[n];
            let Some((verb, net, child)) = member.call.take_if(|(.., child)| has_ended(child)) else {
                continue;
            };
            match (verb, scene::finish(child).succeeded()) {
                (_, false) => self.begin(n, "DEL", net),
                ("ADD", true) => *member.is_in(net) = true,
                (_, true) if net == Net::First => member.netns = None,
                (_, true) => {}
            }
        }
    }

    /// Waits until no ADD and no DEL is being done.
    fn quiet(&mut self) {
        while self.members.iter().any(|member| member.call.is_some()) {
            self.gather(true);
        }
    }

    /// Does a GC. A runtime calls for no ADD and no DEL beside it; what others do goes on.
    fn collect(&mut self, net: Net) {
        self.quiet();
        let mut conf = self.conf(net);
        let valid = self.members.iter_mut().filter_map(|member| {
            let is_in = *member.is_in(net);
            is_in.then(|| json!({"containerID": member.container(), "ifname": net.ifname()}))
        });
        conf["cni.dev/valid-attachments"] = valid.collect();
        let call = Call { verb: "GC", container: "", ifname: "", netns: "" };
        let mut command = self.cluster.stage.scene.command(env!("CARGO_BIN_EXE_manifold-shim"), &call);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // What cannot be undone yet is no matter.
        scene::start(command, conf.to_string().as_bytes()).wait().unwrap();
    }

    fn by_hand(&mut self, words: &[&str]) {
        let scene = &self.cluster.stage.scene;
        let mut command = Command::new(env!("CARGO_BIN_EXE_manifold"));
        command.env_remove("CNI_COMMAND").args(words);
        for (flag, place) in [("--state-dir", "state"), ("--cache-dir", "cache"), ("--bin-dir", "bin")] {
            command.arg(flag).arg(scene.path(place));
        }
        self.others.push(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }

    fn select(&self, n: usize, networks: &str) {
        self.cluster.server.select(&format!("ns/{}", self.members[n].name), networks);
    }

    fn step(&mut self, dice: &mut Dice) {
        let n = dice.roll(self.members.len());
        let Member { call, netns, first, second, .. } = &self.members[n];
        let (is_free, is_there, first, second) = (call.is_none(), netns.is_some(), *first, *second);
        match dice.roll(16) {
            0..=5 => self.select(n, SELECTIONS[dice.roll(SELECTIONS.len())]),
            6..=7 if is_free && !second => self.begin(n, if is_there { "DEL" } else { "ADD" }, Net::First),
            8 if is_free && first => self.begin(n, if second { "DEL" } else { "ADD" }, Net::Second),
            9 if is_free => {
                let Member { netns, first, second, .. } = &mut self.members[n];
                (*netns, *first, *second) = (None, false, false);
            }
            10 => self.by_hand(&["prune"]),
            11 => self.by_hand(&["list"]),
            12 if is_there => {
                let container = self.members[n].container();
                let ifname = ["net1", "net2", "data0"][dice.roll(3)];
                self.by_hand(&["detach", "--container-id", &container, "--interface", ifname]);
            }
            13 => self.collect(Net::First),
            14 => self.collect(Net::Second),
            15 if dice.roll(3) == 0 => {
                self.daemon.take().unwrap().signal(Signal::SIGKILL);
                self.daemon = Some(self.cluster.stage.daemon());
            }
            _ => sleep(Duration::from_millis(20)),
        }
    }

    /// Has all pods in the first network, and two in the second as well at least; and what is not valid collected.
    fn settle(&mut self) {
        for (net, least) in [(Net::First, self.members.len()), (Net::Second, 2)] {
            self.quiet();
            let missing: Vec<usize> = (0..least).filter(|n| !*self.members[*n].is_in(net)).collect();
            missing.into_iter().for_each(|n| self.begin(n, "ADD", net));
        }
        self.collect(Net::Second);
        self.collect(Net::First);
        self.gather(true);
    }

    /// Waits until each pod has what it selects, and was told of it.
    fn await_all(&self, selected: &[&str]) {
        let stage = &self.cluster.stage;
        for member in self.members.iter().filter(|member| member.first) {
            let of_first: Vec<&str> = [selected, &["eth0"]].concat();
            let mut want = [&of_first[..], &["lo"]].concat();
            want.extend(member.second.then_some("eth1"));
            want.sort_unstable();
            stage.await_that(&format!("{} has {want:?}", member.container()), || {
                let told = self.cluster.status_of(&format!("ns/{}", member.name));
                let told: Vec<&str> = told.iter().map(|(_, ifname)| ifname.as_str()).collect();
                member.interfaces() == want && of_first.iter().all(|ifname| told.contains(ifname))
            });
        }
    }
}

#[test]
fn whatever_happens_at_once_a_pod_has_what_it_selects_and_nothing_else_is_left() {
    let (mut mingle, mut dice) = (Mingle::new(), Dice(1));
    for _ in 0..STEPS {
        mingle.step(&mut dice);
        mingle.gather(false);
    }
    let all = 0..mingle.members.len();

    all.clone().for_each(|n| mingle.select(n, ""));
    mingle.settle();
    mingle.await_all(&[]);
    all.clone().for_each(|n| mingle.select(n, "red,other/blue@data0"));
    mingle.await_all(&["data0", "net1"]);

    let up = mingle.members.iter().filter(|member| member.first).count();
    let scene = &mingle.cluster.stage.scene;
    mingle.cluster.stage.await_that("nothing is left of others", || {
        let kept = scene.kept();
        let count = |place: &str| kept.keys().filter(|path| path.starts_with(place)).count();
        ["ipam/base/", "ipam/red/", "ipam/blue/", "state/records/"].iter().all(|place| count(place) == up)
    });
    for net in [Net::Second, Net::First] {
        for n in all.clone() {
            if *mingle.members[n].is_in(net) {
                mingle.begin(n, "DEL", net);
            }
        }
        mingle.quiet();
        assert!(
            mingle.members.iter().all(|member| !member.first || member.interfaces().contains(&"eth0".into()))
        );
    }
    let scene = &mingle.cluster.stage.scene;
    mingle.cluster.stage.await_that("nothing is left", || scene.kept().is_empty());
}
