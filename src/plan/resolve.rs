//! From what the configuration and the pod name to attachments: interface names, capabilities, arguments.

use std::path::PathBuf;

use super::{default_route, device_file, in_vain};
use crate::model::args::CniArgs;
use crate::model::aside::Aside;
use crate::model::device::{Device, ResourceName};
use crate::model::fault::{Fault, Outcome};
use crate::model::{
    Attachment, Called, ContainerId, FaultKind, IfName, NetnsPath, Network, NetworkName, Object, Owner,
    PluginConf, Role, Selection,
};

/// A network, and the name a person knows it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// `namespace/name` of its definition, else the network's own name.
    pub label: String,
    /// The network.
    pub network: Network,
    /// The resource of whose devices it needs one (annotation `k8s.v1.cni.cncf.io/resourceName` of its definition).
    pub resource: Option<ResourceName>,
    /// The device it is made with, once [`super::devices::hand_out`] has chosen.
    pub device: Option<Device>,
}

impl Named {
    /// A network that needs no device.
    pub fn new(label: impl Into<String>, network: Network) -> Self {
        Self { label: label.into(), network, resource: None, device: None }
    }
}

/// The sandbox the attachments are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Its id.
    pub container: ContainerId,
    /// Its network namespace, where it is known.
    pub netns: Option<NetnsPath>,
    /// `CNI_ARGS`.
    pub args: CniArgs,
    /// Where Manifold was called as a single plugin, the network it was called for.
    pub standalone: Option<NetworkName>,
    /// What the runtime called for, see [`Attachment::called`].
    pub called: Option<Called>,
    /// Whether Manifold stands in another program's place, see [`Attachment::in_place`].
    pub in_place: bool,
    /// Where device plugins and CNI plugins leave what is known of devices.
    pub device_info_dir: PathBuf,
}

/// What a pod is to get.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// The default network.
    pub default: Option<First>,
    /// Networks every pod gets beside it.
    pub always: Vec<Named>,
    /// Networks the pod selected.
    pub selected: Vec<(Selection, Named)>,
    /// One more chain that every pod gets.
    pub auxiliary: Option<Network>,
    /// Capabilities the runtime gave, which every additional network may have too.
    pub shared: Object,
}

impl Wish {
    /// The networks that may name a resource, in the order in which devices are handed out.
    pub fn named(&self) -> impl Iterator<Item = &Named> {
        let first = self.default.iter().map(|first| &first.named);
        first.chain(&self.always).chain(self.selected.iter().map(|(_, named)| named))
    }
}

/// The default network of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct First {
    /// The network.
    pub named: Named,
    /// The name of its interface.
    pub ifname: IfName,
    /// The capabilities the runtime gave.
    pub capabilities: Object,
    /// The pod's own selection of it, if it replaces the node's.
    pub selection: Option<Selection>,
}

/// Makes attachments, in the order default, always, selected, auxiliary. An additional one without a name of its own is `net<n>`,
/// where n counts the attachments before it.
///
/// # Errors
/// Two attachments want one interface name; a selection carries what cannot be passed on; more default routes are asked
/// for than a pod can have.
pub fn resolve(sandbox: &Sandbox, wish: Wish) -> Outcome<Vec<Attachment>> {
    let mut attachments = Vec::new();
    if let Some(first) = wish.default {
        let given = device(&first.named, first.selection.as_ref());
        let made = attachment(sandbox, first.named, first.ifname, Role::Default);
        let mut made = Attachment { capabilities: first.capabilities, ..made };
        if let Some(selection) = &first.selection {
            made = asked(made, selection)?;
        }
        made = with_device(sandbox, made, given)?;
        if let Some(selection) = &first.selection {
            made.in_vain = Aside(in_vain::of(selection, &made)?);
        }
        attachments.push(made);
    }
    // The default network counts even where a door leaves it out: the first additional interface is net1.
    let mut number = attachments.len().max(1);
    let mut add = |selection: Option<Selection>, named: Named| -> Outcome<()> {
        let requested = selection.as_ref().and_then(|s| s.interface.clone());
        let ifname = requested.map_or_else(|| numbered(number), Ok)?;
        let given = device(&named, selection.as_ref());
        let mut made = attachment(sandbox, named, ifname, Role::Additional);
        made.capabilities = wish.shared.clone();
        number += 1;
        if let Some(selection) = selection {
            for (key, value) in selection.capabilities()?.iter() {
                made.capabilities.set(key, value.to_owned());
            }
            made = asked(made, &selection)?;
            made.selection = Some(Box::new(selection));
        }
        made = with_device(sandbox, made, given)?;
        if let Some(selection) = &made.selection {
            made.in_vain = Aside(in_vain::of(selection, &made)?);
        }
        attachments.push(made);
        Ok(())
    };
    wish.always.into_iter().try_for_each(|named| add(None, named))?;
    wish.selected.into_iter().try_for_each(|(selection, named)| add(Some(selection), named))?;
    let auxiliary = wish.auxiliary.map(|network| Named::new(network.name.to_string(), network));
    auxiliary.into_iter().try_for_each(|named| add(None, named))?;
    no_clash(&attachments)?;
    attachments.iter_mut().for_each(drop_undeclared);
    default_route::share(&mut attachments)?;
    Ok(attachments)
}

fn numbered(number: usize) -> Outcome<IfName> {
    format!("net{number}").parse()
}

/// An attachment with what the sandbox gives every one.
fn attachment(sandbox: &Sandbox, named: Named, ifname: IfName, role: Role) -> Attachment {
    Attachment {
        netns: sandbox.netns.clone(),
        role,
        standalone: sandbox.standalone.clone(),
        called: sandbox.called.clone(),
        in_place: sandbox.in_place,
        label: named.label,
        args: sandbox.args.clone(),
        ..Attachment::new(Owner { container: sandbox.container.clone(), ifname }, named.network)
    }
}

/// The attachment with what a selection asks of its plugins.
fn asked(mut made: Attachment, selection: &Selection) -> Outcome<Attachment> {
    made.routing.take_default = selection.default_route.clone().unwrap_or_default();
    // Plugins that know no capabilities read the old arguments.
    if let Some(mac) = selection.mac() {
        made.args.set("MAC", mac);
    }
    // Of several, plugins that have the capability are told by it: some of them refuse an argument of several.
    let ips = selection.ips();
    let by_capability = made.role == Role::Additional && made.network.plugins.iter().any(|p| p.wants("ips"));
    if ips.len() == 1 || !(ips.is_empty() || by_capability) {
        made.args.set("IP", ips.join(","));
    }
    if !selection.cni_args.is_empty() {
        for plugin in &mut made.network.plugins {
            plugin.merge_args(&selection.cni_args)?;
        }
    }
    Ok(made)
}

/// The device of an attachment: the one the kubelet gave, else the one the pod names itself.
fn device(named: &Named, selection: Option<&Selection>) -> Option<Device> {
    let asked = || selection.and_then(Selection::device_id).cloned();
    named.device.clone().or_else(|| asked().map(|id| Device { id, resource: None }))
}

/// The attachment with its device: every plugin is told of it, and where what is known of it is written.
///
/// A device that the pod names is no more than a wish: where the network names one itself, only plugins that declare the
/// capability are told of it. Else a pod could turn a network into one for any device of the node.
fn with_device(sandbox: &Sandbox, mut made: Attachment, device: Option<Device>) -> Outcome<Attachment> {
    let plugins = &made.network.plugins;
    let named_already = plugins.iter().any(PluginConf::names_device);
    let is_wish = |device: &Device| device.resource.is_none() && named_already;
    // Nobody would hear of it: then it is not the attachment's.
    let device = device.filter(|one| !is_wish(one) || plugins.iter().any(|plugin| plugin.wants("deviceID")));
    if let Some(device) = &device {
        made.capabilities.put("deviceID", &device.id)?;
        if !is_wish(device) {
            made.network.plugins.iter_mut().try_for_each(|plugin| plugin.set_device(&device.id))?;
        }
    }
    if device_file::is_wanted(&made) || device.is_some() {
        let file = device_file::of_attachment(&sandbox.device_info_dir, &made.label, &made.owner);
        made.capabilities.put("CNIDeviceInfoFile", &file)?;
        made.device_file = Some(file);
    }
    made.device = device;
    Ok(made)
}

/// Drops the values of capabilities that no plugin of the network declared: nobody will be given them, and what a
/// runtime hands over, such as all annotations of a pod, is not to lie about in records.
fn drop_undeclared(made: &mut Attachment) {
    let plugins = &made.network.plugins;
    made.capabilities.retain(|key| plugins.iter().any(|plugin| plugin.wants(key)));
}

fn no_clash(attachments: &[Attachment]) -> Outcome<()> {
    for (index, one) in attachments.iter().enumerate() {
        let twin = attachments.iter().take(index).find(|other| other.owner == one.owner);
        if let Some(twin) = twin {
            let what = format!(
                "networks {:?} and {:?} both want interface {:?}",
                twin.label,
                one.label,
                one.owner.ifname.as_str()
            );
            return Err(
                Fault::new(FaultKind::Config, what).remedy("name the interfaces apart, as in \"name@net7\"")
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
