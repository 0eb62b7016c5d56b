//! The kubelet's PodResources API, version 1, over its socket.

use std::path::Path;
use std::time::Duration;

use http::{Request, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::StdError;
use tonic::{Code, Status};
use tower::service_fn;

use super::api::pod_resources_lister_client::PodResourcesListerClient;
use super::api::{DynamicResource, GetPodResourcesRequest, ListPodResourcesRequest, PodResources};
use crate::model::device::{ClaimedDevice, DeviceId, Portion, ResourceName};
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::pod::PodName;

/// How long the kubelet may take in all. It answers from memory; what takes time is its limit of requests.
const LIMIT: Duration = Duration::from_secs(10);
/// Longest answer read, in bytes: a node of 500 pods with hundreds of devices fills less.
const MAX_ANSWER: usize = 16 << 20;
/// Pause after the first refusal for too many requests; each further one is twice as long. The kubelet serves 100
/// requests per second.
const PAUSE: Duration = Duration::from_millis(50);

/// The devices of a pod by container, containers in their order.
#[derive(Default)]
pub(super) struct Told {
    /// Those of device plugins. A claim stands beside them as a resource of its name, whose devices are those of the
    /// container runtime (CDI): so networks may name a claim.
    pub(super) portions: Vec<Portion>,
    /// Those of claims, by their drivers' names.
    pub(super) claimed: Vec<ClaimedDevice>,
}

/// What the kubelet tells of a pod.
///
/// # Errors
/// [`FaultKind::Absent`]: nobody listens there. Others: the kubelet refused, or did not answer in time.
pub(super) fn told(socket: &Path, pod: &PodName) -> Outcome<Told> {
    let failed = |kind: FaultKind| {
        Fault::new(kind, format!("cannot ask the kubelet at {socket:?}"))
            .remedy("start the kubelet, or correct \"kubeletDir\"")
    };
    let runtime = Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|cause| failed(FaultKind::Io).because(cause))?;
    let answer = runtime.block_on(async {
        let deadline = Instant::now() + LIMIT;
        timeout_at(deadline, ask(socket, pod)).await
    });
    match answer {
        Ok(Ok(found)) => Ok(found.map(of_containers).unwrap_or_default()),
        Ok(Err(Refusal::Nobody(cause))) => Err(failed(FaultKind::Absent).because(cause)),
        Ok(Err(Refusal::Words(status))) => {
            let words: String = status.message().chars().take(300).collect();
            Err(failed(FaultKind::TryLater)
                .because(format!("it answers {:?}: {words}", status.code()))
                .remedy("look at the kubelet's log"))
        }
        Err(_) => Err(failed(FaultKind::TimedOut).because(format!("no answer within {} s", LIMIT.as_secs()))),
    }
}

enum Refusal {
    /// No kubelet listens.
    Nobody(String),
    /// Its own.
    Words(Status),
}

async fn ask(socket: &Path, pod: &PodName) -> Result<Option<PodResources>, Refusal> {
    let nobody = |cause: &dyn std::error::Error| Refusal::Nobody(cause.to_string());
    let stream = UnixStream::connect(socket).await.map_err(|cause| nobody(&cause))?;
    let opened = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (line, connection) = opened.map_err(|cause| nobody(&cause))?;
    // It ends with the runtime, and what ends it before is told to whoever waits for an answer.
    drop(tokio::spawn(connection));
    let service = service_fn(move |request: Request<Body>| line.clone().send_request(request));
    // It only fills the header.
    let origin = Uri::from_static("http://localhost");
    let mut client =
        PodResourcesListerClient::with_origin(service, origin).max_decoding_message_size(MAX_ANSWER);
    let mut pause = PAUSE;
    loop {
        match once(&mut client, pod).await {
            Err(status) if status.code() == Code::ResourceExhausted => {
                sleep(pause).await;
                pause = pause.saturating_mul(2);
            }
            other => return other.map_err(Refusal::Words),
        }
    }
}

/// The pod alone where the kubelet can do that, else out of all.
async fn once<T>(
    client: &mut PodResourcesListerClient<T>,
    pod: &PodName,
) -> Result<Option<PodResources>, Status>
where
    T: GrpcService<Body, ResponseBody = Incoming>,
    T::Error: Into<StdError>,
{
    let request = GetPodResourcesRequest { pod_name: pod.name.clone(), pod_namespace: pod.namespace.clone() };
    match client.get(request).await {
        Ok(answer) => Ok(answer.into_inner().pod_resources),
        Err(status) if status.code() == Code::ResourceExhausted => Err(status),
        // An old kubelet does not know it, or has it switched off and says so in words only; one that does not find the
        // pod has words only, too.
        Err(_) => {
            let all = client.list(ListPodResourcesRequest {}).await?.into_inner().pod_resources;
            Ok(all.into_iter().find(|one| (&one.name, &one.namespace) == (&pod.name, &pod.namespace)))
        }
    }
}

/// Devices whose names cannot be one are passed over: no network could be given them.
fn of_containers(pod: PodResources) -> Told {
    let mut all = Told::default();
    for container in pod.containers {
        for told in container.devices {
            let Ok(resource) = told.resource_name.parse() else { continue };
            let devices = told.device_ids.iter().filter_map(|id| id.parse().ok());
            Portion::add(&mut all.portions, &container.name, &resource, devices);
        }
        container.dynamic_resources.into_iter().for_each(|claim| of_claim(&mut all, &container.name, claim));
    }
    all
}

fn of_claim(all: &mut Told, container: &str, claim: DynamicResource) {
    let resource: Option<ResourceName> = claim.claim_name.parse().ok();
    for told in claim.claim_resources {
        let names = told.cdi_devices.iter().filter_map(|device| device.name.split_once('='));
        let devices: Vec<DeviceId> = names.filter_map(|(_, name)| name.parse().ok()).collect();
        if let Some(resource) = resource.as_ref().filter(|_| !devices.is_empty()) {
            Portion::add(&mut all.portions, container, resource, devices);
        }
        all.claimed.push(ClaimedDevice {
            container: container.to_owned(),
            driver: told.driver_name,
            pool: told.pool_name,
            device: told.device_name,
        });
    }
}
