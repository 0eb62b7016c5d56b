//! DELs that are kept, and sandboxes that are attached anew under the id they had.

use std::fs;

use serde_json::json;

use crate::cache::counted;
use crate::common::Pod;
use crate::scene;
use crate::stage::{Daemon, Stage};

/// A node on which a daemon tidies up once, when it starts.
fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.daemon_conf["metricsPort"] = json!(9091);
    stage
}

/// A daemon that has tidied up.
fn tidied(stage: &Stage) -> Daemon {
    let daemon = stage.daemon();
    stage.await_that("the round is over", || counted("manifold_tidy_rounds_total") == 1);
    daemon
}

#[test]
fn a_kept_del_is_done_before_its_sandbox_is_attached_anew_and_not_after() {
    let stage = stage();
    let pod = stage.pod();
    let daemon = stage.daemon();
    stage.call("ADD", "pod-1", &pod).result();
    drop(daemon);
    stage.call("DEL", "pod-1", &pod).result();
    // It is kept while the next daemon runs.
    let (kept, elsewhere) = (stage.scene.path("state/spool/pod-1.eth0.json"), stage.scene.path("elsewhere"));
    fs::rename(&kept, &elsewhere).unwrap();
    let daemon = tidied(&stage);
    fs::rename(&elsewhere, &kept).unwrap();

    stage.call("ADD", "pod-1", &pod).result();

    assert_eq!(stage.spool(), 0);
    assert_eq!(counted("manifold_spool_done_total"), 1);
    drop(daemon);
    let _daemon = tidied(&stage);
    assert_eq!(pod.interfaces(), ["eth0", "lo", "net1"]);
    stage.call("DEL", "pod-1", &pod).result();
    stage.assert_empty();
}

#[test]
fn sandboxes_that_are_attached_anew_while_a_daemon_does_their_kept_dels_stay() {
    let mut stage = stage();
    let pods: Vec<Pod> = (0..12).map(|_| stage.pod()).collect();
    let all = |stage: &Stage, verb: &str| {
        let begun = pods.iter().enumerate().map(|(n, pod)| stage.begin(verb, &format!("pod-{n}"), pod));
        begun.collect::<Vec<_>>()
    };
    let daemon = stage.daemon();
    all(&stage, "ADD").into_iter().for_each(|child| drop(scene::finish(child).result()));
    drop(daemon);
    all(&stage, "DEL").into_iter().for_each(|child| drop(scene::finish(child).result()));
    assert_eq!(stage.spool(), pods.len());

    // They wait for a daemon.
    let begun = all(&stage, "ADD");
    stage.daemon_conf["housekeepingSeconds"] = json!(1);
    let _daemon = stage.daemon();
    begun.into_iter().for_each(|child| drop(scene::finish(child).result()));

    stage.await_that("another round is over", || counted("manifold_tidy_rounds_total") > 1);
    assert_eq!(stage.spool(), 0);
    for pod in &pods {
        assert_eq!(pod.interfaces(), ["eth0", "lo", "net1"]);
    }
    all(&stage, "DEL").into_iter().for_each(|child| drop(scene::finish(child).result()));
    stage.assert_empty();
}

#[test]
fn a_kept_del_that_fails_keeps_its_sandbox_from_being_attached() {
    let stage = stage();
    let pod = stage.pod();
    let _daemon = tidied(&stage);
    let kept = stage.scene.path("state/spool/pod-1.eth0.json");
    // No sandbox has such an id.
    let env = json!({"CNI_COMMAND": "DEL", "CNI_CONTAINERID": "/", "CNI_IFNAME": "eth0", "CNI_PATH": "/"});
    fs::create_dir_all(kept.parent().unwrap()).unwrap();
    fs::write(&kept, json!({"format": 1, "since": 1, "config": stage.conf, "env": env}).to_string()).unwrap();

    let (code, message, details) = stage.call("ADD", "pod-1", &pod).error();

    assert_eq!(code, 11, "{message}");
    assert!(message.starts_with("the DEL of sandbox \"pod-1\" that was kept comes first: "), "{message}");
    assert!(!details.is_empty() && kept.exists());
    fs::write(&kept, "{").unwrap();
    stage.call("ADD", "pod-1", &pod).result();
    assert!(!kept.exists(), "what is none is set aside");
    stage.call("DEL", "pod-1", &pod).result();
}
