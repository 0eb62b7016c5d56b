//! What VPP's return codes say (`vnet/error.h`), as far as the requests made here get them.

use super::session::Reply;
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

pub(super) const BAD_INDEX: i32 = -2;
pub(super) const NOTHING_THERE: i32 = -6;
pub(super) const WRONG_ARGUMENT: i32 = -73;
pub(super) const IN_USE: i32 = -74;
pub(super) const VALUE_EXISTS: i32 = -81;
pub(super) const SOCKET_ELSEWHERE: i32 = -116;
pub(super) const BRIDGE_EXISTS: i32 = -119;
pub(super) const BRIDGE_IN_USE: i32 = -120;
const SYSCALLS: [i32; 9] = [-11, -12, -13, -14, -15, -16, -17, -18, -19];
const SAME_MEMIF: i32 = -68;
const SAME_SOCKET: i32 = -79;
const BRIDGE_ZERO: i32 = -121;
const BRIDGE_TOO_LARGE: i32 = -122;

impl Reply {
    /// What stands behind the code, if VPP did what was asked.
    ///
    /// # Errors
    /// It did not; `what` names the act.
    pub(super) fn done(self, what: &str) -> Outcome<Vec<u8>> {
        if self.code == 0 { Ok(self.fields) } else { Err(refused(what, self.code)) }
    }

    /// As [`Reply::done`], where one of these codes says that there was nothing to do.
    ///
    /// # Errors
    /// Any other code.
    pub(super) fn done_or(self, what: &str, fine: &[i32]) -> Outcome<()> {
        if fine.contains(&self.code) { Ok(()) } else { self.done(what).map(drop) }
    }
}

fn refused(what: &str, code: i32) -> Fault {
    let (words, remedy) = words(code);
    let kind = if matches!(code, SAME_SOCKET | SAME_MEMIF) { FaultKind::Exists } else { FaultKind::Switch };
    Fault::new(kind, format!("VPP cannot {what}"))
        .because(format!("it answers {code}, {words}"))
        .remedy(remedy)
}

/// What a code says, and what to do.
fn words(code: i32) -> (&'static str, &'static str) {
    match code {
        BAD_INDEX => ("there is no such interface", "see whether something else removes interfaces of VPP"),
        NOTHING_THERE => ("there is no such entry", "see whether something else changes VPP"),
        code if SYSCALLS.contains(&code) => (
            "the kernel refuses the socket",
            "see VPP's log; in a container, VPP must see the socket's directory, or the pod's network namespace, \
             under the same path",
        ),
        SAME_MEMIF => {
            ("another memif interface is on that socket", "remove it (\"vppctl delete interface memif\")")
        }
        WRONG_ARGUMENT => ("an argument is wrong", "use VPP 21.06 or later, and see its log"),
        IN_USE => ("the socket is still in use", "remove the memif interfaces on it"),
        SAME_SOCKET => (
            "another vhost-user interface is on that socket",
            "remove it (\"vppctl delete vhost-user\"), or give the network another \"socketFile\"",
        ),
        VALUE_EXISTS => ("it exists already", "see whether something else changes VPP"),
        SOCKET_ELSEWHERE => ("that number is another socket's", "see whether something else changes VPP"),
        BRIDGE_EXISTS => ("the bridge domain exists", "see whether something else changes VPP"),
        BRIDGE_IN_USE => ("interfaces are in the bridge domain", "take them out of it"),
        BRIDGE_ZERO | BRIDGE_TOO_LARGE => ("no bridge domain has that number", "give 1 to 16777215"),
        _ => ("which VPP's \"vnet/error.h\" explains", "see VPP's log"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_words_and_a_remedy() {
        let refuse = |code| Reply { code, fields: Vec::new() }.done("make the interface").unwrap_err();

        let taken = refuse(SAME_SOCKET);
        assert_eq!(taken.kind(), FaultKind::Exists);
        assert_eq!(
            taken.to_string(),
            "VPP cannot make the interface: it answers -79, another vhost-user interface is on that socket"
        );
        for code in [-1, -2, -6, -11, -12, -14, -68, -73, -74, -81, -116, -119, -120, -121, -122] {
            let fault = refuse(code);
            assert!(fault.to_string().contains(&code.to_string()) && fault.advice().is_some(), "{fault}");
        }
    }

    #[test]
    fn what_is_not_there_any_more_needs_no_undoing() {
        let gone = Reply { code: BAD_INDEX, fields: Vec::new() };

        assert!(gone.clone().done_or("remove it", &[BAD_INDEX]).is_ok());
        assert!(gone.done_or("remove it", &[NOTHING_THERE]).is_err());
    }
}
