//! How each CNI version spells a result. Inside Manifold there is one form, [`CniResult`]; every other exists here only.
//!
//! What is written has the key order and the indentation of the reference library (release 1.3), because people and
//! programs compare them:
//!
//! | version | keys | `dns` | lost |
//! |---|---|---|---|
//! | 1.1.0, 1.0.0 | alphabetical at every level | where it says something | nothing: 1.0.0 differs by its label |
//! | 0.4.0, 0.3.1, 0.3.0 | as the specification lists them; addresses have a `version` | always | an interface's `mtu`, `socketPath`, `pciID` |
//! | 0.2.0, 0.1.0 | `ip4` and `ip6`, each with its routes | always | interfaces, second addresses of a family, all of a route but `dst` and `gw`, routes of a family without an address |

mod read;
#[cfg(test)]
mod tests;
mod write;

use serde_json::value::RawValue;

use super::fault::{Fault, FaultKind, Outcome};
use super::object::Object;
use super::result::{CniResult, IpConfig, Route};
use super::version::CniVersion;
use super::{cidr, json};

/// Reads a result in the version it names itself, or else in `fallback`. `null` counts as `{}`, keys match in any
/// letter case, unknown keys are passed over.
///
/// # Errors
/// No JSON object; a version we do not speak ([`FaultKind::Version`]); a value of the wrong form; an address that
/// points at an interface the result does not list.
pub fn read(bytes: &[u8], fallback: CniVersion) -> Outcome<CniResult> {
    let object = match bytes.trim_ascii() {
        b"null" => Object::default(),
        bytes => Object::parse(bytes, read::WHAT)?,
    };
    let version = read::version(&object, fallback)?;
    let result = match version {
        CniVersion::V0_1_0 | CniVersion::V0_2_0 => read::by_family(&object)?,
        CniVersion::V0_3_0 | CniVersion::V0_3_1 | CniVersion::V0_4_0 => read::before_1_0(&object)?,
        CniVersion::V1_0_0 | CniVersion::V1_1_0 => read::listed(&object)?,
    };
    Ok(canonical(result))
}

/// The result in a version, as a plugin prints it: indented by four spaces, without a final newline.
///
/// # Errors
/// A result without any address in 0.2.0 or 0.1.0, which have no other way to say anything.
pub fn write(result: &CniResult, version: CniVersion) -> Outcome<Vec<u8>> {
    let form = write::Form::of(canonical(result.clone()), version)?;
    json::pretty(&form).map_err(unwritable)
}

/// The result in a version, compact: what `prevResult` is set to.
///
/// # Errors
/// As [`write()`].
pub fn raw(result: &CniResult, version: CniVersion) -> Outcome<Box<RawValue>> {
    let form = write::Form::of(canonical(result.clone()), version)?;
    serde_json::value::to_raw_value(&form).map_err(unwritable)
}

fn unwritable(cause: serde_json::Error) -> Fault {
    Fault::new(FaultKind::Decode, "cannot write the result").because(cause)
}

/// The same result in its one spelling: IPv4-mapped addresses as IPv4, and no number that is zero and means "not set".
/// Table and scope 0 do mean something.
fn canonical(mut result: CniResult) -> CniResult {
    for interface in &mut result.interfaces {
        interface.mtu = interface.mtu.filter(|n| *n != 0);
    }
    for IpConfig { address, gateway, .. } in &mut result.ips {
        *address = cidr::canonical(*address);
        *gateway = gateway.map(|ip| ip.to_canonical());
    }
    for Route { dst, gw, mtu, advmss, priority, .. } in &mut result.routes {
        *dst = cidr::canonical(*dst);
        *gw = gw.map(|ip| ip.to_canonical());
        for number in [mtu, advmss, priority] {
            *number = number.filter(|n| *n != 0);
        }
    }
    result
}
