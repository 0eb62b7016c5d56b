//! What a case is.

use crate::Outcome;
use crate::stage::Stage;

/// One scene, and what may differ between the players.
pub(crate) struct Case {
    /// The law it holds both to.
    pub(crate) name: &'static str,
    /// The plugin type that is played.
    pub(crate) plugin: &'static str,
    /// The versions of the protocol it is played in. One that the reference plugin does not speak is held against the
    /// newest that it does.
    pub(crate) versions: &'static [&'static str],
    /// Plays it. What must be so whoever plays is demanded here; everything else goes on the sheet.
    pub(crate) play: Play,
    /// Where the sheets differ, on purpose.
    pub(crate) differs: &'static [Difference],
}

type Play = fn(&mut Stage<'_>) -> Outcome<()>;

impl Case {
    /// One of macvlan.
    pub(crate) const fn macvlan(
        name: &'static str,
        versions: &'static [&'static str],
        play: Play,
        differs: &'static [Difference],
    ) -> Self {
        Self { name, plugin: "macvlan", versions, play, differs }
    }

    /// One of vlan.
    pub(crate) const fn vlan(
        name: &'static str,
        versions: &'static [&'static str],
        play: Play,
        differs: &'static [Difference],
    ) -> Self {
        Self { plugin: "vlan", ..Self::macvlan(name, versions, play, differs) }
    }
}

/// A difference on purpose.
pub(crate) struct Difference {
    /// The place on the sheet; a leading `*` stands for any look or call.
    pub(crate) at: &'static str,
    /// What the reference plugin has there, as JSON; empty for nothing.
    pub(crate) reference: &'static str,
    /// What ours has there, as JSON; empty for nothing.
    pub(crate) ours: &'static str,
    /// Why it is so.
    pub(crate) why: &'static str,
}

/// Every version.
pub(crate) const ALL: &[&str] = &["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
/// The versions whose results cannot tell of an interface without an address.
pub(crate) const BEFORE_INTERFACES: &[&str] = &["0.1.0", "0.2.0"];
/// The versions with interfaces in their results.
pub(crate) const WITH_INTERFACES: &[&str] = &["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
/// The versions with CHECK.
pub(crate) const WITH_CHECK: &[&str] = &["0.4.0", "1.0.0", "1.1.0"];
/// One of each shape of result.
pub(crate) const SHAPES: &[&str] = &["0.2.0", "0.4.0", "1.0.0"];
/// The newest that the reference plugins speak.
pub(crate) const NEWEST: &[&str] = &[THEIR_NEWEST];
/// The newest that we speak.
pub(crate) const OURS_ONLY: &[&str] = &["1.1.0"];
/// The newest version of the reference plugins, as old as distributions package them.
pub(crate) const THEIR_NEWEST: &str = "1.0.0";
