//! Where the cluster placed a pod, and the devices of claims that the kubelet does not tell: those behind extended resources.
//!
//! A pod may request an extended resource that no device plugin but a driver serves. The scheduler then makes a claim for
//! it, which is in no container's list; the pod's status says which of its requests is for which container.

use serde::Deserialize;

use super::line::Ask;
use super::{KubeCluster, pod_path, recall, remember, segment};
use crate::model::device::ClaimedDevice;
use crate::model::fault::Outcome;
use crate::model::pod::PodName;

/// A pod, as far as it tells where it runs and what was claimed for it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Placed {
    #[serde(default)]
    pub(super) spec: Placement,
    #[serde(default)]
    status: Standing,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Placement {
    /// The node it runs on.
    pub(super) node_name: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Standing {
    extended_resource_claim_status: Option<Extended>,
}

/// The claim behind a pod's extended resources.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extended {
    resource_claim_name: String,
    #[serde(default)]
    request_mappings: Vec<Mapping>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mapping {
    container_name: String,
    request_name: String,
}

/// A ResourceClaim, as far as it tells its devices.
#[derive(Deserialize)]
struct Claim {
    #[serde(default)]
    status: ClaimStatus,
}

#[derive(Default, Deserialize)]
struct ClaimStatus {
    allocation: Option<Allocation>,
}

#[derive(Deserialize)]
struct Allocation {
    #[serde(default)]
    devices: Allocated,
}

#[derive(Default, Deserialize)]
struct Allocated {
    #[serde(default)]
    results: Vec<Given>,
}

#[derive(Deserialize)]
struct Given {
    request: String,
    driver: String,
    pool: String,
    device: String,
}

impl KubeCluster {
    /// The pod as the cluster placed it; `None` if there is none.
    pub(super) fn placed(&self, pod: &PodName) -> Outcome<Option<Placed>> {
        if let Some(known) = recall(&self.placed, &pod.namespace, &pod.name) {
            return Ok(known);
        }
        let ask = Ask::get(format!("get the node of pod {:?}", pod.to_string()), pod_path(pod)?);
        let answer = self.line.found(&ask)?;
        let placed = answer.map(|answer| self.line.decode::<Placed>(&ask, &answer)).transpose()?;
        remember(&self.placed, &pod.namespace, &pod.name, placed.clone());
        Ok(placed)
    }

    /// The devices behind a pod's extended resources, in the order of its status.
    pub(super) fn extended(&self, pod: &PodName) -> Outcome<Vec<ClaimedDevice>> {
        let placed = self.placed(pod)?;
        let Some(extended) = placed.and_then(|placed| placed.status.extended_resource_claim_status) else {
            return Ok(Vec::new());
        };
        let name = &extended.resource_claim_name;
        let act = format!("get claim {:?}", format!("{}/{name}", pod.namespace));
        let (space, claim) = (segment("namespace", &pod.namespace)?, segment("claim", name)?);
        let ask =
            Ask::get(act, format!("/apis/resource.k8s.io/v1/namespaces/{space}/resourceclaims/{claim}"));
        let Some(answer) = self.line.found(&ask)? else { return Ok(Vec::new()) };
        let claim: Claim = self.line.decode(&ask, &answer)?;
        let given = claim.status.allocation.map(|allocation| allocation.devices.results).unwrap_or_default();
        Ok(extended.request_mappings.iter().flat_map(|mapping| mapping.of(&given)).collect())
    }
}

impl Mapping {
    /// The devices that were given for its request.
    fn of(&self, given: &[Given]) -> Vec<ClaimedDevice> {
        let own = given.iter().filter(|given| given.request == self.request_name);
        own.map(|given| ClaimedDevice {
            container: self.container_name.clone(),
            driver: given.driver.clone(),
            pool: given.pool.clone(),
            device: given.device.clone(),
        })
        .collect()
    }
}
