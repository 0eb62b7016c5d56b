//! What is read, and how often it is asked for.

use manifold::engine::ports::Cluster as _;
use manifold::model::FaultKind;
use manifold::model::pod::PodName;
use serde_json::json;

use crate::{Cluster, anonymous, status_of, web};

const POD: &str = "GET /api/v1/namespaces/default/pods/web";
const NETWORKS: &str = "GET /apis/k8s.cni.cncf.io/v1/namespaces";

#[test]
fn a_pod_is_its_metadata_and_asked_for_once() {
    let cluster = Cluster::new();
    let asked = cluster.asked();

    let pod = asked.pod(&anonymous()).unwrap().unwrap();
    asked.pod(&web("uid-1")).unwrap().unwrap();

    assert_eq!(pod.name, web("uid-1"));
    assert_eq!(pod.annotations["k8s.v1.cni.cncf.io/networks"], "data");
    assert_eq!(cluster.api.asked(), [POD]);
    assert!(cluster.api.log()[0].accept.starts_with("application/json;as=PartialObjectMetadata;"));
}

#[test]
fn what_is_not_there_is_asked_for_once_and_no_error() {
    let cluster = Cluster::new();
    let asked = cluster.asked();
    let gone = PodName { name: "gone".into(), ..anonymous() };

    for _ in 0..2 {
        assert_eq!(asked.pod(&gone).unwrap(), None);
        assert_eq!(asked.definition("default", "gone").unwrap(), None);
    }

    assert_eq!(cluster.api.asked().len(), 2);
}

#[test]
fn each_definition_is_asked_for_once() {
    let cluster = Cluster::new();
    let config = r#"{"cniVersion":"1.0.0", "type":"macvlan","z":1.0}"#;
    let resource = json!({"k8s.v1.cni.cncf.io/resourceName": "vendor/nic"});
    cluster.api.put_definition("default/data", config, &resource);
    cluster.api.put_definition("other/data", "", &json!(null));
    let asked = cluster.asked();

    for _ in 0..2 {
        let data = asked.definition("default", "data").unwrap().unwrap();
        let other = asked.definition("other", "data").unwrap().unwrap();

        assert_eq!((data.namespace.as_str(), data.name.as_str()), ("default", "data"));
        assert_eq!(data.config, config);
        assert_eq!(data.annotations["k8s.v1.cni.cncf.io/resourceName"], "vendor/nic");
        assert_eq!((other.config.as_str(), other.annotations.len()), ("", 0));
    }

    let definitions = ["default", "other"];
    let definitions =
        definitions.map(|space| format!("{NETWORKS}/{space}/network-attachment-definitions/data"));
    assert_eq!(cluster.api.asked(), definitions);
}

#[test]
fn a_definition_without_spec_has_no_configuration() {
    let cluster = Cluster::new();
    cluster.api.put_definition("default/file", "", &json!({}));
    cluster.api.strip_spec("default/file");

    let definition = cluster.asked().definition("default", "file").unwrap().unwrap();

    assert_eq!(definition.config, "");
}

#[test]
fn another_pod_of_the_name_is_not_attached() {
    let cluster = Cluster::new();
    let asked = cluster.asked();
    asked.pod(&anonymous()).unwrap();

    let fault = asked.pod(&web("uid-0")).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::TryLater);
    assert_eq!(
        fault.to_string(),
        "pod \"default/web\" is not the one to attach: its UID is \"uid-1\" where the runtime names \"uid-0\""
    );
}

#[test]
fn a_static_pod_has_another_uid() {
    let cluster = Cluster::new();
    cluster.api.put_pod("default/web", "uid-1", &json!({"kubernetes.io/config.source": "file"}));

    let pod = cluster.asked().pod(&web("the kubelet's")).unwrap().unwrap();

    assert_eq!(pod.name.uid.as_deref(), Some("uid-1"));
}

#[test]
fn a_name_that_leads_elsewhere_is_not_asked_for() {
    let cluster = Cluster::new();
    let asked = cluster.asked();
    for name in
        ["../../secrets/x", "a/b", "web?watch=1", "..", "", "Web", "w\u{e9}b", "-web", &"w".repeat(254)]
    {
        let pod = PodName { name: name.into(), ..anonymous() };

        assert_eq!(asked.pod(&pod).unwrap_err().kind(), FaultKind::Config, "{name:?}");
        assert_eq!(asked.publish(&pod, &status_of("[]")).unwrap_err().kind(), FaultKind::Config, "{name:?}");
        assert_eq!(asked.definition("default", name).unwrap_err().kind(), FaultKind::Config, "{name:?}");
        assert_eq!(asked.definition(name, "data").unwrap_err().kind(), FaultKind::Config, "{name:?}");
    }
    assert!(cluster.api.asked().is_empty());
}
