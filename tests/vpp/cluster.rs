//! What a pod of a cluster learns of an interface that is a socket: its annotations, and the note in its volume.

use super::api_server::ApiServer;
use super::stage::Stage;
use super::*;

const CONFIGURATION: &str = "userspace/configuration-data";
const MAPPED_DIR: &str = "userspace/mapped-dir";

/// The pod ns/p with UID u, which has a volume, on a node with VPP.
struct Cluster {
    stage: Stage,
    server: ApiServer,
}

impl Cluster {
    /// One in which the network "fast" has these keys.
    fn new(keys: &Value) -> Self {
        let stage = Stage::new();
        let server = ApiServer::start();
        server.put_pod("ns/p", "u", &json!({"k8s.v1.cni.cncf.io/networks": "fast", CONFIGURATION: "stale"}));
        let volumes = json!([{"name": "vhost", "emptyDir": {}}, {"name": "host", "hostPath": {"path": stage.scene.path("host")}}]);
        let mounts =
            json!([{"name": "vhost", "mountPath": "/sockets"}, {"name": "host", "mountPath": "/shared"}]);
        server.put_volumes("ns/p", &volumes, &mounts);
        let mut network = stage.network(keys);
        network.as_object_mut().unwrap().remove("socketDir");
        server.put_definition("ns/fast", &network.to_string(), &json!({}));
        let cluster = Self { stage, server };
        std::fs::create_dir_all(cluster.volume()).unwrap();
        std::fs::create_dir_all(cluster.stage.scene.path("host")).unwrap();
        cluster
    }

    /// The pod's own volume, as the kubelet makes it.
    fn volume(&self) -> std::path::PathBuf {
        self.stage.scene.path("kubelet/pods/u/volumes/kubernetes.io~empty-dir/vhost")
    }

    fn call(&self, verb: &str) {
        self.calls(verb).result();
    }

    fn calls(&self, verb: &str) -> scene::Answer {
        let scene = &self.stage.scene;
        let mut conf = self.stage.conf(&json!({}));
        conf["delegates"] = json!([scene.macvlan("default", 0)]);
        conf["kubeconfig"] = json!(self.server.kubeconfig());
        conf["kubeletDir"] = json!(scene.path("kubelet"));
        let call = Call { verb, container: "pod-1", ifname: "eth0", netns: self.stage.pod.path().as_str() };
        let mut command = scene.command(env!("CARGO_BIN_EXE_manifold"), &call);
        command.env("CNI_ARGS", "K8S_POD_UID=u;IgnoreUnknown=1;K8S_POD_NAME=p;K8S_POD_NAMESPACE=ns");
        scene::finish(scene::start(command, conf.to_string().as_bytes()))
    }

    fn annotation(&self, key: &str) -> Option<String> {
        let pod = self.server.pod("ns/p").unwrap();
        pod["metadata"]["annotations"][key].as_str().map(str::to_owned)
    }

    /// The interface as readers of userspace-cni's annotations find it, and the device of its status.
    fn told(&self) -> (Value, Value) {
        let read = |key: &str| serde_json::from_str::<Value>(&self.annotation(key).unwrap()).unwrap();
        let status = read("k8s.v1.cni.cncf.io/network-status");
        (read(CONFIGURATION)[0].clone(), status[1]["device-info"].clone())
    }
}

#[test]
fn a_memif_without_a_file_is_told_of_in_the_status_the_annotations_and_the_volume() {
    let cluster = Cluster::new(&json!({"interfaceType": "memif"}));

    cluster.call("ADD");

    let (entry, device) = cluster.told();
    assert_eq!(device["memif"], json!({"role": "slave", "path": "@net1", "mode": "ethernet"}));
    assert_eq!(
        (&entry["containerId"], &entry["ifName"], &entry["name"]),
        (&json!("pod-1"), &json!("net1"), &json!("fast"))
    );
    let memif = json!({"role": "slave", "mode": "ethernet", "socketfile": "@net1"});
    assert_eq!((&entry["config"]["engine"], &entry["config"]["memif"]), (&json!("vpp"), &memif));
    assert_eq!(entry["config"]["bridge"], json!({"bridgeName": "7"}));
    assert_eq!(cluster.annotation(MAPPED_DIR).as_deref(), Some("/sockets/"));
    let note = std::fs::read(cluster.volume().join("netinfo-net1.json")).unwrap();
    let note: Value = serde_json::from_slice(&note).unwrap();
    assert_eq!((&note["socket"], &note["abstract"]), (&json!("net1"), &json!(true)));

    cluster.call("DEL");
    assert_eq!(std::fs::read_dir(cluster.volume()).unwrap().count(), 0, "the volume is the pod's, and empty");
    // The next sandbox has no socket: what was told of the one before goes.
    cluster.server.select("ns/p", "");
    cluster.call("ADD");
    assert_eq!((cluster.annotation(CONFIGURATION), cluster.annotation(MAPPED_DIR)), (None, None));
    cluster.call("DEL");
    cluster.stage.peer.with(|vpp| assert!(vpp.is_pristine(), "{vpp:?}"));
}

#[test]
fn a_socket_is_told_of_by_its_path_in_the_pod() {
    let cluster = Cluster::new(&json!({"vlan": 5}));
    cluster.call("ADD");
    let (entry, device) = cluster.told();
    assert_eq!(device["vhost-user"], json!({"mode": "server", "path": "/sockets/net1"}));
    assert_eq!(entry["config"]["vhost"], json!({"mode": "server", "socketfile": "net1"}));
    assert_eq!(entry["config"]["bridge"], json!({"bridgeName": "7", "vlanId": 5}));
    cluster.call("DEL");

    // A directory of the node is a volume as well; in it each socket has a name of its own.
    let cluster = Cluster::new(&json!({"volume": "host"}));
    cluster.call("ADD");
    let name = format!("{}-net1", short("pod-1"));
    let (entry, device) = cluster.told();
    assert_eq!(device["vhost-user"]["path"], format!("/shared/{name}"));
    assert_eq!(entry["config"]["vhost"]["socketfile"], name);
    assert_eq!(cluster.annotation(MAPPED_DIR).as_deref(), Some("/shared/"));
    let path = cluster.stage.scene.path("host").join(&name);
    cluster.stage.peer.with(|vpp| {
        let stand_in::Kind::Vhost { path: told, .. } = &vpp.only().kind else { panic!() };
        assert_eq!(told, path.to_str().unwrap());
    });
    cluster.call("DEL");
    cluster.stage.peer.with(|vpp| assert!(vpp.is_pristine(), "{vpp:?}"));
}

#[test]
fn a_directory_of_the_node_keeps_its_sockets_and_its_group() {
    let cluster = Cluster::new(&json!({"volume": "host", "socketFile": "theirs.sock"}));
    let theirs = cluster.stage.scene.path("host").join("theirs.sock");
    let listener = std::os::unix::net::UnixListener::bind(&theirs).unwrap();

    let (code, what, _) = cluster.calls("ADD").error();
    cluster.call("DEL");
    assert!(code == 101 && what.contains("somebody listens at"), "{code} {what}");
    std::os::unix::net::UnixStream::connect(&theirs).unwrap();
    drop(listener);
    cluster.call("ADD");
    cluster.call("DEL");
    assert!(!theirs.exists(), "nobody listened any more");

    let volumes = json!([{"name": "host", "hostPath": {"path": cluster.stage.scene.path("host")}}]);
    let mounts = json!([{"name": "host", "mountPath": "/shared", "readOnly": true}]);
    cluster.server.put_volumes("ns/p", &volumes, &mounts);
    let (code, what, _) = cluster.calls("ADD").error();
    assert!(code == 7 && what.contains("no container of the pod may write into its volume"), "{code} {what}");

    let cluster = Cluster::new(&json!({"volume": "host", "group": 4242}));
    let (code, what, _) = cluster.calls("ADD").error();
    assert!(code == 7 && what.contains("a group or an SELinux context for directory"), "{code} {what}");
    let host = std::fs::metadata(cluster.stage.scene.path("host")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::gid(&host), 0);
}
