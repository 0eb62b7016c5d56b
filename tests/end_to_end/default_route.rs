//! `default-route` of the networks annotation: the pod's default routes go where it asks, and nowhere else.

use super::*;

/// Addresses of both families on network `n`, with default routes through its first addresses and one route more. The
/// reference plugins' CHECK finds no route that is written without its gateway.
fn dual(n: u8) -> Value {
    json!({"type": "static",
        "addresses": [{"address": format!("10.77.{n}.2/24"), "gateway": format!("10.77.{n}.1")},
            {"address": format!("fd77:{n}::2/64"), "gateway": format!("fd77:{n}::1")}],
        "routes": [{"dst": "0.0.0.0/0", "gw": format!("10.77.{n}.1")}, {"dst": "::/0", "gw": format!("fd77:{n}::1")},
            {"dst": format!("10.{}.0.0/16", 100 + u16::from(n)), "gw": format!("10.77.{n}.1")}]})
}

fn macvlan(name: &str, n: u8) -> Value {
    json!({"cniVersion": "1.1.0", "name": name, "type": "macvlan", "master": "up0", "dad": "off", "ipam": dual(n)})
}

fn bridge(name: &str, n: u8) -> Value {
    json!({"cniVersion": "1.0.0", "name": name, "type": "bridge", "bridge": format!("br{n}"), "ipam": dual(n)})
}

/// A pod with this default network and two more of each make, `macvlan` and `bridge`.
fn stage(default: Value, networks: &Value) -> Stage {
    let scene = Scene::new();
    scene.network("data.conf", &macvlan("data", 1).to_string());
    scene.network("lab.conf", &bridge("lab", 2).to_string());
    let mut conf = scene.conf(&json!([default]));
    conf["capabilities"] = json!({"io.kubernetes.cri.pod-annotations": true});
    conf["runtimeConfig"] = json!({"io.kubernetes.cri.pod-annotations":
        {"k8s.v1.cni.cncf.io/networks": networks.to_string()}});
    Stage::around(scene, conf)
}

/// The interface and the gateway of each default route of both families, as the kernel has them.
fn defaults(stage: &Stage) -> Vec<String> {
    let mut all = Vec::new();
    for words in ["-4 route show default", "-6 route show default"] {
        for route in stage.seen(words).as_array().unwrap() {
            let hops = route["nexthops"].as_array().cloned().unwrap_or_else(|| vec![route.clone()]);
            let text = |hop: &Value, key: &str| hop[key].as_str().unwrap_or_default().to_owned();
            all.extend(hops.iter().map(|hop| format!("{} {}", text(hop, "dev"), text(hop, "gateway"))));
        }
    }
    all.sort();
    all
}

/// The default routes that a result tells of, as destination and gateway.
fn told(result: &Value) -> Vec<String> {
    let routes = result["routes"].as_array().cloned().unwrap_or_default();
    let each = routes.iter().map(|r| (r["dst"].as_str().unwrap(), r["gw"].as_str().unwrap_or_default()));
    each.filter(|(dst, _)| dst.ends_with("/0")).map(|(dst, gw)| format!("{dst} {gw}")).collect()
}

/// Whether routers on the link can give the interface a default route.
fn advertised_routes_are_taken(stage: &Stage, ifname: &str) -> String {
    let path = format!("/proc/sys/net/ipv6/conf/{ifname}/accept_ra_defrtr");
    stage.pod.inside(move || std::fs::read_to_string(path).unwrap().trim().to_owned())
}

fn recorded(stage: &Stage, ifname: &str) -> Vec<String> {
    told(&stage.scene.record("pod-1", ifname)[0]["result"])
}

fn cached(stage: &Stage, file: &str) -> Vec<String> {
    let cached = &stage.scene.kept()[&format!("cache/results/{file}")];
    told(&serde_json::from_str::<Value>(cached).unwrap()["result"])
}

#[test]
fn both_families_go_through_a_native_interface_instead_of_the_default_one() {
    for default in [macvlan("default", 0), bridge("default", 0)] {
        let stage = stage(default, &json!([{"name": "data", "default-route": ["10.77.1.9", "fd77:1::9"]}]));

        let result = stage.add();

        assert_eq!(defaults(&stage), ["net1 10.77.1.9", "net1 fd77:1::9"]);
        assert_eq!(stage.seen("route show 10.100.0.0/16")[0]["dev"], "eth0", "other routes stay");
        assert_eq!(stage.seen("route show 10.101.0.0/16")[0]["gateway"], "10.77.1.1");
        assert_eq!(advertised_routes_are_taken(&stage, "eth0"), "0");
        assert_eq!(told(&result), [] as [&str; 0]);
        assert_eq!(recorded(&stage, "net1"), ["0.0.0.0/0 10.77.1.9", "::/0 fd77:1::9"]);
        stage.call("CHECK").result();
        stage.del();
        stage.assert_empty();
    }
}

#[test]
fn one_family_goes_through_a_plugins_interface_and_the_other_stays() {
    for default in [macvlan("default", 0), bridge("default", 0)] {
        let stage = stage(default, &json!([{"name": "lab", "default-route": ["fd77:2::9"]}]));

        let result = stage.add();

        let ipv4: Vec<String> =
            defaults(&stage).into_iter().filter(|route| route.contains("10.77.")).collect();
        assert_eq!(ipv4, ["eth0 10.77.0.1", "net1 10.77.2.1"], "nobody asked for another IPv4 default route");
        let ipv6: Vec<String> =
            defaults(&stage).into_iter().filter(|route| route.contains("fd77:")).collect();
        assert_eq!(ipv6, ["net1 fd77:2::9"]);
        assert_eq!(told(&result).len(), 1, "{result}");
        let of_lab = cached(&stage, "lab-pod-1-net1");
        assert!(of_lab.contains(&"::/0 fd77:2::9".to_owned()) && of_lab.len() == 2, "{of_lab:?}");
        stage.call("CHECK").result();
        stage.del();
        stage.assert_empty();
    }
}

#[test]
fn who_comes_after_the_one_that_takes_it_gives_it_up_too() {
    let networks = json!([{"name": "data", "default-route": ["10.77.1.9", "fd77:1::9"]}, {"name": "lab"}]);
    let stage = stage(bridge("default", 0), &networks);

    stage.add();

    assert_eq!(defaults(&stage), ["net1 10.77.1.9", "net1 fd77:1::9"]);
    assert_eq!(cached(&stage, "lab-pod-1-net2"), [] as [&str; 0]);
    assert_eq!(cached(&stage, "default-pod-1-eth0"), [] as [&str; 0]);
    stage.call("CHECK").result();
    stage.del();
    stage.assert_empty();
}

#[test]
fn the_families_may_go_through_two_interfaces() {
    let networks = json!([{"name": "data", "default-route": ["10.77.1.9"]},
        {"name": "lab", "default-route": ["fd77:2::9"]}]);
    let stage = stage(macvlan("default", 0), &networks);

    stage.add();

    assert_eq!(defaults(&stage), ["net1 10.77.1.9", "net2 fd77:2::9"]);
    stage.call("CHECK").result();
    stage.del();
    stage.assert_empty();
}

#[test]
fn a_default_route_that_changes_later_is_seen_by_check() {
    let networks = json!([{"name": "data", "default-route": ["10.77.1.9"]}]);
    let stage = stage(macvlan("default", 0), &networks);
    stage.add();
    stage.call("CHECK").result();

    stage.ip("route add default via 10.77.0.1 dev eth0 metric 7");
    let (code, message, _) = stage.call("CHECK").error();
    assert_eq!(code, 105);
    assert!(
        message.contains("\"eth0\" has default route 0.0.0.0/0 via 10.77.0.1, which was taken"),
        "{message}"
    );

    stage.ip("route del default via 10.77.0.1 dev eth0 metric 7");
    stage.ip("route del default via 10.77.1.9 dev net1");
    let (code, message, details) = stage.call("CHECK").error();
    assert_eq!(code, 105);
    assert!(message.contains("\"net1\" has lost"), "{message}; {details}");
}

#[test]
fn an_unreachable_gateway_is_refused_and_leaves_nothing() {
    let stage = stage(bridge("default", 0), &json!([{"name": "data", "default-route": ["192.168.9.9"]}]));

    let (code, message, details) = stage.call("ADD").error();

    assert_eq!(code, 103, "{message}");
    assert!(message.contains("cannot add default route via 192.168.9.9 to \"net1\""), "{message}");
    assert!(details.contains("\"default-route\""), "{details}");
    stage.assert_empty();
}

#[test]
fn two_gateways_of_a_family_are_refused_before_anything_is_made() {
    let networks = json!([{"name": "data", "default-route": ["10.77.1.9"]},
        {"name": "lab", "default-route": ["10.77.2.9"]}]);
    let stage = stage(bridge("default", 0), &networks);

    let (code, message, _) = stage.call("ADD").error();

    assert_eq!(code, 7);
    assert!(message.contains("\"default-route\" asks for two IPv4 gateways"), "{message}");
    assert!(!stage.scene.path("state").exists());
}

#[test]
fn an_empty_list_keeps_every_plugins_routes() {
    let stage = stage(macvlan("default", 0), &json!([{"name": "data", "default-route": []}]));

    stage.add();

    let ipv4: Vec<String> = defaults(&stage).into_iter().filter(|route| route.contains("10.77.")).collect();
    assert_eq!(ipv4, ["eth0 10.77.0.1", "net1 10.77.1.1"]);
    // The kernel makes one route of two next hops of the two for IPv6; each is found in it.
    assert_eq!(defaults(&stage).len(), 4);
    stage.call("CHECK").result();
    stage.del();
    stage.assert_empty();
}
