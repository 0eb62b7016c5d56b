//! Which networks a pod gets, by the configuration and by its namespace.

use std::fs;

use super::*;

const RED: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=red;K8S_POD_NAME=p";

/// A NetworkAttachmentDefinition for the spy, as YAML.
fn definition(namespace: &str, name: &str) -> String {
    format!(
        "kind: NetworkAttachmentDefinition\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  config: '{}'\n",
        json!({"type": spy::SPY})
    )
}

fn added(stage: &Stage) -> Vec<String> {
    stage.all_heard().into_iter().filter_map(|call| Some(call.strip_prefix("ADD-")?.to_owned())).collect()
}

#[test]
fn keys_may_be_of_any_letter_case() {
    let mut stage = spy::stage(&json!([spy::network("first")]));
    let upper = |conf: &Value| -> Value {
        let pairs = conf.as_object().unwrap().iter();
        pairs
            .map(|(key, value)| (key.to_uppercase(), value.clone()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    stage.conf["runtimeConfig"] = json!({});
    stage.conf["delegates"] = json!([upper(&stage.conf["delegates"][0])]);
    stage.conf = upper(&stage.conf);

    assert_eq!(stage.add()["cniVersion"], "1.1.0");

    assert_eq!(stage.heard_json("ADD", "eth0")["cniVersion"], "1.1.0");
    stage.del();
    stage.assert_empty();
}

#[test]
fn a_namespace_may_be_kept_to_itself_and_some_shared() {
    let mut stage = spy::stage(&json!([spy::network("first")]));
    for namespace in ["red", "blue", "default", "shared"] {
        stage.scene.network(&format!("{namespace}.yaml"), &definition(namespace, "net"));
    }
    let mut allowed = |settings: Value| -> Vec<&'static str> {
        settings.as_object().unwrap().iter().for_each(|(key, value)| stage.conf[key] = value.clone());
        let mut allowed = Vec::new();
        for selection in ["net", "red/net", "blue/net", "default/net", "shared/net"] {
            stage.select(selection);
            let answer = stage.call_with_args("ADD", RED);
            if answer.succeeded() {
                allowed.push(selection);
            } else {
                let (code, message, _) = answer.error();
                assert_eq!(code, 7, "{message}");
                assert!(
                    message.contains("namespace isolation enabled, annotation violates permission"),
                    "{message}"
                );
            }
            stage.call_with_args("DEL", RED).result();
        }
        allowed
    };

    assert_eq!(allowed(json!({})), ["net", "red/net", "blue/net", "default/net", "shared/net"]);
    assert_eq!(allowed(json!({"namespaceIsolation": true})), ["net", "red/net", "default/net"]);
    assert_eq!(allowed(json!({"globalNamespaces": "shared, other"})), ["net", "red/net", "shared/net"]);
}

/// Each is held several times while attachments are made, and one short annotation may name a large one often.
#[test]
fn a_pod_is_refused_networks_that_are_too_large_together() {
    let mut stage = spy::stage(&json!([spy::network("first")]));
    let mut big = spy::network("big");
    big["_comment"] = json!("x".repeat(900 << 10));
    stage.scene.network("big.conf", &big.to_string());

    stage.select("big,big,big,big,big");
    let (code, message, details) = stage.call("ADD").error();
    assert_eq!(code, 7, "{message}");
    assert!(message.contains("the networks selected take more than 4194304 bytes"), "{message}");
    assert!(message.contains("\"big\"") && details.contains("select fewer networks"), "{message}; {details}");
    stage.assert_empty();
    assert_eq!(stage.all_heard(), Vec::<String>::new());

    stage.select("big,big");
    stage.add();
    assert_eq!(added(&stage), ["eth0", "net1", "net2"]);
    stage.del();
    stage.assert_empty();
}

#[test]
fn a_pod_may_replace_its_default_network() {
    let mut stage = spy::stage(&json!([spy::network("first"), spy::network("always")]));
    stage.scene.network("a.yaml", &definition("kube-system", "own"));
    stage.scene.network("b.yaml", &definition("blue", "own"));
    stage.conf["namespaceIsolation"] = json!(true);
    stage.annotate(
        "v1.multus-cni.io/default-network",
        r#"[{"name":"own","namespace":"blue","interface":"lan0","mac":"02:00:00:00:00:07"}]"#,
    );

    let (code, message, _) = stage.call_with_args("ADD", RED).error();
    assert_eq!(code, 7, "{message}");
    assert!(message.contains("refers to target namespace blue"), "{message}");
    stage.assert_empty();
    stage.conf["globalNamespaces"] = json!("blue");
    let result = stage.call_with_args("ADD", RED).result();

    assert_eq!(added(&stage), ["lan0", "net1"]);
    assert_eq!(result["interfaces"][0]["name"], "lan0");
    assert_eq!(
        stage.args("ADD", "lan0"),
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=red;K8S_POD_NAME=p;MAC=02:00:00:00:00:07"
    );
    assert_eq!(stage.heard_json("ADD", "net1")["name"], "always");
    stage.call_with_args("CHECK", RED).result();
    assert!(stage.all_heard().contains(&"CHECK-lan0".to_owned()));
    stage.call_with_args("DEL", RED).result();
    assert!(stage.all_heard().contains(&"DEL-lan0".to_owned()));
    stage.assert_empty();

    stage.annotate("v1.multus-cni.io/default-network", "own");
    stage.call_with_args("ADD", RED).result();
    assert!(stage.scene.kept()["state/records/pod-1.json"].contains("kube-system/own"));

    stage.annotate("v1.multus-cni.io/default-network", "own,blue/own");
    assert_eq!(stage.call_with_args("ADD", RED).error().0, 7);
}

#[test]
fn the_default_network_is_found_by_name_by_path_and_by_folder() {
    let stage = spy::stage(&json!([]));
    let place = stage.scene.path("net.d");
    fs::create_dir_all(place.join("listed")).unwrap();
    let list = |more: &str| {
        format!(r#"{{"cniVersion":"1.0.0","name":"listed","plugins":[{{"type":"spy"}}]{more}}}"#)
    };
    fs::write(place.join("10-a.conflist"), list("")).unwrap();
    fs::write(place.join("20-b.conf"), spy::network("single").to_string()).unwrap();
    fs::write(place.join("listed/1.conf"), r#"{"type":"tuning"}"#).unwrap();
    stage.scene.network("x.conf", &spy::network("named").to_string());
    let planned = |value: Value| -> Vec<String> {
        let mut conf = stage.conf.clone();
        conf["clusterNetwork"] = value;
        let netns = stage.pod.path().as_str();
        let add = Call { verb: "ADD", container: "pod-1", ifname: "eth0", netns };
        stage.scene.call(&add, &conf).result();
        let network = stage.scene.record("pod-1", "eth0")[0]["attachment"]["network"].clone();
        stage.del();
        let plugins = network["plugins"].as_array().unwrap().iter().map(|plugin| &plugin["type"]);
        std::iter::once(&network["name"])
            .chain(plugins)
            .map(|word| word.as_str().unwrap().to_owned())
            .collect()
    };

    assert_eq!(planned(json!("named")), ["named", "spy"]);
    assert_eq!(planned(json!(place.join("20-b.conf"))), ["single", "spy"]);
    assert_eq!(planned(json!(place.join("10-a.conflist"))), ["listed", "spy", "tuning"]);
    assert_eq!(planned(json!(place))[0], "listed");
    fs::write(place.join("10-a.conflist"), list(r#","loadOnlyInlinedPlugins":true"#)).unwrap();
    assert_eq!(planned(json!(place.join("10-a.conflist"))), ["listed", "spy"]);
}

#[test]
fn default_networks_go_to_every_pod_outside_system_namespaces() {
    let mut stage = spy::stage(&json!([]));
    for name in ["first", "second", "third"] {
        stage.scene.network(&format!("{name}.conf"), &spy::network(name).to_string());
    }
    stage.conf["clusterNetwork"] = json!("first");
    stage.conf["defaultNetworks"] = json!(["second", stage.scene.path("networks/third.conf")]);
    let mut counted = |namespace: &str| {
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME=p");
        stage.conf["systemNamespaces"] = json!(["infra"]);
        stage.call_with_args("ADD", &args).result();
        let names = ["eth0", "net1", "net2"];
        let count = names.iter().filter(|name| !stage.scene.states("pod-1", name).is_empty()).count();
        stage.call_with_args("DEL", &args).result();
        count
    };

    assert_eq!((counted("red"), counted("kube-system"), counted("infra")), (3, 3, 1));
}

#[test]
fn an_auxiliary_chain_is_one_more_attachment_of_every_pod() {
    let mut stage = spy::stage(&json!([]));
    let folder = stage.scene.path("networks");
    stage.scene.network("10-first.conf", &spy::network("first").to_string());
    fs::create_dir(folder.join("extra")).unwrap();
    fs::write(folder.join("extra/1.conf"), r#"{"type":"spy","vendor":1}"#).unwrap();
    stage.scene.network("b.conf", &spy::network("second").to_string());
    stage.conf["clusterNetwork"] = json!(folder.join("10-first.conf"));
    stage.conf["auxiliaryCNIChainName"] = json!("extra");
    stage.select("second");

    stage.add();

    assert_eq!(added(&stage), ["eth0", "net1", "net2"]);
    let heard = stage.heard_json("ADD", "net2");
    assert_eq!((&heard["name"], &heard["vendor"]), (&json!("extra"), &json!(1)));
    assert!(heard["prevResult"].is_object(), "the first plugin of the chain hands an empty result on");
    stage.del();
    assert_eq!(stage.heard_json("DEL", "net2")["vendor"], 1);
    stage.assert_empty();
}

#[test]
fn readiness_is_a_file() {
    let mut stage = spy::stage(&json!([spy::network("first")]));
    let file = stage.scene.path("ready");
    stage.conf["readinessindicatorfile"] = json!(file);

    let (code, message, _) = stage.call_without_pod("STATUS").error();
    assert_eq!(code, 50);
    assert!(message.contains("have you checked that your default network is ready?"), "{message}");
    stage.del();

    fs::write(&file, "").unwrap();
    stage.call_without_pod("STATUS").result();
    stage.add();
}

#[test]
fn add_goes_on_as_soon_as_the_node_is_ready() {
    let mut stage = spy::stage(&json!([spy::network("first")]));
    let file = stage.scene.path("ready");
    stage.conf["readinessindicatorfile"] = json!(file);
    let call = Call { verb: "ADD", container: "pod-1", ifname: "eth0", netns: stage.pod.path().as_str() };
    let command = stage.scene.command(env!("CARGO_BIN_EXE_manifold"), &call);

    let child = scene::start(command, stage.conf.to_string().as_bytes());
    let where_it_waits = format!("/proc/{}/wchan", child.id());
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !fs::read_to_string(&where_it_waits).unwrap().contains("poll") {
        assert!(std::time::Instant::now() < end, "it waits for the file");
        std::thread::yield_now();
    }
    fs::write(&file, "").unwrap();

    scene::finish(child).result();
    assert_eq!(added(&stage), ["eth0"]);
}

#[test]
fn a_network_that_names_no_version_has_that_of_the_whole() {
    let single = json!({"name": "a", "type": spy::SPY});
    let list = json!({"name": "b", "plugins": [{"type": spy::SPY}]});
    let mut stage = spy::stage(&json!([single, list]));
    stage.conf["cniVersion"] = json!("1.0.0");
    stage.scene.network("c.yaml", &definition("red", "c"));
    stage.scene.network("d.conflist", &json!({"name": "d", "plugins": [{"type": spy::SPY}]}).to_string());
    stage.select("red/c,d");

    stage.add();

    for ifname in ["eth0", "net1", "net2", "net3"] {
        assert_eq!(stage.heard_json("ADD", ifname)["cniVersion"], "1.0.0", "{ifname}");
    }
    stage.conf["clusterNetwork"] = json!(stage.scene.path("networks/d.conflist"));
    stage.del();
    stage.add();
    assert_eq!(stage.heard_json("ADD", "eth0")["cniVersion"], "1.0.0");
    stage.del();
    stage.assert_empty();
}
