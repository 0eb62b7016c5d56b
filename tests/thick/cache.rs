//! Cached results of sandboxes that are gone: the daemon clears its own, and nobody else's.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::common::Pod;
use crate::seen::metrics;
use crate::stage::Stage;

/// A node whose daemon tidies up every second and waits no longer.
fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.daemon_conf["metricsPort"] = json!(9091);
    stage.daemon_conf["housekeepingSeconds"] = json!(1);
    stage.daemon_conf["cacheGraceSeconds"] = json!(0);
    stage
}

impl Stage {
    fn cached(&self, container: &str) -> PathBuf {
        self.scene.path(&format!("cache/results/base-{container}-eth0"))
    }

    /// Attaches a pod and loses its records.
    fn attached_and_lost(&self, container: &str) -> Pod {
        let pod = self.pod();
        self.call("ADD", container, &pod).result();
        fs::remove_file(self.scene.records(container)).unwrap();
        pod
    }

    /// Copies the cached result of a sandbox for another one.
    fn copy(&self, from: &str, to: &str) -> String {
        let text = fs::read_to_string(self.cached(from)).unwrap();
        let text = text.replace(&format!("\"containerId\":\"{from}\""), &format!("\"containerId\":\"{to}\""));
        fs::write(self.cached(to), &text).unwrap();
        text
    }
}

/// The value of a counter.
pub(crate) fn counted(name: &str) -> u64 {
    let text = metrics();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or("0").parse().unwrap()
}

/// Waits for rounds of tidying up that begin after now.
fn rounds(stage: &Stage, more: u64) {
    let before = counted("manifold_tidy_rounds_total");
    stage.await_that("rounds pass", || counted("manifold_tidy_rounds_total") > before + more);
}

#[test]
fn what_a_lost_record_left_goes_with_its_sandbox() {
    let stage = stage();
    let daemon = stage.daemon();
    let pod = stage.attached_and_lost("lost");
    rounds(&stage, 1);
    assert!(stage.cached("lost").exists(), "its namespace is there");

    drop(pod);

    stage.await_that("it is removed", || !stage.cached("lost").exists());
    stage.await_that("it is counted", || counted("manifold_cache_cleared_total") == 1);
    stage.await_that("it is logged", || daemon.log().contains("1 cached results of sandboxes that are gone"));
}

#[test]
fn what_is_not_ours_or_may_be_asked_for_stays() {
    let stage = stage();
    let pod = {
        let _daemon = stage.daemon();
        stage.attached_and_lost("lost")
    };
    let living = stage.pod();
    let ours = stage.copy("lost", "foreign");
    fs::write(stage.cached("foreign"), ours.replace(",\"writer\":\"manifold\"", "")).unwrap();
    // One whose DEL is kept, and fails again and again.
    stage.copy("lost", "spooled");
    let env = json!({"CNI_COMMAND": "DEL", "CNI_CONTAINERID": "spooled", "CNI_IFNAME": "eth0"});
    let del = json!({"format": 1, "since": 1, "env": env, "config": {"cniVersion": "9.9.9", "name": "n"}});
    fs::create_dir_all(stage.scene.path("state/spool")).unwrap();
    fs::write(stage.scene.path("state/spool/spooled.eth0.json"), del.to_string()).unwrap();
    // One that the peer's file of the sandbox tells of, and one under a name of another.
    stage.copy("lost", "listed");
    fs::write(stage.scene.path("cache/listed"), "[]").unwrap();
    fs::write(stage.cached("misnamed"), &ours).unwrap();
    drop(pod);

    let _daemon = stage.daemon();
    stage.call("ADD", "living", &living).result();
    stage.await_that("ours is removed", || !stage.cached("lost").exists());
    rounds(&stage, 1);

    for container in ["foreign", "spooled", "listed", "misnamed", "living"] {
        assert!(stage.cached(container).exists(), "{container}");
    }
    assert_eq!(counted("manifold_cache_cleared_total"), 1);
    assert!(counted("manifold_spool_failed_total") > 0);
}

#[test]
fn a_sandbox_that_is_just_gone_has_time_for_its_del() {
    let mut stage = stage();
    stage.daemon_conf["cacheGraceSeconds"] = json!(3_600);
    let _daemon = stage.daemon();
    drop(stage.attached_and_lost("lost"));

    rounds(&stage, 2);

    assert!(stage.cached("lost").exists());
}

#[test]
fn many_leftovers_go_some_in_each_round() {
    let stage = stage();
    let pod = {
        let _daemon = stage.daemon();
        stage.attached_and_lost("lost")
    };
    (0..299).for_each(|n| drop(stage.copy("lost", &format!("gone-{n}"))));
    let nursery = stage.scene.path("cache/results/.manifold");
    let (old, new) = (nursery.join("old"), nursery.join("new"));
    let hours_ago = SystemTime::now() - Duration::from_secs(7_200);
    File::create(&old).unwrap().set_modified(hours_ago).unwrap();
    File::create(&new).unwrap();
    drop(pod);

    let _daemon = stage.daemon();
    stage.await_that("all are removed", || counted("manifold_cache_cleared_total") == 301);

    assert!(counted("manifold_tidy_rounds_total") >= 300 / 64, "not all of them in one round");
    let left: Vec<_> = fs::read_dir(stage.scene.path("cache/results")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(new.exists() && !old.exists());
}
