//! Address management: what a plugin's `ipam` object asks for, read and checked without looking at the node.
//!
//! `host-local` and `static` are understood here; every other type is a plugin to run. `"native": false` inside the
//! `ipam` object has those two run as plugins as well.

pub mod address;
pub mod fixed;
pub mod host_local;
pub mod range;
pub mod resolv;
pub mod route;

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::value::RawValue;

use self::host_local::HostLocal;
use super::facts::{Facts, Question};
use super::keys::{self, Known};
use super::kind::Ask;
use super::kinds;
use super::step::{ExecStep, Step, Yields};
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::folded::{self, Entries};
use crate::model::{CniResult, NetworkName, Object, PluginConf, object};

/// How an interface comes by its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ipam {
    /// Not at all: there is no `ipam`, or it names no type. The interface is for layer 2 only.
    None,
    /// Out of a store that the reference plugin `host-local` shares.
    HostLocal(HostLocal),
    /// They are written in the configuration.
    Static(CniResult),
    /// From a plugin, run so.
    Exec(Box<ExecStep>),
}

/// The keys of every `ipam` that is understood here.
const HEAD: Known = Known { plain: &["native", "type"], objects: &[] };

/// The keys of `ipam` that say who is asked.
#[derive(Default, Deserialize)]
struct Head {
    #[serde(rename = "type", default)]
    kind: String,
    native: Option<bool>,
}

/// Reads a plugin's `ipam` object.
///
/// # Errors
/// A value that can never be right, with the place and the remedy.
pub fn read(ask: Ask<'_>) -> Outcome<Ipam> {
    let Some(raw) = ask.conf.object().find("ipam") else { return Ok(Ipam::None) };
    let ipam = Entries::of(raw).map_err(undecodable)?;
    let head: Head = decode(&ipam)?;
    let native = head.native.unwrap_or(true);
    match head.kind.as_str() {
        "" => Ok(Ipam::None),
        "host-local" if native => host_local::read(ask, &ipam).map(Ipam::HostLocal),
        "static" if native => fixed::read(ask, &ipam).map(Ipam::Static),
        other => {
            let (program, conf) = (other.parse()?, ask.conf.clone());
            kinds::refuse_itself(&program)?;
            Ok(Ipam::Exec(Box::new(ExecStep { program, conf, yields: Yields::Lease })))
        }
    }
}

/// Whether a plugin's `ipam` object names somebody who gives addresses.
pub fn is_named(conf: &PluginConf) -> bool {
    conf.object().find("ipam").is_some_and(|raw| !head(raw).kind.is_empty())
}

/// The keys that say who is asked, where they can be read.
fn head(raw: &RawValue) -> Head {
    folded::decode(raw).unwrap_or_default()
}

/// The store of addresses that a plugin's `ipam` object names, if it is one that is kept here.
pub fn store(conf: &PluginConf, network: &NetworkName) -> Option<PathBuf> {
    let raw = conf.object().find("ipam")?;
    let head = head(raw);
    let kept = head.kind == "host-local" && head.native.unwrap_or(true);
    kept.then(|| host_local::store(raw, network).ok()).flatten()
}

/// The plugin that gives the addresses of a plugin's `ipam` object, if it is one to run.
pub fn process(conf: &PluginConf) -> Option<ExecStep> {
    let head = head(conf.object().find("ipam")?);
    let kept = matches!(head.kind.as_str(), "host-local" | "static") && head.native.unwrap_or(true);
    let program = Some(head.kind).filter(|_| !kept)?.parse().ok()?;
    Some(ExecStep { program, conf: conf.clone(), yields: Yields::Lease })
}

fn decode<'de, T: Deserialize<'de>>(ipam: &Entries<'de>) -> Outcome<T> {
    ipam.decode().map_err(undecodable)
}

fn undecodable(cause: serde_json::Error) -> Fault {
    object::undecodable("\"ipam\"", cause)
}

/// What is said of a plugin's `ipam` object that nobody reads.
pub fn unread(conf: &PluginConf) -> Vec<String> {
    let Some(raw) = conf.object().find("ipam") else { return Vec::new() };
    let head = head(raw);
    let native = head.native.unwrap_or(true);
    let known: &[&Known] = match head.kind.as_str() {
        "" => {
            return serde_json::from_str(raw.get())
                .ok()
                .as_ref()
                .and_then(without_type)
                .into_iter()
                .collect();
        }
        "host-local" if native => &[&HEAD, &host_local::KNOWN, &host_local::RANGE],
        "static" if native => &[&HEAD, &fixed::KNOWN],
        // The keys of a plugin are its own affair.
        _ => return Vec::new(),
    };
    keys::unknown_in(raw, "ipam", known)
}

/// Of an object without `type` nothing is read; an empty one is how one asks for no address.
fn without_type(object: &Object) -> Option<String> {
    let written = || object.iter().filter(|(_, value)| value.get() != "null").map(|(key, _)| key);
    let others = || written().filter(|key| !key.eq_ignore_ascii_case("type"));
    others().next()?;
    let hint = keys::nearest("type", others()).map(|key| format!("; is {key:?} meant to be it?"));
    Some(format!("\"ipam\" has no \"type\", so no address is given{}", hint.unwrap_or_default()))
}

impl Ipam {
    /// What must be known about the node before planning.
    pub fn questions(&self) -> Vec<Question> {
        match self {
            Self::HostLocal(wanted) => wanted.questions(),
            Self::Exec(step) => vec![Question::Program(step.program.clone())],
            Self::None | Self::Static(_) => Vec::new(),
        }
    }

    /// What is known when planning: fixed addresses, routes, name service. Leased addresses come later.
    ///
    /// # Errors
    /// A file the configuration names is not there, or is not what it should be.
    pub fn given(&self, facts: &Facts) -> Outcome<CniResult> {
        match self {
            Self::None | Self::Exec(_) => Ok(CniResult::default()),
            Self::HostLocal(wanted) => wanted.given(facts),
            Self::Static(result) => Ok(result.clone()),
        }
    }

    /// The step that yields the addresses, if one is needed.
    pub fn lease_step(&self) -> Option<Step> {
        match self {
            Self::None | Self::Static(_) => None,
            Self::HostLocal(wanted) => Some(Step::Lease(wanted.step())),
            Self::Exec(step) => Some(Step::Exec(ExecStep::clone(step))),
        }
    }

    /// Whether an interface that ends up with no address is an error.
    pub fn needs_address(&self) -> bool {
        !matches!(self, Self::None)
    }
}

/// A configuration that is wrong, and what to do about it.
fn wrong(what: impl Into<String>, remedy: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Config, what).remedy(remedy.into())
}

/// Decodes an optional list, whose absence is an empty one.
fn list<T: serde::de::DeserializeOwned>(raw: Option<&RawValue>, what: &str) -> Outcome<Vec<T>> {
    raw.map_or_else(|| Ok(Vec::new()), |raw| object::decode(raw, what))
}

/// The words of an argument of `CNI_ARGS` that holds several.
fn words(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// Refuses more entries than a configuration in its right mind has.
fn at_most(count: usize, limit: usize, what: &str) -> Outcome<()> {
    if count <= limit {
        return Ok(());
    }
    Err(wrong(format!("there are {count} {what}"), format!("give at most {limit}")))
}

/// Refuses more than one address of a family where the version of the result has room for one only.
fn one_per_family(ask: Ask<'_>, v4: usize, v6: usize) -> Outcome<()> {
    let version = ask.attachment.network.version;
    if version >= crate::model::CniVersion::V0_3_0 || (v4 <= 1 && v6 <= 1) {
        return Ok(());
    }
    Err(wrong(
        format!("{v4} IPv4 and {v6} IPv6 addresses do not fit a result of CNI version {version}"),
        "raise \"cniVersion\" to 0.3.0 or newer, or ask for one address of a family",
    ))
}

#[cfg(test)]
mod tests;
