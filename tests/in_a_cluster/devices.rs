//! Pods with devices of the kubelet's.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::kubelet::{Get, Kubelet};

/// A plugin that makes nothing, answers with its interface, and keeps what it was told.
const SPY: &str = r#"#!/bin/sh
cat >"$0-$CNI_COMMAND-$CNI_IFNAME.json"
[ "$CNI_COMMAND" != ADD ] ||
    printf '{"cniVersion":"1.0.0","interfaces":[{"name":"%s","sandbox":"%s"}]}' "$CNI_IFNAME" "$CNI_NETNS"
"#;

/// What the device plugin wrote of the first device.
const INFO: &str = r#"{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:03:02.1"}}"#;

/// A pod that selects networks of the resource `intel.com/vf`, on a node whose kubelet gave it three devices.
fn stage(networks: &str) -> (Stage, Kubelet) {
    let mut stage = Stage::selecting(networks);
    let kubelet = Kubelet::start(("ns", "p"), Get::Answers);
    for folder in ["bin", "devinfo", "devinfo/dp"] {
        fs::create_dir(stage.scene.path(folder)).unwrap();
    }
    let spy = stage.scene.path("bin/spy");
    fs::write(&spy, SPY).unwrap();
    fs::set_permissions(&spy, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(stage.scene.path("devinfo/dp/intel.com-vf-0000:03:02.1-device.json"), INFO).unwrap();
    let conf = json!({"cniVersion": "1.0.0", "type": "spy",
        "capabilities": {"deviceID": true, "CNIDeviceInfoFile": true}});
    let resource = json!({"k8s.v1.cni.cncf.io/resourceName": "intel.com/vf"});
    stage.server.put_definition("ns/fast", &conf.to_string(), &resource);
    stage.conf["binDir"] = json!(stage.scene.path("bin"));
    stage.conf["deviceInfoDir"] = json!(stage.scene.path("devinfo"));
    stage.conf["kubeletDir"] = json!(kubelet.root());
    (stage, kubelet)
}

impl Stage {
    /// What the spy was told.
    fn told(&self, verb: &str, ifname: &str) -> Value {
        let path = self.scene.path(&format!("bin/spy-{verb}-{ifname}.json"));
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    /// What is kept of devices, beside what the device plugin wrote.
    fn device_files(&self) -> usize {
        fs::read_dir(self.scene.path("devinfo/cni")).map_or(0, Iterator::count)
    }
}

#[test]
fn each_network_gets_a_device_of_its_own_and_the_pod_is_told_of_it() {
    let (stage, kubelet) = stage("fast,red,fast@data0");

    stage.call("ADD").result();

    for (ifname, device) in [("net1", "0000:03:02.1"), ("data0", "0000:03:02.5")] {
        let told = stage.told("ADD", ifname);
        let file = stage.scene.path(&format!("devinfo/cni/ns-fast-pod-1_{ifname}"));
        assert_eq!((&told["deviceID"], &told["pciBusID"]), (&json!(device), &json!(device)), "{told}");
        assert_eq!(told["runtimeConfig"]["deviceID"], device);
        assert_eq!(told["runtimeConfig"]["CNIDeviceInfoFile"], json!(file));
    }
    let info = |at: usize| stage.status()[at]["device-info"].clone();
    assert_eq!(info(1), serde_json::from_str::<Value>(INFO).unwrap());
    assert_eq!((info(2), info(3)), (Value::Null, Value::Null));
    assert_eq!(stage.device_files(), 1);
    assert_eq!(kubelet.asked(), ["get"], "once for all networks");

    stage.call("CHECK").result();
    stage.call("DEL").result();

    assert_eq!(stage.told("DEL", "data0")["deviceID"], "0000:03:02.5", "the choice is on record");
    assert_eq!((kubelet.asked().len(), stage.device_files()), (1, 0));
    stage.assert_empty();
}

#[test]
fn more_networks_than_devices_are_refused_with_all_that_were_seen() {
    let (stage, _kubelet) = stage("fast,fast,fast,fast");

    let (code, message, details) = stage.call("ADD").error();

    assert_eq!(code, 100);
    let seen = "intel.com/vf [0000:03:02.1 0000:03:02.5 0000:03:02.3], intel.com/other [x]";
    assert!(message.contains("device 4") && message.contains(seen), "{message}");
    assert!(details.contains("request as many"), "{details}");
    stage.assert_empty();
}

#[test]
fn a_device_that_a_living_pod_has_is_given_to_no_other() {
    let (stage, _kubelet) = stage("fast");
    stage.call("ADD").result();

    let other = stage.scene.node.pod().unwrap();
    let call = Call { verb: "ADD", container: "pod-2", ifname: "eth0", netns: other.path().as_str() };
    let mut command = stage.scene.command(env!("CARGO_BIN_EXE_manifold"), &call);
    command.env("CNI_ARGS", "K8S_POD_UID=u;IgnoreUnknown=1;K8S_POD_NAME=p;K8S_POD_NAMESPACE=ns");
    let answer = scene::finish(scene::start(command, stage.conf.to_string().as_bytes()));

    // The stand-in's kubelet gives both sandboxes the same device, as one does that lost track of an old sandbox.
    let (code, message, _) = answer.error();
    assert_eq!(code, 11, "{message}");
    assert!(message.contains("\"pci 0000:03:02.1\" is held by another pod"), "{message}");
    assert_eq!(other.interfaces(), ["lo"]);
}

#[test]
fn a_kubelet_that_cannot_tell_is_an_error_and_a_del_needs_none() {
    let (mut stage, kubelet) = stage("fast");
    stage.call("ADD").result();
    drop(kubelet);

    stage.call("DEL").result();

    stage.assert_empty();
    stage.conf["kubeletDir"] = json!(stage.scene.path("no-kubelet"));
    let (code, message, _) = stage.call("ADD").error();
    assert_eq!(code, 100, "{message}");
    assert!(message.contains("cannot learn which devices pod \"ns/p\" was given"), "{message}");
    stage.assert_empty();
}

#[test]
fn a_plugin_may_tell_of_its_device_without_one_of_the_kubelets() {
    let (stage, _kubelet) = stage("own");
    let script = r#"#!/bin/sh
conf=$(cat)
file=$(printf %s "$conf" | sed -n 's/.*"CNIDeviceInfoFile":"\([^"]*\)".*/\1/p')
[ "$CNI_COMMAND" != ADD ] || {
    mkdir -p "${file%/*}"
    printf '{"type":"memif","version":"1.1.0","memif":{"role":"slave","path":"/run/m.sock"}}' >"$file"
    printf '{"cniVersion":"1.0.0","interfaces":[{"name":"%s","sandbox":"%s"}]}' "$CNI_IFNAME" "$CNI_NETNS"
}
"#;
    fs::write(stage.scene.path("bin/writer"), script).unwrap();
    fs::set_permissions(stage.scene.path("bin/writer"), fs::Permissions::from_mode(0o755)).unwrap();
    let conf = json!({"cniVersion": "1.0.0", "type": "writer", "capabilities": {"CNIDeviceInfoFile": true}});
    stage.server.put_definition("ns/own", &conf.to_string(), &json!({}));

    stage.call("ADD").result();

    assert_eq!(stage.status()[1]["device-info"]["memif"]["path"], "/run/m.sock");
    stage.call("DEL").result();
    assert_eq!(stage.device_files(), 0);
}

/// A claim of the pod's with one device of each of two drivers, and what these publish of it.
fn claim_devices(stage: &Stage, kubelet: &Kubelet) {
    kubelet.claim("first", "gpus", &[("gpu.example.com", "node", "gpu-0", &["example.com/gpu=0"])]);
    let nic = |name: &'static str| ("nic.example.com", "node", name, &[][..]);
    kubelet.claim("first", "nics", &[nic("vf-b"), nic("vf-a"), nic("vf-x")]);
    let attributes = |id: &str| {
        json!({"k8s.cni.cncf.io/deviceID": {"string": id}, "k8s.cni.cncf.io/resourceName": {"string": "vf.dra"},
            "numaNode": {"int": 0}})
    };
    let device = |name: &str, id: &str| json!({"name": name, "attributes": attributes(id)});
    let slice = |node: &str, driver: &str, generation: u32, devices: Value| {
        json!({"nodeName": node, "driver": driver, "devices": devices,
            "pool": {"name": "node", "generation": generation, "resourceSliceCount": 1}})
    };
    let nics = json!([device("vf-a", "0000:05:00.1"), device("vf-b", "0000:05:00.2"), {"name": "vf-x"}]);
    let put = |name: &str, spec| stage.server.put_slice(name, &spec);
    put("now", slice("node", "nic.example.com", 2, nics));
    put("before", slice("node", "nic.example.com", 1, json!([device("vf-a", "0000:09:00.1")])));
    put("elsewhere", slice("other", "nic.example.com", 2, json!([device("vf-a", "0000:07:00.1")])));
    put("gpus", slice("node", "gpu.example.com", 1, json!([{"name": "gpu-0"}])));
    let conf = json!({"cniVersion": "1.0.0", "type": "spy", "capabilities": {"deviceID": true}});
    let resource = json!({"k8s.v1.cni.cncf.io/resourceName": "vf.dra"});
    stage.server.put_definition("ns/claimed", &conf.to_string(), &resource);
}

#[test]
fn a_network_gets_a_device_of_the_pods_claims() {
    let (stage, kubelet) = stage("claimed,fast,claimed");
    claim_devices(&stage, &kubelet);

    stage.call("ADD").result();

    let given = |ifname: &str| stage.told("ADD", ifname)["deviceID"].clone();
    assert_eq!((given("net1"), given("net3")), (json!("0000:05:00.1"), json!("0000:05:00.2")));
    assert_eq!(given("net2"), "0000:03:02.1", "of the device plugin");
    let asked = stage.server.asked();
    let count = |words: &str| asked.iter().filter(|line| line.contains(words)).count();
    assert_eq!((count("resourceslices"), count("spec.driver%3Dnic.example.com")), (2, 1), "{asked:?}");
    stage.call("DEL").result();
    stage.assert_empty();
}

#[test]
fn a_network_gets_a_device_behind_an_extended_resource() {
    let (stage, kubelet) = stage("claimed,claimed");
    claim_devices(&stage, &kubelet);
    let slice = |name: &str, id: &str| {
        let attributes = json!({"k8s.cni.cncf.io/deviceID": {"string": id}, "k8s.cni.cncf.io/resourceName": {"string": "vf.ext"}});
        json!({"nodeName": "node", "driver": "ext.example.com", "pool": {"name": "node", "generation": 1},
            "devices": [{"name": name, "attributes": attributes}]})
    };
    stage.server.put_slice("ext-1", &slice("x1", "0000:06:00.1"));
    stage.server.put_slice("ext-2", &slice("x2", "0000:06:00.2"));
    let driver = "ext.example.com";
    stage.server.put_extended("ns/p", &[("b", "r1", driver, "x2"), ("a", "r0", driver, "x1")]);
    let resource = json!({"k8s.v1.cni.cncf.io/resourceName": "vf.ext"});
    let conf = json!({"cniVersion": "1.0.0", "type": "spy"});
    stage.server.put_definition("ns/claimed", &conf.to_string(), &resource);

    stage.call("ADD").result();

    let given = |ifname: &str| stage.told("ADD", ifname)["deviceID"].clone();
    assert_eq!((given("net1"), given("net2")), (json!("0000:06:00.2"), json!("0000:06:00.1")));
    let asked = stage.server.asked();
    let count = |words: &str| asked.iter().filter(|line| line.contains(words)).count();
    assert_eq!(
        (count("/resourceclaims/extended"), count("GET /api/v1/namespaces/ns/pods/p")),
        (1, 2),
        "{asked:?}"
    );
}

#[test]
fn a_pod_that_needs_no_claimed_device_asks_for_none() {
    let (stage, kubelet) = stage("fast");
    claim_devices(&stage, &kubelet);

    stage.call("ADD").result();

    let asked = stage.server.asked();
    assert!(!asked.iter().any(|line| line.contains("resourceslices")), "{asked:?}");
}

#[test]
fn a_claim_is_a_resource_of_its_name() {
    let (stage, kubelet) = stage("gpu");
    claim_devices(&stage, &kubelet);
    let resource = json!({"k8s.v1.cni.cncf.io/resourceName": "gpus"});
    let conf = json!({"cniVersion": "1.0.0", "type": "spy"});
    stage.server.put_definition("ns/gpu", &conf.to_string(), &resource);

    stage.call("ADD").result();

    assert_eq!(stage.told("ADD", "net1")["deviceID"], "0");
}

#[test]
fn claimed_devices_that_cannot_be_given_are_told() {
    let (stage, kubelet) = stage("claimed,claimed,claimed");
    claim_devices(&stage, &kubelet);

    let (code, message, details) = stage.call("ADD").error();

    let seen = "vf.dra [0000:05:00.1 0000:05:00.2], claimed devices of no known resource \
                [gpu.example.com/node/gpu-0 nic.example.com/node/vf-x]";
    assert!(code == 100 && message.ends_with(seen), "{message}");
    assert!(details.contains("k8s.cni.cncf.io/deviceID"), "{details}");
    stage.assert_empty();
}

#[test]
fn an_api_server_that_cannot_tell_of_claimed_devices_is_quoted() {
    let (stage, kubelet) = stage("claimed");
    claim_devices(&stage, &kubelet);
    stage.server.let_go_wrong(Method::GET, "resourceslices", Mishap::Code(403));
    let (code, message, details) = stage.call("ADD").error();
    assert_eq!((code, details.contains("RBAC")), (107, true), "{message}: {details}");
    assert!(message.contains("list the devices of driver \"gpu.example.com\""), "{message}");

    stage.server.let_go_wrong(Method::GET, "resourceslices", Mishap::Code(404));
    let (code, message, _) = stage.call("ADD").error();
    assert!(code == 100 && message.contains("resource.k8s.io/v1"), "{message}");
    stage.assert_empty();
}
