//! What a store promises, without the reference plugin beside it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::*;
use crate::plan::step::AddressRange;

/// A data directory with a store named `net` in it, once one is made.
struct Data(tempfile::TempDir);

impl Data {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("net")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.store().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.store()).unwrap();
        fs::write(self.file(name), text).unwrap();
    }

    fn step(&self, sets: &[&[&str]]) -> LeaseStep {
        let set = |ranges: &&[&str]| ranges.iter().map(|text| range(text)).collect();
        let sets = sets.iter().map(set).collect();
        LeaseStep { store: self.store(), sets, requested: Vec::new(), held: None }
    }

    /// The names of the address files, sorted.
    fn addresses(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.store()) else { return Vec::new() };
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|n| n.parse::<IpAddr>().is_ok()).collect();
        names.sort();
        names
    }
}

/// `start-end` in the /24 or /64 of its start, whose first address is the gateway.
fn range(text: &str) -> AddressRange {
    let (start, end) = text.split_once('-').unwrap();
    let (start, end): (IpAddr, IpAddr) = (ip(start), ip(end));
    let around = IpNetwork::new(start, if start.is_ipv4() { 24 } else { 64 }).unwrap();
    let subnet = IpNetwork::new(around.network(), around.prefix()).unwrap();
    AddressRange { subnet, start, end, gateway: subnet.iter().nth(1).unwrap() }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn owner(container: &str) -> Owner {
    Owner::parse(container, "net1").unwrap()
}

const V4: &[&str] = &["10.1.0.5-10.1.0.7"];
const V6: &[&str] = &["fd00::5-fd00::7"];

#[test]
fn one_address_of_each_set_is_taken_held_and_given_back() {
    let data = Data::new();
    let mut step = data.step(&[V4, V6]);

    let result = take(&mut step, &owner("c1")).unwrap();

    let texts: Vec<String> = result.ips.iter().map(|ip| ip.address.to_string()).collect();
    assert_eq!(texts, ["10.1.0.5/24", "fd00::5/64"]);
    let gateways: Vec<_> = result.ips.iter().map(|ip| ip.gateway).collect();
    assert_eq!(gateways, [Some(ip("10.1.0.1")), Some(ip("fd00::1"))]);
    assert!(result.ips.iter().all(|ip| ip.interface.is_none()));
    assert_eq!(step.held, Some(vec![ip("10.1.0.5"), ip("fd00::5")]));
    assert_eq!(data.addresses(), ["10.1.0.5", "fd00::5"]);
    holds(&step, &owner("c1")).unwrap();

    give_back(&step, &owner("c1")).unwrap();

    assert!(data.addresses().is_empty());
    assert_eq!(holds(&step, &owner("c1")).unwrap_err().kind(), FaultKind::Drift);
    give_back(&step, &owner("c1")).unwrap();
}

#[test]
fn a_store_has_the_names_contents_and_modes_of_the_reference() {
    let data = Data::new();
    take(&mut data.step(&[V4, V6]), &owner("c1")).unwrap();

    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    for (name, content, expected) in [
        ("10.1.0.5", "c1\r\nnet1", 0o600),
        ("fd00::5", "c1\r\nnet1", 0o600),
        ("last_reserved_ip.0", "10.1.0.5", 0o600),
        ("last_reserved_ip.1", "fd00::5", 0o600),
        ("lock", "", 0o750),
    ] {
        assert_eq!(fs::read_to_string(data.file(name)).unwrap(), content, "{name}");
        assert_eq!(mode(&data.file(name)), expected, "{name}");
    }
    assert_eq!(mode(&data.store()), 0o755);
    assert_eq!(fs::read_dir(data.store()).unwrap().count(), 5, "and nothing else");
}

#[test]
fn a_full_range_says_so_and_gives_back_what_other_sets_gave() {
    let data = Data::new();
    for container in ["c1", "c2", "c3"] {
        take(&mut data.step(&[V4]), &owner(container)).unwrap();
    }
    let mut step = data.step(&[V6, V4]);

    let fault = take(&mut step, &owner("c4")).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::Exhausted);
    let text = fault.to_string();
    for part in ["range set 1", "10.1.0.5 to 10.1.0.7", "3 are in use", data.store().to_str().unwrap()] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(fault.advice().is_some());
    assert_eq!(data.addresses(), ["10.1.0.5", "10.1.0.6", "10.1.0.7"]);
    assert_eq!(step.held, Some(Vec::new()), "nothing is held, so nothing need be searched for");
}

#[test]
fn a_requested_address_is_taken_and_the_round_goes_on_from_it() {
    let data = Data::new();
    let mut step = data.step(&[V4]);
    step.requested = vec![ip("10.1.0.6")];

    assert_eq!(take(&mut step, &owner("c1")).unwrap().ips[0].address.to_string(), "10.1.0.6/24");
    assert_eq!(take(&mut data.step(&[V4]), &owner("c2")).unwrap().ips[0].address.ip(), ip("10.1.0.7"));

    let fault = take(&mut step, &owner("c3")).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Exists);
    assert!(!fault.advised().contains("c1/net1"), "{fault}");
    assert!(fault.confided().unwrap().contains("\"c1/net1\""), "{fault:?}");
    assert_eq!(data.addresses(), ["10.1.0.6", "10.1.0.7"]);
}

/// What a taker leaves that dies before it writes.
fn unfinished(path: &Path) {
    fs::write(path, "").unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o1600)).unwrap();
}

#[test]
fn an_address_whose_taker_died_before_it_wrote_is_free_for_who_asks_for_it() {
    let data = Data::new();
    take(&mut data.step(&[V4]), &owner("c1")).unwrap();
    unfinished(&data.file("10.1.0.6"));
    let mut step = data.step(&[V4]);
    step.requested = vec![ip("10.1.0.6")];

    assert_eq!(take(&mut step, &owner("c2")).unwrap().ips[0].address.ip(), ip("10.1.0.6"));

    holds(&step, &owner("c2")).unwrap();
}

#[test]
fn an_address_whose_taker_died_before_it_wrote_is_given_back_with_whatever_else_it_took() {
    for held in [None, Some(vec![ip("10.1.0.6")])] {
        let data = Data::new();
        let mut step = data.step(&[V4]);
        data.write("10.1.0.5", "");
        unfinished(&data.file("10.1.0.6"));
        step.held = held;
        assert_eq!(holds(&step, &owner("c1")).unwrap_err().kind(), FaultKind::Drift);

        give_back(&step, &owner("c1")).unwrap();

        assert_eq!(data.addresses(), ["10.1.0.5"], "an address that people block stays");
    }
}

#[test]
fn another_owners_file_is_never_removed() {
    let data = Data::new();
    let mut step = data.step(&[V4]);
    take(&mut step, &owner("c1")).unwrap();
    fs::write(data.file("10.1.0.5"), "c2\r\nnet1").unwrap();

    give_back(&step, &owner("c1")).unwrap();
    assert_eq!(holds(&step, &owner("c1")).unwrap_err().kind(), FaultKind::Drift);

    step.held = None;
    give_back(&step, &owner("c1")).unwrap();
    assert_eq!(data.addresses(), ["10.1.0.5"]);
}

#[test]
fn when_it_is_not_known_what_is_held_the_store_is_searched() {
    let data = Data::new();
    data.write("10.1.0.5", " c1\r\nnet1\n");
    data.write("fd00::5", "c1\r\nnet1");
    data.write("10.1.0.6", "c1");
    data.write("10.1.0.7", "c1\r\nnet2");
    data.write("10.1.0.8", "");
    data.write("last_reserved_ip.0", "c1\r\nnet1");
    symlink(data.file("fd00::5"), data.file("10.1.0.9")).unwrap();
    fs::create_dir(data.file("10.1.0.10")).unwrap();
    let step = data.step(&[V4]);
    holds(&step, &owner("c1")).unwrap();

    give_back(&step, &owner("c1")).unwrap();
    let others = ["10.1.0.10", "10.1.0.6", "10.1.0.7", "10.1.0.8", "10.1.0.9"];
    assert_eq!(data.addresses(), others);

    // Only where no file names container and interface does one that names the container alone count.
    give_back(&step, &owner("c1")).unwrap();
    assert_eq!(data.addresses(), ["10.1.0.10", "10.1.0.7", "10.1.0.8", "10.1.0.9"]);
    assert_eq!(holds(&step, &owner("c1")).unwrap_err().kind(), FaultKind::Drift);
    assert!(data.file("last_reserved_ip.0").exists());
}

#[test]
fn files_of_the_old_form_and_torn_ones_are_given_back_where_they_are_held() {
    let data = Data::new();
    data.write("10.1.0.5", "c1\n");
    data.write("10.1.0.6", "");
    data.write("10.1.0.7", "");
    let mut step = data.step(&[V4]);
    step.held = Some(vec![ip("10.1.0.5"), ip("10.1.0.6")]);

    give_back(&step, &owner("c1")).unwrap();

    assert_eq!(data.addresses(), ["10.1.0.7"], "an empty file that nobody claims blocks its address");
}

#[test]
fn a_store_that_is_not_there_holds_nothing_and_is_not_made() {
    let data = Data::new();
    let mut step = data.step(&[V4]);
    give_back(&step, &owner("c1")).unwrap();
    step.held = Some(vec![ip("10.1.0.5")]);
    give_back(&step, &owner("c1")).unwrap();

    assert_eq!(holds(&step, &owner("c1")).unwrap_err().kind(), FaultKind::Drift);
    assert!(!data.store().exists());
}

#[test]
fn a_symbolic_link_in_the_store_is_not_followed() {
    let data = Data::new();
    let outside = data.0.path().join("outside");
    fs::write(&outside, "c1\r\nnet1").unwrap();
    fs::create_dir(data.store()).unwrap();
    symlink(&outside, data.file("10.1.0.5")).unwrap();
    let mut step = data.step(&[V4]);

    take(&mut step, &owner("c2")).unwrap();
    assert_eq!(step.held, Some(vec![ip("10.1.0.6")]), "the link's name is taken");

    step.held = Some(vec![ip("10.1.0.5")]);
    assert_eq!(holds(&step, &owner("c1")).unwrap_err().kind(), FaultKind::Drift);
    give_back(&step, &owner("c1")).unwrap();
    assert!(data.file("10.1.0.5").is_symlink() && outside.exists());

    fs::remove_file(data.file("last_reserved_ip.0")).unwrap();
    symlink(&outside, data.file("last_reserved_ip.0")).unwrap();
    let mut step = data.step(&[V4]);
    assert_eq!(take(&mut step, &owner("c3")).unwrap_err().kind(), FaultKind::Io);
    assert_eq!(fs::read_to_string(&outside).unwrap(), "c1\r\nnet1");
    assert_eq!((data.addresses(), step.held), (vec!["10.1.0.5".into(), "10.1.0.6".into()], Some(vec![])));
}

#[test]
fn a_cursor_that_is_no_address_of_the_set_starts_the_round_anew() {
    for cursor in ["", "noise", "10.9.0.1", "fd00::5"] {
        let data = Data::new();
        data.write("last_reserved_ip.0", cursor);
        let mut step = data.step(&[V4]);
        take(&mut step, &owner("c1")).unwrap();
        assert_eq!(step.held, Some(vec![ip("10.1.0.5")]), "{cursor:?}");
    }
}

#[test]
fn a_free_address_is_found_wherever_it_is_in_the_round() {
    let data = Data::new();
    let set: &[&str] = &["10.1.0.2-10.1.0.254"];
    for host in (2..=254).filter(|host| ![200, 250].contains(host)) {
        data.write(&format!("10.1.0.{host}"), "another");
    }
    for free in ["10.1.0.200", "10.1.0.250"] {
        fs::write(data.file("last_reserved_ip.0"), "10.1.0.3").unwrap();
        let mut step = data.step(&[set]);
        take(&mut step, &owner("c1")).unwrap();
        assert_eq!(step.held, Some(vec![ip(free)]));
    }
    let fault = take(&mut data.step(&[set]), &owner("c1")).unwrap_err();
    assert!(fault.to_string().contains("253 are in use"), "{fault}");
}

/// Whether somebody waits for the lock of this file (`proc_locks(5)`).
fn awaited(lock: &fs::File) -> bool {
    let inode = format!(":{} ", lock.metadata().unwrap().ino());
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| line.contains("-> FLOCK") && line.contains(&inode))
}

#[test]
fn nothing_is_taken_or_given_back_while_another_holds_the_lock() {
    let data = Data::new();
    data.write("10.1.0.7", "c1\r\nnet1");
    let lock = fs::File::create(data.file("lock")).unwrap();
    let taking = || take(&mut data.step(&[V4]), &owner("c2")).map(drop);
    let giving_back = || give_back(&data.step(&[V4]), &owner("c1"));
    let acts: [&(dyn Fn() -> Outcome<()> + Sync); 2] = [&taking, &giving_back];

    for (act, after) in acts.into_iter().zip([vec!["10.1.0.5", "10.1.0.7"], vec!["10.1.0.5"]]) {
        let before = data.addresses();
        lock.lock().unwrap();
        std::thread::scope(|scope| {
            let acting = scope.spawn(act);
            while !awaited(&lock) && !acting.is_finished() {
                std::thread::yield_now();
            }
            assert_eq!(data.addresses(), before);
            lock.unlock().unwrap();
            acting.join().unwrap().unwrap();
        });
        assert_eq!(data.addresses(), after);
    }
}

#[test]
fn a_store_that_is_no_directory_is_an_error_that_names_it() {
    let data = Data::new();
    fs::write(data.store(), "").unwrap();
    for fault in [
        take(&mut data.step(&[V4]), &owner("c1")).unwrap_err(),
        give_back(&data.step(&[V4]), &owner("c1")).unwrap_err(),
    ] {
        assert_eq!(fault.kind(), FaultKind::Io);
        assert!(fault.to_string().contains(data.store().to_str().unwrap()), "{fault}");
    }
}

#[test]
fn what_belongs_to_containers_that_are_not_kept_is_given_back_and_nothing_else() {
    let data = Data::new();
    let kept = [
        ("10.1.0.5", "living\r\nnet1"),
        ("10.1.0.6", ""),
        // The old form, a person's word, and what nobody can have been called.
        ("10.1.0.7", "dead"),
        ("10.1.0.8", "reserved for the printer"),
        ("10.1.0.9", "dead\r\na/b"),
        ("last_reserved_ip.0", "dead\r\nnet1"),
    ];
    kept.iter().for_each(|(name, text)| data.write(name, text));
    data.write("10.1.0.10", "dead\r\nnet1");
    data.write("fd00::5", "dead\r\neth0");
    symlink(data.file("10.1.0.10"), data.file("10.1.0.11")).unwrap();

    collect(&data.store(), &|container| container.as_str() == "living").unwrap();

    assert_eq!(data.addresses(), ["10.1.0.11", "10.1.0.5", "10.1.0.6", "10.1.0.7", "10.1.0.8", "10.1.0.9"]);
    assert!(kept.iter().all(|(name, text)| fs::read_to_string(data.file(name)).unwrap() == *text));
    collect(&data.0.path().join("none"), &|_| false).unwrap();
    assert!(!data.0.path().join("none").exists());
}

#[test]
fn an_address_that_is_taken_anew_meanwhile_is_not_given_back() {
    let data = Data::new();
    data.write("10.1.0.5", "next\r\nnet1");
    let asked = std::cell::Cell::new(0);

    // Its record appears before the store is locked.
    let keep = |_: &ContainerId| asked.replace(asked.get() + 1) > 0;
    collect(&data.store(), &keep).unwrap();

    assert_eq!((asked.get(), data.addresses()), (2, vec!["10.1.0.5".to_owned()]));
}
