//! Which devices a pod was given: asked of a kubelet that speaks the real protocol over a real socket.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "../common/kubelet/mod.rs"]
mod kubelet;
mod protocol;

use std::fs;

use kubelet::{Get, Kubelet};
use manifold::engine::ports::Devices;
use manifold::host::kubelet::Kubelet as Asked;
use manifold::model::FaultKind;
use manifold::model::device::PodDevices;
use manifold::model::pod::PodName;

fn pod() -> PodName {
    PodName { namespace: "shop".into(), name: "till".into(), uid: Some("u1".into()) }
}

fn devices(all: &PodDevices) -> Vec<String> {
    let text = |held: &manifold::model::device::Allotment| {
        let ids: Vec<&str> = held.devices.iter().map(|id| id.as_str()).collect();
        format!("{} {}", held.resource, ids.join(","))
    };
    all.all().iter().map(text).collect()
}

#[test]
fn a_kubelet_is_asked_for_the_pod_alone() {
    let kubelet = Kubelet::start(("shop", "till"), Get::Answers);

    let told = Asked::new(kubelet.root()).of_pod(&pod()).unwrap();

    assert_eq!(devices(&told), ["intel.com/vf 0000:03:02.1,0000:03:02.5,0000:03:02.3", "intel.com/other x"]);
    assert_eq!(kubelet.asked(), ["get"]);
}

#[test]
fn an_old_kubelet_is_asked_for_all_pods() {
    for get in [Get::Unimplemented, Get::SwitchedOff] {
        let kubelet = Kubelet::start(("shop", "till"), get);

        let told = Asked::new(kubelet.root()).of_pod(&pod()).unwrap();

        assert_eq!(told.all().len(), 2);
        assert_eq!(kubelet.asked(), ["get", "list"]);
    }
}

#[test]
fn a_kubelet_that_is_asked_too_often_is_asked_again() {
    let kubelet = Kubelet::start(("shop", "till"), Get::BusyTwice);

    assert_eq!(Asked::new(kubelet.root()).of_pod(&pod()).unwrap().all().len(), 2);
    assert_eq!(kubelet.asked(), ["get", "get", "get"]);
}

#[test]
fn a_crowded_node_is_answered_in_full() {
    let kubelet = Kubelet::start(("shop", "till"), Get::Unimplemented);
    kubelet.crowd(40_000);

    assert_eq!(Asked::new(kubelet.root()).of_pod(&pod()).unwrap().all().len(), 2);
}

#[test]
fn a_pod_that_the_kubelet_does_not_know_has_no_devices() {
    let kubelet = Kubelet::start(("shop", "till"), Get::Answers);
    let other = PodName { name: "other".into(), ..pod() };

    assert!(Asked::new(kubelet.root()).of_pod(&other).unwrap().all().is_empty());
}

#[test]
fn without_a_socket_the_checkpoint_counts() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("device-plugins")).unwrap();
    let text = r#"{"Data":{"PodDeviceEntries":[{"PodUID":"u1","ContainerName":"c","ResourceName":"a/b","DeviceIDs":{"0":["7"]},"AllocResp":""}]},"Checksum":1}"#;
    fs::write(dir.path().join("device-plugins/kubelet_internal_checkpoint"), text).unwrap();

    assert_eq!(devices(&Asked::new(dir.path()).of_pod(&pod()).unwrap()), ["a/b 7"]);
}

#[test]
fn the_checkpoint_adds_the_order_that_containers_are_shown_and_init_containers() {
    let kubelet = Kubelet::start(("shop", "till"), Get::Answers);
    // envs {"PCIDEVICE_INTEL_COM_VF": "0000:03:02.5,0000:03:02.1"}
    let shown = "CjMKFlBDSURFVklDRV9JTlRFTF9DT01fVkYSGTAwMDA6MDM6MDIuNSwwMDAwOjAzOjAyLjE=";
    kubelet.checkpoint(&format!(
        r#"{{"Data":{{"PodDeviceEntries":[
            {{"PodUID":"u1","ContainerName":"first","ResourceName":"intel.com/vf","DeviceIDs":{{"0":["0000:03:02.1","0000:03:02.5"]}},"AllocResp":"{shown}"}},
            {{"PodUID":"u1","ContainerName":"init","ResourceName":"intel.com/vf","DeviceIDs":{{"0":["0000:03:02.7"]}},"AllocResp":""}},
            {{"PodUID":"gone","ContainerName":"first","ResourceName":"intel.com/vf","DeviceIDs":{{"0":["0000:03:02.9"]}},"AllocResp":""}}]}}}}"#
    ));

    let told = devices(&Asked::new(kubelet.root()).of_pod(&pod()).unwrap());

    assert_eq!(told[0], "intel.com/vf 0000:03:02.5,0000:03:02.1,0000:03:02.3,0000:03:02.7");
}

#[test]
fn where_nobody_can_tell_that_is_said_with_both_reasons() {
    let dir = tempfile::tempdir().unwrap();

    let fault = Asked::new(dir.path()).of_pod(&pod()).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::Absent);
    let reply = fault.to_reply();
    assert!(reply.msg.starts_with("cannot learn which devices pod \"shop/till\" was given: "), "{reply:?}");
    assert!(reply.details.contains("kubelet_internal_checkpoint"), "{reply:?}");
}

#[test]
fn a_kubelet_that_refuses_is_quoted_whatever_its_checkpoint_says() {
    let kubelet = Kubelet::start(("shop", "till"), Get::Fails);
    kubelet.checkpoint(r#"{"Data":{"PodDeviceEntries":null}}"#);

    let fault = Asked::new(kubelet.root()).of_pod(&pod()).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::TryLater);
    assert!(fault.to_string().contains("the disk is on fire"), "{fault}");
}

#[test]
fn devices_of_claims_are_told_beside_those_of_device_plugins() {
    let kubelet = Kubelet::start(("shop", "till"), Get::Answers);
    // A kubelet repeats with each device of a claim the names of those before it.
    let cdi = ["example.com/vf=u1-vf-1", "odd", "example.com/vf=u1-vf-2"];
    let driver = "nic.example.com";
    kubelet.claim("second", "nics", &[(driver, "node", "vf-1", &cdi[..2]), (driver, "node", "vf-2", &cdi)]);
    kubelet.claim("first", "gpus", &[("gpu.example.com", "pool", "gpu-0", &[])]);

    let told = Asked::new(kubelet.root()).of_pod(&pod()).unwrap();

    let claimed: Vec<_> = told.claimed().iter().map(|c| (c.container.as_str(), c.to_string())).collect();
    let names = [
        ("first", "gpu.example.com/pool/gpu-0"),
        ("second", "nic.example.com/node/vf-1"),
        ("second", "nic.example.com/node/vf-2"),
    ];
    assert_eq!(claimed, names.map(|(container, device)| (container, device.to_owned())));
    let vfs = "intel.com/vf 0000:03:02.1,0000:03:02.5,0000:03:02.3";
    assert_eq!(
        devices(&told),
        [vfs, "intel.com/other x", "nics u1-vf-1,u1-vf-2"],
        "a claim is a resource of its name"
    );
}

#[test]
fn claims_are_told_by_old_kubelets_and_are_in_no_checkpoint() {
    let kubelet = Kubelet::start(("shop", "till"), Get::Unimplemented);
    kubelet.claim("first", "nics", &[("nic.example.com", "node", "vf-1", &[])]);
    kubelet.checkpoint(r#"{"Data":{"PodDeviceEntries":null}}"#);

    assert_eq!(Asked::new(kubelet.root()).of_pod(&pod()).unwrap().claimed().len(), 1);
}
