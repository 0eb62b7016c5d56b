//! The kubelet, which knows the devices of each pod: it is asked through its socket, and what it keeps in a file is read.
//!
//! The socket tells pods by name, and no init containers; the file (the checkpoint of its device manager) tells pods by
//! UID, all containers, and what each container is shown. So both are looked at, and either will do. Devices of claims
//! (Dynamic Resource Allocation) are told by the socket alone.

#[rustfmt::skip]
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    clippy::excessive_nesting,
    reason = "generated from proto/podresources"
)]
mod api;
mod checkpoint;
mod socket;

use std::path::PathBuf;

use crate::engine::ports::Devices;
use crate::model::device::{ClaimedDevice, PodDevices, Portion};
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::pod::PodName;

/// The kubelet of this node.
#[derive(Debug, Clone)]
pub struct Kubelet {
    root: PathBuf,
}

impl Kubelet {
    /// The kubelet that works in this directory, mostly `/var/lib/kubelet`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
}

impl Devices for Kubelet {
    fn of_pod(&self, pod: &PodName) -> Outcome<PodDevices> {
        let told = socket::told(&self.root.join("pod-resources/kubelet.sock"), pod);
        let kept = checkpoint::portions(&self.root.join("device-plugins/kubelet_internal_checkpoint"), pod);
        match (told, kept) {
            (Ok(told), Ok(kept)) => Ok(devices(together(told.portions, kept), told.claimed)),
            // What the file would add is an order and init containers; an old or broken one is no reason to fail.
            (Ok(told), Err(_)) => Ok(devices(told.portions, told.claimed)),
            // A kubelet that is there and refuses is not passed over: it may know better than its file.
            (Err(fault), Ok(kept)) if fault.kind() == FaultKind::Absent => Ok(PodDevices::of(kept)),
            (Err(fault), Ok(_)) => Err(fault),
            (Err(fault), Err(other)) => Err(unknown(pod, fault).along_with([other])),
        }
    }
}

fn devices(portions: Vec<Portion>, claimed: Vec<ClaimedDevice>) -> PodDevices {
    PodDevices::of(portions).with_claimed(claimed)
}

/// What the socket told, in its order and with what the file knows of the order within; then what only the file knows.
fn together(mut told: Vec<Portion>, kept: Vec<Portion>) -> Vec<Portion> {
    for portion in kept {
        let same = |other: &&mut Portion| {
            (&other.container, &other.resource) == (&portion.container, &portion.resource)
        };
        match told.iter_mut().find(same) {
            Some(other) => other.shown = portion.shown,
            None => told.push(portion),
        }
    }
    told
}

fn unknown(pod: &PodName, cause: Fault) -> Fault {
    let what = format!("cannot learn which devices pod {:?} was given", pod.to_string());
    cause.while_doing(what)
}
