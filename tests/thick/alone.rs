//! One daemon at a time has the socket, and only one that may do something.

use std::fs;
use std::os::unix::net::UnixStream;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::sys::socket::{getsockopt, sockopt};
use serde_json::json;

use crate::stage::{Daemon, Stage};

/// Which process listens at the socket.
fn listener(stage: &Stage) -> i32 {
    let stream = UnixStream::connect(stage.socket()).unwrap();
    getsockopt(&stream, sockopt::PeerCredentials).unwrap().pid()
}

#[test]
fn a_second_daemon_does_not_take_the_socket_of_the_first() {
    let mut stage = Stage::new();
    // What it says is that it is not alone, though the port is taken as well.
    stage.daemon_conf["metricsPort"] = json!(9091);
    let first = stage.daemon();
    let pid = first.pid();

    let second = stage.start();

    assert!(!second.ended());
    let told = format!("error: another daemon (process {pid}) listens at {:?}\n", stage.socket());
    assert!(first.log().contains(&told), "{}", first.log());
    stage.call("ADD", "pod-1", &stage.pod()).result();
}

#[test]
fn of_daemons_that_start_at_once_one_serves_and_the_others_end() {
    let stage = Stage::new();
    fs::write(stage.scene.path("daemon.json"), stage.daemon_conf.to_string()).unwrap();
    for _ in 0..12 {
        let mut daemons: Vec<Daemon> = (0..4).map(|_| stage.start_another()).collect();

        stage.await_that("one is left", || daemons.iter_mut().filter_map(Daemon::ending).count() >= 3);

        assert!(daemons.iter_mut().filter_map(Daemon::ending).all(|well| !well));
        daemons.retain_mut(|daemon| daemon.ending().is_none());
        let [left] = &mut daemons[..] else { panic!("none is left:\n{}", stage.log()) };
        stage.await_that("it listens", || UnixStream::connect(stage.socket()).is_ok());
        assert_eq!(listener(&stage), left.pid().as_raw());
        assert_eq!(stage.http("GET", "/healthz", "").0, 200);
        // What it leaves when it is killed is in nobody's way.
        left.signal(Signal::SIGKILL);
    }
    let refused = stage.log().matches("error: another daemon").count();
    assert_eq!(refused, 36, "{}", stage.log());
}

#[test]
fn a_socket_that_is_gone_is_put_back_and_still_nobody_elses() {
    let stage = Stage::new();
    let first = stage.daemon();
    let back = || UnixStream::connect(stage.socket()).is_ok();
    for folder_too in [false, true] {
        fs::remove_file(stage.socket()).unwrap();
        if folder_too {
            fs::remove_dir(stage.scene.path("run")).unwrap();
        } else {
            // The place is taken, though nobody can be reached there.
            assert!(!stage.start().ended());
        }
        stage.await_that("the socket is back", back);
        assert!(!stage.start().ended());
        assert_eq!(listener(&stage), first.pid().as_raw());
    }
}

#[test]
fn without_the_rights_it_needs_a_daemon_ends_at_once_and_says_so() {
    let stage = Stage::new();
    let started = |words: &[&str]| {
        let mut command = Command::new("setpriv");
        let program = [env!("CARGO_BIN_EXE_manifold"), "daemon", "--config", "/nonexistent"];
        let done = command.args(words).args(program).env_remove("CNI_COMMAND").output().unwrap();
        assert_eq!(done.status.code(), Some(1));
        String::from_utf8(done.stderr).unwrap()
    };
    let remedy = "  remedy: run Manifold as root on the host; in a container, with \"privileged: true\"\n";
    for (words, told) in [
        (&["--bounding-set=-net_admin"][..], "user 0 may not attach pods: CAP_NET_ADMIN is absent"),
        (&["--bounding-set=-sys_admin"], "user 0 may not attach pods: CAP_SYS_ADMIN is absent"),
        (
            &["--reuid=65534", "--clear-groups"],
            "user 65534 may not attach pods: CAP_NET_ADMIN and CAP_SYS_ADMIN are absent",
        ),
    ] {
        assert_eq!(started(words), format!("error: {told}\n{remedy}"));
    }
    assert!(started(&["--clear-groups"]).contains("/nonexistent"), "who has them comes to the configuration");
    stage.assert_empty();
}
