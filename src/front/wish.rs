//! What a pod is to get, from Manifold's configuration and the pod's annotations.

use std::collections::BTreeMap;
use std::path::Path;

use super::catalogue::Catalogue;
use crate::engine::ports::{Devices, Networks};
use crate::host::directory::plugins_beside;
use crate::model::call::Config;
use crate::model::device::DeviceId;
use crate::model::fault::{Fault, Outcome};
use crate::model::pod::{DEFAULT_NETWORK, NETWORKS, PodName};
use crate::model::selection::MAX_NETWORKS;
use crate::model::settings::{Settings, no_default_network};
use crate::model::{FaultKind, IfName, Network, Object, Selection, selection};
use crate::plan::devices;
use crate::plan::resolve::{First, Named, Wish};

/// Capabilities of the runtime that additional networks may have too: they are about the pod, not about one interface.
const SHARED: [&str; 2] = ["portMappings", "bandwidth"];

/// A pod, as far as it matters for what it gets.
pub(super) struct Asker<'a> {
    /// Its namespace; `None` where no pod is named.
    pub(super) namespace: Option<&'a str>,
    /// Its annotations.
    pub(super) annotations: &'a BTreeMap<String, String>,
    /// The name of its default interface.
    pub(super) ifname: &'a IfName,
    /// Who it is, and who knows its devices; `None` where none are to be handed out.
    pub(super) devices: Option<(&'a PodName, &'a dyn Devices)>,
}

/// What the pod is to get.
///
/// # Errors
/// A network that is not there, is none, or may not be used; an annotation that cannot be read.
pub(super) fn wish(asker: &Asker<'_>, config: &Config, catalogue: &Catalogue<'_>) -> Outcome<Wish> {
    let settings = catalogue.settings;
    let mut always: Vec<Named> = match &settings.cluster_network {
        Some(value) => vec![catalogue.configured(value)?],
        None => settings.delegates.iter().map(named).collect(),
    };
    let first = if always.is_empty() { None } else { Some(always.remove(0)) };
    if settings.cluster_network.is_some()
        && asker.namespace.is_none_or(|n| settings.policy.gets_default_networks(n))
    {
        for value in &settings.default_networks {
            always.push(catalogue.configured(value)?);
        }
    }
    let default = First {
        named: first.ok_or_else(no_default_network)?,
        ifname: asker.ifname.clone(),
        capabilities: config.runtime_config.clone(),
        selection: None,
    };
    let mut wish = Wish {
        default: Some(replaced(default, asker, catalogue)?),
        always,
        selected: selected(asker, catalogue)?,
        auxiliary: auxiliary(settings)?,
        shared: shared(&config.runtime_config),
    };
    if let Some(whose) = asker.devices {
        hand_out(&mut wish, whose, catalogue, &[])?;
    }
    Ok(wish)
}

/// Gives the networks of a wish the devices they need, of those that the kubelet gave the pod and that are not taken.
///
/// # Errors
/// Nobody could tell which they are, or there are too few.
pub(super) fn hand_out(
    wish: &mut Wish,
    (pod, kubelet): (&PodName, &dyn Devices),
    catalogue: &Catalogue<'_>,
    taken: &[DeviceId],
) -> Outcome<()> {
    if !devices::needed(wish) {
        return Ok(());
    }
    let mut given = kubelet.of_pod(pod)?.without(taken);
    // An account that may not ask for devices of claims is no matter to pods that need none.
    let Some(cluster) = catalogue.cluster.filter(|_| !devices::suffice(wish, &given)) else {
        return devices::hand_out(wish, &given);
    };
    given = given.with_claimed(cluster.claimed(pod)?);
    for driver in given.drivers() {
        if devices::suffice(wish, &given) {
            break;
        }
        given.learn(&driver, &cluster.published(pod, &driver)?);
        given = given.without(taken);
    }
    devices::hand_out(wish, &given)
}

fn named(network: &Network) -> Named {
    Named::new(network.name.to_string(), network.clone())
}

/// The default network, or the one the pod names in its place.
fn replaced(first: First, asker: &Asker<'_>, catalogue: &Catalogue<'_>) -> Outcome<First> {
    let Some(text) = asker.annotations.get(DEFAULT_NETWORK) else { return Ok(first) };
    let unreadable = format!("cannot read annotation {DEFAULT_NETWORK:?}");
    let mut selections = selection::parse(text).map_err(|fault| fault.while_doing(unreadable.clone()))?;
    let (Some(selection), true) = (selections.pop(), selections.is_empty()) else {
        return Err(Fault::new(FaultKind::Config, unreadable)
            .because("it does not name one network")
            .remedy("name exactly one network, as \"namespace/name\""));
    };
    let policy = &catalogue.settings.policy;
    let namespace = selection.namespace.as_deref().unwrap_or(&policy.own);
    asker.namespace.map_or(Ok(()), |pod| policy.permit_default(pod, namespace))?;
    let named = catalogue.network(Some(namespace), &selection.name)?;
    let ifname = selection.interface.clone().unwrap_or(first.ifname);
    Ok(First { named, ifname, selection: Some(selection), ..first })
}

/// The networks the pod selects.
fn selected(asker: &Asker<'_>, catalogue: &Catalogue<'_>) -> Outcome<Vec<(Selection, Named)>> {
    let text = asker.annotations.get(NETWORKS).map(String::as_str).unwrap_or_default();
    let permit = |selection: &Selection| match (asker.namespace, selection.namespace.as_deref()) {
        (Some(pod), Some(network)) => catalogue.settings.policy.permit(pod, network),
        (Some(_) | None, _) => Ok(()),
    };
    select(catalogue, text, asker.namespace, permit)
}

/// The selections of an annotation, each with its network. A selection without a namespace is of `namespace`.
///
/// # Errors
/// The annotation is malformed, names a network that is not there, or one that may not be used.
pub(super) fn select(
    networks: &dyn Networks,
    text: &str,
    namespace: Option<&str>,
    permit: impl Fn(&Selection) -> Outcome<()>,
) -> Outcome<Vec<(Selection, Named)>> {
    let selections =
        selection::parse(text).map_err(|fault| fault.while_doing("cannot read the selection of networks"))?;
    let mut size = 0_usize;
    let each = selections.into_iter().map(|selection| {
        permit(&selection)?;
        let named = networks.network(selection.namespace.as_deref().or(namespace), &selection.name)?;
        size = size.saturating_add(named.network.source.get().len());
        if size > MAX_NETWORKS { Err(too_large(&named)) } else { Ok((selection, named)) }
    });
    each.collect()
}

fn too_large(last: &Named) -> Fault {
    let what = format!(
        "the networks selected take more than {MAX_NETWORKS} bytes, {} of which are {:?}",
        last.network.source.get().len(),
        last.label
    );
    Fault::new(FaultKind::Config, what).remedy("select fewer networks, or such with shorter configurations")
}

/// The chain beside the default network's file that every pod gets: plugins without an interface of their own.
fn auxiliary(settings: &Settings) -> Outcome<Option<Network>> {
    let (Some(name), Some(value)) = (&settings.auxiliary_chain, &settings.cluster_network) else {
        return Ok(None);
    };
    if !value.contains('/') {
        return Ok(None);
    }
    let path = Path::new(value);
    let beside = if path.is_dir() { path.join("any") } else { path.to_owned() };
    let plugins = plugins_beside(&beside, name.as_str())?;
    if plugins.is_empty() {
        return Ok(None);
    }
    let head = format!(
        r#"{{"cniVersion":"1.0.0","name":"{name}","plugins":[{{"type":"passthru","name":"passthru-cni"}}]}}"#
    );
    let mut chain = Network::parse_open(head.as_bytes(), None, settings.version)?;
    plugins.into_iter().for_each(|plugin| chain.append(plugin));
    chain.complete().map(Some)
}

fn shared(runtime_config: &Object) -> Object {
    let mut shared = Object::default();
    for key in SHARED {
        if let Some(value) = runtime_config.find(key) {
            shared.set(key, value.to_owned());
        }
    }
    shared
}
