//! However a plugin's run ends, no process, thread or file descriptor of it is left.
//!
//! A test of its own, alone in its process: what it counts is the whole process's.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use manifold::host::exec::Plugins;
use manifold::model::Network;
use manifold::plan::chain::processes;

/// How many entries a directory of `/proc` has.
fn count(dir: &str) -> usize {
    fs::read_dir(dir).unwrap().count()
}

/// The process ids of all children of this process, the dead and unburied as well.
fn children() -> String {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    threads
        .map(|thread| fs::read_to_string(thread.unwrap().path().join("children")).unwrap_or_default())
        .collect()
}

#[test]
fn however_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = |limit| {
        let environment = vec![("PATH".into(), "/usr/bin:/bin".into())];
        Plugins::new(vec![dir.path().to_owned()], environment, limit)
    };
    let network = br#"{"cniVersion":"1.1.0","name":"it","plugins":[{"type":"probe"}]}"#;
    let network = Network::parse(network, None).unwrap();
    let probe = processes(&network).remove(0);
    let (threads, fds) = (count("/proc/self/task"), count("/proc/self/fd"));

    for (script, seconds, succeeds) in [
        (Some("#!/bin/sh\ncat"), 60, true),
        (Some("#!/bin/sh\nexit 1"), 60, false),
        (Some("#!/bin/sh\nkill -9 $$"), 60, false),
        (Some("#!/bin/sh\nsleep 1000 & exec >&-; sleep 1000"), 1, false),
        (Some("#!/bin/sh\nexec yes"), 60, false),
        (Some("#!/nowhere"), 60, false),
        (None, 60, false),
    ] {
        let file = dir.path().join("probe");
        match script {
            Some(script) => fs::write(&file, script).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        script.iter().for_each(|_| fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap());
        for _ in 0..3 {
            let ended = plugins(Duration::from_secs(seconds)).status(&network, &probe);
            assert_eq!(ended.is_ok(), succeeds, "{script:?}: {ended:?}");
        }
    }

    assert_eq!((children(), count("/proc/self/fd")), (String::new(), fds));
    // A thread that is joined, or that found nothing to do, is in the list for a moment longer.
    let deadline = Instant::now() + Duration::from_secs(60);
    while count("/proc/self/task") != threads && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(count("/proc/self/task"), threads);
}
