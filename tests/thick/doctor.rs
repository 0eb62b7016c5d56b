//! `manifold doctor` on a node whose calls go to a daemon.

use serde_json::json;

use crate::stage::Stage;

#[test]
fn the_daemon_is_asked_whether_the_next_pod_gets_its_networks() {
    let mut stage = Stage::new();
    let _daemon = stage.daemon();
    stage.call("ADD", "pod-1", &stage.pod()).result();
    let before = stage.scene.kept();

    let (ok, found) = stage.scene.examined("00-manifold.conf", &stage.conf);

    assert!(ok, "{found}");
    for what in ["configuration", "daemon", "STATUS"] {
        assert_eq!(found[what]["health"], "ok", "{found}");
    }
    assert_eq!(stage.scene.kept(), before);
    stage.conf["delegates"][1]["master"] = json!("gone0");
    let (ok, found) = stage.scene.examined("00-manifold.conf", &stage.conf);
    assert!(!ok, "{found}");
    assert_eq!((&found["daemon"]["health"], &found["STATUS"]["health"]), (&json!("ok"), &json!("bad")));
    assert!(found["STATUS"]["found"].as_str().unwrap().contains("gone0"), "{found}");
    assert!(found["STATUS"]["remedy"].is_string(), "{found}");
}

#[test]
fn records_and_plugins_are_looked_for_where_the_shims_file_has_them() {
    let mut stage = Stage::new();
    for key in ["stateDir", "binDir"] {
        let path = stage.scene.path("other").join(key);
        stage.conf[key] = json!(path);
        stage.daemon_conf[key] = json!(path);
    }
    stage.conf["delegates"] = json!([stage.scene.macvlan("data", 1)]);
    let _daemon = stage.daemon();
    let pod = stage.pod();
    stage.call("ADD", "pod-1", &pod).result();

    let (_, found) = stage.scene.examined("00-manifold.conf", &stage.conf);

    assert_eq!(found["records"]["found"], "attachments: 1, of sandboxes that are there");
    assert!(!stage.scene.path("state").exists(), "{found}");
    assert!(found["plugins"]["found"].as_str().unwrap().contains("other/binDir\" is not seen"), "{found}");
    std::fs::create_dir(stage.scene.path("other/binDir")).unwrap();
    let (_, found) = stage.scene.examined("00-manifold.conf", &stage.conf);
    assert_eq!(found["plugins"]["health"], "warning", "{found}");
}

#[test]
fn a_daemon_that_does_not_answer_is_told_once() {
    let stage = Stage::new();

    let (ok, found) = stage.scene.examined("00-manifold.conf", &stage.conf);

    assert!(!ok, "{found}");
    assert_eq!((&found["daemon"]["health"], &found["STATUS"]), (&json!("bad"), &json!(null)));
}
