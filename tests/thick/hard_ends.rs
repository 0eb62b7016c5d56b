//! Ends that nobody wished for.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, SystemTime};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use serde_json::json;

use crate::cache::counted;
use crate::common::Pod;
use crate::scene;
use crate::stage::Stage;

/// Kills the daemon amid a storm of calls, starts another, and lets every pod go.
fn killed_amid(verb: &str) {
    let mut stage = Stage::new();
    let pods: Vec<Pod> = (0..16).map(|_| stage.pod()).collect();
    let name = |n: usize| format!("pod-{n}");
    let all = |stage: &Stage, verb: &str| {
        let begun: Vec<_> =
            pods.iter().enumerate().map(|(n, pod)| stage.begin(verb, &name(n), pod)).collect();
        begun
    };
    let daemon = stage.daemon();
    if verb == "DEL" {
        all(&stage, "ADD").into_iter().for_each(|child| drop(scene::finish(child).result()));
    }
    let crowd = || pods.iter().filter(|pod| pod.interfaces().len() > 1).count();

    let begun = all(&stage, verb);
    stage.await_that("the storm is half over", || match verb {
        "ADD" => crowd() > 4,
        _ => crowd() < 12,
    });
    daemon.signal(Signal::SIGKILL);
    drop(daemon);
    stage.daemon_conf["housekeepingSeconds"] = json!(1);
    let _next = stage.daemon();

    // An ADD whose answer was lost is an error that the runtime answers with a DEL; a DEL always goes well.
    let answers: Vec<_> = begun.into_iter().map(scene::finish).collect();
    assert!(verb == "ADD" || answers.iter().all(|answer| answer.ok), "{answers:?}");
    all(&stage, "DEL").into_iter().for_each(|child| drop(scene::finish(child).result()));
    stage.await_that("nothing is left", || stage.spool() == 0 && stage.scene.kept().is_empty());
    assert!(pods.iter().all(|pod| pod.interfaces() == ["lo"]));
}

#[test]
fn a_daemon_killed_amid_adds_leaves_nothing() {
    killed_amid("ADD");
}

#[test]
fn a_daemon_killed_amid_dels_loses_none() {
    killed_amid("DEL");
}

#[test]
fn a_pod_that_is_gone_without_a_del_is_tidied_up() {
    let mut stage = Stage::new();
    stage.daemon_conf["housekeepingSeconds"] = json!(1);
    let _daemon = stage.daemon();
    let (gone, stays) = (stage.pod(), stage.pod());
    stage.call("ADD", "gone", &gone).result();
    stage.call("ADD", "stays", &stays).result();

    drop(gone);

    stage.await_that("the pod is tidied up", || !stage.scene.records("gone").exists());
    assert_eq!(stays.interfaces(), ["eth0", "lo", "net1"]);
    // No CHECK here: the plugin of the default network compares its bridge's address, which changes with its ports.
    stage.call("DEL", "stays", &stays).result();
    stage.assert_empty();
}

#[test]
fn many_pods_that_are_gone_are_undone_some_in_each_round_and_counted() {
    let mut stage = Stage::new();
    let mut stuck = stage.scene.macvlan("stuck", 2);
    stuck["ipam"]["dataDir"] = json!(stage.scene.path("stuck"));
    let daemon = stage.daemon();
    let pods: Vec<Pod> = (0..70).map(|_| stage.pod()).collect();
    for (n, pod) in pods.iter().enumerate() {
        let network = if n == 0 { stuck.clone() } else { stage.scene.macvlan("data", 1) };
        stage.conf["delegates"] = json!([network]);
        stage.call("ADD", &format!("pod-{n}"), pod).result();
    }
    drop(daemon);
    drop(pods);
    // Its address cannot be given back: what stands in its store's place is none.
    fs::remove_dir_all(stage.scene.path("stuck")).unwrap();
    fs::write(stage.scene.path("stuck"), "").unwrap();
    stage.daemon_conf["metricsPort"] = json!(9091);

    let _daemon = stage.daemon();

    stage.await_that("all but one are undone", || counted("manifold_tidy_undone_total") == 69);
    // There is no second round but for what the first one left.
    stage.await_that("the second round is over", || counted("manifold_tidy_rounds_total") == 2);
    assert!(counted("manifold_tidy_failed_total") >= 1);
    let listed = stage.scene.manifold(&["list", "-o", "json"]).stdout;
    let listed: Vec<serde_json::Value> = serde_json::from_slice(&listed).unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert!(listed[0].to_string().contains("pod-0"), "{listed:?}");
}

#[test]
fn dels_that_fail_keep_none_behind_them_from_its_turn() {
    let mut stage = Stage::new();
    let daemon = stage.daemon();
    let pod = stage.pod();
    stage.call("ADD", "pod-1", &pod).result();
    drop(daemon);
    stage.call("DEL", "pod-1", &pod).result();
    for n in 0..64 {
        // No sandbox has such an id.
        let kept = json!({"format": 1, "since": n, "config": stage.conf,
            "env": {"CNI_COMMAND": "DEL", "CNI_CONTAINERID": "/", "CNI_IFNAME": "eth0", "CNI_PATH": "/"}});
        let path = stage.scene.path(&format!("state/spool/bad-{n}.json"));
        fs::write(&path, kept.to_string()).unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(n)).unwrap();
    }
    stage.daemon_conf["metricsPort"] = json!(9091);

    let _daemon = stage.daemon();

    stage.await_that("the last one is done", || pod.interfaces() == ["lo"] && stage.spool() == 64);
    stage.await_that("the second round is over", || counted("manifold_tidy_rounds_total") == 2);
    assert_eq!(counted("manifold_spool_failed_total"), 64, "each is tried once until the next time");
}

#[test]
fn a_socket_whose_directory_was_replaced_is_put_back() {
    let stage = Stage::new();
    let _daemon = stage.daemon();
    fs::rename(stage.scene.path("run"), stage.scene.path("elsewhere")).unwrap();
    fs::create_dir(stage.scene.path("run")).unwrap();

    stage.call("ADD", "pod-1", &stage.pod()).result();
}

#[test]
fn a_daemon_that_hangs_loses_no_del() {
    let stage = Stage::new();
    fs::create_dir(stage.scene.path("run")).unwrap();
    let hangs = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(hangs.as_raw_fd(), &UnixAddr::new(&stage.socket()).unwrap()).unwrap();
    // Room for one, who is there.
    listen(&hangs, Backlog::new(0).unwrap()).unwrap();
    let _first = UnixStream::connect(stage.socket()).unwrap();
    let pod = stage.pod();

    let (del, status) = (stage.begin("DEL", "pod-1", &pod), stage.begin("STATUS", "", &pod));

    scene::finish(del).result();
    assert_eq!(stage.spool(), 1);
    let (code, message, _) = scene::finish(status).error();
    assert_eq!(code, 50, "{message}");
    assert!(message.ends_with("it does nothing for 30 s"), "{message}");
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing() {
    let stage = Stage::new();
    // The mount is seen by this test's threads and what they start, and is gone with them.
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    let state = stage.scene.path("state");
    fs::create_dir(&state).unwrap();
    mount(Some("tmpfs"), &state, Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
    let daemon = stage.daemon();
    let (first, second) = (stage.pod(), stage.pod());
    stage.call("ADD", "first", &first).result();
    let filler = state.join("filler");
    let fill = || fs::write(&filler, vec![0; 1 << 20]).unwrap_err();
    fill();

    let (code, message, details) = stage.call("ADD", "second", &second).error();

    assert_eq!(code, 5, "{message}");
    assert!(details.contains("make room"), "{details}");
    assert_eq!(second.interfaces(), ["lo"]);
    stage.call("DEL", "second", &second).result();
    stage.call("DEL", "first", &first).result();
    assert_eq!(first.interfaces(), ["lo"]);
    drop(daemon);
    fill();
    // A DEL that can neither be delivered nor kept is told to the runtime, which asks again.
    let (_, message, details) = stage.call("DEL", "first", &first).error();
    assert!(
        message.contains("no daemon takes calls") && details.contains("cannot keep the DEL"),
        "{message} {details}"
    );
    fs::remove_file(&filler).unwrap();
    stage.call("DEL", "first", &first).result();
    assert_eq!(stage.spool(), 1);
}
