//! A containerd of the test's own, spoken to over the container runtime interface.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::cell::{Cell, PATH, names_in, only_child};
use crate::cgroup::Cgroup;
use crate::configuration::{lay_out, lay_out_primary, lay_out_two, write_script};
use crate::cri::image_service_client::ImageServiceClient;
use crate::cri::runtime_service_client::RuntimeServiceClient;
use crate::cri::{
    ImageSpec, ImageStatusRequest, LinuxPodSandboxConfig, ListPodSandboxRequest, PodSandboxConfig,
    PodSandboxMetadata, PodSandboxStatus, PodSandboxStatusRequest, RemovePodSandboxRequest,
    RunPodSandboxRequest, StatusRequest, StopPodSandboxRequest,
};
use crate::image;
use crate::scene::Scene;

/// More than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pods are watched at this pace where the protocol has no event.
const PACE: Duration = Duration::from_millis(20);

/// A container runtime on a throw-away node, with Manifold as its network plugin.
///
/// It is gone with this value: its processes, its pods, its mounts, its files.
pub(crate) struct Runtime {
    cell: Cell,
    containerd: Child,
    executor: tokio::runtime::Runtime,
    cgroup: Cgroup,
    pub(crate) scene: Scene,
}

/// A call of the plugin by the runtime: the verb and the network namespace.
pub(crate) type CniCall = (String, String);

impl Runtime {
    /// Starts the runtime on this scene, with this configuration of Manifold's (see [`Scene::conf`]).
    pub(crate) fn start(scene: Scene, manifold: Value) -> Self {
        lay_out(&scene, manifold);
        Self::start_as_laid_out(scene)
    }

    /// The same, with a second network beside it.
    pub(crate) fn start_with_two(scene: Scene, first: Value, second: Value) -> Self {
        lay_out_two(&scene, first, second);
        Self::start_as_laid_out(scene)
    }

    /// Starts the runtime on this scene, with another plugin's network alone.
    pub(crate) fn start_with_primary(scene: Scene, primary: &Value) -> Self {
        lay_out_primary(&scene, primary);
        Self::start_as_laid_out(scene)
    }

    fn start_as_laid_out(scene: Scene) -> Self {
        let cell = Cell::open();
        let containerd = start_containerd(&scene, &cell);
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut runtime = Self { cell, containerd, executor, cgroup: Cgroup::new(), scene };
        runtime.wait_until_ready();
        runtime.import_image();
        runtime
    }

    /// Kills containerd, as a crash does: its pods and the plugins it was running live on.
    pub(crate) fn kill(&mut self) {
        let containerd = only_child(self.containerd.id());
        kill(Pid::from_raw(containerd.try_into().unwrap()), Signal::SIGKILL).unwrap();
        self.containerd.wait().unwrap();
    }

    /// Starts containerd again, on what the last one left.
    pub(crate) fn restart(&mut self) {
        self.containerd = start_containerd(&self.scene, &self.cell);
        self.wait_until_ready();
    }

    /// A pod that selects these networks in its annotation.
    pub(crate) fn pod(&self, name: &str, networks: &str) -> PodSandboxConfig {
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.into(),
                uid: format!("uid-of-{name}"),
                namespace: "default".into(),
                attempt: 0,
            }),
            hostname: name.into(),
            annotations: HashMap::from([("k8s.v1.cni.cncf.io/networks".into(), networks.into())]),
            linux: Some(LinuxPodSandboxConfig { cgroup_parent: self.cgroup.path() }),
            ..Default::default()
        }
    }

    /// Runs a pod and gives its sandbox's id.
    pub(crate) fn run(&self, pod: PodSandboxConfig) -> Result<String, Status> {
        self.executor.block_on(run(self.channel(), pod))
    }

    /// Runs pods, all at once.
    pub(crate) fn run_all(&self, pods: Vec<PodSandboxConfig>) -> Result<Vec<String>, Status> {
        self.executor.block_on(async {
            let channel = self.channel();
            let running: Vec<_> =
                pods.into_iter().map(|pod| tokio::spawn(run(channel.clone(), pod))).collect();
            let mut ids = Vec::new();
            for pod in running {
                ids.push(pod.await.unwrap()?);
            }
            Ok(ids)
        })
    }

    /// Begins to run a pod, and kills containerd where `reached` returns, which it does on a thread of its own.
    pub(crate) fn kill_while_running(
        &mut self,
        pod: PodSandboxConfig,
        reached: impl FnOnce() + Send + 'static,
    ) {
        self.kill_during(|channel| async { run(channel, pod).await.map(drop) }, reached);
    }

    /// Begins to end a pod, and kills containerd where `reached` returns.
    pub(crate) fn kill_while_stopping(&mut self, id: &str, reached: impl FnOnce() + Send + 'static) {
        let id = id.to_owned();
        self.kill_during(|channel| stop(channel, id), reached);
    }

    /// Ends a pod, as a kubelet does.
    pub(crate) fn stop(&self, id: &str) -> Result<(), Status> {
        self.executor.block_on(stop(self.channel(), id.into()))
    }

    /// Ends a pod, and does something once the plugin has been called for it.
    pub(crate) fn stop_and(&self, id: &str, called: impl FnOnce()) -> Result<(), Status> {
        let before = self.calls().len();
        self.executor.block_on(async {
            let stopping = tokio::spawn(stop(self.channel(), id.into()));
            while self.calls().len() == before && !stopping.is_finished() {
                tokio::time::sleep(PACE).await;
            }
            called();
            stopping.await.unwrap()
        })
    }

    /// Has a pod forgotten.
    pub(crate) fn remove(&self, id: &str) -> Result<(), Status> {
        let request = RemovePodSandboxRequest { pod_sandbox_id: id.into() };
        self.executor.block_on(async { self.client().remove_pod_sandbox(request).await.map(drop) })
    }

    /// The ids of the pods that the runtime knows.
    pub(crate) fn pods(&self) -> Vec<String> {
        let list =
            self.executor.block_on(async { self.client().list_pod_sandbox(ListPodSandboxRequest {}).await });
        list.unwrap().into_inner().items.into_iter().map(|pod| pod.id).collect()
    }

    /// What the runtime says of a pod.
    pub(crate) fn status(&self, id: &str) -> PodSandboxStatus {
        self.verbose_status(id).0
    }

    /// What `ip` says inside a pod.
    pub(crate) fn seen(&self, id: &str, words: &str) -> Value {
        let (_, info) = self.verbose_status(id);
        let netns = format!("--net=/proc/{}/ns/net", info["pid"]);
        let mut command = self.cell.command("nsenter");
        command.args([&netns, "ip", "-d", "-j"]).args(words.split(' '));
        let seen = command.output().unwrap();
        serde_json::from_slice(&seen.stdout).unwrap_or_else(|_| panic!("{seen:?}"))
    }

    /// How the runtime has called the plugin, in order.
    pub(crate) fn calls(&self) -> Vec<CniCall> {
        let calls = fs::read_to_string(self.scene.path("calls")).unwrap_or_default();
        let words = calls.lines().filter_map(|line| line.split_once(' '));
        words.map(|(verb, netns)| (verb.to_owned(), netns.to_owned())).collect()
    }

    /// The network namespaces that there are.
    pub(crate) fn netns(&self) -> Vec<String> {
        names_in(&self.cell.path("/run/netns"))
    }

    /// Kills the plugins that are running, as a node's crash does, so that they undo nothing.
    pub(crate) fn kill_plugins(&self) {
        let of_pods = |name: &str| name.starts_with("containerd") || name == image::PROGRAM;
        let running = self.cell.processes().into_iter().filter(|(name, _)| !of_pods(name));
        let mut words = vec!["-KILL".to_owned()];
        words.extend(running.map(|(_, number)| number.to_string()));
        assert!(words.len() > 1, "no plugin is running");
        assert!(self.cell.command("kill").args(words).status().unwrap().success());
    }

    /// The program, to be run where the runtime runs.
    pub(crate) fn manifold(&self, words: &[&str]) -> Command {
        let mut command = self.cell.command(env!("CARGO_BIN_EXE_manifold"));
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Puts a plugin, as a script, beside the others.
    pub(crate) fn plugin(&self, name: &str, script: &str) {
        write_script(&self.scene.path("bin").join(name), script);
    }

    /// Nothing is left of any pod: no record, no address, no link, no namespace, no mount, no process.
    pub(crate) fn assert_empty(&self) {
        assert_eq!(self.pods(), [""; 0]);
        assert_eq!(self.scene.kept(), Default::default());
        assert_eq!(self.netns(), [""; 0]);
        assert_eq!(names_in(&self.cell.path("/var/lib/cni/results")), [""; 0]);
        let mut links = crate::common::interfaces("/proc/thread-self/net/dev");
        // The reference plugin keeps its bridge.
        links.retain(|name| name != "lab0");
        assert_eq!(links, ["lo", "up0", "up1"]);
        assert_eq!(self.cell.mounts_beneath(&self.scene.path("")), [""; 0]);
        // The last of a pod's processes ends by itself after the runtime has answered.
        let deadline = Instant::now() + PATIENCE;
        while self.cell.processes().iter().any(|(name, _)| name != "containerd") {
            assert!(Instant::now() < deadline, "{:?}", self.cell.processes());
            self.executor.block_on(async { tokio::time::sleep(PACE).await });
        }
    }

    fn kill_during<F>(&mut self, call: impl FnOnce(Channel) -> F, reached: impl FnOnce() + Send + 'static)
    where
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let called = self.executor.spawn(call(self.channel()));
        let (done, is_reached) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            reached();
            done.send(()).expect("the test waits");
        });
        let is_reached = async { tokio::time::timeout(PATIENCE, is_reached).await };
        self.executor.block_on(is_reached).expect("the runtime gets there").unwrap();
        self.kill();
        let lost = self.executor.block_on(async { tokio::time::timeout(PATIENCE, called).await });
        assert!(lost.expect("the connection ends").unwrap().is_err());
    }

    fn verbose_status(&self, id: &str) -> (PodSandboxStatus, Value) {
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.into(), verbose: true };
        let status = self.executor.block_on(async { self.client().pod_sandbox_status(request).await });
        let status = status.unwrap().into_inner();
        (status.status.unwrap(), serde_json::from_str(&status.info["info"]).unwrap())
    }

    /// A connection, made when it is first used.
    fn channel(&self) -> Channel {
        let _entered = self.executor.enter();
        let endpoint =
            Endpoint::from_shared(format!("unix:{}", self.scene.path("socket").display())).unwrap();
        endpoint.timeout(PATIENCE).connect_lazy()
    }

    fn client(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(self.channel())
    }

    /// Waits until pods can be run. containerd has no event for it; a kubelet asks again and again as well.
    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.is_ready() {
            assert!(self.containerd.try_wait().unwrap().is_none(), "containerd does not start");
            assert!(Instant::now() < deadline, "containerd does not get ready");
            self.executor.block_on(async { tokio::time::sleep(PACE).await });
        }
    }

    fn is_ready(&self) -> bool {
        let answer = self.executor.block_on(async { self.client().status(StatusRequest::default()).await });
        let conditions = answer.map(|answer| answer.into_inner().status.unwrap_or_default().conditions);
        conditions.is_ok_and(|all| !all.is_empty() && all.iter().all(|condition| condition.status))
    }

    /// Brings the sandbox image in, and waits until the runtime has heard of it.
    fn import_image(&self) {
        let archive = image::write(&self.scene.path("image"));
        let mut ctr = self.cell.command("ctr");
        ctr.arg("--address").arg(self.scene.path("socket"));
        ctr.args(["--namespace", "k8s.io", "images", "import", "--snapshotter", "native"]).arg(archive);
        let imported = ctr.output().unwrap();
        assert!(imported.status.success(), "{imported:?}");
        let known = async {
            let image = Some(ImageSpec { image: image::NAME.into() });
            let mut client = ImageServiceClient::new(self.channel());
            let request = ImageStatusRequest { image };
            while client.image_status(request.clone()).await.unwrap().into_inner().image.is_none() {
                tokio::time::sleep(PACE).await;
            }
        };
        let known = self.executor.block_on(async { tokio::time::timeout(PATIENCE, known).await });
        assert!(known.is_ok(), "containerd does not see the image");
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.scene.path("containerd.log")).unwrap_or_default();
            let errors: Vec<&str> = log.lines().filter(|line| !line.contains("level=info")).collect();
            eprintln!("containerd complains of:\n{}", errors.join("\n"));
        }
        self.cell.close();
        drop(self.containerd.wait());
    }
}

async fn run(channel: Channel, pod: PodSandboxConfig) -> Result<String, Status> {
    let request = RunPodSandboxRequest { config: Some(pod) };
    let answer = RuntimeServiceClient::new(channel).run_pod_sandbox(request).await?;
    Ok(answer.into_inner().pod_sandbox_id)
}

async fn stop(channel: Channel, id: String) -> Result<(), Status> {
    let request = StopPodSandboxRequest { pod_sandbox_id: id };
    RuntimeServiceClient::new(channel).stop_pod_sandbox(request).await.map(drop)
}

fn start_containerd(scene: &Scene, cell: &Cell) -> Child {
    for program in ["containerd", "runc"] {
        let there = PATH.split(':').any(|folder| Path::new(folder).join(program).exists());
        assert!(there, "this test needs the package {program}: run .ci/deps test");
    }
    let log = File::options().create(true).append(true).open(scene.path("containerd.log")).unwrap();
    let mut containerd = cell.command("containerd");
    containerd.arg("--config").arg(scene.path("containerd.toml")).stdin(Stdio::null()).stdout(Stdio::null());
    containerd.stderr(log).spawn().unwrap()
}
