//! `manifold status`: what is attached on the node, once and again whenever it changes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;

impl Stage {
    /// A call for the pod that the runtime names like this.
    fn call_for(&self, verb: &str, container: &str, args: &str) -> Answer {
        let netns = self.pod.path().as_str();
        let call = Call { verb, container, ifname: "eth0", netns };
        let mut command = self.scene.command(env!("CARGO_BIN_EXE_manifold"), &call);
        command.env("CNI_ARGS", args);
        scene::finish(scene::start(command, self.conf.to_string().as_bytes()))
    }

    fn status(&self) -> Value {
        let output = self.scene.manifold(&["status", "-o", "json"]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn status_table(&self) -> String {
        String::from_utf8(self.scene.manifold(&["status"]).stdout).unwrap()
    }

    /// Makes what was attached as eth0 so much older.
    fn age(&self, container: &str, by: u64) {
        self.scene.alter(container, "eth0", |line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line["since"] = json!(line["since"].as_u64().unwrap() - by);
            Some(line.to_string())
        });
    }
}

const SHOP: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=till;K8S_POD_UID=u1";

#[test]
fn a_node_is_shown_pod_by_pod_with_devices_addresses_and_ages() {
    let mut stage = Stage::with_everything();
    stage.select("");
    stage.call_for("ADD", "aaa", "IgnoreUnknown=1").result();
    stage.conf["runtimeConfig"]["io.kubernetes.cri.pod-annotations"]["k8s.v1.cni.cncf.io/networks"] =
        json!(json!([{"name": "data", "interface": "data0", "deviceID": "0000:03:02.1"}]).to_string());
    let other = stage.scene.node.pod().unwrap();
    let first = std::mem::replace(&mut stage.pod, other);
    stage.call_for("ADD", "bbb", SHOP).result();
    stage.age("aaa", 5 * 3_600 + 60);

    let (views, table) = (stage.status(), stage.status_table());

    let pod = json!({"namespace": "shop", "name": "till", "uid": "u1"});
    let shown: Vec<_> = views
        .as_array()
        .unwrap()
        .iter()
        .map(|v| (&v["pod"], &v["container"], &v["interface"], &v["device"], &v["state"], &v["addresses"][0]))
        .collect();
    let attached = json!("attached");
    let texts =
        ["bbb", "eth0", "", "10.77.0.3/24", "data0", "0000:03:02.1", "10.77.1.2/24", "aaa", "10.77.0.2/24"];
    let [bbb, eth0, none, second, data0, device, data, aaa, one] = texts.map(|text| json!(text));
    assert_eq!(shown[0], (&pod, &bbb, &eth0, &none, &attached, &second));
    assert_eq!(shown[1], (&pod, &bbb, &data0, &device, &attached, &data));
    assert_eq!(shown[2], (&Value::Null, &aaa, &eth0, &none, &attached, &one));
    assert!(views[2]["since"].as_str().unwrap() < views[0]["since"].as_str().unwrap(), "{views}");
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("POD") && lines[0].ends_with("AGE"), "{table}");
    assert!(lines[2].starts_with("shop/till") && lines[2].contains("0000:03:02.1"), "{table}");
    assert!(lines[3].contains("macvlan (native)") && lines[3].ends_with("5h"), "{table}");
    drop(first);
}

#[test]
fn what_a_dead_sandbox_left_and_what_is_no_record_are_told() {
    let mut stage = Stage::with_everything();
    stage.select("");
    stage.call_for("ADD", "aaa", SHOP).result();
    let other = stage.scene.node.pod().unwrap();
    drop(std::mem::replace(&mut stage.pod, other));
    fs::write(stage.scene.records("bbb"), "no record").unwrap();
    std::os::unix::fs::symlink("/nowhere", stage.scene.records("ccc")).unwrap();

    let views = stage.status();

    assert_eq!((&views[0]["container"], &views[0]["state"]), (&json!("aaa"), &json!("stale")));
    assert_eq!((&views[1]["container"], &views[1]["state"]), (&json!("bbb"), &json!("unreadable")));
    assert_eq!((&views[2]["container"], &views[2]["state"]), (&json!("ccc"), &json!("unreadable")));
    assert_eq!(views[1]["pod"], Value::Null);
    let list = String::from_utf8(stage.scene.manifold(&["list"]).stdout).unwrap();
    for container in ["aaa", "bbb", "ccc"] {
        assert!(list.contains(container), "{list}");
    }
}

#[test]
fn a_node_without_attachments_says_so() {
    let stage = Stage::with_everything();

    assert_eq!(stage.status(), json!([]));
    assert_eq!(stage.status_table(), "nothing is attached\n");
}

/// `manifold status --watch`, which ends with the test.
struct Watch(Child, BufReader<ChildStdout>);

impl Watch {
    fn start(stage: &Stage, output: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_manifold"));
        command.env_remove("CNI_COMMAND").args(["status", "--watch", "-o", output, "--state-dir"]);
        let mut child = command.arg(stage.scene.path("state")).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self(child, stdout)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.1.read_line(&mut line).unwrap(), 0, "it ended");
        line.trim_end().to_owned()
    }

    /// Reads on until it shows this many attachments, all of which are finished.
    fn until(&mut self, attached: usize) -> Value {
        loop {
            let views: Value = serde_json::from_str(&self.line()).unwrap();
            let all = views.as_array().unwrap();
            if all.len() == attached && all.iter().all(|view| view["state"] == "attached") {
                return views;
            }
        }
    }

    /// Sends a signal and waits for the end.
    fn end(mut self, signal: Signal) -> Option<i32> {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), signal).unwrap();
        self.0.wait().unwrap().code()
    }
}

#[test]
fn what_changes_is_shown_until_it_is_told_to_stop() {
    let stage = Stage::with_everything();
    let mut watch = Watch::start(&stage, "json");
    // Not even the directory of the records is there yet.
    assert_eq!(watch.until(0), json!([]));

    stage.add();
    let views = watch.until(4);
    assert_eq!((&views[0]["interface"], &views[3]["interface"]), (&json!("eth0"), &json!("tuned")));
    let other = stage.scene.node.pod().unwrap();
    let (netns, conf) = (other.path().to_string(), stage.scene.conf(&json!([stage.scene.macvlan("x", 5)])));
    let call = |verb| Call { verb, container: "pod-2", ifname: "eth0", netns: &netns };
    stage.scene.call(&call("ADD"), &conf).result();
    assert_eq!(watch.until(5)[4]["container"], "pod-2");
    stage.scene.call(&call("DEL"), &conf).result();
    watch.until(4);
    stage.del();
    watch.until(0);

    assert_eq!(watch.end(Signal::SIGINT), Some(0));
}

#[test]
fn a_watched_table_is_drawn_anew_and_a_reader_may_leave() {
    let stage = Stage::with_everything();
    let mut watch = Watch::start(&stage, "table");
    assert_eq!((watch.line().as_str(), watch.line().as_str()), ("nothing is attached", ""));

    stage.add();
    while !watch.line().contains("10.77.3.2/24") {}
    let Watch(mut child, stdout) = watch;
    drop(stdout);

    assert_eq!(child.wait().unwrap().code(), Some(0));
}
