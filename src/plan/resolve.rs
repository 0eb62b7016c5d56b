//! From what the configuration and the pod name to attachments: interface names, capabilities, arguments.

use std::path::PathBuf;

use super::{default_route, device_file, in_vain};
use crate::model::args::CniArgs;
use crate::model::device::{Device, ResourceName};
use crate::model::fault::{Fault, Outcome};
use crate::model::{
    Attachment, ContainerId, FaultKind, IfName, NetnsPath, Network, NetworkName, Object, Owner, PluginConf,
    Role, Selection,
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
        let given = device(&first.named, first.selection.as_ref())?;
        let made = attachment(sandbox, first.named, first.ifname, Role::Default);
        let mut made = Attachment { capabilities: first.capabilities, ..made };
        if let Some(selection) = &first.selection {
            made = asked(made, selection)?;
        }
        made = with_device(sandbox, made, given)?;
        if let Some(selection) = &first.selection {
            made.in_vain = in_vain::of(selection, &made)?;
        }
        attachments.push(made);
    }
    // The default network counts even where a door leaves it out: the first additional interface is net1.
    let mut number = attachments.len().max(1);
    let mut add = |selection: Option<Selection>, named: Named| -> Outcome<()> {
        let requested = selection.as_ref().and_then(|s| s.interface.clone());
        let ifname = requested.map_or_else(|| numbered(number), Ok)?;
        let given = device(&named, selection.as_ref())?;
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
            made.in_vain = in_vain::of(selection, &made)?;
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
fn device(named: &Named, selection: Option<&Selection>) -> Outcome<Option<Device>> {
    if named.device.is_some() {
        return Ok(named.device.clone());
    }
    let asked = selection.and_then(Selection::device_id).map(str::parse).transpose()?;
    Ok(asked.map(|id| Device { id, resource: None }))
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
mod tests {
    use super::*;
    use crate::model::selection;

    fn named(name: &str) -> Named {
        let keys = r#""capabilities":{"mac":true},"args":{"cni":{"a":1}}"#;
        let conf = format!(r#"{{"name":"{name}","type":"macvlan",{keys}}}"#);
        Named::new(format!("ns/{name}"), Network::parse(conf.as_bytes(), None).unwrap())
    }

    fn sandbox() -> Sandbox {
        Sandbox {
            container: "c1".parse().unwrap(),
            netns: None,
            args: "IgnoreUnknown=1".parse().unwrap(),
            standalone: None,
            in_place: false,
            device_info_dir: "/devinfo".into(),
        }
    }

    fn wish(text: &str) -> Wish {
        let selected =
            selection::parse(text).unwrap().into_iter().map(|s| (s.clone(), named(&s.name))).collect();
        let default = First {
            named: named("default"),
            ifname: "eth0".parse().unwrap(),
            capabilities: Object::default(),
            selection: None,
        };
        Wish { default: Some(default), always: vec![named("always")], selected, ..Wish::default() }
    }

    fn names(attachments: &[Attachment]) -> Vec<&str> {
        attachments.iter().map(|a| a.owner.ifname.as_str()).collect()
    }

    #[test]
    fn interfaces_are_numbered_by_their_place() {
        let made = resolve(&sandbox(), wish("a,b@data0,a")).unwrap();

        assert_eq!(names(&made), ["eth0", "net1", "net2", "data0", "net4"]);
        assert_eq!(made[0].role, Role::Default);
        assert!(made[1..].iter().all(|a| a.role == Role::Additional));
    }

    #[test]
    fn without_a_default_network_the_first_is_still_net1() {
        let made = resolve(&sandbox(), Wish { default: None, always: vec![], ..wish("a,b") }).unwrap();
        assert_eq!(names(&made), ["net1", "net2"]);
    }

    #[test]
    fn two_of_one_name_are_refused() {
        let fault = resolve(&sandbox(), wish("a@net3,b")).unwrap_err();

        assert_eq!(fault.kind(), FaultKind::Config);
        assert_eq!(fault.to_string(), "networks \"ns/a\" and \"ns/b\" both want interface \"net3\"");
    }

    #[test]
    fn what_a_selection_asks_reaches_capabilities_arguments_and_plugins() {
        let text = r#"[{"name":"a","mac":"02:00:00:00:00:07","ips":["10.0.0.7/24"],"cni-args":{"b":2}}]"#;
        let made = resolve(&sandbox(), wish(text)).unwrap();

        let last = made.last().unwrap();
        assert_eq!(last.args.to_string(), "IgnoreUnknown=1;MAC=02:00:00:00:00:07;IP=10.0.0.7/24");
        assert_eq!(last.capabilities.get("mac").unwrap().get(), "\"02:00:00:00:00:07\"");
        assert!(last.capabilities.get("ips").is_none(), "no plugin declared it");
        let conf = String::from_utf8(last.network.plugins[0].object().to_bytes()).unwrap();
        assert!(conf.contains(r#""args":{"cni":{"a":1,"b":2}}"#), "{conf}");
    }

    #[test]
    fn several_addresses_reach_plugins_as_an_argument_unless_a_capability_tells_them() {
        let made = |capabilities: &str| {
            let conf = format!(r#"{{"name":"a","type":"macvlan","capabilities":{capabilities}}}"#);
            let network = Network::parse(conf.as_bytes(), None).unwrap();
            let text = r#"[{"name":"a","ips":["10.0.0.7/24","fd00::7/64"]}]"#;
            let selection = selection::parse(text).unwrap().remove(0);
            let first = First {
                named: Named::new("ns/a", network.clone()),
                ifname: "eth0".parse().unwrap(),
                capabilities: Object::default(),
                selection: Some(selection.clone()),
            };
            let selected = vec![(selection, Named::new("ns/a", network))];
            let made =
                resolve(&sandbox(), Wish { default: Some(first), selected, ..Wish::default() }).unwrap();
            made.iter().map(|one| one.args.get("IP").map(str::to_owned)).collect::<Vec<_>>()
        };
        let both = || Some("10.0.0.7/24,fd00::7/64".to_owned());

        assert_eq!(made("{}"), [both(), both()]);
        assert_eq!(made(r#"{"ips":true}"#), [both(), None], "a default network is told by arguments alone");
    }

    #[test]
    fn a_device_reaches_every_plugin_and_whoever_asks_for_its_file() {
        let conf = r#"{"name":"l","plugins":[{"type":"a","capabilities":{"deviceID":true,"CNIDeviceInfoFile":true}},
            {"type":"b","deviceID":"old"}]}"#;
        let network = Network::parse(conf.as_bytes(), None).unwrap();
        let device =
            Device { id: "0000:01:10.0".parse().unwrap(), resource: Some("intel.com/vf".parse().unwrap()) };
        let named = Named { device: Some(device.clone()), ..Named::new("ns/l", network) };
        let selection = selection::parse(r#"[{"name":"l","deviceID":"0000:09:00.0"}]"#).unwrap().remove(0);
        let wish = Wish { selected: vec![(selection, named)], ..Wish::default() };

        let made = resolve(&sandbox(), wish).unwrap().remove(0);

        let text = |at: usize| String::from_utf8(made.network.plugins[at].object().to_bytes()).unwrap();
        assert!(text(0).ends_with(r#","deviceID":"0000:01:10.0","pciBusID":"0000:01:10.0"}"#), "{}", text(0));
        assert_eq!(text(1), r#"{"type":"b","deviceID":"0000:01:10.0","pciBusID":"0000:01:10.0"}"#);
        assert_eq!(made.capabilities.get("deviceID").unwrap().get(), "\"0000:01:10.0\"");
        let file = "/devinfo/cni/ns-l-c1_net1";
        assert_eq!(made.capabilities.get("CNIDeviceInfoFile").unwrap().get(), format!("{file:?}"));
        assert_eq!((made.device, made.device_file), (Some(device), Some(file.into())));
    }

    #[test]
    fn a_pod_may_name_its_device_itself() {
        let made = resolve(&sandbox(), wish(r#"[{"name":"a","deviceID":"0000:09:00.0"}]"#)).unwrap();

        let device = made.last().unwrap().device.clone().unwrap();
        assert_eq!((device.id.as_str(), device.resource), ("0000:09:00.0", None));
        assert!(made.iter().rev().skip(1).all(|a| a.device.is_none() && a.device_file.is_none()));
    }

    #[test]
    fn a_pod_does_not_replace_the_device_that_a_network_names() {
        let conf = |keys: &str| format!(r#"{{"name":"a","type":"host-device",{keys}}}"#);
        let given = |keys: &str, resource: Option<&str>| {
            let network = Network::parse(conf(keys).as_bytes(), None).unwrap();
            let device = resource.map(|resource| Device {
                id: "0000:05:00.0".parse().unwrap(),
                resource: Some(resource.parse().unwrap()),
            });
            let named = Named { device, ..Named::new("ns/a", network) };
            let selection =
                selection::parse(r#"[{"name":"a","deviceID":"0000:09:00.0"}]"#).unwrap().remove(0);
            let wish = Wish { selected: vec![(selection, named)], ..Wish::default() };
            let made = resolve(&sandbox(), wish).unwrap().remove(0);
            let plugin = made.network.plugins[0].object();
            let id = |raw: Option<&serde_json::value::RawValue>| raw.map(|raw| raw.get().to_owned());
            (id(plugin.find("pciBusID")), id(plugin.find("deviceID")), id(made.capabilities.find("deviceID")))
        };
        let text = |id: &str| Some(format!("\"0000:{id}:00.0\""));

        let own = r#""pcibusid":"0000:01:00.0""#;
        assert_eq!(given(own, None), (text("01"), None, None));
        let declared = r#""device":"eth7","capabilities":{"deviceID":true}"#;
        assert_eq!(given(declared, None), (None, None, text("09")));
        let empty = r#""deviceID":"","pciBusID":null"#;
        assert_eq!(given(empty, None), (text("09"), text("09"), None));
        assert_eq!(given(own, Some("intel.com/vf")), (text("05"), text("05"), None));
    }

    /// What each attachment does with its default routes: `4` or `6` taken, `-4` or `-6` given up.
    fn routings(text: &str) -> Vec<String> {
        let made = resolve(&sandbox(), wish(text)).unwrap();
        let words = |a: &Attachment| {
            let taken = a.routing.take_default.iter().map(|ip| if ip.is_ipv4() { "4" } else { "6" });
            let yielded = [(a.routing.yield_ipv4, "-4"), (a.routing.yield_ipv6, "-6")];
            let yielded = yielded.into_iter().filter(|(yes, _)| *yes).map(|(_, word)| word);
            taken.chain(yielded).collect::<Vec<_>>().join(" ")
        };
        made.iter().map(words).collect()
    }

    #[test]
    fn who_takes_a_default_route_takes_it_from_all_others() {
        let one = r#"[{"name":"a","default-route":["10.0.0.1"]},{"name":"b"}]"#;
        assert_eq!(routings(one), ["-4", "-4", "4", "-4"]);
        let both = r#"[{"name":"a","default-route":["10.0.0.1","fd00::1"]}]"#;
        assert_eq!(routings(both), ["-4 -6", "-4 -6", "4 6"]);
        let split = r#"[{"name":"a","default-route":["fd00::1"]},{"name":"b","default-route":["10.0.0.1"]}]"#;
        assert_eq!(routings(split), ["-4 -6", "-4 -6", "6 -4", "4 -6"]);
    }

    #[test]
    fn an_empty_list_of_default_routes_changes_nothing() {
        assert_eq!(routings(r#"[{"name":"a","default-route":[]},{"name":"b"}]"#), ["", "", "", ""]);
        let beside = r#"[{"name":"a","default-route":[]},{"name":"b","default-route":["10.0.0.1"]}]"#;
        assert_eq!(routings(beside), ["-4", "-4", "-4", "4"]);
    }

    #[test]
    fn a_second_default_route_of_a_family_is_refused() {
        for text in [
            r#"[{"name":"a","default-route":["10.0.0.1"]},{"name":"b","default-route":["10.0.1.1"]}]"#,
            r#"[{"name":"a","default-route":["fd00::1","fd00::2"]}]"#,
        ] {
            let fault = resolve(&sandbox(), wish(text)).unwrap_err();
            assert_eq!(fault.kind(), FaultKind::Config);
        }
        let text = r#"[{"name":"a","default-route":["10.0.0.1"]},{"name":"b","default-route":["10.0.1.1"]}]"#;
        assert_eq!(
            resolve(&sandbox(), wish(text)).unwrap_err().to_string(),
            "\"default-route\" asks for two IPv4 gateways: 10.0.0.1 for \"net2\" (ns/a) and 10.0.1.1 for \"net3\" (ns/b)"
        );
    }
}
