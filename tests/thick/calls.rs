//! Calls that go well, and a daemon that is not there.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::scene;
use crate::stage::Stage;

#[test]
fn a_call_goes_through_the_shim_and_back() {
    let stage = Stage::new();
    let _daemon = stage.daemon();
    let pod = stage.pod();

    let result = stage.call("ADD", "pod-1", &pod).result();

    assert_eq!(result["cniVersion"], "1.1.0");
    assert_eq!(result["ips"][0]["address"], "10.77.0.2/24");
    assert_eq!(pod.interfaces(), ["eth0", "lo", "net1"]);
    stage.call("CHECK", "pod-1", &pod).result();
    stage.call("STATUS", "pod-1", &pod).result();
    stage.call("DEL", "pod-1", &pod).result();
    stage.call("DEL", "pod-1", &pod).result();
    assert_eq!(pod.interfaces(), ["lo"]);
    stage.assert_empty();
}

#[test]
fn a_result_is_in_the_version_of_the_runtime() {
    let mut stage = Stage::new();
    let _daemon = stage.daemon();
    stage.conf["cniVersion"] = json!("0.3.1");

    let result = stage.call("ADD", "pod-1", &stage.pod()).result();

    assert_eq!((&result["cniVersion"], &result["ips"][0]["version"]), (&json!("0.3.1"), &json!("4")));
}

#[test]
fn an_error_keeps_its_code_and_tells_nothing_of_the_configuration() {
    let mut stage = Stage::new();
    let _daemon = stage.daemon();
    stage.conf["delegates"] = json!([{"type": "macvlan", "master": "nowhere0", "secret": "s3cr3t"}]);

    let answer = stage.call("ADD", "pod-1", &stage.pod());

    assert!(!format!("{answer:?}").contains("s3cr3t"));
    let (code, message, details) = answer.error();
    assert_eq!(code, 100, "{message}");
    assert!(message.contains("nowhere0") && details.contains("correct"), "{message} {details}");
    stage.assert_empty();
}

#[test]
fn nothing_but_what_cni_defines_leaves_the_shim() {
    let stage = Stage::new();
    std::fs::create_dir(stage.scene.path("run")).unwrap();
    let socket = UnixListener::bind(stage.socket()).unwrap();
    let heard = std::thread::spawn(move || {
        let (stream, _) = socket.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        serde_json::from_slice::<serde_json::Value>(&body).unwrap()
    });
    let pod = stage.pod();
    let call = scene::Call { verb: "DEL", container: "pod-1", ifname: "eth0", netns: pod.path().as_str() };
    let mut command = stage.scene.command(env!("CARGO_BIN_EXE_manifold-shim"), &call);
    command.env("CNI_ARGS", &stage.args).env("KUBERNETES_SERVICE_HOST", "10.0.0.1").env("TOKEN", "s3cr3t");

    scene::finish(scene::start(command, stage.conf.to_string().as_bytes())).result();

    let question = heard.join().unwrap();
    let names: Vec<&String> = question["env"].as_object().unwrap().keys().collect();
    let known = ["CNI_ARGS", "CNI_COMMAND", "CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_PATH"];
    assert_eq!(names, known);
}

#[test]
fn an_add_waits_for_a_daemon_that_is_about_to_start() {
    let stage = Stage::new();
    let pod = stage.pod();

    let call = stage.begin("ADD", "pod-1", &pod);
    std::thread::sleep(Duration::from_millis(300));
    let _daemon = stage.start();

    scene::finish(call).result();
    assert_eq!(pod.interfaces(), ["eth0", "lo", "net1"]);
}

#[test]
fn a_status_is_answered_at_once_where_there_is_no_daemon() {
    let stage = Stage::new();
    let began = Instant::now();

    let (code, message, details) = stage.call("STATUS", "", &stage.pod()).error();

    // Not a measurement: a call that waited would take a minute.
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(code, 50, "{message}");
    assert!(message.contains("multus.sock") && details.contains("manifold daemon"), "{message} {details}");
}

#[test]
fn a_del_without_a_daemon_is_kept_and_done_when_it_is_back() {
    let stage = Stage::new();
    let daemon = stage.daemon();
    let pods = [stage.pod(), stage.pod()];
    for (pod, name) in pods.iter().zip(["pod-1", "pod-2"]) {
        stage.call("ADD", name, pod).result();
    }
    drop(daemon);

    stage.call("DEL", "pod-1", &pods[0]).result();
    stage.call("DEL", "pod-1", &pods[0]).result();
    assert_eq!(stage.spool(), 1, "the same DEL is kept once");
    assert_eq!(pods[0].interfaces(), ["eth0", "lo", "net1"]);
    let _daemon = stage.daemon();

    stage.await_that("the spool is empty", || stage.spool() == 0);
    assert_eq!(pods[0].interfaces(), ["lo"]);
    assert_eq!(pods[1].interfaces(), ["eth0", "lo", "net1"], "the other pod lives on");
    stage.call("DEL", "pod-2", &pods[1]).result();
    stage.assert_empty();
}

#[test]
fn two_shims_for_one_sandbox_wait_for_each_other() {
    let stage = Stage::new();
    let _daemon = stage.daemon();
    let pod = stage.pod();

    let both = [stage.begin("ADD", "pod-1", &pod), stage.begin("ADD", "pod-1", &pod)];

    let succeeded = both.into_iter().map(scene::finish).filter(|answer| answer.ok).count();
    assert_eq!(succeeded, 1, "one makes it, the other finds it made");
    let both = [stage.begin("DEL", "pod-1", &pod), stage.begin("DEL", "pod-1", &pod)];
    assert!(both.into_iter().all(|child| scene::finish(child).ok));
    stage.assert_empty();
}

#[test]
fn a_daemon_that_is_told_to_stop_finishes_what_it_has_begun() {
    let stage = Stage::new();
    let daemon = stage.daemon();
    let pods: Vec<_> = (0..12).map(|_| stage.pod()).collect();
    let begun: Vec<_> =
        pods.iter().enumerate().map(|(n, pod)| stage.begin("ADD", &format!("pod-{n}"), pod)).collect();
    stage.await_that("a call is served", || pods.iter().any(|pod| pod.interfaces().len() > 1));

    daemon.signal(Signal::SIGTERM);
    assert!(daemon.ended());
    let _next = stage.daemon();

    // Those that were not let in wait for the next daemon: every pod gets its networks.
    for (child, pod) in begun.into_iter().zip(&pods) {
        scene::finish(child).result();
        assert_eq!(pod.interfaces(), ["eth0", "lo", "net1"]);
    }
}
