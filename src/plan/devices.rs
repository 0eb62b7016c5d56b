//! Which network of a pod gets which of its devices.
//!
//! A network's definition names a resource; the kubelet gave the pod some devices of it. They are handed out in the order
//! of the networks: the default network, those of every pod, those the pod selected. Each device goes to one network.

use std::collections::BTreeSet;

use super::resolve::{Named, Wish};
use crate::model::FaultKind;
use crate::model::device::{Device, PodDevices, ResourceName};
use crate::model::fault::{Fault, Outcome};

/// What to do, besides, about devices of claims that cannot be handed out.
const CLAIMS: &str = "; those of claims count if \"kubeconfig\" is set, and their driver publishes the attributes \
    \"k8s.cni.cncf.io/resourceName\" and \"k8s.cni.cncf.io/deviceID\"";

/// Whether any network of the wish needs a device of the kubelet's.
pub fn needed(wish: &Wish) -> bool {
    wish.named().any(|named| named.resource.is_some())
}

/// Whether there are as many devices of each resource as networks that name it.
pub fn suffice(wish: &Wish, devices: &PodDevices) -> bool {
    let named: Vec<&ResourceName> = wish.named().filter_map(|named| named.resource.as_ref()).collect();
    named.iter().all(|resource| {
        named.iter().filter(|other| *other == resource).count() <= devices.devices(resource).len()
    })
}

/// Gives each network that names a resource the next device of it.
///
/// # Errors
/// [`FaultKind::Absent`]: there are fewer devices than networks; it names all that the kubelet gave.
pub fn hand_out(wish: &mut Wish, devices: &PodDevices) -> Outcome<()> {
    let mut taken: Vec<ResourceName> = Vec::new();
    let first = wish.default.iter_mut().map(|first| &mut first.named);
    let selected = wish.selected.iter_mut().map(|(_, named)| named);
    for named in first.chain(&mut wish.always).chain(selected) {
        let Some(resource) = named.resource.clone() else { continue };
        let before = taken.iter().filter(|other| **other == resource).count();
        let Some(id) = devices.devices(&resource).get(before) else {
            return Err(too_few(named, &resource, before, devices));
        };
        taken.push(resource.clone());
        named.device = Some(Device { id: id.clone(), resource: Some(resource) });
    }
    Ok(())
}

fn too_few(named: &Named, resource: &ResourceName, before: usize, devices: &PodDevices) -> Fault {
    let seen = devices.all().iter().map(|held| {
        let ids: Vec<&str> = held.devices.iter().map(|id| id.as_str()).collect();
        format!("{} [{}]", held.resource, ids.join(" "))
    });
    let mut seen: Vec<String> = seen.collect();
    if !devices.claimed().is_empty() {
        let claimed: BTreeSet<String> = devices.claimed().iter().map(ToString::to_string).collect();
        let claimed = claimed.into_iter().collect::<Vec<_>>().join(" ");
        seen.push(format!("claimed devices of no known resource [{claimed}]"));
    }
    let seen = if seen.is_empty() { "no device at all".to_owned() } else { seen.join(", ") };
    let what = format!(
        "network {:?} needs device {} of {:?}, but the kubelet gave the pod {seen}",
        named.label,
        before + 1,
        resource.as_str()
    );
    let claims = if devices.claimed().is_empty() { "" } else { CLAIMS };
    Fault::new(FaultKind::Absent, what).remedy(format!(
        "request as many {:?} in the pod's resources as it selects networks with that resource{claims}",
        resource.as_str()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::device::ClaimedDevice;
    use crate::model::{Network, Object, selection};
    use crate::plan::resolve::First;

    fn named(name: &str, resource: Option<&str>) -> Named {
        let conf = format!(r#"{{"name":"{name}","type":"sriov"}}"#);
        let network = Network::parse(conf.as_bytes(), None).unwrap();
        Named { resource: resource.map(|r| r.parse().unwrap()), ..Named::new(format!("ns/{name}"), network) }
    }

    /// A wish of a default network and selected ones, each with the resource it names.
    fn wish(default: Option<&str>, selected: &[Option<&str>]) -> Wish {
        let selected = selected.iter().enumerate().map(|(at, resource)| {
            let selection = selection::parse(&format!("n{at}")).unwrap().remove(0);
            (selection, named(&format!("n{at}"), *resource))
        });
        let default = First {
            named: named("default", default),
            ifname: "eth0".parse().unwrap(),
            capabilities: Object::default(),
            selection: None,
        };
        Wish { default: Some(default), selected: selected.collect(), ..Wish::default() }
    }

    fn devices(all: &[(&str, &[&str])]) -> PodDevices {
        let mut devices = PodDevices::default();
        for (resource, ids) in all {
            devices.add(&resource.parse().unwrap(), ids.iter().map(|id| id.parse().unwrap()));
        }
        devices
    }

    fn given(wish: &Wish) -> Vec<Option<&str>> {
        let first = wish.default.iter().map(|first| &first.named);
        let all = first.chain(wish.selected.iter().map(|(_, named)| named));
        all.map(|named| named.device.as_ref().map(|device| device.id.as_str())).collect()
    }

    #[test]
    fn devices_go_to_networks_in_order_and_each_to_one() {
        let mut wish = wish(Some("a/x"), &[Some("a/y"), None, Some("a/x"), Some("a/y")]);

        hand_out(&mut wish, &devices(&[("a/x", &["1", "2"]), ("a/y", &["8", "9"])])).unwrap();

        assert_eq!(given(&wish), [Some("1"), Some("8"), None, Some("2"), Some("9")]);
    }

    #[test]
    fn too_few_devices_are_told_with_all_that_were_seen() {
        let mut wish = wish(None, &[Some("a/x"), Some("a/x")]);

        let fault = hand_out(&mut wish, &devices(&[("a/x", &["1"]), ("b/z", &["7", "8"])])).unwrap_err();

        assert_eq!(fault.kind(), FaultKind::Absent);
        assert_eq!(
            fault.to_string(),
            "network \"ns/n1\" needs device 2 of \"a/x\", but the kubelet gave the pod a/x [1], b/z [7 8]"
        );
    }

    #[test]
    fn devices_suffice_if_there_is_one_for_each_network() {
        let wish = wish(Some("a/x"), &[Some("a/y"), None, Some("a/x")]);

        assert!(suffice(&wish, &devices(&[("a/x", &["1", "2"]), ("a/y", &["8"])])));
        assert!(!suffice(&wish, &devices(&[("a/x", &["1"]), ("a/y", &["8", "9"])])));
        assert!(!suffice(&wish, &PodDevices::default()));
    }

    #[test]
    fn claimed_devices_that_no_network_can_have_are_told() {
        let mut wish = wish(None, &[Some("a/x")]);
        let gpu = ClaimedDevice {
            container: "c".into(),
            driver: "gpu.example.com".into(),
            pool: "node".into(),
            device: "gpu-0".into(),
        };

        let fault = hand_out(&mut wish, &PodDevices::default().with_claimed(vec![gpu])).unwrap_err();

        let told = "claimed devices of no known resource [gpu.example.com/node/gpu-0]";
        assert!(fault.to_string().ends_with(told), "{fault}");
        assert!(fault.advice().unwrap().contains("k8s.cni.cncf.io/deviceID"), "{fault:?}");
    }

    #[test]
    fn a_pod_without_such_networks_needs_no_device() {
        let mut wish = wish(None, &[None]);
        assert!(!needed(&wish));
        hand_out(&mut wish, &PodDevices::default()).unwrap();
        assert_eq!(given(&wish), [None, None]);
    }
}
