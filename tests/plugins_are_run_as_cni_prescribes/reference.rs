//! The reference plugins, for real.

use std::fs;
use std::path::Path;

use manifold::engine::ports::Site;
use manifold::host::exec::Plugins;
use manifold::model::{CniResult, FaultKind};
use manifold::plan::step::{ExecStep, Yields};

use crate::common::{Node, interfaces};
use crate::scene::{attachment, nowhere, reference_plugins, steps};

/// The addresses a `host-local` store holds for a network.
fn leases(data: &Path, network: &str) -> Vec<String> {
    let Ok(files) = fs::read_dir(data.join(network)) else { return Vec::new() };
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("10.")).collect()
}

/// Runs a chain's ADDs, each plugin given the result of the one before.
fn add_all(plugins: &Plugins, site: Site<'_>, chain: &[ExecStep]) -> CniResult {
    let mut result = None;
    for step in chain {
        result = Some(plugins.add(site, step, result.as_ref()).unwrap());
    }
    result.unwrap()
}

#[test]
fn bridge_and_host_local_attach_hold_and_detach() {
    let (node, data) = (Node::enter().unwrap(), tempfile::tempdir().unwrap());
    let (pod, plugins) = (node.pod().unwrap(), reference_plugins());
    let it = attachment(&format!(
        r#"{{"cniVersion":"1.0.0","name":"blue","plugins":[{{"type":"bridge","bridge":"br0","isGateway":true,
            "ipam":{{"type":"host-local","subnet":"10.77.0.0/24","dataDir":{:?}}}}}]}}"#,
        data.path()
    ));
    let step = &steps(&it.network)[0];
    let site = Site { netns: Some(pod.path()), ..nowhere(&it) };

    let result = plugins.add(site, step, None).unwrap();

    assert_eq!(result.ips[0].address, "10.77.0.2/24".parse().unwrap());
    assert_eq!(pod.interfaces(), ["lo", "net1"]);
    assert_eq!(leases(data.path(), "blue"), ["10.77.0.2"]);
    assert!(interfaces("/proc/thread-self/net/dev").contains(&"br0".to_owned()), "it ran on this node");

    let site = Site { result: Some(&result), ..site };
    plugins.check(site, step).unwrap();

    for _ in 0..2 {
        plugins.del(site, step).unwrap();
        assert_eq!(pod.interfaces(), ["lo"]);
        assert!(leases(data.path(), "blue").is_empty());
    }
    plugins.check(site, step).unwrap_err();
}

#[test]
fn a_chain_hands_its_result_on() {
    let (node, data) = (Node::enter().unwrap(), tempfile::tempdir().unwrap());
    let (pod, plugins) = (node.pod().unwrap(), reference_plugins());
    let it = attachment(&format!(
        r#"{{"cniVersion":"0.4.0","name":"blue","plugins":[
            {{"type":"bridge","bridge":"br0","ipam":{{"type":"host-local","subnet":"10.78.0.0/24","dataDir":{data:?}}}}},
            {{"type":"tuning","dataDir":{data:?},"sysctl":{{"net.ipv4.conf.net1.arp_filter":"1"}}}}]}}"#,
        data = data.path()
    ));
    let chain = steps(&it.network);
    let site = Site { netns: Some(pod.path()), ..nowhere(&it) };
    let sysctl = "/proc/sys/net/ipv4/conf/net1/arp_filter";

    let result = add_all(&plugins, site, &chain);

    assert_eq!(result.ips[0].address, "10.78.0.2/24".parse().unwrap(), "tuning passes on what it was given");
    assert_eq!(pod.inside(move || fs::read_to_string(sysctl).unwrap()), "1\n");

    let site = Site { result: Some(&result), ..site };
    chain.iter().for_each(|step| plugins.check(site, step).unwrap());
    pod.inside(move || fs::write(sysctl, "0").unwrap());
    let lost = plugins.check(site, &chain[1]).unwrap_err();
    assert_eq!(lost.kind(), FaultKind::Delegate(999), "{lost}");

    chain.iter().rev().for_each(|step| plugins.del(site, step).unwrap());
    assert_eq!(pod.interfaces(), ["lo"]);
    assert!(leases(data.path(), "blue").is_empty());
}

#[test]
fn host_local_is_run_for_a_link_we_make() {
    let data = tempfile::tempdir().unwrap();
    let plugins = reference_plugins();
    let it = attachment(&format!(
        r#"{{"cniVersion":"1.0.0","name":"blue","plugins":[{{"type":"macvlan","master":"eth0",
            "ipam":{{"type":"host-local","subnet":"10.79.0.0/24","dataDir":{:?}}}}}]}}"#,
        data.path()
    ));
    let conf = it.network.plugins[0].clone();
    let step = ExecStep { program: "host-local".parse().unwrap(), conf, yields: Yields::Lease };
    let site = nowhere(&it);
    let netns = "/run/netns/none".parse().unwrap();

    let leased = plugins.add(Site { netns: Some(&netns), ..site }, &step, None).unwrap();
    assert_eq!(leased.ips[0].address, "10.79.0.2/24".parse().unwrap());
    assert_eq!(leases(data.path(), "blue"), ["10.79.0.2"]);

    plugins.del(site, &step).unwrap();
    assert!(leases(data.path(), "blue").is_empty(), "DEL needs no namespace");
}

#[test]
fn a_refusal_of_macvlan_is_told_in_its_words() {
    let node = Node::enter().unwrap();
    let pod = node.pod().unwrap();
    let it = attachment(
        r#"{"cniVersion":"1.0.0","name":"blue","plugins":[{"type":"macvlan","master":"nope","ipam":{}}]}"#,
    );
    let site = Site { netns: Some(pod.path()), ..nowhere(&it) };

    let fault = reference_plugins().add(site, &steps(&it.network)[0], None).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::Delegate(999));
    let text = fault.to_string();
    assert!(text.starts_with("plugin \"macvlan\" (\"/usr/lib/cni/macvlan\") failed on ADD: "), "{text}");
    assert!(text.ends_with(": Link not found"), "{text}");
    assert_eq!(pod.interfaces(), ["lo"]);
}
