//! The daemon of `deployments/manifold-daemon.yaml`, in a container made of what stands there: runc starts it as a kubelet
//! would have it started, and the node's shim passes calls on to it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Container, PodSpec, Probe, Volume, VolumeMount};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use crate::cell::Cell;
use crate::scene::{PLUGINS, Scene, feed};

const PATIENCE: Duration = Duration::from_secs(60);
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deployments/manifold-daemon.yaml");
/// The programs are static where they are installed; those that are tested are not.
const LIBRARIES: [&str; 3] = ["/lib", "/lib64", "/usr/lib"];

/// A node on which nothing is but the primary: what is in `/etc` and `/opt` of the machine is not there.
fn node() -> Cell {
    let cell = Cell::open();
    let lay_out = "mount --make-rshared /; mount -t tmpfs none /etc; mount -t tmpfs none /opt; \
                   mkdir -p /etc/cni/net.d /opt/cni/bin /run/runc /run/bundle /var/lib/kubelet";
    run(cell.command("sh").args(["-ec", lay_out]));
    let primary = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [
        {"type": "bridge", "bridge": "lab0", "ipam": {"type": "host-local", "subnet": "10.77.0.0/24"}},
        {"type": "tuning"},
    ]});
    fs::write(cell.path("/etc/cni/net.d/10-primary.conflist"), primary.to_string()).unwrap();
    for plugin in ["bridge", "host-local", "tuning"] {
        fs::copy(Path::new(PLUGINS).join(plugin), cell.path("/opt/cni/bin").join(plugin)).unwrap();
    }
    cell
}

fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

/// What the manifest says of the daemon, and its configuration.
fn manifest() -> (PodSpec, BTreeMap<String, String>) {
    let documents: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(MANIFEST).unwrap()).unwrap();
    let of = |kind: &str| documents.iter().find(|document| document["kind"] == kind).unwrap().clone();
    let set: DaemonSet = serde_json::from_value(of("DaemonSet")).unwrap();
    let config: ConfigMap = serde_json::from_value(of("ConfigMap")).unwrap();
    (set.spec.unwrap().template.spec.unwrap(), config.data.unwrap())
}

/// One mount of the container, as a kubelet asks for it.
fn mount(mount: &VolumeMount, volumes: &[Volume], config: &Path) -> Value {
    let volume = volumes.iter().find(|volume| volume.name == mount.name).unwrap();
    let source =
        volume.host_path.as_ref().map_or_else(|| config.to_path_buf(), |host| host.path.clone().into());
    let propagation = match mount.mount_propagation.as_deref() {
        Some("HostToContainer") => "rslave",
        Some("Bidirectional") => "rshared",
        None => "rprivate",
        Some(other) => panic!("{other}"),
    };
    json!({"destination": mount.mount_path, "type": "bind", "source": source, "options": ["rbind", "rw", propagation]})
}

/// What is given to runc: an image with the two programs, the manifest's mounts, the namespaces that it leaves its own.
fn bundle(container: &Container, pod: &PodSpec, config: &Path, image: &Path) -> Value {
    assert_eq!((pod.host_network, pod.host_pid), (Some(true), Some(true)));
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]}),
        json!({"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"]}),
        json!({"destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind"]}),
    ];
    mounts.extend(LIBRARIES.map(
        |path| json!({"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"]}),
    ));
    let volumes = pod.volumes.clone().unwrap();
    mounts.extend(container.volume_mounts.iter().flatten().map(|one| mount(one, &volumes, config)));
    let variables = container.env.iter().flatten();
    let env: Vec<String> = variables
        .map(|variable| format!("{}={}", variable.name, variable.value.as_deref().unwrap_or("node-1")))
        .collect();
    let all = capabilities();
    json!({
        "ociVersion": "1.0.2", "root": {"path": image}, "mounts": mounts,
        "process": {
            "user": {"uid": 0, "gid": 0}, "cwd": "/", "args": container.command, "env": env,
            "capabilities": {"bounding": all, "effective": all, "permitted": all},
        },
        "linux": {"namespaces": [{"type": "mount"}, {"type": "ipc"}]},
    })
}

/// What a privileged container may do: what this process may.
fn capabilities() -> Vec<String> {
    let shown = Command::new("setpriv").arg("--dump").output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let bound = shown.lines().find_map(|line| line.strip_prefix("Capability bounding set: ")).unwrap();
    bound.split(',').map(|name| format!("CAP_{}", name.to_uppercase())).collect()
}

/// The daemon's container; the cell ends it.
struct Deployed {
    cell: Cell,
    runc: Child,
    log: PathBuf,
}

impl Deployed {
    fn start(scene: &Scene) -> Self {
        let (pod, config) = manifest();
        let (image, settings) = (scene.path("image"), scene.path("config"));
        for folder in [image.join("usr/local/bin"), settings.clone()] {
            fs::create_dir_all(folder).unwrap();
        }
        let programs = [
            ("manifold", env!("CARGO_BIN_EXE_manifold")),
            ("manifold-shim", env!("CARGO_BIN_EXE_manifold-shim")),
        ];
        for (name, program) in programs {
            fs::copy(program, image.join("usr/local/bin").join(name)).unwrap();
        }
        for (name, text) in config {
            fs::write(settings.join(name), text).unwrap();
        }
        let [container] = pod.containers.as_slice() else { panic!("more than the daemon: {pod:?}") };
        let cell = node();
        let hosts = pod.volumes.iter().flatten().filter_map(|volume| volume.host_path.as_ref());
        for made in hosts.filter(|host| host.type_.as_deref() == Some("DirectoryOrCreate")) {
            fs::create_dir_all(cell.path(&made.path)).unwrap();
        }
        let spec = bundle(container, &pod, &settings, &image);
        fs::write(cell.path("/run/bundle/config.json"), spec.to_string()).unwrap();
        let log = scene.path("daemon.log");
        let told = fs::File::create(&log).unwrap();
        let runc = cell
            .command("runc")
            .args(["--root", "/run/runc", "run", "--bundle", "/run/bundle", "daemon"])
            .stdin(Stdio::null())
            .stdout(told.try_clone().unwrap())
            .stderr(told)
            .spawn()
            .unwrap();
        Self { cell, runc, log }
    }

    /// Waits until the daemon has written the runtime's configuration and the kubelet's probes find it ready.
    fn wait_until_ready(&mut self, container: &Container) -> Value {
        let written = self.cell.path("/etc/cni/net.d/00-manifold.conflist");
        let end = Instant::now() + PATIENCE;
        let probes =
            [&container.readiness_probe, &container.liveness_probe].map(|probe| probe.as_ref().unwrap());
        while !written.exists() || !probes.iter().all(|probe| succeeds(probe)) {
            let ended = self.runc.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < end, "{}", fs::read_to_string(&self.log).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
        serde_json::from_slice(&fs::read(written).unwrap()).unwrap()
    }

    /// Calls the plugin that the runtime's configuration names, as the runtime does.
    fn call(&self, verb: &str, list: &Value) -> Value {
        let mut plugin = list["plugins"][0].clone();
        for key in ["name", "cniVersion"] {
            plugin[key] = list[key].clone();
        }
        let program = format!("/opt/cni/bin/{}", plugin["type"].as_str().unwrap());
        let mut command = self.cell.command(&program);
        let variables = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_NETNS", "/var/run/netns/cni-1"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/opt/cni/bin"),
        ];
        command.envs(variables).stdin(Stdio::piped()).stdout(Stdio::piped());
        let done = feed(command, plugin.to_string().as_bytes());
        assert!(done.status.success(), "{done:?}\n{}", fs::read_to_string(&self.log).unwrap());
        serde_json::from_slice(&done.stdout).unwrap_or_default()
    }
}

impl Drop for Deployed {
    fn drop(&mut self) {
        self.cell.close();
        drop(self.runc.wait());
    }
}

fn succeeds(probe: &Probe) -> bool {
    let get = probe.http_get.as_ref().unwrap();
    let IntOrString::Int(port) = get.port else { panic!("{probe:?}") };
    let at = (get.host.as_deref().unwrap(), u16::try_from(port).unwrap());
    let Ok(mut stream) = TcpStream::connect(at) else { return false };
    write!(stream, "GET {} HTTP/1.0\r\n\r\n", get.path.as_deref().unwrap()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1) == Some("200")
}

#[test]
fn the_daemon_of_the_manifest_attaches_pods_of_the_node() {
    let scene = Scene::new();
    let (pod, _) = manifest();
    let mut deployed = Deployed::start(&scene);

    let list = deployed.wait_until_ready(&pod.containers[0]);
    run(deployed.cell.command("ip").args(["netns", "add", "cni-1"]));
    let result = deployed.call("ADD", &list);

    assert_eq!(list["plugins"][0]["type"], "manifold-shim");
    assert_eq!(result["ips"][0]["address"], "10.77.0.2/24");
    assert!(deployed.cell.path("/var/lib/cni/manifold/records/c1.json").exists());
    deployed.call("DEL", &list);
    assert!(!deployed.cell.path("/var/lib/cni/manifold/records/c1.json").exists());
    assert!(!deployed.cell.path("/var/lib/cni/networks/pods/10.77.0.2").exists());
}
