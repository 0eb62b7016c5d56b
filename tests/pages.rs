//! What the pages show is what works: whoever copies an example gets what the page says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test may panic, and starts programs"
)]

#[path = "common/mod.rs"]
mod common;
#[path = "common/scene.rs"]
mod scene;

use std::fs;
use std::path::Path;

use manifold::engine::ports::Networks;
use manifold::engine::survey;
use manifold::host::directory::Directory;
use manifold::model::settings::{DaemonSettings, Settings, Switches};
use manifold::model::{Attachment, CniVersion, Network, Object, Owner};
use manifold::plan::chain;
use scene::{Scene, ip};
use serde_json::{Value, json};

/// The pages with examples.
const PAGES: [&str; 5] =
    ["README.md", "docs/configuration.md", "docs/thick.md", "docs/sriov.md", "docs/vhost-user.md"];

/// The examples of a page that are JSON; a key alone is one of an object.
fn examples(page: &str) -> Vec<Value> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let blocks = text.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    let whole = |block: String| if block.starts_with('{') { block } else { format!("{{{block}}}") };
    blocks.map(|block| serde_json::from_str(&whole(block)).unwrap()).collect()
}

fn all() -> impl Iterator<Item = (&'static str, Value)> {
    PAGES.into_iter().flat_map(|page| examples(page).into_iter().map(move |example| (page, example)))
}

/// The type of a configuration, or of the first plugin of a list.
fn kind(conf: &Value) -> &str {
    conf.get("type").or_else(|| conf.pointer("/plugins/0/type")).and_then(Value::as_str).unwrap_or_default()
}

fn object(value: &Value) -> Object {
    Object::parse(value.to_string().as_bytes(), "the example").unwrap()
}

#[test]
fn networks_of_the_page_about_configuration_are_attached_checked_and_taken_down() {
    let scene = Scene::new();
    // As the page tells, but in folders of the test's own.
    for words in ["link add ens1 type veth peer name switch0", "link set ens1 up", "link set switch0 up"] {
        ip(words);
    }
    let mut tried = Vec::new();
    for network in examples("docs/configuration.md") {
        if !["macvlan", "vlan"].contains(&kind(&network)) {
            continue;
        }
        let name = network["name"].as_str().unwrap().to_owned();
        let ending = if network.get("plugins").is_some() { "conflist" } else { "conf" };
        let addresses = scene.path("addresses").display().to_string();
        let text = network.to_string().replace("/tmp/try/addresses", &addresses);
        fs::write(scene.path("networks").join(format!("{name}.{ending}")), text).unwrap();
        let pod = scene.node.pod().unwrap();
        let networks = scene.path("networks").display().to_string();
        let target = ["--netns", pod.path().as_str(), "--container-id", &name];
        let made = [["--networks", &name], ["--networks-dir", &networks]].concat();
        let run = |verb: &str, more: &[&str]| {
            let done = scene.manifold(&[&[verb], target.as_slice(), more].concat());
            assert!(done.status.success(), "{verb} {name}: {}", String::from_utf8_lossy(&done.stderr));
        };
        run("explain", &made);
        // Where the kernel has no such links, there is nothing to attach.
        if kind(&network) != "vlan" || has_vlans() {
            run("attach", &made);
            assert_eq!(pod.interfaces(), ["lo", "net1"], "{name}");
            run("check", &[]);
            run("detach", &[]);
            assert_eq!(pod.interfaces(), ["lo"], "{name}");
        }
        tried.push(name);
    }
    assert_eq!(tried, ["data", "vlan100", "fixed", "tuned"]);
}

fn has_vlans() -> bool {
    let words = ["link", "add", "link", "ens1", "name", "tagged", "type", "vlan", "id", "7"];
    std::process::Command::new("ip").args(words).output().unwrap().status.success()
}

#[test]
fn configurations_of_manifolds_own_are_read() {
    let mut read = 0;
    for (page, example) in all() {
        let conf = match example.pointer("/plugins/0") {
            Some(plugin) => plugin,
            None => &example,
        };
        if ["manifold", "multus", "manifold-shim"].contains(&kind(conf)) {
            Settings::read(&object(conf), "pods").unwrap_or_else(|fault| panic!("{page}: {fault}"));
            read += 1;
        }
        if conf.get("vhostUser").is_some() {
            let (_, rules) = Switches::read(&object(conf)).unwrap_or_else(|fault| panic!("{page}: {fault}"));
            assert_ne!(rules, Default::default());
            read += 1;
        }
        if conf.get("perNodeCertificate").is_some() {
            let mut daemon = conf.clone();
            daemon["nodeName"] = json!("node");
            DaemonSettings::read(&object(&daemon)).unwrap_or_else(|fault| panic!("{page}: {fault}"));
            read += 1;
        }
    }
    assert_eq!(read, 7);
}

#[test]
fn networks_of_devices_and_switches_are_read() {
    let mut read = 0;
    for (page, example) in all() {
        if !["sriov", "vhost-user"].contains(&kind(&example)) {
            continue;
        }
        let mut network = example.clone();
        // What the kubelet chooses, where the page leaves it to that.
        if let Some(plugins) = network.get_mut("plugins").and_then(Value::as_array_mut) {
            plugins.iter_mut().for_each(|plugin| plugin["deviceID"] = json!("0000:03:02.1"));
        }
        let attachment = attachment(&network);
        let found = survey::read(&attachment).map(|read| read.warnings(&attachment));
        let warnings = found.unwrap_or_else(|fault| panic!("{page}: {fault}"));
        assert_eq!(warnings, [""; 0], "{page}");
        read += 1;
    }
    assert_eq!(read, 4);
}

#[test]
fn no_network_that_is_shown_has_a_key_without_effect() {
    let mut looked_at = Vec::new();
    let mut look = |page: &str, network: Network| {
        assert_eq!(chain::unread(&attachment_to(network.clone())), [""; 0], "{page}: {network}");
        looked_at.push(network.to_string());
    };
    for (page, example) in all().filter(|(_, example)| !kind(example).is_empty()) {
        let whole = example.pointer("/plugins/0").unwrap_or(&example);
        let within = whole["delegates"].as_array().into_iter().flatten();
        for network in within.chain([&example]) {
            look(page, Network::parse(network.to_string().as_bytes(), Some("pods")).unwrap());
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifests = PAGES.iter().flat_map(|page| {
        let text = fs::read_to_string(root.join(page)).unwrap();
        let blocks = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
        blocks.filter(|block| block.contains("kind: NetworkAttachmentDefinition")).collect::<Vec<_>>()
    });
    for (number, block) in manifests.enumerate() {
        fs::write(folder.path().join(format!("{number}.yaml")), block).unwrap();
    }
    for (folder, names) in [
        (folder.path(), &["storage", "fast"][..]),
        (&root.join("deployments/demo/networks"), &["lab", "pod-network", "storage"]),
    ] {
        for name in names {
            let found = Directory::new(folder, CniVersion::V1_1_0).network(None, name).unwrap();
            look(name, found.network);
        }
    }
    let macvlans = looked_at.iter().filter(|network| network.contains("(macvlan")).count();
    assert!(looked_at.len() >= 17 && macvlans >= 5, "{looked_at:#?}");
}

fn attachment(network: &Value) -> Attachment {
    attachment_to(Network::parse(network.to_string().as_bytes(), None).unwrap())
}

fn attachment_to(network: Network) -> Attachment {
    Attachment {
        label: "shop/fast".to_owned(),
        ..Attachment::new(Owner::parse("pod-1", "net1").unwrap(), network)
    }
}
