//! How much is done at a time, and callers that do not wait for it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::common::Pod;
use crate::scene;
use crate::seen::metrics;
use crate::stage::Stage;

/// A stage whose default network is made by a plugin for the shell: each run notes its begin in the directory `running`,
/// does this, and then is gone from there.
fn stage(does: &str) -> Stage {
    let mut stage = Stage::new();
    for folder in ["bin", "running", "seen"] {
        fs::create_dir(stage.scene.path(folder)).unwrap();
    }
    let here = stage.scene.path("").display().to_string();
    let text = format!(
        "#!/bin/sh\ncd {here}\n: >running/$$\nls running | wc -l >seen/$$\n{does}\nrm running/$$\n\
        [ $CNI_COMMAND != ADD ] || echo '{{\"cniVersion\": \"1.0.0\", \"interfaces\": [], \"ips\": []}}'\n"
    );
    let plugin = stage.scene.path("bin/gate");
    fs::write(&plugin, text).unwrap();
    fs::set_permissions(plugin, fs::Permissions::from_mode(0o755)).unwrap();
    let gate = json!({"cniVersion": "1.0.0", "name": "base", "type": "gate"});
    stage.conf["delegates"] = json!([gate, stage.scene.macvlan("data", 1)]);
    stage.daemon_conf["binDir"] = json!(stage.scene.path("bin"));
    stage.daemon_conf["metricsPort"] = json!(9091);
    stage
}

/// What has a run wait until the file `open` is there.
const GATE: &str = "until [ -e open ]; do sleep 0.02; done";

fn open(stage: &Stage) {
    fs::write(stage.scene.path("open"), "").unwrap();
}

fn count(stage: &Stage, folder: &str) -> usize {
    fs::read_dir(stage.scene.path(folder)).unwrap().count()
}

/// Ends a shim, as a runtime does that gives up.
fn give_up(mut shim: Child) {
    shim.kill().unwrap();
    shim.wait().unwrap();
}

#[test]
fn a_caller_that_goes_away_while_it_waits_is_forgotten() {
    let mut stage = stage(GATE);
    stage.daemon_conf["connectionLimit"] = json!(1);
    let _daemon = stage.daemon();
    let (first, second) = (stage.pod(), stage.pod());
    let served = stage.begin("ADD", "pod-1", &first);
    stage.await_that("the first call is served", || count(&stage, "running") == 1);
    let waits = stage.begin("ADD", "pod-2", &second);
    stage.await_that("the second one waits", || metrics().contains("manifold_calls_waiting 1\n"));
    assert!(metrics().contains("manifold_calls_working 1\n"));

    give_up(waits);

    stage.await_that("nobody waits", || metrics().contains("manifold_calls_waiting 0\n"));
    open(&stage);
    scene::finish(served).result();
    assert!(metrics().contains("manifold_calls_total{command=\"ADD\",code=\"0\"} 1\n"), "{}", metrics());
    assert_eq!((second.interfaces(), count(&stage, "seen")), (vec!["lo".to_owned()], 1));
    assert!(!stage.scene.records("pod-2").exists());
    stage.call("DEL", "pod-1", &first).result();
    stage.assert_empty();
}

#[test]
fn a_call_whose_caller_went_away_is_finished_and_its_del_takes_it_down() {
    let stage = stage(GATE);
    let _daemon = stage.daemon();
    let pod = stage.pod();
    let served = stage.begin("ADD", "pod-1", &pod);
    stage.await_that("it is served", || count(&stage, "running") == 1);

    give_up(served);
    // The runtime's DEL waits for its turn.
    let del = stage.begin("DEL", "pod-1", &pod);
    open(&stage);

    scene::finish(del).result();
    stage.await_that("both are done", || {
        let text = metrics();
        ["ADD", "DEL"]
            .iter()
            .all(|verb| text.contains(&format!("manifold_calls_total{{command=\"{verb}\",code=\"0\"}} 1\n")))
    });
    stage.call("DEL", "pod-1", &pod).result();
    assert_eq!(pod.interfaces(), ["lo"]);
    stage.assert_empty();
}

#[test]
fn plugins_that_run_at_a_time_are_bounded_beside_the_calls() {
    let mut stage = stage(GATE);
    stage.daemon_conf["pluginLimit"] = json!(2);
    let _daemon = stage.daemon();
    let pods: Vec<Pod> = (0..8).map(|_| stage.pod()).collect();

    let all: Vec<_> =
        pods.iter().enumerate().map(|(n, pod)| stage.begin("ADD", &format!("pod-{n}"), pod)).collect();
    stage.await_that("calls are served that have no turn", || {
        metrics().contains("manifold_calls_working 8\n") && count(&stage, "running") == 2
    });
    open(&stage);
    all.into_iter().for_each(|shim| drop(scene::finish(shim).result()));

    let seen = fs::read_dir(stage.scene.path("seen")).unwrap();
    let seen = seen.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let most: usize = seen.map(|text| text.trim().parse().unwrap()).max().unwrap();
    assert_eq!(most, 2, "so many plugins ran at once");
}

#[test]
fn a_plugin_that_hangs_keeps_no_pod_without_plugins() {
    let mut stage = stage(GATE);
    stage.daemon_conf["pluginLimit"] = json!(1);
    let _daemon = stage.daemon();
    let (first, second) = (stage.pod(), stage.pod());
    let hangs = stage.begin("ADD", "pod-1", &first);
    stage.await_that("the plugin runs", || count(&stage, "running") == 1);
    let with_plugin = stage.conf.clone();
    stage.conf["delegates"] = json!([stage.scene.macvlan("data", 1)]);

    stage.call("ADD", "pod-2", &second).result();
    assert_eq!(
        (second.interfaces(), count(&stage, "running")),
        (vec!["eth0".to_owned(), "lo".to_owned()], 1)
    );

    stage.conf = with_plugin;
    open(&stage);
    scene::finish(hangs).result();
}

#[test]
fn adds_that_hang_leave_places_to_dels_and_a_status() {
    let mut stage = stage(GATE);
    stage.daemon_conf["connectionLimit"] = json!(4);
    let _daemon = stage.daemon();
    let pods: Vec<Pod> = (0..6).map(|_| stage.pod()).collect();
    let with_plugin = stage.conf.clone();
    stage.conf["delegates"] = json!([stage.scene.macvlan("data", 1)]);
    stage.call("ADD", "gone", &pods[5]).result();
    let without = std::mem::replace(&mut stage.conf, with_plugin);

    let hang: Vec<_> = pods
        .iter()
        .take(5)
        .enumerate()
        .map(|(n, pod)| stage.begin("ADD", &format!("pod-{n}"), pod))
        .collect();
    stage.await_that("the places of ADDs are taken", || {
        metrics().contains("manifold_calls_working 3\n") && metrics().contains("manifold_calls_waiting 2\n")
    });

    stage.conf = without;
    stage.call("STATUS", "", &pods[5]).result();
    stage.call("DEL", "gone", &pods[5]).result();
    assert_eq!((pods[5].interfaces(), stage.spool()), (vec!["lo".to_owned()], 0));
    open(&stage);
    hang.into_iter().for_each(|shim| drop(scene::finish(shim).result()));
}

#[test]
fn plugins_that_hang_on_add_leave_turns_to_dels_and_a_status() {
    let mut stage = stage(&format!("[ $CNI_COMMAND != ADD ] || {GATE}"));
    // From this version on plugins are asked for their status.
    stage.conf["delegates"][0]["cniVersion"] = json!("1.1.0");
    stage.daemon_conf["pluginLimit"] = json!(4);
    let _daemon = stage.daemon();
    let pods: Vec<Pod> = (0..5).map(|_| stage.pod()).collect();
    let add = |n: usize| stage.begin("ADD", &format!("pod-{n}"), &pods[n]);
    open(&stage);
    scene::finish(add(4)).result();
    fs::remove_file(stage.scene.path("open")).unwrap();

    let hang: Vec<_> = (0..4).map(add).collect();
    stage.await_that("all are served", || metrics().contains("manifold_calls_working 4\n"));
    stage.await_that("as many hang as may", || count(&stage, "running") == 3);
    stage.await_that("they and the one before have looked round", || count(&stage, "seen") == 4);
    let before = count(&stage, "seen");

    stage.call("STATUS", "", &pods[4]).result();
    stage.call("DEL", "pod-4", &pods[4]).result();
    assert_eq!(count(&stage, "seen"), before + 2, "both were run");
    assert_eq!((pods[4].interfaces(), stage.spool()), (vec!["lo".to_owned()], 0));
    assert_eq!(count(&stage, "running"), 3);
    open(&stage);
    hang.into_iter().for_each(|shim| drop(scene::finish(shim).result()));
}

#[test]
fn an_add_that_waits_for_the_default_network_takes_no_place() {
    let mut stage = stage("");
    stage.daemon_conf["connectionLimit"] = json!(1);
    let _daemon = stage.daemon();
    let (gone, waits) = (stage.pod(), stage.pod());
    stage.call("ADD", "gone", &gone).result();
    stage.conf["readinessindicatorfile"] = json!(stage.scene.path("ready"));

    let add = stage.begin("ADD", "waits", &waits);
    stage.await_that("it waits", || metrics().contains("manifold_calls_waiting 1\n"));
    stage.call("DEL", "gone", &gone).result();

    assert_eq!((gone.interfaces(), stage.spool()), (vec!["lo".to_owned()], 0));
    assert!(metrics().contains("manifold_calls_waiting 1\n"), "{}", metrics());
    fs::write(stage.scene.path("ready"), "").unwrap();
    scene::finish(add).result();
    stage.call("DEL", "waits", &waits).result();
    stage.assert_empty();
}

#[test]
fn a_daemon_that_stops_leaves_an_add_that_waits_for_the_default_network_to_the_next() {
    let mut stage = stage("");
    let daemon = stage.daemon();
    let pod = stage.pod();
    stage.conf["readinessindicatorfile"] = json!(stage.scene.path("ready"));
    let add = stage.begin("ADD", "pod-1", &pod);
    stage.await_that("it waits", || metrics().contains("manifold_calls_waiting 1\n"));

    daemon.signal(Signal::SIGTERM);
    assert!(daemon.ended());
    fs::write(stage.scene.path("ready"), "").unwrap();
    let _next = stage.daemon();

    scene::finish(add).result();
    assert_eq!(pod.interfaces(), ["lo", "net1"]);
}

/// It takes as long as calls are given to end.
#[test]
fn a_daemon_that_stops_leaves_no_plugin_behind_that_hangs() {
    let stage = stage(&format!("[ $CNI_COMMAND != ADD ] || {GATE}"));
    let daemon = stage.daemon();
    let pod = stage.pod();
    let hangs = stage.begin("ADD", "pod-1", &pod);
    stage.await_that("the plugin runs", || count(&stage, "running") == 1);
    // It is called by its process.
    let running = fs::read_dir(stage.scene.path("running")).unwrap().next().unwrap().unwrap();
    let process = Path::new("/proc").join(running.file_name());
    assert!(process.exists());

    daemon.signal(Signal::SIGTERM);
    assert!(daemon.ended());
    stage.await_that("the plugin is gone", || !process.exists());
    give_up(hangs);

    let _next = stage.daemon();
    stage.call("DEL", "pod-1", &pod).result();
    stage.assert_empty();
}

#[test]
fn a_status_that_gets_no_place_is_answered() {
    let mut stage = stage(GATE);
    stage.daemon_conf["connectionLimit"] = json!(1);
    let _daemon = stage.daemon();
    let pod = stage.pod();
    let hangs = stage.begin("ADD", "pod-1", &pod);
    stage.await_that("the plugin runs", || count(&stage, "running") == 1);

    let (code, message, _) = stage.call("STATUS", "", &pod).error();

    assert_eq!(code, 50, "{message}");
    assert!(message.contains("the daemon is busy: it serves 1 calls"), "{message}");
    open(&stage);
    scene::finish(hangs).result();
}
