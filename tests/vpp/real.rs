//! The same life on a real VPP, if the variable `MANIFOLD_VPP` names its program; `MANIFOLD_VPP_PLUGINS` names its folder
//! of plugins, if it does not find that by itself.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

/// How long VPP may take to start.
const LIMIT: Duration = Duration::from_secs(60);

/// A VPP of the test's own, without hugepages and without adapters.
struct Vpp {
    program: PathBuf,
    folder: PathBuf,
    child: Option<Child>,
}

impl Vpp {
    fn start(program: &Path, folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let mut vpp = Self { program: program.to_owned(), folder: folder.to_owned(), child: None };
        let plugins =
            std::env::var("MANIFOLD_VPP_PLUGINS").map(|path| format!("path {path} ")).unwrap_or_default();
        let here = folder.display();
        let conf = format!(
            "unix {{ nodaemon nosyslog runtime-dir {here} cli-listen {here}/cli.sock }}\n\
             socksvr {{ socket-name {here}/api.sock }}\n\
             api-segment {{ prefix manifold{} }}\n\
             memory {{ main-heap-size 256M main-heap-page-size 4k }}\n\
             buffers {{ buffers-per-numa 8192 page-size 4k }}\n\
             statseg {{ size 32M page-size 4k }}\n\
             plugins {{ {plugins}plugin default {{ disable }} plugin memif_plugin.so {{ enable }} \
             plugin vhost_plugin.so {{ enable }} }}\n",
            std::process::id()
        );
        std::fs::write(folder.join("startup.conf"), conf).unwrap();
        vpp.restart();
        vpp
    }

    fn restart(&mut self) {
        self.end();
        drop(std::fs::remove_file(self.socket()));
        let log = std::fs::File::create(self.folder.join("log")).unwrap();
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.folder.join("startup.conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        let end = Instant::now() + LIMIT;
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "VPP did not start: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("api.sock")
    }
}

impl Drop for Vpp {
    fn drop(&mut self) {
        self.end();
    }
}

#[test]
#[ignore = "needs MANIFOLD_VPP, the program of a VPP"]
fn a_real_vpp_gives_pods_interfaces_and_takes_them_back() {
    let program = std::env::var_os("MANIFOLD_VPP").expect("MANIFOLD_VPP names a VPP");
    let scene = Scene::new();
    let mut vpp = Vpp::start(Path::new(&program), &scene.path("vpp"));
    let pod = scene.node.pod().unwrap();
    let call = |vpp: &Vpp, verb, keys: &Value| {
        let mut network = json!({"cniVersion": "1.1.0", "name": "fast", "type": "vhost-user", "engine": "vpp",
            "bridge": 9, "createBridge": true, "socketDir": scene.path("sockets")});
        network.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let mut conf = scene.conf(&json!([network]));
        conf["vhostUser"] = json!({"vppSocket": vpp.socket(), "linkDir": scene.path("v")});
        let call = Call { verb, container: "pod-1", ifname: "net1", netns: pod.path().as_str() };
        scene.call(&call, &conf)
    };
    for keys in [
        json!({"interfaceType": "memif"}),
        json!({"interfaceType": "memif", "abstract": false, "vlan": 100}),
        json!({"interfaceType": "memif", "mode": "master"}),
        json!({"mode": "client", "vlan": 100, "mtu": 1400, "group": 4242}),
        json!({"mode": "server"}),
    ] {
        let result = call(&vpp, "ADD", &keys).result();
        let socket = result["interfaces"][0]["socketPath"].as_str().unwrap().to_owned();
        call(&vpp, "CHECK", &keys).result();
        call(&vpp, "DEL", &keys).result();
        // Once more, as after a lost answer.
        call(&vpp, "DEL", &keys).result();
        assert!(!Path::new(&socket).exists(), "{socket}");

        call(&vpp, "ADD", &keys).result();
        vpp.restart();
        let (code, what, _) = call(&vpp, "CHECK", &keys).error();
        assert!(code == 105 && what.contains("VPP does not have the interface any more"), "{code} {what}");
        call(&vpp, "DEL", &keys).result();
        assert_eq!(scene.kept(), Default::default(), "{keys}");
    }
    let (code, what, _) = call(&vpp, "ADD", &json!({"createBridge": false})).error();
    assert!(code == 100 && what.ends_with("has no bridge domain 9"), "{code} {what}");
}
