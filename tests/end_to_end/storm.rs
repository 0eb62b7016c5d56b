//! Many calls at once.

use std::collections::BTreeSet;

use super::*;

#[test]
fn pods_that_start_at_once_get_an_address_each_and_give_it_back() {
    let stage = Stage::with_everything();
    let conf = stage.scene.conf(&json!([stage.scene.macvlan("data", 7)]));
    let pods: Vec<Pod> = (0..20).map(|_| stage.scene.node.pod().unwrap()).collect();
    let all_at_once = |verb: &'static str| -> Vec<Value> {
        let started = pods.iter().enumerate().map(|(n, pod)| {
            let container = format!("storm-{n}");
            let call = Call { verb, container: &container, ifname: "eth0", netns: pod.path().as_str() };
            scene::start(
                stage.scene.command(env!("CARGO_BIN_EXE_manifold"), &call),
                conf.to_string().as_bytes(),
            )
        });
        let started: Vec<_> = started.collect();
        started.into_iter().map(|child| scene::finish(child).result()).collect()
    };

    let results = all_at_once("ADD");

    let addresses: BTreeSet<&str> =
        results.iter().map(|r| r["ips"][0]["address"].as_str().unwrap()).collect();
    assert_eq!(addresses.len(), pods.len());
    assert!(pods.iter().all(|pod| pod.interfaces() == ["eth0", "lo"]));
    all_at_once("DEL");
    assert!(pods.iter().all(|pod| pod.interfaces() == ["lo"]));
    stage.assert_empty();
}

#[test]
fn calls_for_one_sandbox_wait_for_each_other() {
    let stage = Stage::with_everything();
    let call = |verb| Call { verb, container: "pod-1", ifname: "eth0", netns: stage.pod.path().as_str() };
    let start = |verb| {
        let command = stage.scene.command(env!("CARGO_BIN_EXE_manifold"), &call(verb));
        scene::start(command, stage.conf.to_string().as_bytes())
    };

    let both = [start("ADD"), start("ADD")];

    let succeeded = both.into_iter().filter_map(|child| scene::finish(child).ok.then_some(())).count();
    assert_eq!(succeeded, 1, "one makes it, the other finds it made");
    stage.call("CHECK").result();
    let both = [start("DEL"), start("DEL")];
    assert!(both.into_iter().all(|child| scene::finish(child).ok));
    stage.assert_empty();
}
