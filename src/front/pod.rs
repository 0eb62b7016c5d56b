//! The pod a call is about.

use crate::engine::ports::Cluster;
use crate::model::CniResult;
use crate::model::args::CniArgs;
use crate::model::call::{Config, Sandbox};
use crate::model::fault::Outcome;
use crate::model::pod::{Pod, PodName};
use crate::model::result::{Interface, IpConfig};

/// What is known of the pod.
pub(super) enum Found {
    /// The runtime names none, or there is no cluster to ask.
    Unnamed,
    /// The cluster knows no such pod (any more).
    Missing,
    /// Here it is.
    Pod(Pod),
}

/// Finds the pod: its annotations come with the call if the runtime hands them over, else from the cluster.
///
/// # Errors
/// The cluster could not be asked, or knows another pod of that name.
pub(super) fn find(config: &Config, args: &CniArgs, cluster: Option<&dyn Cluster>) -> Outcome<Found> {
    let name = PodName::of(args);
    if let Some(annotations) = Pod::annotations_given(&config.runtime_config)? {
        let name =
            name.unwrap_or(PodName { namespace: "default".to_owned(), name: String::new(), uid: None });
        return Ok(Found::Pod(Pod { name, annotations }));
    }
    let (Some(name), Some(cluster)) = (name, cluster) else { return Ok(Found::Unnamed) };
    Ok(cluster.pod(&name)?.map_or(Found::Missing, Found::Pod))
}

/// The result for a pod that is gone: the runtime is about to take it down, and only wants an answer.
pub(super) fn no_result(sandbox: &Sandbox) -> CniResult {
    let interface = Interface {
        name: sandbox.owner.ifname.to_string(),
        sandbox: sandbox.netns.to_string(),
        ..Interface::default()
    };
    let nowhere = std::net::Ipv4Addr::UNSPECIFIED.into();
    let ips = ipnetwork::IpNetwork::new(nowhere, 0).map(|address| IpConfig {
        interface: None,
        address,
        gateway: Some(nowhere),
    });
    CniResult { interfaces: vec![interface], ips: ips.into_iter().collect(), ..CniResult::default() }
}
