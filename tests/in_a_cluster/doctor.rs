//! `manifold doctor` in a cluster.

use super::*;

fn examined(stage: &Stage) -> (bool, Value) {
    stage.scene.examined("00-manifold.conf", &stage.conf)
}

#[test]
fn an_api_server_that_lets_everything_be_done_is_told_with_its_version() {
    let stage = Stage::new(&json!({}));

    let (ok, found) = examined(&stage);

    assert!(ok, "{found}");
    for what in ["API server", "account", "definitions", "STATUS"] {
        assert_eq!(found[what]["health"], "ok", "{found}");
    }
    assert!(found["API server"]["found"].as_str().unwrap().ends_with("answers, version v1.34.1"), "{found}");
    let asked = stage.server.asked();
    let writes = asked.iter().filter(|asked| !asked.starts_with("GET "));
    assert!(writes.clone().count() >= 4, "{asked:?}");
    assert!(writes.into_iter().all(|asked| asked.ends_with("/selfsubjectaccessreviews")), "{asked:?}");
}

#[test]
fn what_the_account_may_not_do_is_told_by_what_it_costs() {
    let stage = Stage::new(&json!({}));
    stage.server.deny("patch pods/status");
    let (ok, found) = examined(&stage);
    assert!(ok && found["account"]["health"] == "ok", "an account that may update does as well: {found}");

    stage.server.deny("create events");
    stage.server.deny("list pods");
    let (ok, found) = examined(&stage);
    assert!(ok, "{found}");
    assert_eq!(
        (&found["account"]["health"], &found["account"]["found"]),
        (&json!("warning"), &json!("may not create events"))
    );

    stage.server.deny("update pods/status");
    let (ok, found) = examined(&stage);
    assert!(!ok, "{found}");
    assert_eq!(found["account"]["found"], "may not patch pods/status, create events");
    assert!(found["account"]["remedy"].as_str().unwrap().contains("docs/configuration.md"), "{found}");
}

#[test]
fn a_cluster_that_knows_no_network_definitions_is_told() {
    let stage = Stage::new(&json!({}));
    stage.server.let_go_wrong(Method::GET, "/apis/k8s.cni.cncf.io/v1", Mishap::Code(404));

    let (ok, found) = examined(&stage);

    assert!(ok && found["definitions"]["health"] == "warning", "{found}");
    let remedy = found["definitions"]["remedy"].as_str().unwrap();
    let file = remedy.strip_prefix("kubectl apply -f ").unwrap();
    let text = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let kind: Value = serde_saphyr::from_str(&text).unwrap();
    let spec = &kind["spec"];
    let name = format!("{}.{}", spec["names"]["plural"].as_str().unwrap(), spec["group"].as_str().unwrap());
    assert_eq!(
        (kind["kind"].as_str(), kind["metadata"]["name"].as_str()),
        (Some("CustomResourceDefinition"), Some(name.as_str()))
    );
    let version = &spec["versions"][0];
    assert_eq!(
        (&version["name"], &version["served"], &version["storage"]),
        (&json!("v1"), &json!(true), &json!(true))
    );
    let config = &version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["config"];
    assert_eq!(config["type"], "string");
}

#[test]
fn an_api_server_that_lets_nobody_in_is_bad() {
    let stage = Stage::new(&json!({}));
    stage.server.accept_only("another");

    let (ok, found) = examined(&stage);

    assert!(!ok, "{found}");
    assert!(found["API server"]["found"].as_str().unwrap().contains("401"), "{found}");
    assert!(found["API server"]["remedy"].as_str().unwrap().contains("token"), "{found}");
}
