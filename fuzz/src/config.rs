//! Configurations: what the runtime gives on standard input, networks as tenants write them, Manifold's own. Behind a NUL
//! byte stands what `CNI_ARGS` is.

use std::collections::BTreeMap;
use std::path::Path;

use manifold::model::args::CniArgs;
use manifold::model::call::Command;
use manifold::model::network::{Inject, MAX_CHAIN};
use manifold::model::pod::{Pod, PodName};
use manifold::model::settings::{DaemonSettings, Installation, NodeCertificate, Settings};
use manifold::model::{Call, Network, Object};
use manifold::plan::chain;
use manifold::plan::runtime_conf::{self, Primary};

use crate::{result, stand};

pub(crate) fn run(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let text = parts.next().unwrap_or_default();
    let args = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let args = arguments(&args);
    let served = Command::ALL.map(|verb| called(verb, text, &args));
    // What can be attached can be detached.
    let of = |verb| Command::ALL.iter().zip(served).any(|(other, served)| *other == verb && served);
    assert!(!of(Command::Add) || of(Command::Del));
    let Ok(object) = Object::parse(text, "it") else { return };
    assert_eq!(Object::parse(&object.to_bytes(), "it").unwrap(), object);
    let installation = settings(&object);
    let _program = runtime_conf::program(text);
    if let Ok(network) = Network::parse(text, Some("n")) {
        same_again(&network);
        attached(&network, &object, args);
        if let Some(installation) = installation {
            written(&network, &installation);
        }
    }
}

/// Arguments print as they are read.
fn arguments(text: &str) -> CniArgs {
    let readable = CniArgs::what_is_readable(text);
    if let Ok(args) = text.parse::<CniArgs>() {
        assert_eq!(args.to_string().parse::<CniArgs>().unwrap(), args);
        assert_eq!(args, readable);
    }
    let tidy = readable.tidied();
    assert_eq!(tidy.tidied(), tidy);
    for (key, value) in tidy.pairs().iter().take(16) {
        assert_eq!(readable.get(key), Some(value.as_str()));
    }
    drop(PodName::of(&readable));
    readable
}

/// Whether the call would be served.
fn called(verb: Command, text: &[u8], args: &CniArgs) -> bool {
    let args = args.to_string();
    let env = [
        ("CNI_COMMAND", verb.as_str()),
        ("CNI_CONTAINERID", "pod1"),
        ("CNI_NETNS", "/run/netns/pod1"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin"),
        ("CNI_ARGS", &args),
    ];
    let env: BTreeMap<String, String> = env.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let request = match Call::new(env).with_stdin(text.to_vec()).request() {
        Ok(request) => request,
        Err(fault) => {
            stand::told(&fault);
            return false;
        }
    };
    let Some(config) = request.config() else { return true };
    assert!(stand::is_one_component(config.name.as_str()));
    if let Some(prev) = &config.prev_result {
        result::kept(prev);
    }
    drop(Pod::annotations_given(&config.runtime_config));
    true
}

fn settings(object: &Object) -> Option<Installation> {
    let read = [
        Settings::read(object, "n").err(),
        DaemonSettings::read(object).err(),
        NodeCertificate::read(object).err(),
        Installation::read(object).err(),
    ];
    read.iter().flatten().for_each(stand::told);
    Installation::read(object).ok()
}

/// A network is the same after it was written for other programs, and after it was in a record.
fn same_again(network: &Network) {
    assert!((1..=MAX_CHAIN).contains(&network.plugins.len()));
    assert!(stand::is_one_component(network.name.as_str()));
    let whole = network.to_object().unwrap();
    let again = Network::parse(&whole.to_bytes(), None).unwrap();
    let recorded: Network = serde_json::from_slice(&serde_json::to_vec(network).unwrap()).unwrap();
    for other in [&again, &recorded] {
        assert_eq!((&other.name, other.version), (&network.name, network.version));
        assert_eq!((other.disable_check, other.disable_gc), (network.disable_check, network.disable_gc));
        assert_eq!(other.only_inlined, network.only_inlined);
    }
    assert_eq!(recorded.plugins, network.plugins);
    // A single configuration is given the name and the version of its network.
    assert!(whole.find("plugins").is_none() || again.plugins == network.plugins);
    assert_eq!(again.plugins.len(), network.plugins.len());
    for (again, plugin) in again.plugins.iter().zip(&network.plugins) {
        assert_eq!(again.kind(), plugin.kind());
    }
}

/// What each Kind makes of it, up to the plan.
fn attached(network: &Network, whole: &Object, args: CniArgs) {
    let capabilities = whole.find("runtimeConfig").map(|raw| Object::parse(raw.get().as_bytes(), "it"));
    let capabilities = capabilities.and_then(Result::ok).unwrap_or_default();
    for plugin in &network.plugins {
        let inject = Inject { capabilities: &capabilities, prev_result: None };
        let request = plugin.request(network, inject).unwrap();
        Object::parse(&request.to_bytes(), "it").unwrap();
        let mut merged = plugin.clone();
        merged.merge_args(&capabilities).unwrap();
        Object::parse(&merged.object().to_bytes(), "it").unwrap();
    }
    let text = args.to_string();
    let attachment = stand::attachment(network.clone(), args, capabilities);
    let mut steps = chain::remains(&attachment);
    steps.extend(chain::inherited(&attachment));
    steps.extend(chain::head(&attachment));
    let mut claims = Vec::new();
    let read = chain::read(&attachment);
    read.as_ref().err().into_iter().for_each(stand::told);
    for wanted in read.unwrap_or_default() {
        claims.extend(wanted.claims().unwrap_or_default());
        drop(wanted.warnings());
        let facts = stand::facts(wanted.questions(), &text);
        steps.extend(wanted.steps(&facts).unwrap_or_default());
        steps.extend(wanted.traces());
    }
    steps.extend(chain::tail(&attachment));
    stand::planned(&attachment, claims, steps);
}

/// What is written for the runtime is what Manifold reads.
fn written(network: &Network, installation: &Installation) {
    let primary = Primary { path: Path::new("/etc/cni/net.d/10-primary.conflist"), network };
    if let Ok(text) = runtime_conf::around(&primary, installation) {
        runtime_conf::is_ours(&text, installation.file.ends_with(".conflist")).unwrap();
        Object::parse(&text, "it").unwrap();
    }
}
