//! Plugins that are run in another root directory: `chrootDir`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use serde_json::json;

use crate::stage::Stage;

/// A stage whose default network is made by a plugin that there is only in the directory `root`: a script that notes the
/// verb in the root directory, as it sees it.
fn stage() -> Stage {
    let mut stage = Stage::new();
    for folder in ["root/bin", "root/usr/lib/cni", "root/opt/cni"] {
        fs::create_dir_all(stage.scene.path(folder)).unwrap();
    }
    fs::copy("/bin/busybox", stage.scene.path("root/bin/sh"))
        .expect("/bin/busybox, of the package busybox-static");
    script(
        &stage,
        "echo \"$CNI_COMMAND $CNI_PATH\" >>/calls\n\
        [ $CNI_COMMAND != ADD ] || echo '{\"cniVersion\": \"1.0.0\", \"interfaces\": [], \"ips\": []}'",
    );
    // As on nodes whose plugins are elsewhere: a link that leads there only from within.
    symlink("/usr/lib/cni", stage.scene.path("root/opt/cni/bin")).unwrap();
    stage.conf["delegates"] = json!([{"cniVersion": "1.0.0", "name": "base", "type": "rooted"}]);
    stage.daemon_conf["chrootDir"] = json!(stage.scene.path("root"));
    stage.daemon_conf["binDir"] = json!("/opt/cni/bin");
    stage
}

fn plugin(stage: &Stage) -> PathBuf {
    stage.scene.path("root/usr/lib/cni/rooted")
}

fn script(stage: &Stage, text: &str) {
    fs::write(plugin(stage), format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(plugin(stage), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_plugin_is_found_and_run_beneath_the_root() {
    let stage = stage();
    let _daemon = stage.daemon();
    let pod = stage.pod();

    stage.call("ADD", "pod-1", &pod).result();
    stage.call("DEL", "pod-1", &pod).result();

    let calls = fs::read_to_string(stage.scene.path("root/calls")).unwrap();
    let verbs: Vec<&str> = calls.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(verbs, ["ADD", "DEL"]);
    assert!(calls.contains(" /opt/cni/bin"), "{calls}");
    stage.assert_empty();
}

#[test]
fn what_a_plugin_says_of_its_failure_is_told_from_beneath_the_root_as_well() {
    let stage = stage();
    script(&stage, "[ $CNI_COMMAND = DEL ] || { echo 'no address' >&2; exit 7; }");
    let _daemon = stage.daemon();

    let (code, message, _) = stage.call("ADD", "pod-1", &stage.pod()).error();

    assert_eq!(code, 106, "{message}");
    assert!(message.contains("rooted") && message.contains("no address"), "{message}");
    stage.assert_empty();
}

#[test]
fn what_is_not_beneath_the_root_is_told() {
    let stage = stage();
    let _daemon = stage.daemon();
    let root = stage.scene.path("root");

    fs::remove_file(plugin(&stage)).unwrap();
    let (code, message, _) = stage.call("ADD", "pod-1", &stage.pod()).error();
    assert_eq!(code, 100, "{message}");
    assert!(message.contains(&format!(" beneath {root:?}")), "{message}");

    // A script whose interpreter is not there.
    fs::write(plugin(&stage), "#!/bin/none\n").unwrap();
    fs::set_permissions(plugin(&stage), fs::Permissions::from_mode(0o755)).unwrap();
    let (code, message, details) = stage.call("ADD", "pod-2", &stage.pod()).error();
    assert_eq!(code, 106, "{message}");
    assert!(message.contains(&format!("cannot start it in {root:?}: No such file")), "{message}");
    assert!(details.contains("with the libraries it needs"), "{details}");
}
