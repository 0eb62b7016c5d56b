//! The journal on a real file system.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use super::FileJournal;
use crate::engine::ports::{Broken, Entry, Holder, Journal, Patience, Records};
use crate::engine::record::{Phase, Record};
use crate::model::fault::Outcome;
use crate::model::{Attachment, CniResult, ContainerId, FaultKind, IfName, Network, Owner};
use crate::plan::step::{LeaseStep, Step};

struct Stage {
    root: tempfile::TempDir,
    journal: FileJournal,
    pod: ContainerId,
}

impl Stage {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let journal = FileJournal::new(root.path());
        Self { root, journal, pod: "pod".parse().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.root.path().join("records/pod.json")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap_or_default()
    }

    fn lock(&self) -> Box<dyn Records + '_> {
        self.journal.lock(&self.pod, Patience::Try).unwrap()
    }

    fn is_locked(&self) -> bool {
        let other = FileJournal::new(self.root.path());
        other.lock(&self.pod, Patience::Try).is_err_and(|fault| fault.kind() == FaultKind::TryLater)
    }

    /// Puts records of these interfaces.
    fn with(names: &[&str]) -> Self {
        let stage = Self::new();
        let records = stage.lock();
        names.iter().zip(0..).for_each(|(name, order)| records.put(&record(name, order)).unwrap());
        drop(records);
        stage
    }

    fn names(&self) -> Vec<String> {
        told(self.journal.entries(&self.pod))
    }
}

/// The names of interfaces with a record; in brackets, of those whose record is broken.
fn told(entries: Outcome<Vec<Entry>>) -> Vec<String> {
    let name = |entry: Entry| match entry {
        Entry::Whole(record) => record.attachment.owner.ifname.to_string(),
        Entry::Broken(Broken { ifname, .. }) => {
            format!("({})", ifname.map_or("any".to_owned(), |ifname| ifname.to_string()))
        }
    };
    entries.unwrap().into_iter().map(name).collect()
}

fn record(name: &str, order: u32) -> Record {
    // Line ends, as people write them.
    let text = b"{\n\"name\":\"data\",\r\n\"type\":\"macvlan\"\n}";
    let owner = Owner { container: "pod".parse().unwrap(), ifname: name.parse().unwrap() };
    let lease = LeaseStep { store: "/s".into(), sets: Vec::new(), requested: Vec::new(), held: None };
    let attachment = Attachment::new(owner, Network::parse(text, None).unwrap());
    let blank = Record::new(attachment, "boot".to_owned(), Phase::Pending);
    Record { order, steps: vec![Step::Lease(lease)], ..blank }
}

fn attached(mut record: Record) -> Record {
    if let Some(Step::Lease(lease)) = record.steps.first_mut() {
        lease.held = Some(vec!["10.0.0.2".parse().unwrap()]);
    }
    record.phase = Phase::Attached;
    record.result = Some(CniResult::default());
    record
}

fn ifname(name: &str) -> IfName {
    name.parse().unwrap()
}

#[test]
fn what_is_read_is_what_was_put_and_marked() {
    let stage = Stage::new();
    let records = stage.lock();
    let mut record = record("net1", 0);
    records.put(&record).unwrap();
    record = attached(record);
    records.mark(&record).unwrap();
    for failures in [0, 3] {
        record = Record { phase: Phase::Detaching, failures, ..record };
        records.mark(&record).unwrap();
    }

    let entries = [records.entries().unwrap(), stage.journal.entries(&stage.pod).unwrap()];

    let written = serde_json::to_value(&record).unwrap();
    for read in entries {
        let [Entry::Whole(read)] = &read[..] else { panic!("{read:?}") };
        assert_eq!(serde_json::to_value(read).unwrap(), written);
    }
    let lines: Vec<serde_json::Value> =
        stage.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(|line| line["ifname"] == "net1" && line["since"].is_u64()));
    assert!(lines[1..].iter().all(|line| line.get("attachment").is_none()), "only what has changed");
    assert!(stage.journal.since(&record.attachment.owner).is_some());
}

#[test]
fn a_line_that_is_cut_short_leaves_the_state_before_it_and_says_that_more_may_be_lost() {
    let stage = Stage::with(&["net1", "net2"]);
    let whole = stage.text();
    for cut in 1..whole.len() {
        fs::write(stage.file(), &whole[..cut]).unwrap();

        let names = stage.names();

        let first = whole.find('\n').unwrap();
        assert_eq!(names.iter().any(|name| name == "net1"), cut >= first, "at {cut}: {names:?}");
        assert_eq!(names.iter().any(|name| name == "(any)"), cut != first + 1, "at {cut}: {names:?}");
        let records = stage.lock();
        records.put(&record("net3", 9)).unwrap();
        assert!(stage.names().contains(&"net3".to_owned()), "at {cut}");
    }
}

#[test]
fn lines_of_no_interface_of_others_and_of_other_versions_are_broken() {
    let stage = Stage::with(&["net1"]);
    let line = stage.text();
    let cases = [
        ("[]\n".to_owned(), "(any)", FaultKind::Decode),
        ("\0\0\0\n".to_owned(), "(any)", FaultKind::Decode),
        ("{\"ifname\":\"net1\",\"phase\":\"attached\"}\n".to_owned(), "(net1)", FaultKind::Decode),
        (line.replace("\"format\":1", "\"format\":2"), "(net1)", FaultKind::Version),
        (line.replace("{\"ifname\":\"net1\"", "{\"ifname\":\"net2\""), "(net2)", FaultKind::Decode),
    ];
    for (text, name, kind) in cases {
        fs::write(stage.file(), &text).unwrap();
        let entries = stage.journal.entries(&stage.pod).unwrap();
        assert!(
            matches!(&entries[..], [Entry::Broken(broken)] if broken.fault.kind() == kind),
            "{entries:?}"
        );
        assert_eq!(stage.names(), [name], "{text}");
    }
    // A person may have put the keys in another order.
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    fs::write(stage.file(), format!("{value}\n")).unwrap();
    assert_eq!(stage.names(), ["net1"]);
}

#[test]
fn what_is_removed_is_gone_whether_it_is_last_in_the_middle_or_all() {
    for (gone, left) in
        [(vec!["c"], vec!["a", "b"]), (vec!["a"], vec!["b", "c"]), (vec!["a", "b", "c"], Vec::new())]
    {
        let stage = Stage::with(&["a", "b", "c"]);
        let records = stage.lock();
        let names: Vec<IfName> = gone.iter().map(|name| ifname(name)).collect();
        records.remove(&names.iter().collect::<Vec<_>>()).unwrap();
        records.remove(&[&ifname("stranger")]).unwrap();

        assert_eq!(told(records.entries()), left);
        assert!(stage.is_locked(), "{gone:?}");
        // It is still the file that others see.
        records.put(&record("d", 9)).unwrap();
        assert_eq!(stage.names(), [left, vec!["d"]].concat());
        records.remove(&[&ifname("d")]).unwrap();
        drop(records);
        assert_eq!(stage.file().exists(), gone.len() < 3);
        assert!(!stage.is_locked(), "{gone:?}");
    }
}

#[test]
fn a_file_that_is_found_empty_says_that_something_is_lost_and_one_just_made_does_not() {
    let stage = Stage::new();
    assert_eq!(told(stage.lock().entries()), [""; 0]);
    assert!(!stage.file().exists(), "whoever only looks leaves nothing");

    File::create(stage.file()).unwrap();
    assert_eq!(told(stage.lock().entries()), ["(any)"]);
    assert!(stage.file().exists(), "it is not lost once more");
    stage.lock().set_aside(None).unwrap();
    assert!(!stage.file().exists());
    assert!(!stage.root.path().join("aside").exists(), "nothing is there to look at");
}

#[test]
fn what_is_set_aside_can_be_looked_at() {
    let stage = Stage::with(&["net1", "net2"]);
    File::options().append(true).open(stage.file()).unwrap().write_all(b"noise\n").unwrap();
    let records = stage.lock();

    records.set_aside(None).unwrap();
    records.set_aside(Some(&ifname("net1"))).unwrap();

    assert_eq!(stage.names(), ["net2"]);
    let aside = |name: &str| fs::read_to_string(stage.root.path().join("aside").join(name)).unwrap();
    assert_eq!(aside("pod.json"), "noise\n");
    assert!(aside("pod.net1.json").contains("\"format\":1"));
}

#[test]
fn what_would_not_be_read_whole_is_not_written() {
    let stage = Stage::new();
    let records = stage.lock();
    let large = |order: u32| {
        let mut record = record(&format!("net{order}"), order);
        let text = format!(r#"{{"name":"data","type":"x","note":"{}"}}"#, "a".repeat(1 << 20));
        record.attachment.network = Network::parse(text.as_bytes(), None).unwrap();
        record
    };
    let taken = (0..32).take_while(|order| records.put(&large(*order)).is_ok()).count();
    let length = stage.text().len();

    assert_eq!(taken, 14);
    assert_eq!(records.put(&large(14)).unwrap_err().kind(), FaultKind::Config);
    assert_eq!((told(records.entries()).len(), stage.text().len()), (taken, length));
    // What is undone is marked all the same.
    records.put(&record("last", 99)).unwrap();
    let text = stage.text();
    fs::write(stage.file(), format!("{text}{}\n", " ".repeat((15 << 20) - text.len() - 1))).unwrap();
    drop(records);
    let records = stage.lock();
    records.put(&record("more", 100)).unwrap_err();
    records.mark(&Record { phase: Phase::Detaching, ..record("last", 99) }).unwrap();
}

#[test]
fn records_that_are_too_long_are_left_as_they_are() {
    let stage = Stage::with(&["net1"]);
    let text = format!("{}{}\n", stage.text(), " ".repeat(16 << 20));
    fs::write(stage.file(), &text).unwrap();

    let Err(fault) = stage.journal.lock(&stage.pod, Patience::Try) else { panic!("it is read") };
    assert_eq!(fault.kind(), FaultKind::Io);
    stage.journal.entries(&stage.pod).unwrap_err();
    assert_eq!(stage.text().len(), text.len());
}

#[test]
fn the_draft_of_a_writer_that_died_is_in_nobodys_way() {
    let stage = Stage::with(&["a", "b"]);
    let draft = stage.root.path().join("records/.pod");
    fs::write(&draft, "half of it").unwrap();
    let records = stage.lock();
    records.remove(&[&ifname("a")]).unwrap();
    assert_eq!((stage.names(), draft.exists()), (vec!["b".to_owned()], false));

    fs::write(&draft, "half of it").unwrap();
    assert_eq!(stage.journal.containers().unwrap(), std::slice::from_ref(&stage.pod));
    records.remove(&[&ifname("b")]).unwrap();
    drop(records);
    assert_eq!(fs::read_dir(stage.root.path().join("records")).unwrap().count(), 0);
}

#[test]
fn a_claim_has_one_holder_who_can_be_named() {
    let stage = Stage::new();
    let claim = serde_json::from_str("\"vlan 5 on up0\"").unwrap();
    let [ours, others] = ["net1", "net2"].map(|name| record(name, 0).attachment.owner);

    assert_eq!(stage.journal.claim(&claim, &ours).unwrap(), Holder::You);
    assert_eq!(stage.journal.claim(&claim, &ours).unwrap(), Holder::You);
    assert_eq!(stage.journal.claim(&claim, &others).unwrap(), Holder::Other(ours.clone()));
    stage.journal.release(&claim, &others).unwrap();
    assert_eq!(stage.journal.holder(&claim).unwrap(), Some(ours.clone()));
    stage.journal.release(&claim, &ours).unwrap();
    assert_eq!(stage.journal.holder(&claim).unwrap(), None);
}

#[test]
fn nobody_waits_for_what_is_no_file() {
    let stage = Stage::new();
    fs::create_dir(stage.root.path().join("records")).unwrap();
    nix::unistd::mkfifo(&stage.file(), nix::sys::stat::Mode::S_IRWXU).unwrap();

    let fault = stage.journal.lock(&stage.pod, Patience::Try).err().unwrap();

    assert_eq!(fault.kind(), FaultKind::Io, "{fault}");
}

#[test]
#[allow(clippy::disallowed_methods, reason = "it stands for what a plugin leaves behind")]
fn a_process_that_is_left_behind_does_not_keep_the_lock() {
    let stage = Stage::with(&["a"]);
    let records = stage.lock();
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();

    drop(records);

    assert!(!stage.is_locked());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
#[allow(clippy::disallowed_methods, reason = "it stands for what a plugin leaves behind")]
fn a_lock_that_nobody_will_let_go_is_taken_once_no_plugin_can_be_at_work() {
    let stage = Stage::with(&["a", "b"]);
    let script = format!("exec 9>>{:?}; flock -x 9; echo; exec sleep 60", stage.file());
    let mut command = std::process::Command::new("sh");
    let mut child = command.args(["-c", &script]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    assert!(stage.is_locked());

    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(200);
    File::options().append(true).open(stage.file()).unwrap().set_modified(then).unwrap();

    assert_eq!(told(stage.lock().entries()), ["a", "b"]);
    assert!(!stage.root.path().join("records/.pod").exists());
    child.kill().unwrap();
    child.wait().unwrap();
}
