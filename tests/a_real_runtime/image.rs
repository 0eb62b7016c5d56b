//! The image of a sandbox, made here: a static busybox that sleeps.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

/// What the image is called. No registry has it.
pub(crate) const NAME: &str = "manifold.test/pause:1";

/// The program that it runs.
pub(crate) const PROGRAM: &str = "busybox";

/// Writes the image, as `docker save` lays it out, into this folder.
pub(crate) fn write(folder: &Path) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    fs::copy("/bin/busybox", folder.join(PROGRAM)).expect("/bin/busybox, of the package busybox-static");
    tar(folder, "layer.tar", &[PROGRAM]);
    let sum = Command::new("sha256sum").arg(folder.join("layer.tar")).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();

    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture, "os": "linux",
        "config": {"Entrypoint": [format!("/{PROGRAM}"), "sleep", "2147483647"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", &sum[..64])]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [NAME], "Layers": ["layer.tar"]}]);
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    tar(folder, "image.tar", &["manifest.json", "config.json", "layer.tar"]);
    folder.join("image.tar")
}

fn tar(folder: &Path, archive: &str, files: &[&str]) {
    let mut tar = Command::new("tar");
    tar.current_dir(folder).args(["--create", "--owner=0", "--group=0", "--file", archive]).args(files);
    assert!(tar.status().unwrap().success());
}
