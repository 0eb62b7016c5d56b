//! What containerd is configured with, so that it keeps to the scene's folder and has Manifold attach its pods.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::cell::names_in;
use crate::image;
use crate::scene::{PLUGINS, Scene};

/// Writes what containerd and Manifold are configured with.
pub(crate) fn lay_out(scene: &Scene, manifold: Value) {
    make_directories(scene);
    let bin = scene.path("bin");
    let calls = scene.path("calls");
    let script = format!(
        "echo \"$CNI_COMMAND $CNI_NETNS\" >>{}\nexec {}",
        calls.display(),
        env!("CARGO_BIN_EXE_manifold")
    );
    write_script(&bin.join("manifold"), &script);

    write_list(scene, "10-cluster", manifold);
    fs::write(scene.path("containerd.toml"), containerd_conf(scene)).unwrap();
}

/// The same, and a second network of the runtime's that Manifold makes.
pub(crate) fn lay_out_two(scene: &Scene, first: Value, second: Value) {
    lay_out(scene, first);
    write_list(scene, "20-second", second);
    let conf = containerd_conf(scene) + "max_conf_num = 2\n";
    fs::write(scene.path("containerd.toml"), conf).unwrap();
}

/// Writes a network of the runtime's that Manifold makes. Its file has its place and its name.
fn write_list(scene: &Scene, file: &str, mut manifold: Value) {
    // The network's name and version are those of the list.
    manifold.as_object_mut().unwrap().retain(|key, _| key != "name" && key != "cniVersion");
    manifold["binDir"] = json!(scene.path("bin"));
    if manifold["capabilities"].is_null() {
        manifold["capabilities"] = json!({"io.kubernetes.cri.pod-annotations": true, "portMappings": true});
    }
    let (_, name) = file.split_once('-').unwrap();
    let list = json!({"cniVersion": "1.0.0", "name": name, "plugins": [manifold]});
    fs::write(scene.path(&format!("conf/{file}.conflist")), list.to_string()).unwrap();
}

/// Writes what containerd is configured with, and another plugin that makes its pods' only network.
pub(crate) fn lay_out_primary(scene: &Scene, primary: &Value) {
    make_directories(scene);
    fs::write(scene.path("conf/10-primary.conflist"), primary.to_string()).unwrap();
    fs::write(scene.path("containerd.toml"), containerd_conf(scene)).unwrap();
}

/// The directories of configurations and of plugins, with the reference plugins in it.
fn make_directories(scene: &Scene) {
    let (bin, conf) = (scene.path("bin"), scene.path("conf"));
    fs::create_dir(&bin).unwrap();
    fs::create_dir(conf).unwrap();
    for plugin in names_in(Path::new(PLUGINS)) {
        symlink(Path::new(PLUGINS).join(&plugin), bin.join(&plugin)).unwrap();
    }
}

/// Writes a shell script that can be run.
pub(crate) fn write_script(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// containerd's own part. The native snapshotter copies, and so works on any file system. What is disabled would reach for the machine's disks,
/// for /opt, or for the network.
fn containerd_conf(scene: &Scene) -> String {
    let path = |name| scene.path(name).display().to_string();
    format!(
        r#"
version = 2
root = {root:?}
state = {state:?}
disabled_plugins = [
    "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.overlayfs", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
address = {socket:?}
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = {image:?}
disable_apparmor = true
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = {bin:?}
conf_dir = {conf:?}
"#,
        root = path("root"),
        state = path("run"),
        socket = path("socket"),
        image = image::NAME,
        bin = path("bin"),
        conf = path("conf"),
    )
}
