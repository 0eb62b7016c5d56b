//! `manifold doctor`.

use std::fs;
use std::io::{Read, Write};

use super::*;

#[test]
fn on_a_healthy_node_nothing_is_bad_and_nothing_is_touched() {
    let stage = Stage::with_everything();
    assert!(stage.call("ADD").succeeded());
    let before = stage.scene.kept();

    let (ok, found) = stage.scene.examined("00-manifold.conf", &stage.conf);

    assert!(ok, "{found}");
    for what in ["rights", "configuration", "STATUS", "records", "plugins", "macvlan"] {
        assert_eq!(found[what]["health"], "ok", "{found}");
    }
    assert!(found["records"]["found"].as_str().unwrap().starts_with("attachments: 4,"), "{found}");
    assert_eq!(stage.scene.kept(), before);
    assert!(!scene::seen("link show").to_string().contains("manifold-probe"));
}

#[test]
fn a_look_makes_nothing() {
    let mut stage = Stage::with_everything();
    stage.conf["stateDir"] = json!(stage.scene.path("not/there/yet"));

    let (ok, found) = stage.scene.examined("00-manifold.conf", &stage.conf);

    assert!(ok, "{found}");
    assert_eq!(found["records"]["found"], "attachments: 0, of sandboxes that are there");
    assert!(!stage.scene.path("not").exists());
}

#[test]
fn records_that_cannot_be_made_are_told_before_there_are_any() {
    let mut stage = Stage::with_everything();
    fs::write(stage.scene.path("file"), "").unwrap();
    stage.conf["stateDir"] = json!(stage.scene.path("file/state"));

    let (ok, found) = stage.scene.examined("00-manifold.conf", &stage.conf);

    assert!(!ok);
    for what in ["STATUS", "records"] {
        assert_eq!(found[what]["health"], "bad", "{found}");
        assert!(found[what]["found"].as_str().unwrap().contains("Not a directory"), "{found}");
    }
}

#[test]
fn a_directory_that_is_named_goes_before_that_of_the_configuration() {
    let stage = Stage::with_everything();
    assert!(stage.call("ADD").succeeded());
    stage.scene.examined("00-manifold.conf", &stage.conf);
    let named = ["net.d", "elsewhere", "bin"].map(|name| stage.scene.path(name).display().to_string());
    let [conf_dir, state_dir, bin_dir] = named.each_ref().map(String::as_str);
    let words =
        ["doctor", "-o", "json", "--conf-dir", conf_dir, "--state-dir", state_dir, "--bin-dir", bin_dir];

    let findings: Value = serde_json::from_slice(&stage.scene.manifold(&words).stdout).unwrap();

    let found = |what: &str| {
        let one = findings.as_array().unwrap().iter().find(|finding| finding["what"] == what);
        one.unwrap()["found"].as_str().unwrap().to_owned()
    };
    assert!(found("records").starts_with("attachments: 0,"), "{findings}");
    assert_eq!(found("plugins"), format!("there is none in {bin_dir:?}"));
    assert!(!stage.scene.path("elsewhere").exists());
}

#[test]
fn a_kind_of_link_that_the_kernel_lacks_is_told() {
    let stage = Stage::with_everything();
    let has_vlan = std::process::Command::new("ip")
        .args(["link", "add", "link", "up0", "name", "tagged", "type", "vlan", "id", "7"])
        .output()
        .unwrap()
        .status
        .success();

    let (_, found) = stage.scene.examined("00-manifold.conf", &stage.conf);

    assert_eq!(found["vlan"]["health"], if has_vlan { "ok" } else { "warning" }, "{found}");
}

#[test]
fn a_default_network_that_cannot_be_made_is_bad_and_says_what_to_do() {
    let mut stage = Stage::with_everything();
    stage.conf["delegates"][0]["master"] = "gone0".into();

    let (ok, found) = stage.scene.examined("00-manifold.conf", &stage.conf);

    assert!(!ok);
    assert_eq!(found["STATUS"]["health"], "bad");
    assert!(found["STATUS"]["found"].as_str().unwrap().contains("gone0"), "{found}");
    assert!(found["STATUS"]["remedy"].is_string(), "{found}");
}

#[test]
fn another_plugin_that_comes_first_is_told() {
    let stage = Stage::with_everything();
    stage.scene.examined("10-manifold.conf", &stage.conf);

    let other = json!({"cniVersion": "1.0.0", "name": "other", "plugins": [{"type": "bridge"}]});
    let (ok, found) = stage.scene.examined("05-other.conflist", &other);

    assert!(!ok, "{found}");
    assert_eq!(found["configuration"]["health"], "bad");
    assert!(found["configuration"]["found"].as_str().unwrap().contains("05-other.conflist"), "{found}");
    assert!(
        found["configuration"]["remedy"].as_str().unwrap().contains("comes before it, such as"),
        "{found}"
    );

    fs::remove_file(stage.scene.path("net.d/10-manifold.conf")).unwrap();
    let (ok, found) = stage.scene.examined("05-other.conflist", &other);

    assert!(!ok, "{found}");
    assert!(found["configuration"]["remedy"].as_str().unwrap().contains("manifold install"), "{found}");
}

#[test]
fn a_configuration_in_a_list_is_read_with_the_lists_name_and_version() {
    let stage = Stage::with_everything();
    let mut own = stage.conf.clone();
    let name = own.as_object_mut().unwrap().remove("name").unwrap();
    let version = own.as_object_mut().unwrap().remove("cniVersion").unwrap();

    let list = json!({"cniVersion": version, "name": name, "plugins": [own]});
    let (ok, found) = stage.scene.examined("00-manifold.conflist", &list);

    assert!(ok, "{found}");
    assert_eq!(found["STATUS"]["health"], "ok", "{found}");
}

#[test]
fn a_shim_without_its_daemon_is_bad() {
    let stage = Stage::with_everything();
    let folder = stage.scene.path("socket");
    fs::create_dir_all(&folder).unwrap();
    let conf = json!({"cniVersion": "1.0.0", "name": "meta", "type": "manifold-shim", "daemonSocketDir": folder,
        "stateDir": stage.scene.path("state")});

    let (ok, found) = stage.scene.examined("00-manifold.conf", &conf);
    assert!(!ok);
    assert_eq!(found["daemon"]["health"], "bad", "{found}");

    let daemon = std::os::unix::net::UnixListener::bind(folder.join("multus.sock")).unwrap();
    let answers = ["200 OK\r\nContent-Length: 0\r\n\r\n", "503 Unavailable\r\n\r\nno default network", ""];
    let served = std::thread::spawn(move || {
        // Each time it is asked whether it is ready, and then for its status.
        for answer in answers.iter().flat_map(|answer| [answer, answer]) {
            let (mut stream, _) = daemon.accept().unwrap();
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).unwrap();
        }
    });
    let (ok, found) = stage.scene.examined("00-manifold.conf", &conf);
    assert!(ok, "{found}");
    assert_eq!(found["daemon"]["health"], "ok", "{found}");
    for said in ["is not ready (503): no default network", "what came is no HTTP answer"] {
        let (ok, found) = stage.scene.examined("00-manifold.conf", &conf);
        assert!(!ok, "{found}");
        assert!(found["daemon"]["found"].as_str().unwrap().contains(said), "{found}");
    }
    served.join().unwrap();
}

#[test]
fn what_a_lost_del_left_is_counted() {
    let stage = Stage::with_everything();
    assert!(stage.call("ADD").succeeded());
    let Stage { scene, pod, conf } = stage;
    drop(pod);
    let stage = Stage::around(scene, conf);

    let (ok, found) = stage.scene.examined("00-manifold.conf", &stage.conf);

    assert!(ok, "{found}");
    assert_eq!(found["records"]["health"], "warning", "{found}");
    assert!(found["records"]["remedy"].as_str().unwrap().contains("prune"), "{found}");
}

#[test]
fn a_node_without_a_configuration_is_bad() {
    let stage = Stage::with_everything();
    let empty = stage.scene.path("nothing").display().to_string();
    fs::create_dir_all(&empty).unwrap();

    let output = stage.scene.manifold(&["doctor", "--conf-dir", &empty]);

    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success());
    assert!(text.lines().any(|line| line.starts_with("BAD") && line.contains("configuration")), "{text}");
}
