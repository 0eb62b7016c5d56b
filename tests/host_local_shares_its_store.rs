//! The stores of the reference plugin `host-local`, with that plugin at work in them beside us.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test may panic, and this one runs the reference plugin"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use manifold::host::ipam::store;
use manifold::model::fault::{FaultKind, Outcome};
use manifold::model::{Attachment, Network, Owner};
use manifold::plan::ipam;
use manifold::plan::kind::Ask;
use manifold::plan::step::{LeaseStep, Step};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde_json::{Value, json};

const REFERENCE: &str = "/usr/lib/cni/host-local";
/// The variable that tells the process of the crash test where to work.
const CRASH_STORE: &str = "MANIFOLD_TEST_CRASH_STORE";

/// A network whose addresses both sides manage.
struct Shared {
    dir: tempfile::TempDir,
    ranges: Value,
}

/// What one ADD gave: an address of each set.
type Given = Vec<String>;

impl Shared {
    fn new(ranges: Value) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), ranges }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("net")
    }

    fn conf(&self) -> Value {
        let ipam = json!({"type": "host-local", "dataDir": self.dir.path(), "ranges": self.ranges});
        json!({"cniVersion": "1.0.0", "name": "net", "type": "macvlan", "ipam": ipam})
    }

    /// The plan for an owner, read from the same configuration the reference gets.
    fn step(&self, container: &str, args: &str) -> LeaseStep {
        let network = Network::parse(&serde_json::to_vec(&self.conf()).unwrap(), None).unwrap();
        let attachment =
            Attachment { args: args.parse().unwrap(), ..Attachment::new(owner(container), network) };
        let conf = &attachment.network.plugins[0];
        let read = ipam::read(Ask { conf, attachment: &attachment }).unwrap();
        let Some(Step::Lease(step)) = read.lease_step() else { panic!("{read:?}") };
        step
    }

    fn ours(&self, container: &str) -> Outcome<Given> {
        self.ours_with(container, "").map(|step| texts(&step))
    }

    fn ours_with(&self, container: &str, args: &str) -> Outcome<LeaseStep> {
        let mut step = self.step(container, args);
        store::take(&mut step, &owner(container)).map(|_| step)
    }

    /// Gives back what the search finds: the record is lost.
    fn ours_del(&self, container: &str) {
        store::give_back(&self.step(container, ""), &owner(container)).unwrap();
    }

    fn theirs(&self, container: &str) -> Result<Given, String> {
        let result = self.reference("ADD", container, "")?;
        let ips = result["ips"].as_array().unwrap();
        let address = |ip: &Value| ip["address"].as_str().unwrap().split('/').next().unwrap().to_owned();
        Ok(ips.iter().map(address).collect())
    }

    fn theirs_del(&self, container: &str) {
        self.reference("DEL", container, "").unwrap();
    }

    fn reference(&self, command: &str, container: &str, args: &str) -> Result<Value, String> {
        let mut child = Command::new(REFERENCE)
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", "/run/netns/none")
            .env("CNI_IFNAME", "net1")
            .env("CNI_PATH", "/usr/lib/cni")
            .env("CNI_ARGS", args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the reference plugins are installed");
        child.stdin.take().unwrap().write_all(&serde_json::to_vec(&self.conf()).unwrap()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        if !output.status.success() {
            return Err(text);
        }
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// The address files and what they say.
    fn addresses(&self) -> BTreeMap<String, String> {
        entries(&self.store()).into_iter().filter(|(name, _)| name.parse::<IpAddr>().is_ok()).collect()
    }

    /// Fills the store with address files of another container, the last of which was reserved last. They are links
    /// to one file: file systems make these much faster than files.
    fn fill(&self, count: u32) {
        fs::create_dir_all(self.store()).unwrap();
        let address = |n| Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 2).to_bits() + n).to_string();
        let first = self.store().join(address(0));
        fs::write(&first, "other\r\neth0").unwrap();
        for n in 1..count {
            fs::hard_link(&first, self.store().join(address(n))).unwrap();
        }
        fs::write(self.store().join("last_reserved_ip.0"), address(count - 1)).unwrap();
    }
}

fn owner(container: &str) -> Owner {
    Owner::parse(container, "net1").unwrap()
}

fn texts(step: &LeaseStep) -> Given {
    step.held.iter().flatten().map(ToString::to_string).collect()
}

/// All entries of a directory and their content.
fn entries(dir: &Path) -> BTreeMap<String, String> {
    let read = |entry: fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
    };
    fs::read_dir(dir).unwrap().map(|entry| read(entry.unwrap())).collect()
}

/// How often entries of a store were opened, and its list of names read, while something was done.
#[derive(Debug, Default)]
struct Cost {
    opened: usize,
    listed: usize,
}

fn cost_of(store: &Path, act: impl FnOnce()) -> Cost {
    let watch = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).unwrap();
    watch.add_watch(store, AddWatchFlags::IN_OPEN | AddWatchFlags::IN_ACCESS).unwrap();
    act();
    let mut cost = Cost::default();
    loop {
        let events = match watch.read_events() {
            Ok(events) => events,
            Err(Errno::EAGAIN) => return cost,
            Err(errno) => panic!("{errno}"),
        };
        for event in events {
            assert!(
                !event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW),
                "more opens than the kernel can count"
            );
            let is_dir = event.mask.contains(AddWatchFlags::IN_ISDIR);
            cost.opened += usize::from(event.mask.contains(AddWatchFlags::IN_OPEN) && !is_dir);
            cost.listed += usize::from(event.mask.contains(AddWatchFlags::IN_ACCESS) && is_dir);
        }
    }
}

#[test]
fn the_round_goes_on_from_one_to_the_other() {
    let shared = Shared::new(json!([[
        {"subnet": "10.0.0.0/29"},
        {"subnet": "10.0.1.0/24", "rangeStart": "10.0.1.8", "rangeEnd": "10.0.1.10", "gateway": "10.0.1.9"},
    ]]));

    // .1 and .1.9 are gateways; after the last of the second range comes the first of the first.
    let mut given = Vec::new();
    for n in 0..7 {
        let container = format!("c{n}");
        given.extend(
            if n % 2 == 0 {
                shared.ours(&container)
            } else {
                shared.theirs(&container).map_err(|e| panic!("{e}"))
            }
            .unwrap(),
        );
    }
    let round = ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.1.8", "10.0.1.10"];
    assert_eq!(given, round);

    assert_eq!(shared.ours("late").unwrap_err().kind(), FaultKind::Exhausted);
    assert!(shared.theirs("late").unwrap_err().contains("no IP addresses available"));

    // Each gives back what the other took, and the round does not start anew.
    shared.theirs_del("c2");
    shared.ours_del("c1");
    assert_eq!(shared.theirs("c7").unwrap(), ["10.0.0.3"]);
    assert_eq!(shared.ours("c8").unwrap(), ["10.0.0.4"]);
    shared.ours_del("c5");
    shared.theirs_del("c8");
    assert_eq!(shared.ours("c9").unwrap(), ["10.0.1.8"]);
    assert_eq!(shared.theirs("c10").unwrap(), ["10.0.0.4"]);
}

#[test]
fn both_write_the_same_files_and_give_the_same_addresses() {
    for ranges in [
        json!([[{"subnet": "10.0.0.0/24"}], [{"subnet": "2001:db8::/64"}]]),
        json!([[{"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.7"}], [{"subnet": "fd00::/112", "gateway": "fd00::2"}]]),
        json!([[{"subnet": "2001:DB8:0:0:1::/80", "rangeStart": "2001:db8:0:0:1:0:0:99"}]]),
    ] {
        let (ours, theirs) = (Shared::new(ranges.clone()), Shared::new(ranges));
        for container in ["c1", "c2"] {
            assert_eq!(ours.ours(container).unwrap(), theirs.theirs(container).unwrap());
        }

        assert_eq!(entries(&ours.store()), entries(&theirs.store()));
        let mode = |shared: &Shared, name: &str| fs::metadata(shared.store().join(name)).unwrap().mode();
        for name in [".", "lock"] {
            assert_eq!(mode(&ours, name), mode(&theirs, name), "{name}");
        }

        ours.theirs_del("c1");
        theirs.ours_del("c1");
        assert_eq!(ours.addresses(), theirs.addresses());
        assert!(ours.addresses().values().all(|content| content == "c2\r\nnet1"));
        assert!(ours.reference("CHECK", "c2", "").is_ok(), "it sees that we hold our addresses");
        assert!(ours.reference("CHECK", "c1", "").is_err());
    }
}

#[test]
fn an_address_that_one_holds_is_refused_by_the_other() {
    let shared = Shared::new(json!([[{"subnet": "10.0.0.0/24"}]]));
    let asked = "IgnoreUnknown=1;IP=10.0.0.77";
    shared.reference("ADD", "c1", asked).unwrap();

    let fault = shared.ours_with("c2", asked).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Exists);
    assert!(fault.confided().unwrap().contains("c1/net1"), "{fault:?}");

    // A requested address moves the round as well.
    assert_eq!(shared.ours("c3").unwrap(), ["10.0.0.78"]);
    shared.theirs_del("c1");
    assert_eq!(texts(&shared.ours_with("c2", asked).unwrap()), ["10.0.0.77"]);
    assert!(shared.reference("ADD", "c4", asked).unwrap_err().contains("10.0.0.77"));
    assert_eq!(shared.theirs("c5").unwrap(), ["10.0.0.79"]);
}

#[test]
fn side_by_side_no_address_is_given_twice_and_none_is_lost() {
    const WORKERS: usize = 8;
    const TURNS: usize = 12;
    let shared = Shared::new(json!([[{"subnet": "10.0.0.0/24"}], [{"subnet": "fd00::/64"}]]));

    // Every other attachment is given back, by the other side.
    let work = |name: &str, ours: bool| -> Vec<Given> {
        let mut kept = Vec::new();
        for turn in 0..TURNS {
            let container = format!("{name}-{turn}");
            let given =
                if ours { shared.ours(&container).unwrap() } else { shared.theirs(&container).unwrap() };
            match (turn % 2 == 0, ours) {
                (true, _) => kept.push(given),
                (false, true) => shared.theirs_del(&container),
                (false, false) => shared.ours_del(&container),
            }
        }
        kept
    };
    let kept: Vec<Given> = thread::scope(|scope| {
        let start = |n: usize| {
            let work = &work;
            scope.spawn(move || work(&format!("worker{n}"), n.is_multiple_of(2)))
        };
        let workers: Vec<_> = (0..2 * WORKERS).map(start).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });

    let distinct: BTreeSet<&String> = kept.iter().flatten().collect();
    assert_eq!(distinct.len(), 2 * WORKERS * TURNS, "half of the turns keep two addresses each");
    let held: BTreeSet<String> = shared.addresses().into_keys().collect();
    assert_eq!(distinct.into_iter().cloned().collect::<BTreeSet<_>>(), held);
}

#[test]
fn with_60_000_addresses_in_use_nothing_is_walked() {
    let shared = Shared::new(json!([[{"subnet": "10.0.0.0/8"}]]));
    shared.fill(60_000);
    let mut step = shared.step("c1", "");

    // The lock, the cursor twice, the file itself.
    let cost = cost_of(&shared.store(), || drop(store::take(&mut step, &owner("c1")).unwrap()));
    assert_eq!(texts(&step), ["10.0.234.98"]);
    assert!(cost.opened <= 4 && cost.listed == 0, "ADD: {cost:?}");

    let cost = cost_of(&shared.store(), || store::holds(&step, &owner("c1")).unwrap());
    assert!(cost.opened == 1 && cost.listed == 0, "CHECK: {cost:?}");

    let cost = cost_of(&shared.store(), || store::give_back(&step, &owner("c1")).unwrap());
    assert!(cost.opened <= 2 && cost.listed == 0, "DEL: {cost:?}");
    assert_eq!(shared.addresses().len(), 60_000);

    // Without a cursor all of them stand in the way: the names are read, no file is opened.
    fs::remove_file(shared.store().join("last_reserved_ip.0")).unwrap();
    let cost = cost_of(&shared.store(), || drop(store::take(&mut step, &owner("c1")).unwrap()));
    assert_eq!(texts(&step), ["10.0.234.98"]);
    assert!(cost.opened <= 3 && cost.listed > 0, "ADD without a cursor: {cost:?}");

    // The reference carries on from there, and finds ours.
    assert_eq!(shared.theirs("c2").unwrap(), ["10.0.234.99"]);
    shared.theirs_del("c1");
    shared.ours_del("c2");
    assert_eq!(shared.addresses().len(), 60_000);
}

#[test]
fn in_a_full_range_of_60_000_only_names_are_read() {
    let shared = Shared::new(json!([[{"subnet": "10.0.0.0/8", "rangeEnd": "10.0.234.97"}]]));
    shared.fill(60_000);
    let mut step = shared.step("c1", "");

    let cost = cost_of(&shared.store(), || {
        let fault = store::take(&mut step, &owner("c1")).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Exhausted);
        assert!(fault.to_string().contains("60000 are in use"), "{fault}");
    });
    assert!(cost.opened <= 3, "{cost:?}");

    let cost = cost_of(&shared.store(), || store::give_back(&step, &owner("c1")).unwrap());
    assert!(cost.opened == 0 && cost.listed == 0, "what took nothing has nothing to give back: {cost:?}");

    // One that is free, however far from the cursor, is found.
    fs::remove_file(shared.store().join("10.0.100.7")).unwrap();
    assert_eq!(shared.ours("c1").unwrap(), ["10.0.100.7"]);
}

/// The process that the crash test kills: it takes addresses until then.
#[test]
#[ignore = "run by the crash test"]
fn the_process_of_the_crash_test() {
    let Ok(ranges) = std::env::var(CRASH_STORE) else { return };
    let step: LeaseStep = serde_json::from_str(&ranges).unwrap();
    for n in 0..1_000_000 {
        store::take(&mut step.clone(), &owner(&format!("c{n}"))).unwrap();
        if n % 8 == 0 {
            println!("took {n}");
        }
    }
}

#[test]
fn a_kill_leaves_no_address_without_an_owner() {
    let shared = Shared::new(json!([[{"subnet": "10.0.0.0/8"}], [{"subnet": "fd00::/64"}]]));
    for round in 0..40 {
        let step = serde_json::to_string(&shared.step("c0", "")).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_process_of_the_crash_test", "--ignored", "--nocapture"])
            .env(CRASH_STORE, step)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let seen = lines.take(6 + round % 7).filter(|l| l.as_ref().unwrap().contains("took")).count();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(seen > 0, "it was killed at work");

        // Whatever is there names its owner, so its record finds it, or says that its maker had not come so far.
        let mut left = shared.addresses();
        let mode = |address: &str| fs::metadata(shared.store().join(address)).unwrap().mode() & 0o7777;
        left.retain(|address, content| !content.is_empty() || mode(address) != 0o1600);
        for (address, content) in &left {
            assert!(content.starts_with('c') && content.ends_with("\r\nnet1"), "{address}: {content:?}");
        }
        let owners: BTreeSet<&str> = left.values().map(|text| text.split("\r\n").next().unwrap()).collect();
        for container in owners.into_iter().chain(["c0"]) {
            shared.ours_del(container);
        }
        let known = ["lock", "last_reserved_ip.0", "last_reserved_ip.1"];
        let strays: Vec<String> =
            entries(&shared.store()).into_keys().filter(|name| !known.contains(&name.as_str())).collect();
        assert!(strays.is_empty(), "{strays:?}");
    }
}
