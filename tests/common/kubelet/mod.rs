//! A kubelet, as far as it tells of devices.

#![allow(dead_code, reason = "every test uses its part")]

#[rustfmt::skip]
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::excessive_nesting,
    clippy::too_many_lines,
    reason = "it is generated, and only half of it is spoken"
)]
mod server;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tonic::codegen::tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use self::server::pod_resources_lister_server::{PodResourcesLister, PodResourcesListerServer};
use self::server::{
    CdiDevice, ClaimResource, ContainerDevices, ContainerResources, DynamicResource, GetPodResourcesRequest,
    GetPodResourcesResponse, ListPodResourcesRequest, ListPodResourcesResponse, PodResources,
};

/// How it answers when it is asked for one pod.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Get {
    Answers,
    /// As kubelets that do not have it.
    Unimplemented,
    /// As kubelets where it is not switched on.
    SwitchedOff,
    /// Twice it has been asked too often.
    BusyTwice,
    /// Whatever it is asked.
    Fails,
}

struct State {
    pod: (&'static str, &'static str),
    get: Get,
    asked: Mutex<Vec<&'static str>>,
    crowd: Mutex<usize>,
    claims: Mutex<Vec<(&'static str, DynamicResource)>>,
}

/// A kubelet in a folder of its own, until it is dropped.
pub(crate) struct Kubelet {
    root: tempfile::TempDir,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Kubelet {
    /// A kubelet that gave its devices to the pod of this namespace and name.
    pub(crate) fn start(pod: (&'static str, &'static str), get: Get) -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["pod-resources", "device-plugins"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        let state = Arc::new(State {
            pod,
            get,
            asked: Mutex::default(),
            crowd: Mutex::default(),
            claims: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let listener = std::os::unix::net::UnixListener::bind(root.path().join("pod-resources/kubelet.sock"));
        let (listener, served) = (listener.unwrap(), Service(Arc::clone(&state)));
        listener.set_nonblocking(true).unwrap();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(listener, served, stopped));
        });
        Self { root, state, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// What it was asked.
    pub(crate) fn asked(&self) -> Vec<&'static str> {
        self.state.asked.lock().unwrap().clone()
    }

    /// Lets so many more pods run.
    pub(crate) fn crowd(&self, pods: usize) {
        *self.state.crowd.lock().unwrap() = pods;
    }

    /// Lets a container have these devices of a claim, each by its driver, pool, name and CDI names.
    pub(crate) fn claim(
        &self,
        container: &'static str,
        claim: &str,
        devices: &[(&str, &str, &str, &[&str])],
    ) {
        let device = |(driver, pool, device, cdi): &(&str, &str, &str, &[&str])| ClaimResource {
            cdi_devices: cdi.iter().map(|name| CdiDevice { name: (*name).to_owned() }).collect(),
            driver_name: (*driver).to_owned(),
            pool_name: (*pool).to_owned(),
            device_name: (*device).to_owned(),
        };
        let claim = DynamicResource {
            claim_name: claim.to_owned(),
            claim_namespace: self.state.pod.0.to_owned(),
            claim_resources: devices.iter().map(device).collect(),
        };
        self.state.claims.lock().unwrap().push((container, claim));
    }

    pub(crate) fn checkpoint(&self, text: &str) {
        std::fs::write(self.root().join("device-plugins/kubelet_internal_checkpoint"), text).unwrap();
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap_or_default();
        self.thread.take().unwrap().join().unwrap();
    }
}

async fn serve(listener: std::os::unix::net::UnixListener, served: Service, stopped: oneshot::Receiver<()>) {
    let callers = UnixListenerStream::new(UnixListener::from_std(listener).unwrap());
    let server = Server::builder().add_service(PodResourcesListerServer::new(served));
    let until = async { drop(stopped.await) };
    server.serve_with_incoming_shutdown(callers, until).await.unwrap();
}

struct Service(Arc<State>);

/// A pod of two containers; each device is told for itself, one of them for two NUMA nodes.
fn with_devices(state: &State) -> PodResources {
    let (namespace, name) = state.pod;
    let claims = state.claims.lock().unwrap();
    let device = |resource: &str, id: &str| ContainerDevices {
        resource_name: resource.to_owned(),
        device_ids: vec![id.to_owned()],
    };
    let container = |name: &str, devices: Vec<ContainerDevices>| ContainerResources {
        name: name.into(),
        devices,
        dynamic_resources: claims
            .iter()
            .filter(|(of, _)| *of == name)
            .map(|(_, claim)| claim.clone())
            .collect(),
    };
    let first = vec![
        device("intel.com/vf", "0000:03:02.5"),
        device("intel.com/vf", "0000:03:02.1"),
        device("intel.com/vf", "0000:03:02.5"),
        device("intel.com/other", "x"),
    ];
    let second = vec![device("intel.com/vf", "0000:03:02.3")];
    PodResources {
        name: name.into(),
        namespace: namespace.into(),
        containers: vec![container("first", first), container("second", second)],
    }
}

#[tonic::async_trait]
impl PodResourcesLister for Service {
    async fn list(
        &self,
        _: Request<ListPodResourcesRequest>,
    ) -> Result<Response<ListPodResourcesResponse>, Status> {
        let Self(state) = self;
        state.asked.lock().unwrap().push("list");
        if state.get == Get::Fails {
            return Err(Status::internal("the disk is on fire"));
        }
        let crowd = *state.crowd.lock().unwrap();
        let other = |n: usize| PodResources { name: format!("pod-{n}"), ..with_devices(state) };
        let pod_resources = (0..crowd).map(other).chain([with_devices(state)]).collect();
        Ok(Response::new(ListPodResourcesResponse { pod_resources }))
    }

    async fn get(
        &self,
        request: Request<GetPodResourcesRequest>,
    ) -> Result<Response<GetPodResourcesResponse>, Status> {
        let Self(state) = self;
        let times = {
            let mut asked = state.asked.lock().unwrap();
            asked.push("get");
            asked.len()
        };
        match state.get {
            Get::Unimplemented => Err(Status::unimplemented("unknown method Get")),
            Get::SwitchedOff => Err(Status::unknown("PodResources API Get method disabled")),
            Get::Fails => Err(Status::internal("the disk is on fire")),
            Get::BusyTwice if times <= 2 => Err(Status::resource_exhausted("rejected by rate limit")),
            Get::Answers | Get::BusyTwice => {
                let GetPodResourcesRequest { pod_name, pod_namespace } = request.into_inner();
                let found = Some(with_devices(state))
                    .filter(|pod| (&pod.name, &pod.namespace) == (&pod_name, &pod_namespace));
                match found {
                    Some(_) => Ok(Response::new(GetPodResourcesResponse { pod_resources: found })),
                    None => Err(Status::unknown("pod not found")),
                }
            }
        }
    }
}
