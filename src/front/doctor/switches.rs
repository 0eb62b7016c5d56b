//! The node's virtual switches, where there are any: whether they answer, and what would keep a pod from a port.

use std::path::Path;

use super::{Finding, Health, ok, warning};
use crate::host::ovsdb::OpenSwitches;
use crate::host::vpp::OpenVpps;
use crate::model::fault::Fault;
use crate::model::settings::Switches;
use crate::plan::port::OvsDatabase;
use crate::plan::vpp::VppApi;

/// Whether links in a directory that anybody may write to are followed for others.
const PROTECTED_SYMLINKS: &str = "/proc/sys/fs/protected_symlinks";

/// Looks at the switches of a configuration. A node has none where nothing stands in the place of their sockets.
pub(super) fn look(configured: Option<&Switches>) -> Vec<Finding> {
    let standard = Switches::default();
    let switches = configured.unwrap_or(&standard);
    let found = [
        switches.ovsdb.exists().then(|| open_vswitch(switches)),
        switches.vpp.exists().then(|| vpp(switches)),
    ];
    let mut findings: Vec<Finding> = found.into_iter().flatten().collect();
    if !findings.is_empty() {
        findings.extend(links(Path::new(PROTECTED_SYMLINKS)));
    }
    findings
}

fn open_vswitch(switches: &Switches) -> Finding {
    const WHAT: &str = "Open vSwitch";
    let database = OvsDatabase::of(switches);
    match OpenSwitches::default().about(&database) {
        Err(fault) => unwell(WHAT, &fault),
        Ok(about) => {
            let version = about.version.map(|version| format!(" {version}")).unwrap_or_default();
            match about.dpdk {
                Some(dpdk) => ok(WHAT, format!("version{version} with {dpdk}, at {:?}", switches.ovsdb)),
                None => warning(
                    WHAT,
                    format!("version{version} at {:?} runs without DPDK", switches.ovsdb),
                    "only needed for networks of type vhost-user: \"ovs-vsctl set Open_vSwitch . \
                     other_config:dpdk-init=true\", with an ovs-vswitchd that has DPDK",
                ),
            }
        }
    }
}

fn vpp(switches: &Switches) -> Finding {
    const WHAT: &str = "VPP";
    match OpenVpps::default().survey(&VppApi::of(switches), None) {
        Err(fault) => unwell(WHAT, &fault),
        Ok(facts) => {
            let kinds = [(facts.has.vhost_user, "vhost-user"), (facts.has.memif, "memif")];
            let made: Vec<&str> = kinds.iter().filter(|(has, _)| *has).map(|(_, kind)| *kind).collect();
            let found = format!("{} at {:?}", facts.version, switches.vpp);
            match made.as_slice() {
                [] => warning(WHAT, format!("{found} makes no sockets"), "load its plugin memif or vhost"),
                made => ok(WHAT, format!("{found} makes {}", made.join(" and "))),
            }
        }
    }
}

/// A switch that does not answer is missed by its own pods alone.
fn unwell(what: &'static str, fault: &Fault) -> Finding {
    let remedy = fault.advice().map(str::to_owned);
    Finding { what, health: Health::Warning, found: fault.to_string(), remedy }
}

/// Whether a pod can lead the switch to another pod's socket by a link.
fn links(setting: &Path) -> Option<Finding> {
    let off = std::fs::read_to_string(setting).is_ok_and(|value| value.trim() == "0");
    off.then(|| {
        warning(
            "links",
            "fs.protected_symlinks is 0: a pod could lead a switch to another pod's socket",
            "\"sysctl fs.protected_symlinks=1\", and see docs/vhost-user.md, \"Safety\"",
        )
    })
}
