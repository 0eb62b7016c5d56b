//! A port of the switch: looked for, made, held against what was made, taken down.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::About;
use super::change::{self, BRIDGE_GUARD, BridgeChange, NAME_GUARD, Predecessor, Vlans};
use super::reply::{Refusal, Transacted};
use super::session::Session;
use super::value;
use crate::host::stream::Deadline;
use crate::model::fault::{Fault, Outcome};
use crate::model::vhost_user::BridgeName;
use crate::model::{FaultKind, Owner};
use crate::plan::port::{Port, SwitchFacts};

/// How often a transaction is tried whose guards others made void.
const TRIES: u32 = 5;

/// Looks at the switch and one of its bridges.
pub(super) fn survey(session: &mut Session, bridge: &BridgeName, deadline: Deadline) -> Outcome<SwitchFacts> {
    let columns = ["dpdk_initialized", "iface_types", "other_config"];
    let mut answers = session.select(
        vec![
            json!({"op": "select", "table": "Open_vSwitch", "where": [], "columns": columns}),
            select_bridge(bridge, &["datapath_type"]),
        ],
        deadline,
    )?;
    let bridges = answers.pop().unwrap_or_default();
    let root = answers.pop().and_then(|rows| rows.into_iter().next()).unwrap_or_default();
    let socket_dir = value::map(&root, "other_config").get("vhost-sock-dir").map(|dir| (*dir).into());
    Ok(SwitchFacts {
        dpdk: root.get("dpdk_initialized").and_then(Value::as_bool).unwrap_or_default(),
        interface_types: value::texts(&root, "iface_types"),
        socket_dir,
        datapath: bridges.first().map(|row| value::text(row, "datapath_type").unwrap_or_default().to_owned()),
    })
}

/// Looks which switch it is.
pub(super) fn about(session: &mut Session, deadline: Deadline) -> Outcome<About> {
    let columns = ["ovs_version", "dpdk_initialized", "dpdk_version"];
    let wanted = json!({"op": "select", "table": "Open_vSwitch", "where": [], "columns": columns});
    let root = session.select(vec![wanted], deadline)?.pop().and_then(|rows| rows.into_iter().next());
    let root = root.unwrap_or_default();
    let text = |column: &str| value::text(&root, column).map(str::to_owned);
    let runs = root.get("dpdk_initialized").and_then(Value::as_bool).unwrap_or_default();
    Ok(About {
        version: text("ovs_version"),
        dpdk: runs.then(|| text("dpdk_version").unwrap_or_else(|| "DPDK".to_owned())),
    })
}

fn select_bridge(name: &BridgeName, columns: &[&str]) -> Value {
    json!({"op": "select", "table": "Bridge", "where": [["name", "==", name]], "columns": columns})
}

/// Makes the port and waits until ovs-vswitchd has it.
pub(super) fn attach(session: &mut Session, owner: &Owner, port: &Port, deadline: Deadline) -> Outcome<()> {
    let mut old: Option<String> = None;
    for _ in 0..TRIES {
        let bridge = bridge_change(session, port, deadline)?;
        let before = old.as_deref().map_or(Predecessor::None, Predecessor::Replace);
        let operations = change::make(owner, port, bridge, before);
        match session.transact_watched(operations, deadline)? {
            Transacted::Done(results) => return taken_up(session, results, port, deadline),
            // Somebody made or removed the bridge in between.
            Transacted::Refused(Refusal { operation: BRIDGE_GUARD, error, .. })
                if error == "timed out" && port.create_bridge => {}
            Transacted::Refused(Refusal { operation: BRIDGE_GUARD, error, .. }) if error == "timed out" => {
                return Err(unfit_bridge(session, port, deadline)?);
            }
            Transacted::Refused(Refusal { operation: NAME_GUARD, error, .. }) if error == "timed out" => {
                match predecessor(session, owner, port, deadline)? {
                    Found::Nothing => {}
                    Found::Same => return adopt(session, port, deadline),
                    Found::Other(uuid) => old = Some(uuid),
                }
            }
            Transacted::Refused(refusal) => return Err(refusal.fault(session.place())),
        }
    }
    Err(Fault::new(
        FaultKind::TryLater,
        format!("bridge {:?} comes and goes: others are changing it", port.bridge.as_str()),
    )
    .remedy("none is needed: the runtime will try again"))
}

/// Whether the bridge has to be made, where that is asked for.
fn bridge_change(session: &mut Session, port: &Port, deadline: Deadline) -> Outcome<BridgeChange> {
    if !port.create_bridge {
        return Ok(BridgeChange::Keep);
    }
    let mut answers = session.select(vec![select_bridge(&port.bridge, &["name"])], deadline)?;
    let there = answers.pop().is_some_and(|rows| !rows.is_empty());
    Ok(if there { BridgeChange::Keep } else { BridgeChange::Make })
}

/// Waits until ovs-vswitchd has taken the transaction up, then asks what it made of it.
fn taken_up(session: &mut Session, mut results: Vec<Value>, port: &Port, deadline: Deadline) -> Outcome<()> {
    let rows = results.pop().and_then(|result| result.get("rows").cloned()).unwrap_or_default();
    let number = rows.get(0).and_then(|row| value::number(row, "next_cfg")).unwrap_or_default();
    session.await_configuration(number, deadline)?;
    verdict(session, port, deadline)
}

fn verdict(session: &mut Session, port: &Port, deadline: Deadline) -> Outcome<()> {
    let columns = ["ofport", "error"];
    let wanted = json!({
        "op": "select", "table": "Interface", "where": [["name", "==", port.name]], "columns": columns,
    });
    let row = session.select(vec![wanted], deadline)?.pop().and_then(|rows| rows.into_iter().next());
    let refused = |words: &str| {
        Fault::new(FaultKind::Switch, format!("Open vSwitch cannot make port {:?}", port.name))
            .because(words.to_owned())
            .remedy("see ovs-vswitchd's log")
    };
    let Some(row) = row else { return Err(refused("somebody removed it at once")) };
    match (value::text(&row, "error"), value::number(&row, "ofport")) {
        (Some(error), _) => Err(refused(error)),
        (None, Some(1..)) => Ok(()),
        (None, _) => Err(refused("it was given no number")),
    }
}

/// What stands under the port's name.
enum Found {
    Nothing,
    Same,
    Other(String),
}

/// Who has the port's name: an earlier try of the same owner, whose row is lost to us, or somebody else.
fn predecessor(session: &mut Session, owner: &Owner, port: &Port, deadline: Deadline) -> Outcome<Found> {
    let wanted = json!({
        "op": "select", "table": "Port", "where": [["name", "==", port.name]], "columns": ["_uuid", "external_ids"],
    });
    let row = session.select(vec![wanted], deadline)?.pop().and_then(|rows| rows.into_iter().next());
    let Some(row) = row else { return Ok(Found::Nothing) };
    let marks = value::map(&row, "external_ids");
    if marks.get(change::OWNER).copied() != Some(owner.to_string().as_str()) {
        return Err(Fault::new(
            FaultKind::Exists,
            format!("Open vSwitch has a port {:?} of somebody else's", port.name),
        )
        .remedy(format!("remove it: \"ovs-vsctl del-port {}\"", port.name)));
    }
    if marks.get(change::ASKED).copied() == Some(change::asked(port).as_str()) {
        return Ok(Found::Same);
    }
    Ok(value::uuid(&row).map_or(Found::Nothing, |uuid| Found::Other(uuid.to_owned())))
}

/// Takes over a port that an earlier try made just so.
fn adopt(session: &mut Session, port: &Port, deadline: Deadline) -> Outcome<()> {
    match session.transact_watched(change::next_configuration().to_vec(), deadline)? {
        Transacted::Done(results) => taken_up(session, results, port, deadline),
        Transacted::Refused(refusal) => Err(refusal.fault(session.place())),
    }
}

/// Why the bridge is not what the guard asks for. The survey found it fit, so somebody changed it since.
fn unfit_bridge(session: &mut Session, port: &Port, deadline: Deadline) -> Outcome<Fault> {
    let bridge = port.bridge.as_str();
    let row = session.select(vec![select_bridge(&port.bridge, &["name"])], deadline)?.pop();
    Ok(match row.is_some_and(|rows| !rows.is_empty()) {
        true => Fault::new(FaultKind::Config, format!("bridge {bridge:?} uses the kernel's datapath"))
            .remedy(format!("\"ovs-vsctl set bridge {bridge} datapath_type=netdev\"")),
        false => Fault::new(FaultKind::Absent, format!("bridge {bridge:?} is gone")).remedy(format!(
            "\"ovs-vsctl add-br {bridge} -- set bridge {bridge} datapath_type=netdev\", or set \"createBridge\" in the \
             network"
        )),
    })
}

/// Takes down the ports of these owners.
pub(super) fn detach(session: &mut Session, owners: &[&Owner], deadline: Deadline) -> Outcome<()> {
    let of = |table: &str, owner: &Owner| json!({"op": "select", "table": table, "where": change::owned_by(owner), "columns": ["_uuid"]});
    let wanted = owners.iter().flat_map(|owner| [of("Port", owner), of("QoS", owner)]).collect();
    let answers = session.select(wanted, deadline)?;
    let uuids = |rows: &[Value]| rows.iter().filter_map(value::uuid).map(str::to_owned).collect::<Vec<_>>();
    let ports: Vec<String> = answers.iter().step_by(2).flat_map(|rows| uuids(rows)).collect();
    if answers.iter().all(Vec::is_empty) {
        return Ok(());
    }
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    match session.transact(change::remove(&ports, owners), deadline)? {
        Transacted::Done(_) => Ok(()),
        Transacted::Refused(refusal) => Err(refusal.fault(session.place())),
    }
}

/// Removes a bridge that Manifold made, if nothing but its own port is on it.
pub(super) fn remove_empty_bridge(
    session: &mut Session,
    bridge: &BridgeName,
    deadline: Deadline,
) -> Outcome<()> {
    let columns = ["_uuid", "ports", "external_ids"];
    let row = session.select(vec![select_bridge(bridge, &columns)], deadline)?.pop();
    let Some(row) = row.and_then(|rows| rows.into_iter().next()) else { return Ok(()) };
    let ours = value::map(&row, "external_ids").contains_key(change::STATE_DIR);
    let ports = row.get("ports").map(value::set).unwrap_or_default();
    let (true, [own], Some(uuid)) = (ours, ports.as_slice(), value::uuid(&row)) else { return Ok(()) };
    let Some(own) = own.get(1).and_then(Value::as_str) else { return Ok(()) };
    match session.transact(change::remove_bridge(bridge, uuid, own), deadline)? {
        // The guard: somebody's port came in between, so the bridge stays.
        Transacted::Done(_) | Transacted::Refused(Refusal { operation: 0, .. }) => Ok(()),
        Transacted::Refused(refusal) => Err(refusal.fault(session.place())),
    }
}

/// Whether the port is as it was made, and works if an application uses it.
pub(super) fn holds(session: &mut Session, owner: &Owner, port: &Port, deadline: Deadline) -> Outcome<()> {
    let interface = ["type", "options", "error", "mtu_request", "status", "link_state"];
    let mut answers = session.select(
        vec![
            json!({
                "op": "select", "table": "Port", "where": change::owned_by(owner),
                "columns": ["_uuid", "vlan_mode", "tag", "trunks"],
            }),
            json!({
                "op": "select", "table": "Interface", "where": [["name", "==", port.name]], "columns": interface,
            }),
            select_bridge(&port.bridge, &["datapath_type"]),
        ],
        deadline,
    )?;
    let mut next = || answers.pop().and_then(|rows| rows.into_iter().next());
    let (bridge, made, row) = (next(), next(), next());
    if bridge.is_none() {
        return Err(drift(format!("bridge {:?} is gone", port.bridge.as_str())));
    }
    let (Some(row), Some(made)) = (row, made) else {
        return Err(drift(format!("port {:?} is gone from the switch", port.name)));
    };
    if let Some(lost) = difference(port, &row, &made) {
        return Err(drift(format!("port {:?} {lost}", port.name)));
    }
    on_its_bridge(session, port, &row, deadline)?;
    works(port, &made)
}

/// Whether the port is on the bridge it was made on, and the bridge has no other answer than yes or no: its list of
/// ports may be long.
fn on_its_bridge(session: &mut Session, port: &Port, row: &Value, deadline: Deadline) -> Outcome<()> {
    let uuid = json!(["uuid", value::uuid(row)]);
    let wanted = json!({
        "op": "select", "table": "Bridge", "where": [["name", "==", port.bridge], ["ports", "includes", uuid]],
        "columns": ["name"],
    });
    match session.select(vec![wanted], deadline)?.pop().is_some_and(|rows| !rows.is_empty()) {
        true => Ok(()),
        false => Err(drift(format!("port {:?} is not on bridge {:?}", port.name, port.bridge.as_str()))),
    }
}

/// What of a port is not as it was made.
fn difference(port: &Port, row: &Value, made: &Value) -> Option<&'static str> {
    let (kind, options) = change::kind(&port.end);
    let Vlans { mode, tag, trunks } = Vlans::of(&port.vlans);
    let seen = value::map(made, "options");
    let carried: BTreeSet<i64> = value::numbers(row, "trunks").into_iter().collect();
    let wanted: BTreeSet<i64> = trunks.iter().copied().map(i64::from).collect();
    let vlans = value::text(row, "vlan_mode") == mode && value::number(row, "tag") == tag.map(i64::from);
    if value::text(made, "type") != Some(kind) {
        Some("is of another type")
    } else if options.iter().any(|(key, value)| seen.get(key).copied() != Some(value.as_str())) {
        Some("uses another socket")
    } else if !vlans || carried != wanted {
        Some("carries other VLANs")
    } else if port.mtu.is_some_and(|mtu| value::number(made, "mtu_request") != Some(mtu.into())) {
        Some("has another MTU")
    } else {
        None
    }
}

/// Whether the port works, as far as the switch can tell. A port whose application is not there has nothing to tell.
fn works(port: &Port, made: &Value) -> Outcome<()> {
    if let Some(error) = value::text(made, "error") {
        return Err(drift(format!("port {:?} does not work", port.name)).because(error.to_owned()));
    }
    let connected = value::map(made, "status").get("status").copied() == Some("connected");
    if connected && value::text(made, "link_state") == Some("down") {
        return Err(Fault::new(
            FaultKind::Drift,
            format!("an application is connected to port {:?}, but its link is down", port.name),
        )
        .remedy(
            "see ovs-vswitchd's log: mostly its memory for packets is short (\"dpdk-socket-mem\" and \
             \"per-port-memory\" in other_config)",
        ));
    }
    Ok(())
}

fn drift(what: String) -> Fault {
    Fault::new(FaultKind::Drift, what).remedy("restart the pod")
}

/// Takes down what belongs to nobody any more.
pub(super) fn sweep(
    session: &mut Session,
    state_dir: &Path,
    keep: &dyn Fn(&Owner) -> bool,
    deadline: Deadline,
) -> Outcome<Vec<Owner>> {
    let wanted = json!({
        "op": "select", "table": "Port", "where": change::made_by(state_dir), "columns": ["_uuid", "external_ids"],
    });
    let rows = session.select(vec![wanted], deadline)?.pop().unwrap_or_default();
    let owned = rows.iter().filter_map(|row| {
        let marks = value::map(row, "external_ids");
        let (container, ifname) = marks.get(change::OWNER)?.split_once('/')?;
        let owner = Owner::parse(container, ifname).ok()?;
        Some((value::uuid(row)?, owner))
    });
    let (uuids, owners): (Vec<&str>, Vec<Owner>) = owned.filter(|(_, owner)| !keep(owner)).unzip();
    if uuids.is_empty() {
        return Ok(Vec::new());
    }
    let each: Vec<&Owner> = owners.iter().collect();
    match session.transact(change::remove(&uuids, &each), deadline)? {
        Transacted::Done(_) => Ok(owners),
        Transacted::Refused(refusal) => Err(refusal.fault(session.place())),
    }
}
