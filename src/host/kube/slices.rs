//! What drivers of Dynamic Resource Allocation publish of their devices: ResourceSlices (`resource.k8s.io/v1`).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::line::Ask;
use super::{KubeCluster, segment};
use crate::model::FaultKind;
use crate::model::device::PublishedDevice;
use crate::model::fault::{Fault, Outcome};
use crate::model::pod::PodName;

/// The attribute that holds the name by which plugins know a device.
const DEVICE_ID: &str = "k8s.cni.cncf.io/deviceID";
/// The attribute that holds the resource that networks name.
const RESOURCE_NAME: &str = "k8s.cni.cncf.io/resourceName";

#[derive(Deserialize)]
struct SliceList {
    #[serde(default)]
    items: Vec<Slice>,
}

#[derive(Deserialize)]
struct Slice {
    spec: SliceSpec,
}

#[derive(Deserialize)]
struct SliceSpec {
    pool: Pool,
    #[serde(default)]
    devices: Vec<Device>,
}

#[derive(Deserialize)]
struct Pool {
    name: String,
    #[serde(default)]
    generation: i64,
}

#[derive(Deserialize)]
struct Device {
    name: String,
    #[serde(default)]
    attributes: BTreeMap<String, Attribute>,
}

/// One that is no text has none of ours.
#[derive(Deserialize)]
struct Attribute {
    string: Option<String>,
}

impl KubeCluster {
    /// The devices that a driver publishes on the node of a pod.
    pub(super) fn slices(&self, pod: &PodName, driver: &str) -> Outcome<Vec<PublishedDevice>> {
        let act = format!("list the devices of driver {driver:?}");
        let node = self.node_of(pod)?;
        let (driver, node) = (segment("driver", driver)?, segment("node", &node)?);
        // A cluster has more slices than one answer holds: only those of the node are asked for.
        let fields = format!("spec.nodeName%3D{node}%2Cspec.driver%3D{driver}");
        let ask = Ask::get(act, format!("/apis/resource.k8s.io/v1/resourceslices?fieldSelector={fields}"));
        let Some(answer) = self.line.found(&ask)? else {
            return Err(Fault::new(
                FaultKind::Absent,
                "the API server does not serve \"resource.k8s.io/v1\"",
            )
            .remedy("devices of claims can be networks\' from Kubernetes 1.34 on"));
        };
        Ok(published(self.line.decode(&ask, &answer)?))
    }

    fn node_of(&self, pod: &PodName) -> Outcome<String> {
        let node = self.placed(pod)?.and_then(|placed| placed.spec.node_name).filter(|node| !node.is_empty());
        node.ok_or_else(|| {
            Fault::new(FaultKind::TryLater, format!("the node of pod {:?} is not known", pod.to_string()))
                .because("the API server has no such pod, or one that no node is named for")
                .remedy("none is needed: the runtime tries again, or gives the pod up")
        })
    }
}

/// The devices of each pool's newest generation that are said to be of a resource.
fn published(list: SliceList) -> Vec<PublishedDevice> {
    let mut newest: BTreeMap<String, i64> = BTreeMap::new();
    for Slice { spec: SliceSpec { pool, .. } } in &list.items {
        let generation = newest.entry(pool.name.clone()).or_insert(pool.generation);
        *generation = pool.generation.max(*generation);
    }
    let specs = list.items.into_iter().map(|slice| slice.spec);
    let current = specs.filter(|spec| newest.get(&spec.pool.name) == Some(&spec.pool.generation));
    current
        .flat_map(|spec| {
            let SliceSpec { pool, devices } = spec;
            devices.into_iter().filter_map(move |device| known(&pool, device))
        })
        .collect()
}

/// `None` for a device that is of no resource, or whose names cannot be one.
fn known(pool: &Pool, device: Device) -> Option<PublishedDevice> {
    let text = |name: &str| device.attributes.get(name)?.string.as_deref();
    let (resource, id) = (text(RESOURCE_NAME)?.parse().ok()?, text(DEVICE_ID)?.parse().ok()?);
    Some(PublishedDevice { pool: pool.name.clone(), device: device.name, resource, id })
}
