//! A device is claimed once, whoever names it and however: the kubelet's choice by its id, a configuration by its PCI
//! address, a record of an earlier version by both.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test may panic"
)]

use manifold::engine::add::{Attached, add};
use manifold::engine::del::{Detach, del};
use manifold::engine::foresee::foresee;
use manifold::engine::scope::Scope;
use manifold::model::fault::Outcome;
use manifold::model::{Attachment, Device, FaultKind, Network, Owner};
use manifold::plan::claim::Claim;
use manifold::sim::SimNode;

/// How a pod comes by a VF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Its configuration names it.
    Written,
    /// The kubelet gave it, and Manifold attaches it.
    Given,
    /// The kubelet gave it, and a plugin that is run attaches it.
    GivenToPlugin,
}

const WAYS: [Way; 3] = [Way::Written, Way::Given, Way::GivenToPlugin];

struct Scene {
    sim: SimNode,
    vf: String,
}

impl Scene {
    fn new() -> Self {
        let sim = SimNode::with_masters(&[]);
        sim.make_netns("/ns/first");
        sim.make_netns("/ns/next");
        Self { sim, vf: manifold::sim::pristine().into_keys().next().unwrap().to_string() }
    }

    fn attachment(&self, pod: &str, ifname: &str, way: Way) -> Attachment {
        let plugin = if way == Way::GivenToPlugin { "host-device" } else { "sriov" };
        let conf =
            format!(r#"{{"cniVersion":"1.1.0","name":"fast","type":"{plugin}","deviceID":"{}"}}"#, self.vf);
        let resource = Some("intel.com/vf".parse().unwrap());
        let device = Device { id: self.vf.parse().unwrap(), resource };
        Attachment {
            netns: Some(format!("/ns/{pod}").parse().unwrap()),
            device: (way != Way::Written).then_some(device),
            ..Attachment::new(
                Owner::parse(pod, ifname).unwrap(),
                Network::parse(conf.as_bytes(), None).unwrap(),
            )
        }
    }

    /// An ADD. What refuses it is foreseen in the same words.
    fn add(&self, pod: &str, way: Way) -> Outcome<Vec<Attached>> {
        self.add_all(&[self.attachment(pod, "net1", way)])
    }

    fn add_all(&self, attachments: &[Attachment]) -> Outcome<Vec<Attached>> {
        let foreseen = foresee(&self.sim.node(), attachments.to_vec());
        let made = add(&self.sim.node(), attachments.to_vec());
        assert_eq!(
            foreseen.err().map(|fault| fault.to_string()),
            made.as_ref().err().map(ToString::to_string)
        );
        made
    }

    fn del(&self, pod: &str) {
        let container = pod.parse().unwrap();
        let detach = Detach::recorded(&container, Scope::Own);
        del(&self.sim.node(), &detach).unwrap();
    }

    /// The claims on the node, with the pods that have them.
    fn claims(&self) -> Vec<(String, String)> {
        let claims = self.sim.world().claims;
        claims.iter().map(|(claim, owner)| (claim.as_str().to_owned(), owner.container.to_string())).collect()
    }

    /// What there is if this pod has the VF.
    fn had_by(&self, pod: &str) -> Vec<(String, String)> {
        vec![(format!("pci {}", self.vf), pod.to_owned())]
    }

    /// Makes the first pod's record, and its claims, those of an earlier version.
    fn age(&self, way: Way) {
        let (pci, device) = (format!("pci {}", self.vf), format!("device {}", self.vf));
        let former = match way {
            Way::Written => vec![pci.clone()],
            Way::Given => vec![pci.clone(), device],
            Way::GivenToPlugin => vec![device],
        };
        self.sim.meddle(|world| {
            let (owner, record) = world.records.iter_mut().next().unwrap();
            let mut json: serde_json::Value = serde_json::from_slice(record).unwrap();
            assert_eq!(json["claims"], serde_json::json!([pci]), "{way:?}");
            json["claims"] = serde_json::json!(former);
            *record = serde_json::to_vec(&json).unwrap();
            world.claims =
                former.into_iter().map(|claim| (Claim::new(claim).unwrap(), owner.clone())).collect();
        });
    }
}

#[test]
fn whoever_names_a_vf_has_the_one_claim_of_it() {
    for (first, next) in WAYS.iter().flat_map(|first| WAYS.map(|next| (*first, next))) {
        let scene = Scene::new();
        scene.add("first", first).unwrap();
        assert_eq!(scene.claims(), scene.had_by("first"), "{first:?}");

        let refused = scene.add("next", next).unwrap_err();
        assert_eq!(refused.kind(), FaultKind::TryLater, "{first:?}, then {next:?}: {refused}");
        assert!(refused.to_string().ends_with("is held by another pod"), "{refused}");
        assert!(refused.confided().unwrap().ends_with("is held by pod sandbox first/net1"), "{refused:?}");
        assert_eq!(scene.claims(), scene.had_by("first"), "{first:?}, then {next:?}");

        scene.del("first");
        scene.add("next", next).unwrap();
        assert_eq!(scene.claims(), scene.had_by("next"), "{first:?}, then {next:?}");
    }
}

#[test]
fn a_pod_has_a_vf_once() {
    for (first, next) in WAYS.iter().flat_map(|first| WAYS.map(|next| (*first, next))) {
        let scene = Scene::new();
        let (one, other) =
            (scene.attachment("first", "net1", first), scene.attachment("first", "net2", next));

        let refused = scene.add_all(&[one.clone(), other.clone()]).unwrap_err();
        assert!(refused.to_string().contains("already, as \"net1\""), "{refused}");
        assert_eq!(scene.claims(), []);

        scene.add_all(&[one]).unwrap();
        let refused = scene.add_all(&[other]).unwrap_err();
        assert!(refused.to_string().contains("already, as \"net1\""), "{refused}");
        assert_eq!(scene.claims(), scene.had_by("first"));
    }
}

#[test]
fn a_record_of_an_earlier_version_protects_its_device_until_its_pod_is_gone() {
    for (first, next) in WAYS.iter().flat_map(|first| WAYS.map(|next| (*first, next))) {
        let scene = Scene::new();
        scene.add("first", first).unwrap();
        scene.age(first);
        let before = scene.claims();

        let refused = scene.add("next", next).unwrap_err();
        assert_eq!(refused.kind(), FaultKind::TryLater, "{first:?}, then {next:?}: {refused}");
        assert_eq!(scene.claims(), before, "{first:?}, then {next:?}");

        // Its pod is gone, and its DEL is late: whoever comes undoes its record first.
        scene.sim.remove_netns("/ns/first");
        scene.add("next", next).unwrap();
        scene.del("first");
        assert_eq!(scene.claims(), scene.had_by("next"), "{first:?}, then {next:?}");
    }
}

#[test]
fn a_del_gives_up_the_claims_of_an_earlier_version() {
    for way in WAYS {
        let scene = Scene::new();
        scene.add("first", way).unwrap();
        scene.age(way);

        scene.del("first");
        assert_eq!(scene.claims(), [], "{way:?}");
        assert!(scene.sim.world().records.is_empty(), "{way:?}");
    }
}
