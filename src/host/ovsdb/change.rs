//! What is written into the database, and the marks by which it is found again.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::value::{map_of, references};
use crate::model::Owner;
use crate::model::vhost_user::{BridgeName, PortVlans, RateLimit};
use crate::plan::mark;
use crate::plan::port::{Port, SwitchEnd};

/// The key of `external_ids` that tells whose a row is: `<sandbox>/<interface>`.
pub(super) const OWNER: &str = "manifold-owner";
/// The key that tells which Manifold made it: its directory of records.
pub(super) const STATE_DIR: &str = "manifold-state-dir";
/// The key that tells what was asked for, in a digest.
pub(super) const ASKED: &str = "manifold-asked";
/// The key that tells the pod, for people.
const POD: &str = "manifold-pod";

/// Where in the transaction the guards stand.
pub(super) const BRIDGE_GUARD: usize = 0;
pub(super) const NAME_GUARD: usize = 1;

/// What becomes of the bridge while a port is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BridgeChange {
    /// It is there.
    Keep,
    /// It is made along with the port.
    Make,
}

/// What stood under the port's name before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predecessor<'a> {
    /// Nothing may.
    None,
    /// This row, which goes in the same transaction.
    Replace(&'a str),
}

/// The operations that make a port. The last but one reads the number of the configuration they make.
pub(super) fn make(owner: &Owner, port: &Port, bridge: BridgeChange, old: Predecessor<'_>) -> Vec<Value> {
    let name = &port.name;
    let mut operations = match bridge {
        BridgeChange::Keep => vec![wait(
            "Bridge",
            json!([["name", "==", port.bridge]]),
            json!([{"name": port.bridge, "datapath_type": "netdev"}]),
            &["name", "datapath_type"],
        )],
        BridgeChange::Make => {
            vec![wait("Bridge", json!([["name", "==", port.bridge]]), json!([]), &["name"])]
        }
    };
    operations.push(match old {
        Predecessor::None => wait("Port", json!([["name", "==", name]]), json!([]), &["name"]),
        Predecessor::Replace(uuid) => detach_from_bridges(&[uuid]),
    });
    if let Predecessor::Replace(_) = old {
        operations.extend(forget_limits(owner));
    }
    operations.push(json!({"op": "insert", "table": "Interface", "uuid-name": "i0", "row": interface(port)}));
    if let Some(limit) = port.egress {
        operations
            .push(json!({"op": "insert", "table": "QoS", "uuid-name": "q0", "row": quality(owner, limit)}));
    }
    operations
        .push(json!({"op": "insert", "table": "Port", "uuid-name": "p0", "row": port_row(owner, port)}));
    match bridge {
        BridgeChange::Keep => operations.push(json!({
            "op": "mutate", "table": "Bridge", "where": [["name", "==", port.bridge]],
            "mutations": [["ports", "insert", ["named-uuid", "p0"]]],
        })),
        BridgeChange::Make => operations.extend(make_bridge(&port.bridge, &port.state_dir)),
    }
    operations.push(comment(&format!("attach {owner}")));
    operations.extend(next_configuration());
    operations
}

/// The operations that count the configuration up, and read its number.
pub(super) fn next_configuration() -> [Value; 2] {
    [
        json!({"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]]}),
        json!({"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["next_cfg"]}),
    ]
}

/// The operations that take ports away, wherever they are, with what was made for their owners beside them. Rows that
/// nothing refers to any more go by themselves.
pub(super) fn remove(uuids: &[&str], owners: &[&Owner]) -> Vec<Value> {
    let names: Vec<String> = owners.iter().map(ToString::to_string).collect();
    let mut operations = vec![detach_from_bridges(uuids)];
    operations.extend(owners.iter().flat_map(|owner| forget_limits(owner)));
    operations.push(comment(&format!("detach {}", names.join(" "))));
    operations
}

fn detach_from_bridges(uuids: &[&str]) -> Value {
    let ports = references(uuids.iter().copied());
    json!({"op": "mutate", "table": "Bridge", "where": [], "mutations": [["ports", "delete", ports]]})
}

/// A limit is a row of its own that stays until it is deleted, and that cannot be deleted while a port refers to it,
/// even one that goes in the same transaction.
fn forget_limits(owner: &Owner) -> [Value; 2] {
    [
        json!({"op": "update", "table": "Port", "where": owned_by(owner), "row": {"qos": ["set", []]}}),
        json!({"op": "delete", "table": "QoS", "where": owned_by(owner)}),
    ]
}

/// The rows of an owner.
pub(super) fn owned_by(owner: &Owner) -> Value {
    json!([["external_ids", "includes", map_of([(OWNER, owner.to_string())])]])
}

/// The rows that a Manifold with this directory of records made.
pub(super) fn made_by(state_dir: &Path) -> Value {
    json!([["external_ids", "includes", map_of([(STATE_DIR, state_dir.to_string_lossy())])]])
}

/// The operations that remove a bridge whose only port is its own, of this identity.
pub(super) fn remove_bridge(name: &BridgeName, bridge: &str, own_port: &str) -> Vec<Value> {
    let ports = json!([{"ports": ["uuid", own_port]}]);
    vec![
        wait("Bridge", json!([["_uuid", "==", ["uuid", bridge]]]), ports, &["ports"]),
        json!({
            "op": "mutate", "table": "Open_vSwitch", "where": [],
            "mutations": [["bridges", "delete", ["uuid", bridge]]],
        }),
        comment(&format!("remove empty bridge {name}")),
    ]
}

/// A bridge for DPDK that forwards like a switch, as soon as it is there.
fn make_bridge(name: &BridgeName, state_dir: &Path) -> [Value; 4] {
    let marks = map_of([(STATE_DIR, state_dir.to_string_lossy())]);
    [
        json!({"op": "insert", "table": "Interface", "uuid-name": "ib", "row": {"name": name, "type": "internal"}}),
        json!({
            "op": "insert", "table": "Port", "uuid-name": "pb",
            "row": {"name": name, "interfaces": ["named-uuid", "ib"]},
        }),
        json!({
            "op": "insert", "table": "Bridge", "uuid-name": "b0",
            "row": {
                "name": name, "datapath_type": "netdev", "fail_mode": "standalone", "external_ids": marks,
                "ports": ["set", [["named-uuid", "pb"], ["named-uuid", "p0"]]],
            },
        }),
        json!({
            "op": "mutate", "table": "Open_vSwitch", "where": [],
            "mutations": [["bridges", "insert", ["named-uuid", "b0"]]],
        }),
    ]
}

fn wait(table: &str, rows: Value, until: Value, columns: &[&str]) -> Value {
    json!({
        "op": "wait", "table": table, "timeout": 0, "where": rows, "columns": columns, "until": "==", "rows": until,
    })
}

fn comment(text: &str) -> Value {
    json!({"op": "comment", "comment": format!("manifold: {text}")})
}

/// The type of an interface, and its options.
pub(super) fn kind(end: &SwitchEnd) -> (&'static str, BTreeMap<&'static str, String>) {
    match end {
        SwitchEnd::Connects(path) => {
            let path = path.to_string_lossy().into_owned();
            ("dpdkvhostuserclient", BTreeMap::from([("vhost-server-path", path)]))
        }
        SwitchEnd::Listens { .. } => ("dpdkvhostuser", BTreeMap::new()),
    }
}

fn interface(port: &Port) -> Value {
    let (kind, options) = kind(&port.end);
    let mut row = Map::new();
    row.insert("name".into(), json!(port.name));
    row.insert("type".into(), json!(kind));
    row.insert("options".into(), map_of(options));
    row.insert("external_ids".into(), map_of([("attached-mac", port.endpoint.mac.to_string())]));
    let numbers = [
        ("mtu_request", port.mtu),
        ("ofport_request", port.ofport_request.map(u32::from)),
        ("ingress_policing_rate", port.ingress.map(|limit| limit.rate)),
        ("ingress_policing_burst", port.ingress.map(|limit| limit.burst)),
    ];
    row.extend(numbers.into_iter().filter_map(|(key, number)| Some((key.to_owned(), json!(number?)))));
    Value::Object(row)
}

fn port_row(owner: &Owner, port: &Port) -> Value {
    let mut marks = vec![
        (OWNER, owner.to_string()),
        (STATE_DIR, port.state_dir.to_string_lossy().into_owned()),
        (ASKED, asked(port)),
    ];
    marks.extend(port.pod.clone().map(|pod| (POD, pod)));
    let mut row = Map::new();
    row.insert("name".into(), json!(port.name));
    row.insert("interfaces".into(), json!(["named-uuid", "i0"]));
    row.insert("external_ids".into(), map_of(marks));
    let Vlans { mode, tag, trunks } = Vlans::of(&port.vlans);
    let vlans = [("vlan_mode", mode.map(Value::from)), ("tag", tag.map(Value::from))];
    row.extend(vlans.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    if !trunks.is_empty() {
        row.insert("trunks".into(), json!(["set", trunks]));
    }
    if port.egress.is_some() {
        row.insert("qos".into(), json!(["named-uuid", "q0"]));
    }
    Value::Object(row)
}

/// The columns of a port that say which VLANs it carries.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Vlans<'a> {
    pub(super) mode: Option<&'static str>,
    pub(super) tag: Option<u16>,
    pub(super) trunks: &'a [u16],
}

impl<'a> Vlans<'a> {
    pub(super) fn of(vlans: &'a PortVlans) -> Self {
        match vlans {
            PortVlans::All => Self { mode: None, tag: None, trunks: &[] },
            PortVlans::Access(id) => Self { mode: Some("access"), tag: Some(*id), trunks: &[] },
            PortVlans::Trunk { native, ids } => {
                let mode = if native.is_some() { "native-untagged" } else { "trunk" };
                Self { mode: Some(mode), tag: *native, trunks: ids }
            }
        }
    }
}

/// A policer of what goes to the pod (`vswitchd/vswitch.xml`, QoS type `egress-policer`): bytes per second, and bytes.
fn quality(owner: &Owner, limit: RateLimit) -> Value {
    let bytes = |kilobits: u32| u64::from(kilobits) * 1000 / 8;
    let rate = bytes(limit.rate);
    // Without a burst of at least some packets nothing would get through.
    let burst = if limit.burst == 0 { (rate / 10).max(LEAST_BURST) } else { bytes(limit.burst) };
    let settings = map_of([("cir", rate.to_string()), ("cbs", burst.to_string())]);
    let marks = map_of([(OWNER, owner.to_string())]);
    json!({"type": "egress-policer", "other_config": settings, "external_ids": marks})
}

/// The least burst of a policer, in bytes: some packets of the usual size.
const LEAST_BURST: u64 = 16 << 10;

/// A digest of what is asked for.
pub(super) fn asked(port: &Port) -> String {
    mark::digest(&serde_json::to_string(port).unwrap_or_default())
}
