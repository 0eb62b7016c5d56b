//! `manifold install`: the node is set up once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::node::{Node, calico, inode};

#[test]
fn a_shims_configuration_is_written_around_the_primary() {
    let node = Node::new();
    node.primary(&calico());

    let said = node.install(&[]).unwrap();

    assert!(said.contains("wrote") && said.contains("k8s (calico, portmap)"), "{said}");
    assert!(said.contains("no daemon takes calls"), "{said}");
    let list: serde_json::Value = serde_json::from_str(&node.text().unwrap()).unwrap();
    assert_eq!((&list["cniVersion"], &list["name"]), (&json!("1.0.0"), &json!("manifold")));
    let plugin = node.plugin();
    assert_eq!(plugin["type"], "manifold-shim");
    assert_eq!(plugin["clusterNetwork"], json!(node.file("10-calico.conflist")));
    assert_eq!(plugin["daemonSocketDir"], json!(node.path("run")));
    assert_eq!(plugin["stateDir"], json!(node.path("state")));
    assert_eq!(plugin["capabilities"], json!({"portMappings": true}));
    assert!(plugin["cniConfigDir"].is_null() && plugin["housekeepingSeconds"].is_null(), "{plugin}");
    let path = node.file("00-manifold.conflist");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let before = inode(&path);
    let said = node.install(&[]).unwrap();

    assert!(said.contains("is as it should be"), "{said}");
    assert_eq!(inode(&path), before);
    assert_eq!(node.names(), ["00-manifold.conflist", "10-calico.conflist"]);
}

#[test]
fn without_a_daemon_the_configuration_holds_the_primary_and_what_is_beside_it() {
    let mut node = Node::new();
    node.conf["kubeconfig"] = json!("/etc/kubeconfig");
    node.conf["cniConfigName"] = json!("00-multus.conf");
    node.primary(&calico());
    fs::create_dir(node.file("k8s")).unwrap();
    let tuning = json!({"type": "tuning", "capabilities": {"mac": true}});
    fs::write(node.file("k8s/50-tuning.conf"), tuning.to_string()).unwrap();

    node.install(&["--type", "multus"]).unwrap();

    let conf: serde_json::Value =
        serde_json::from_slice(&fs::read(node.file("00-multus.conf")).unwrap()).unwrap();
    assert_eq!((&conf["type"], &conf["name"]), (&json!("multus"), &json!("multus-cni-network")));
    assert_eq!(conf["kubeconfig"], "/etc/kubeconfig");
    assert_eq!(conf["capabilities"], json!({"mac": true, "portMappings": true}));
    let types: Vec<_> =
        conf["delegates"][0]["plugins"].as_array().unwrap().iter().map(|p| &p["type"]).collect();
    assert_eq!(types, ["calico", "portmap", "tuning"]);
}

#[test]
fn the_programs_are_put_among_the_plugins_under_the_names_they_are_called_by() {
    let mut node = Node::new();
    node.conf["cniBinDir"] = json!(node.path("bin"));
    node.primary(&calico());

    let said = node.install(&["--type", "multus-shim"]).unwrap();

    assert_eq!(said.matches("installed").count(), 3, "{said}");
    for name in ["manifold", "manifold-shim", "multus-shim"] {
        let program = node.path("bin").join(name);
        let output = Command::new(&program).env("CNI_COMMAND", "VERSION").output().unwrap();
        assert!(
            output.status.success() && output.stdout.starts_with(b"{\"cniVersion\""),
            "{name}: {output:?}"
        );
    }
    let original = Path::new(env!("CARGO_BIN_EXE_manifold-shim"));
    assert_eq!(fs::read(node.path("bin/multus-shim")).unwrap(), fs::read(original).unwrap());
    assert_eq!(fs::read_dir(node.path("bin")).unwrap().count(), 3);

    let before = inode(&node.path("bin/manifold"));
    fs::write(node.path("bin/multus-shim"), "an older one").unwrap();
    let said = node.install(&["--type", "multus-shim"]).unwrap();

    assert_eq!(said.matches("installed").count(), 1, "{said}");
    assert_eq!(inode(&node.path("bin/manifold")), before);
    assert_eq!(fs::read(node.path("bin/multus-shim")).unwrap(), fs::read(original).unwrap());
}

#[test]
fn a_shim_that_cannot_be_put_there_is_not_configured() {
    let mut node = Node::new();
    node.conf["cniBinDir"] = json!(node.path("bin"));
    node.primary(&calico());
    fs::create_dir(node.path("alone")).unwrap();
    let alone = node.path("alone/manifold");
    fs::copy(env!("CARGO_BIN_EXE_manifold"), &alone).unwrap();
    fs::write(node.path("daemon.json"), node.conf.to_string()).unwrap();

    let config = node.path("daemon.json").display().to_string();
    let output = Command::new(alone).args(["install", "--config", &config]).output().unwrap();

    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("\"manifold-shim\" is not beside"), "{said}");
    assert!(said.contains("remedy: put \"manifold-shim\" beside"), "{said}");
    assert_eq!(node.names(), ["10-calico.conflist"]);
}

#[test]
fn from_what_is_no_network_nothing_is_written() {
    for (text, said) in [
        ("", "EOF while parsing"),
        (r#"{"name":"k8s","plugins":[{"type":"#, "EOF while parsing"),
        (r#"{"name":"k8s","plugins":[]}"#, "\"plugins\" has 0 entries"),
        (r#"{"name":"k8s","plugins":[{}]}"#, "has no \"type\""),
        (r#"{"cniVersion":"1.0.0","plugins":[{"type":"x"}]}"#, "network name \"\" is not valid"),
        (r#"{"name":"k8s","cniVersion":"9.0.0","plugins":[{"type":"x"}]}"#, "CNI version \"9.0.0\" is not"),
    ] {
        let node = Node::new();
        node.write("10-calico.conflist", text);
        // One that is fine and comes later does not take its place: the first may be half written.
        node.write("20-other.conf", r#"{"cniVersion":"1.0.0","name":"other","type":"bridge"}"#);

        let error = node.install(&[]).unwrap_err();

        assert!(error.contains("10-calico.conflist") && error.contains(said), "{text}: {error}");
        assert!(error.contains("remedy: "), "{text}: {error}");
        assert_eq!(node.names(), ["10-calico.conflist", "20-other.conf"]);
    }
}

#[test]
fn without_a_primary_nothing_is_written_and_files_of_ours_are_none() {
    let node = Node::new();
    node.write("00-multus.conf", "");
    node.write(
        "05-multus.conf",
        r#"{"cniVersion":"0.3.1","name":"a","type":"multus","delegates":[{"type":"x"}]}"#,
    );
    node.write("06-x.conflist", r#"{"cniVersion":"1.0.0","name":"b","plugins":[{"type":"multus-shim"}]}"#);
    node.write("10-calico.conflist.cilium_bak", &calico().to_string());

    let error = node.install(&[]).unwrap_err();

    assert!(error.contains("there is no configuration of a default network in"), "{error}");
    assert!(error.contains("remedy: install the cluster's network plugin"), "{error}");
    assert!(node.text().is_none());
}

#[test]
fn an_earlier_file_of_its_own_name_goes_and_any_other_is_told() {
    let mut node = Node::new();
    node.primary(&calico());
    node.install(&[]).unwrap();
    node.conf["cniConfigName"] = json!("00-multus.conf");

    node.install(&["--type", "multus-shim"]).unwrap();
    assert_eq!(node.names(), ["00-multus.conf", "10-calico.conflist"]);

    for (kind, remedy) in
        [("manifold", "remove it; or set"), ("multus", "remove it; or set"), ("x", "remedy: set")]
    {
        node.write(
            "00-early.conf",
            &json!({"cniVersion": "1.0.0", "name": "early", "type": kind}).to_string(),
        );
        fs::remove_file(node.file("00-multus.conf")).unwrap();
        node.conf["multusMasterCNI"] = json!("10-calico.conflist");
        let error = node.install(&["--type", "multus-shim"]).unwrap_err();
        assert!(error.contains("00-early.conf") && error.contains(remedy), "{error}");
        assert_eq!(node.names(), ["00-early.conf", "00-multus.conf", "10-calico.conflist"]);
    }
}

#[test]
fn a_kubeconfig_that_is_not_there_is_told() {
    let mut node = Node::new();
    node.primary(&calico());
    node.conf["kubeconfig"] = json!(node.path("kubeconfig"));

    let said = node.install(&["--type", "manifold"]).unwrap();
    assert!(said.contains("kubeconfig\" is not there") && said.contains("wrote"), "{said}");

    fs::write(node.path("kubeconfig"), "").unwrap();
    assert!(!node.install(&["--type", "manifold"]).unwrap().contains("is not there"));
}

#[test]
fn a_primary_can_be_named_and_must_not_be_ours() {
    let mut node = Node::new();
    node.primary(&calico());
    node.write("20-other.conf", r#"{"cniVersion":"0.4.0","name":"other","type":"bridge"}"#);
    node.conf["multusMasterCNI"] = json!("20-other.conf");
    node.conf["overrideNetworkName"] = json!(true);

    node.install(&[]).unwrap();

    let list: serde_json::Value = serde_json::from_str(&node.text().unwrap()).unwrap();
    assert_eq!((&list["cniVersion"], &list["name"]), (&json!("0.4.0"), &json!("other")));

    for (name, said) in [("00-manifold.conflist", "is Manifold's own"), ("30-none.conf", "No such file")] {
        node.conf["multusMasterCNI"] = json!(name);
        let error = node.install(&[]).unwrap_err();
        assert!(error.contains(said) && error.contains(name), "{error}");
    }
}

#[test]
fn a_primary_that_comes_in_time_is_waited_for() {
    let node = Node::new();

    let installing = node.begin(&["--wait", "60"]);
    std::thread::sleep(std::time::Duration::from_millis(100));
    node.primary(&calico());

    assert!(installing.wait_with_output().unwrap().status.success());
    assert_eq!(node.capabilities(), ["portMappings"]);
}

#[test]
fn a_file_is_copied_as_it_is_if_it_is_a_configuration_of_ours() {
    let mut node = Node::new();
    node.conf["multusConfigFile"] = json!(node.path("70-mine.conf"));
    let mine = "{ \"cniVersion\": \"1.0.0\", \"name\": \"mine\",\n  \"type\": \"multus-shim\", \"clusterNetwork\": \"x\" }";
    fs::write(node.path("70-mine.conf"), mine).unwrap();

    node.install(&[]).unwrap();

    assert_eq!(fs::read_to_string(node.file("70-mine.conf")).unwrap(), mine);

    for (text, said) in [("", "EOF"), (r#"{"name":"x","type":"bridge"}"#, "its \"type\" is \"bridge\"")] {
        fs::write(node.path("70-mine.conf"), text).unwrap();
        let error = node.install(&[]).unwrap_err();
        assert!(error.contains(said) && error.contains("70-mine.conf"), "{error}");
        assert_eq!(fs::read_to_string(node.file("70-mine.conf")).unwrap(), mine);
    }
}

#[test]
fn what_would_stand_in_its_way_goes_if_it_is_ours_and_is_told_if_it_is_not() {
    let node = Node::new();
    node.primary(&calico());
    let stale = r#"{"cniVersion":"1.0.0","name":"a","type":"manifold-shim","clusterNetwork":"x"}"#;
    node.write("00-manifold.conf", stale);

    node.install(&[]).unwrap();
    assert_eq!(node.names(), ["00-manifold.conflist", "10-calico.conflist"]);

    node.write("00-early.conf", r#"{"cniVersion":"1.0.0","name":"early","type":"bridge"}"#);
    let error = node.install(&[]).unwrap_err();

    assert!(error.contains("the runtime takes") && error.contains("00-early.conf"), "{error}");
    assert!(error.contains("remedy: set \"cniConfigName\""), "{error}");
}

#[test]
fn a_place_that_cannot_be_written_is_told() {
    let node = Node::new();
    node.primary(&calico());
    fs::create_dir(node.file("00-manifold.conflist")).unwrap();

    let error = node.install(&[]).unwrap_err();

    assert!(
        error.contains("cannot write") && error.contains("remedy: make its directory writable"),
        "{error}"
    );
    assert_eq!(node.names(), ["00-manifold.conflist", "10-calico.conflist"]);
}

#[test]
fn wrong_words_are_refused() {
    let node = Node::new();
    node.primary(&calico());

    let error = node.install(&["--type", "calico"]).unwrap_err();

    assert!(error.contains("\"type\" is \"calico\"") && error.contains("remedy: use one of"), "{error}");
    assert_eq!(node.names(), ["10-calico.conflist"]);
}
