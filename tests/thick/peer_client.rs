//! Programs of the peer speak with the daemon as with its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::common::Pod;
use crate::stage::Stage;

/// A request as the peer's shim sends it: with all of the environment it has.
fn question(verb: &str, pod: &Pod, ifname: &str, config: &Value) -> Value {
    json!({
        "env": {
            "CNI_COMMAND": verb, "CNI_CONTAINERID": "pod-1", "CNI_NETNS": pod.path().as_str(),
            "CNI_IFNAME": ifname, "CNI_PATH": "/opt/cni/bin", "PATH": "/usr/bin", "SECRET": "s3cr3t",
            "CNI_ARGS": "IgnoreUnknown=true;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=p;K8S_POD_UID=u",
        },
        "config": STANDARD.encode(config.to_string()),
    })
}

fn post(stage: &Stage, path: &str, question: &Value) -> (u16, Value) {
    let (code, body) = stage.http("POST", path, &question.to_string());
    (code, serde_json::from_str(&body).unwrap_or(Value::Null))
}

#[test]
fn a_shim_of_the_peer_is_served() {
    let mut stage = Stage::new();
    stage.conf["type"] = json!("multus-shim");
    stage.conf["cniVersion"] = json!("0.3.1");
    let daemon = stage.daemon();
    let pod = stage.pod();

    let (code, answer) = post(&stage, "/cni", &question("ADD", &pod, "eth0", &stage.conf));

    assert_eq!((code, &answer["Result"]["cniVersion"]), (200, &json!("1.1.0")), "{answer}");
    assert_eq!(answer["Result"]["ips"][0]["address"], "10.77.0.2/24");
    assert!(stage.scene.path("cache/pod-1").exists(), "the peer could take it down");
    let (code, answer) = post(&stage, "/cni", &question("ADD", &pod, "eth0", &stage.conf));
    assert_eq!((code, &answer["code"]), (400, &json!(101)), "{answer}");
    assert_eq!(post(&stage, "/cni", &question("DEL", &pod, "eth0", &stage.conf)), (200, Value::Null));
    assert!(!daemon.log().contains("s3cr3t"));
    stage.assert_empty();
}

#[test]
fn the_daemons_configuration_is_laid_over_calls_and_not_over_delegates() {
    let mut stage = Stage::new();
    // What the runtime's configuration says of places is wrong; the daemon knows better.
    stage.conf["stateDir"] = json!("/nowhere/at/all");
    stage.conf["cniDir"] = json!("/nowhere/at/all");
    let _daemon = stage.daemon();
    let pod = stage.pod();

    stage.call("ADD", "pod-1", &pod).result();

    let net = stage.scene.macvlan("hot", 3);
    let (code, answer) = post(&stage, "/delegate", &question("ADD", &pod, "net7", &net));
    assert_eq!(code, 200, "{answer}");
    let record = stage.scene.record("pod-1", "net7");
    assert_eq!(record[0]["attachment"]["network"]["plugins"][0], net, "not a key was added");
}

#[test]
fn a_network_added_to_a_running_pod_goes_with_the_pod() {
    let stage = Stage::new();
    let _daemon = stage.daemon();
    let pod = stage.pod();
    stage.call("ADD", "pod-1", &pod).result();
    let mut asked = question("ADD", &pod, "net7", &stage.scene.macvlan("hot", 3));
    asked["interfaceAttributes"] =
        json!({"ips": ["10.77.3.9/24"], "mac": "02:00:00:00:00:09", "cni-args": {"a": 1}});

    let (code, answer) = post(&stage, "/delegate", &asked);

    assert_eq!(code, 200, "{answer}");
    assert_eq!(answer["Result"]["ips"][0]["address"], "10.77.3.9/24");
    assert_eq!(answer["Result"]["interfaces"][0]["mac"], "02:00:00:00:00:09");
    assert_eq!(pod.interfaces(), ["eth0", "lo", "net1", "net7"]);
    let called = |ifname| stage.scene.record("pod-1", ifname)[0]["attachment"]["called"].clone();
    assert_eq!(
        (called("net7"), called("net1")),
        (called("eth0"), json!({"network": "meta", "ifname": "eth0"}))
    );
    asked["env"]["CNI_COMMAND"] = json!("CHECK");
    assert_eq!(post(&stage, "/delegate", &asked).0, 200);
    stage.call("DEL", "pod-1", &pod).result();
    assert_eq!(pod.interfaces(), ["lo"]);
    stage.assert_empty();
}

#[test]
fn a_network_is_taken_from_a_running_pod_and_the_others_stay() {
    let stage = Stage::new();
    let _daemon = stage.daemon();
    let pod = stage.pod();
    stage.call("ADD", "pod-1", &pod).result();
    let net = stage.scene.macvlan("hot", 3);
    assert_eq!(post(&stage, "/delegate", &question("ADD", &pod, "net7", &net)).0, 200);

    assert_eq!(post(&stage, "/delegate", &question("DEL", &pod, "net7", &net)).0, 200);
    assert_eq!(post(&stage, "/delegate", &question("DEL", &pod, "net7", &net)).0, 200);

    assert_eq!(pod.interfaces(), ["eth0", "lo", "net1"]);
    stage.call("CHECK", "pod-1", &pod).result();
    let (code, answer) = post(&stage, "/delegate", &question("GC", &pod, "net7", &net));
    assert_eq!((code, &answer["code"]), (400, &json!(2)));
}

#[test]
fn health_is_told_and_nonsense_is_refused() {
    let stage = Stage::new();
    let _daemon = stage.daemon();

    for (method, path, code) in [
        ("GET", "/healthz", 200),
        ("POST", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("PUT", "/healthz", 405),
        ("GET", "/cni", 405),
        ("GET", "/else", 404),
        ("POST", "/cni", 400),
        ("POST", "/delegate", 400),
    ] {
        assert_eq!(stage.http(method, path, "[nonsense").0, code, "{method} {path}");
    }
    let long = format!("{{\"config\":\"{}\"}}", "A".repeat(9 << 20));
    let mut stream = std::os::unix::net::UnixStream::connect(stage.socket()).unwrap();
    let head = format!("POST /cni HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", long.len());
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    drop(std::io::Write::write_all(&mut stream, long.as_bytes()));
    assert_eq!(stage.http("GET", "/readyz", "").0, 200, "it is not impressed");
}
