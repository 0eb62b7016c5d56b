//! What is in the way of a pod on this node, looked for before a pod finds it.

mod cluster;
mod conf;
mod daemon;
mod node;
mod records;
mod switches;

use std::path::Path;

use comfy_table::{Table, presets};
use serde::Serialize;

use self::conf::Conf;
use super::context::Context;
use super::machine::Machine;
use crate::model::fault::{ErrorReply, Fault};

/// How something was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Health {
    /// As it should be, or not in use.
    Ok,
    /// Some pods will miss it.
    Warning,
    /// No pod gets its networks.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    /// What was looked at.
    what: &'static str,
    /// How it is.
    health: Health,
    /// What was found.
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// Looks at everything. `conf_dir` is where the container runtime looks for its network's configuration, which says where
/// things are that are not named.
pub(super) fn examine(conf_dir: &Path, state_dir: Option<&Path>, bin_dir: Option<&Path>) -> Vec<Finding> {
    let conf = Conf::first_of(conf_dir);
    let ground = conf.as_ref().ok().and_then(Conf::ground);
    let mut places = ground.map(|ground| ground.places.clone()).unwrap_or_default();
    places.state_dir = state_dir.map_or(places.state_dir, Path::to_owned);
    places.bin_dir = bin_dir.map_or(places.bin_dir, Path::to_owned);
    let mut findings = vec![node::rights()];
    match &conf {
        Err(fault) => findings.push(bad("configuration", fault)),
        Ok(conf) => {
            findings.extend([Some(conf.finding()), conf.daemon(), conf.status()].into_iter().flatten());
            findings.extend(cluster::look(conf));
        }
    }
    findings.push(records::look(&Machine::new(&places, &[], &Context::default())));
    let is_shims = conf.as_ref().is_ok_and(Conf::is_shims);
    findings.push(node::plugins(&places.bin_dir, is_shims));
    findings.extend(node::kernel());
    findings.push(node::kubelet(&places.kubelet_dir.join("pod-resources/kubelet.sock")));
    findings.extend([node::virtual_functions(), node::huge_pages()]);
    findings.extend(switches::look(ground.map(|ground| &ground.switches)));
    findings
}

/// Whether anything keeps every pod from its networks.
pub(super) fn is_bad(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.health == Health::Bad)
}

/// The findings as a table; what to do stands beneath what was found.
pub(super) fn table(findings: &[Finding]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["", "WHAT", "FOUND"]);
    for finding in findings {
        let sign = match finding.health {
            Health::Ok => "ok",
            Health::Warning => "warn",
            Health::Bad => "BAD",
        };
        let remedy = finding.remedy.iter().map(|remedy| format!("\n  {remedy}"));
        table.add_row([sign, finding.what, &format!("{}{}", finding.found, remedy.collect::<String>())]);
    }
    // The style pads every cell, the first one too.
    table.trim_fmt().lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

fn ok(what: &'static str, found: impl Into<String>) -> Finding {
    Finding { what, health: Health::Ok, found: found.into(), remedy: None }
}

fn warning(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { what, health: Health::Warning, found: found.into(), remedy: Some(remedy.into()) }
}

fn bad(what: &'static str, fault: &Fault) -> Finding {
    let remedy = fault.advice().map(str::to_owned);
    Finding { what, health: Health::Bad, found: fault.to_string(), remedy }
}

/// What keeps every pod from its networks, in the words of the error that a runtime is answered.
fn refused(what: &'static str, reply: ErrorReply) -> Finding {
    let remedy = Some(reply.details).filter(|details| !details.is_empty());
    Finding { what, health: Health::Bad, found: reply.msg, remedy }
}
