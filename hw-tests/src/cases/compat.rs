//! The suite of `plugins-compat`, as far as it needs a kernel that build machines lack.

use crate::catalogue::{Case, HoldsFor};
use crate::command::Program;
use crate::need::Need;
use crate::options::built;
use crate::plugin::Subject;
use crate::trouble::{Outcome, Trouble, holds};

/// How long the suite may take, in seconds of the emulated machine, whose clock may run several times too fast: the
/// emulator misleads the kernel when that measures its processor. The machine's own limit bounds the whole run.
const LIMIT: u32 = 900;

pub(crate) const CASES: &[Case] = &[Case {
    name: "vlan_does_as_the_reference_plugin",
    proves: "our stand-alone vlan plugin and the reference plugin give and leave the same, in every version they share",
    needs: &[
        Need::Link("veth"),
        Need::Link("vlan"),
        Need::Plugin("vlan"),
        Need::Plugin("host-local"),
        Need::Plugin("static"),
    ],
    holds_for: HoldsFor::Everyone,
    run: vlan_does_as_the_reference_plugin,
}];

/// The suite plays both sides itself, whoever the subject is.
fn vlan_does_as_the_reference_plugin(_: &Subject) -> Outcome<()> {
    let suite = built()?.join("plugins-compat");
    holds(suite.is_file(), format!("there is no {suite:?}; run \"cargo build --workspace\" first"))?;
    let words = [suite.as_os_str(), "--must-run".as_ref(), "--plugin".as_ref(), "vlan".as_ref()];
    let ran = Program::within(LIMIT, words).run()?;
    if ran.status == Some(0) {
        return Ok(());
    }
    // What failed, and why, without what went well.
    let bad = ran.output.lines().filter(|line| !line.starts_with("ok") && !line.starts_with("        but "));
    let bad: Vec<&str> = bad.collect();
    Err(Trouble::new(format!("status {:?}\n{}\n{}", ran.status, bad.join("\n"), ran.complaint.trim())))
}
