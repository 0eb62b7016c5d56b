//! What a pod asks for of a network in vain: nobody reads it, or no plugin of the network is told.

use super::keys::{self, Known};
use super::{ipam, kinds};
use crate::model::fault::Outcome;
use crate::model::{Attachment, PluginConf, Role, Selection, selection};

/// The fields of a selection.
const FIELDS: Known = Known { plain: &selection::FIELDS, objects: &[] };

/// What is said of the fields of a selection that have no effect on the attachment made for it.
///
/// `cni-args` reach every plugin, and what the others ask for beside capabilities Manifold does itself.
///
/// # Errors
/// As [`Selection::capabilities`].
pub fn of(selection: &Selection, made: &Attachment) -> Outcome<Vec<String>> {
    let mut lines = keys::unknown(&selection.unknown.0, &[&FIELDS]);
    let asked = selection.capabilities()?;
    lines.extend(asked.iter().filter_map(|(capability, _)| {
        let why = unheard(capability, selection, made)?;
        let field = if capability == "infinibandGUID" { "infiniband-guid" } else { capability };
        Some(format!("{field:?} has no effect: {why}"))
    }));
    Ok(lines.into_iter().map(|line| format!("selection: {line}")).collect())
}

/// Why no plugin hears of a value that reaches those which declare this capability.
fn unheard(capability: &str, selection: &Selection, made: &Attachment) -> Option<String> {
    let plugins = &made.network.plugins;
    let is_default = made.role == Role::Default;
    let any = |hears: fn(&PluginConf) -> bool| plugins.iter().any(hears);
    let declared = || !is_default && plugins.iter().any(|plugin| plugin.wants(capability));
    let undeclared = match capability {
        "deviceID" => {
            let given = made.device.as_ref().map(|device| &device.id);
            let other = given != selection.device_id();
            return other.then(|| "the network has a device of its own".to_owned());
        }
        // These are arguments as well, which any plugin that is run may read.
        "mac" if any(|plugin| kinds::of(plugin).takes_mac()) => return None,
        "ips" if any(|plugin| !kinds::is_native(plugin) || ipam::is_named(plugin)) => return None,
        _ => !declared(),
    };
    undeclared.then(|| match is_default {
        true => "what the default network is told is the runtime's affair".to_owned(),
        false => format!("no plugin of the network declares the capability {capability:?}"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::{Network, Owner};

    fn said(plugin: Value, selected: Value, role: Role) -> Vec<String> {
        let mut conf = plugin;
        conf["name"] = json!("data");
        let network = Network::parse(conf.to_string().as_bytes(), None).unwrap();
        let mut entry = selected;
        entry["name"] = json!("data");
        let selection = selection::parse(&json!([entry]).to_string()).unwrap().remove(0);
        let made = Attachment { role, ..Attachment::new(Owner::parse("pod-1", "net1").unwrap(), network) };
        of(&selection, &made).unwrap()
    }

    fn everything() -> Value {
        json!({
            "mac": "02:00:00:00:00:07", "ips": ["10.0.0.7"], "infiniband-guid": "c2:11:22:33:44:55:66:77",
            "portMappings": [{"hostPort": 80}], "bandwidth": {"ingressRate": 1}, "cni-args": {"a": 1},
            "default-route": ["10.0.0.1"], "ipam-claim-reference": "c", "interface": "d0", "namespace": "n",
        })
    }

    #[test]
    fn what_no_plugin_is_told_of_is_said() {
        let said = said(json!({"type": "vlan", "ipam": {}}), everything(), Role::Additional);

        let why = |field: &str, capability: &str| {
            let none = "no plugin of the network declares the capability";
            format!("selection: {field:?} has no effect: {none} {capability:?}")
        };
        let lines = [
            why("mac", "mac"),
            why("infiniband-guid", "infinibandGUID"),
            why("ips", "ips"),
            why("portMappings", "portMappings"),
            why("bandwidth", "bandwidth"),
        ];
        assert_eq!(said, lines);
    }

    #[test]
    fn what_a_plugin_is_told_of_is_not() {
        let all = ["mac", "infinibandGUID", "ips", "portMappings", "bandwidth"];
        let capabilities: Value = all.iter().map(|key| ((*key).to_owned(), json!(true))).collect();
        let declares = json!({"type": "vlan", "capabilities": capabilities});
        assert_eq!(said(declares, everything(), Role::Additional), Vec::<String>::new());

        let both = json!({"mac": "02:00:00:00:00:07", "ips": ["10.0.0.7"]});
        for plugin in [json!({"type": "bridge"}), json!({"type": "macvlan", "ipam": {"type": "host-local"}})]
        {
            for role in [Role::Default, Role::Additional] {
                assert_eq!(said(plugin.clone(), both.clone(), role), Vec::<String>::new(), "{plugin}");
            }
        }
    }

    #[test]
    fn of_a_default_network_capabilities_are_the_runtimes() {
        let declares = json!({"type": "bridge", "capabilities": {"bandwidth": true}});
        let said = said(declares, json!({"bandwidth": {"ingressRate": 1}}), Role::Default);

        let why = "what the default network is told is the runtime's affair";
        assert_eq!(said, [format!("selection: \"bandwidth\" has no effect: {why}")]);
    }

    #[test]
    fn a_device_that_is_not_taken_is_said() {
        let said = said(json!({"type": "bridge"}), json!({"deviceID": "0000:01:00.1"}), Role::Additional);
        assert_eq!(said, ["selection: \"deviceID\" has no effect: the network has a device of its own"]);
    }

    #[test]
    fn a_field_that_nobody_reads_is_said_with_the_nearest() {
        let said = said(
            json!({"type": "bridge"}),
            json!({"foo": 1, "ip": ["10.0.0.7"], "IPS": []}),
            Role::Additional,
        );
        assert_eq!(
            said,
            [
                "selection: \"foo\" has no effect: there is no such key",
                "selection: \"ip\" has no effect: there is no such key; did you mean \"ips\"?",
            ]
        );
    }

    #[test]
    fn every_field_is_known() {
        let mut entry = everything();
        entry["interfaceRequest"] = json!("d0");
        entry["deviceID"] = json!("d");
        entry["name"] = json!("data");
        let written = entry.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(written, selection::FIELDS.iter().map(ToString::to_string).collect());
        assert!(selection::parse(&json!([entry]).to_string()).unwrap()[0].unknown.0.is_empty());
    }
}
