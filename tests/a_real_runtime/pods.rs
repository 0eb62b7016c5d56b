//! Pods that are run, attached, and taken down.

use serde_json::{Value, json};

use crate::cri::PortMapping;
use crate::runtime::Runtime;
use crate::scene::Scene;

/// A runtime whose pods get a default network with a default route, and may select "data", made in process, and "lab",
/// which a reference plugin makes.
pub(crate) fn runtime() -> Runtime {
    let scene = Scene::new();
    scene.network("data.conf", &scene.macvlan("data", 1).to_string());
    let lab = json!({"cniVersion": "1.0.0", "name": "lab", "type": "bridge", "bridge": "lab0", "ipam": scene.ipam(2)});
    scene.network("lab.conf", &lab.to_string());
    let mut default = scene.macvlan("default", 0);
    default["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}]);
    let conf = scene.conf(&json!([default]));
    Runtime::start(scene, conf)
}

/// The IPv4 address of an interface in what `ip addr` says.
pub(crate) fn address(seen: &Value, ifname: &str) -> String {
    let links = seen.as_array().unwrap();
    let link =
        links.iter().find(|link| link["ifname"] == ifname).unwrap_or_else(|| panic!("no {ifname}: {seen}"));
    let address =
        link["addr_info"].as_array().unwrap().iter().find(|address| address["family"] == "inet").unwrap();
    address["local"].as_str().unwrap().to_owned()
}

#[test]
fn a_pod_gets_what_its_annotation_selects_and_leaves_nothing() {
    let runtime = runtime();

    let mut pod = runtime.pod("web", "data,lab@lab");
    pod.port_mappings = vec![PortMapping { container_port: 80, host_port: 8080, ..Default::default() }];
    let id = runtime.run(pod).unwrap();

    let links = runtime.seen(&id, "addr");
    let ips = ["eth0", "net1", "lab"].map(|ifname| address(&links, ifname));
    assert_eq!(ips, ["10.77.0.2", "10.77.1.2", "10.77.2.2"]);
    assert_eq!(runtime.status(&id).network.unwrap().ip, ips[0]);
    let kinds: Vec<_> = links.as_array().unwrap().iter().map(|link| &link["linkinfo"]["info_kind"]).collect();
    assert_eq!(kinds, [&Value::Null, &json!("macvlan"), &json!("macvlan"), &json!("veth")]);
    let routes = runtime.seen(&id, "route");
    let default = routes.as_array().unwrap().iter().find(|route| route["dst"] == "default").unwrap();
    assert_eq!((&default["gateway"], &default["dev"]), (&json!("10.77.0.1"), &json!("eth0")));
    let netns = runtime.netns();
    assert_eq!(netns.len(), 1);

    runtime.stop(&id).unwrap();
    runtime.remove(&id).unwrap();

    runtime.assert_empty();
    // The second DEL comes when the namespace is gone.
    let netns = format!("/var/run/netns/{}", netns[0]);
    let calls = [("ADD", netns.as_str()), ("DEL", &netns), ("DEL", "")];
    assert_eq!(runtime.calls(), calls.map(|(verb, netns)| (verb.to_owned(), netns.to_owned())));
}

#[test]
fn a_pod_that_selects_what_does_not_exist_is_told_and_leaves_nothing() {
    let runtime = runtime();

    let refused = runtime.run(runtime.pod("web", "data,nowhere")).unwrap_err();

    let networks = runtime.scene.path("networks");
    let told = format!(
        "plugin type=\"manifold\" failed (add): no network named \"nowhere\" in {networks:?}; \
         correct the name, or put the network's definition there"
    );
    assert!(refused.message().ends_with(&told), "{}", refused.message());
    runtime.assert_empty();
}

#[test]
fn pods_that_start_at_once_do_not_meet() {
    let runtime = runtime();
    let pods = (0..8).map(|n| runtime.pod(&format!("web-{n}"), "data,lab@lab")).collect();

    let ids = runtime.run_all(pods).unwrap();

    for ifname in ["eth0", "net1", "lab"] {
        let mut taken: Vec<String> =
            ids.iter().map(|id| address(&runtime.seen(id, "addr"), ifname)).collect();
        taken.sort();
        taken.dedup();
        assert_eq!(taken.len(), 8, "{ifname}");
    }
    for id in &ids {
        runtime.stop(id).unwrap();
        runtime.remove(id).unwrap();
    }
    runtime.assert_empty();
}
