//! The daemon keeps the configuration as it should be.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::node::{Node, calico};

#[test]
fn what_the_primary_can_do_is_declared_as_it_grows_and_shrinks() {
    let node = Node::new();
    let mut primary = calico();
    node.primary(&primary);
    let _daemon = node.daemon();
    node.await_that("it is written", || node.is_ready());
    assert_eq!(node.capabilities(), ["portMappings"]);

    primary["plugins"][0]["capabilities"]["bandwidth"] = json!(true);
    node.primary(&primary);
    node.await_that("it grows", || node.capabilities() == ["bandwidth", "portMappings"]);

    fs::create_dir(node.file("k8s")).unwrap();
    fs::write(node.file("k8s/tuning.conf"), r#"{"type":"tuning","capabilities":{"mac":true}}"#).unwrap();
    node.await_that("a plugin beside it counts", || {
        node.capabilities() == ["bandwidth", "mac", "portMappings"]
    });

    fs::remove_dir_all(node.file("k8s")).unwrap();
    primary["plugins"].as_array_mut().unwrap().pop();
    node.primary(&primary);
    node.await_that("it shrinks", || node.capabilities() == ["bandwidth"]);

    primary["plugins"][0].as_object_mut().unwrap().remove("capabilities");
    fs::write(node.path("new"), primary.to_string()).unwrap();
    fs::rename(node.path("new"), node.file("10-calico.conflist")).unwrap();
    node.await_that("none is left", || node.plugin()["capabilities"].is_null());
}

#[test]
fn a_file_that_somebody_removes_or_changes_is_there_again() {
    let node = Node::new();
    node.primary(&calico());
    let _daemon = node.daemon();
    node.await_that("it is written", || node.is_ready());
    let text = node.text().unwrap();
    let path = node.file("00-manifold.conflist");

    fs::remove_file(&path).unwrap();
    node.await_that("it is there again", || node.text().as_ref() == Some(&text));
    fs::rename(&path, node.file("00-manifold.conflist.cilium_bak")).unwrap();
    node.await_that("it is there again", || node.text().as_ref() == Some(&text));
    assert!(node.log().contains("somebody removed"), "{}", node.log());

    for wrong in ["", "{", "{}"] {
        fs::write(&path, wrong).unwrap();
        node.await_that("it is as it was", || node.text().as_ref() == Some(&text));
    }
    assert!(node.log().contains("somebody changed"), "{}", node.log());
    fs::remove_file(&path).unwrap();
    symlink("10-calico.conflist", &path).unwrap();
    node.await_that("it is as it was", || node.text().as_ref() == Some(&text));
    assert_eq!(fs::read_to_string(node.file("10-calico.conflist")).unwrap(), calico().to_string());
    node.await_that("all is well", || node.is_ready());
}

#[test]
fn a_directory_that_takes_the_place_of_another_is_looked_after_as_well() {
    let node = Node::new();
    node.primary(&calico());
    let _daemon = node.daemon();
    node.await_that("it is written", || node.is_ready());

    fs::rename(node.path("net.d"), node.path("old.d")).unwrap();
    fs::create_dir(node.path("net.d")).unwrap();
    let mut other = calico();
    other["plugins"][1]["capabilities"] = json!({"ips": true});
    node.primary(&other);

    node.await_that("it is written there", || node.text().is_some() && node.capabilities() == ["ips"]);
    fs::remove_file(node.file("00-manifold.conflist")).unwrap();
    node.await_that("it is there again", || node.text().is_some());
}

/// What is declared, again and again, until so many have been seen; the same in a row counts once.
fn all_that_is_read(node: &Node, count: &AtomicUsize, most: usize) -> Vec<Value> {
    let mut seen = Vec::new();
    while seen.len() < most {
        let text = node.text().expect("it is always there");
        let list: Value = serde_json::from_str(&text).expect("it is always whole");
        seen.push(list["plugins"][0]["capabilities"].clone());
        seen.dedup();
        count.store(seen.len(), Ordering::Relaxed);
    }
    seen
}

#[test]
fn whoever_reads_finds_a_whole_configuration_however_the_primary_is_written() {
    let node = Node::new();
    let primaries = [true, false].map(|more| {
        let mut primary = calico();
        primary["plugins"][0]["capabilities"] = json!({"bandwidth": more, "ips": more, "mac": more});
        primary["padding"] = json!("x".repeat(200_000));
        primary
    });
    node.primary(&primaries[0]);
    let _daemon = node.daemon();
    node.await_that("it is written", || node.is_ready());
    let count = AtomicUsize::new(0);

    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(|| all_that_is_read(&node, &count, 5));
        let is_seen = |number| reader.is_finished() || count.load(Ordering::Relaxed) >= number;
        node.await_that("the reader sees the first", || is_seen(1));
        for round in 0..4 {
            let wanted = if round % 2 == 0 {
                vec!["portMappings"]
            } else {
                vec!["bandwidth", "ips", "mac", "portMappings"]
            };
            // In place, as an agent does that knows no better: there are moments in which it is half written.
            for _ in 0..50 {
                node.primary(&primaries[(round + 1) % 2]);
            }
            node.await_that("it follows", || node.capabilities() == wanted);
            node.await_that("the reader sees it", || is_seen(round + 2));
        }
        reader.join().unwrap()
    });

    let whole = json!({"bandwidth": true, "ips": true, "mac": true, "portMappings": true});
    let less = json!({"portMappings": true});
    assert_eq!(seen, [&whole, &less, &whole, &less, &whole].map(Value::clone));
}

#[test]
fn a_daemon_that_stops_leaves_the_file_and_the_next_one_finds_it_so() {
    let node = Node::new();
    node.primary(&calico());
    let daemon = node.daemon();
    node.await_that("it is written", || node.is_ready());
    let text = node.text();

    daemon.stop();

    assert_eq!(node.text(), text);
    let before = crate::node::inode(&node.file("00-manifold.conflist"));
    let _next = node.daemon();
    node.await_that("the next one is ready", || node.is_ready());
    assert_eq!(crate::node::inode(&node.file("00-manifold.conflist")), before);
}

#[test]
fn a_daemon_that_is_to_clean_up_takes_the_file_with_it_and_nothing_else() {
    let mut node = Node::new();
    node.conf["cleanupConfigOnExit"] = json!(true);
    node.primary(&calico());
    let daemon = node.daemon();
    node.await_that("it is written", || node.is_ready());

    daemon.stop();

    assert_eq!(node.names(), ["10-calico.conflist"]);
}

#[test]
fn a_daemon_that_is_not_told_to_writes_nothing() {
    let mut node = Node::new();
    let keys = node.conf.as_object_mut().unwrap();
    keys.retain(|key, _| key != "multusConfigFile" && key != "multusAutoconfigDir");
    node.primary(&calico());

    let daemon = node.daemon();
    assert!(node.is_ready());
    daemon.stop();

    assert_eq!(node.names(), ["10-calico.conflist"]);
}
