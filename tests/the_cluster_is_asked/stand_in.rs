//! The stand-in itself, where Manifold's own tests do not lean on it yet: lists, and watches.

use http::Request;
use http_body_util::BodyExt;
use kube::client::Body;
use kube::config::Kubeconfig;
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::Cluster;

#[test]
fn lists_and_watches_agree() {
    let cluster = Cluster::new();
    cluster.api.put_pod("other/web", "uid-9", &json!({}));
    let mut config = Config::try_from(Kubeconfig::read_from(cluster.api.kubeconfig()).unwrap()).unwrap();
    // Whatever the environment says of one.
    config.proxy_url = None;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

    runtime.block_on(async {
        let client = Client::try_from(config).unwrap();
        let get = |query: &str| {
            let uri = format!("/api/v1/namespaces/default/pods{query}");
            Request::get(uri).body(Body::empty()).unwrap()
        };
        let list = client.send(get("")).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        let list: Value = serde_json::from_slice(&list).unwrap();
        let since = list["metadata"]["resourceVersion"].as_str().unwrap();
        let query = format!("?watch=true&resourceVersion={since}");
        let mut changes = client.send(get(&query)).await.unwrap().into_body();
        cluster.api.put_pod("default/web", "uid-2", &json!({}));
        cluster.api.put_pod("other/web", "uid-8", &json!({}));
        cluster.api.remove_pod("default/web");

        assert_eq!(list["items"].as_array().unwrap().len(), 1);
        for kind in ["MODIFIED", "DELETED"] {
            let line = changes.frame().await.unwrap().unwrap().into_data().unwrap();
            let change: Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(change["type"], kind);
            assert_eq!(change["object"]["metadata"]["uid"], "uid-2");
        }
    });
}
