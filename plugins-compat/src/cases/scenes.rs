//! Scenes that are played with every plugin, and what differs in them on purpose.

use serde_json::json;

use crate::Outcome;
use crate::case::Difference;
use crate::command::ip;
use crate::stage::{Ask, Stage};

pub(super) const LINK_IN_CONTAINER: &[Difference] = &[
    Difference {
        at: "ADD/succeeded",
        reference: "false",
        ours: "true",
        why: "older releases look for the master on the node alone",
    },
    Difference { at: "DEL/succeeded", reference: "false", ours: "true", why: "the same" },
];

pub(super) const LEAK_OF_SECOND: &[Difference] = &[Difference {
    at: "after the refusal/links",
    reference: r#"["net1","net2"]"#,
    ours: r#"["net1"]"#,
    why: "ours takes back what a refused ADD made; the reference plugin leaves the link to a DEL",
}];

pub(super) const NO_STORE: &[Difference] = &[Difference {
    at: "left/store/net|lock",
    reference: r#""""#,
    ours: "",
    why: "ours makes no store in order to find nothing in it",
}];

pub(super) const MASTER_GONE: &[Difference] = &[
    Difference {
        at: "DEL/succeeded",
        reference: "false",
        ours: "true",
        why: "DEL needs no master; the reference plugin of older releases refuses without it, for ever",
    },
    Difference {
        at: "left/store/net|10.77.0.2",
        reference: r#""pod-1\r\nnet1""#,
        ours: "",
        why: "the same: the refused DEL keeps the address",
    },
];

/// ADD, CHECK, DEL and DEL again.
pub(super) fn comes_and_goes(stage: &mut Stage<'_>, ask: &Ask) -> Outcome<()> {
    let result = stage.add("ADD", ask)?;
    stage.look("made", ask)?;
    stage.check(ask, &result)?;
    stage.del("DEL", ask, Some(&result))?;
    stage.left("left")?;
    stage.nothing_is_left()?;
    stage.del("second DEL", ask, None)?;
    stage.nothing_is_left()?;
    stage.no_record_is_left()
}

/// A master with an MTU of 1450, and links with all that fits, and with what does not.
pub(super) fn mtu(stage: &mut Stage<'_>, plain: &Ask) -> Outcome<()> {
    ip("link set up0 mtu 1450")?;
    for mtu in [0, 1280, 1450] {
        let ask = plain.with(json!({"mtu": mtu}));
        let result = stage.add(&format!("ADD {mtu}"), &ask)?;
        stage.look(&format!("mtu {mtu}"), &ask)?;
        stage.del(&format!("DEL {mtu}"), &ask, Some(&result))?;
    }
    for mtu in [1451, -1] {
        stage.refuse("ADD", (&plain.with(json!({"mtu": mtu})), None), None)?;
    }
    stage.nothing_is_left()
}

/// Configurations that are refused before anything is made.
pub(super) fn refused(stage: &mut Stage<'_>, asks: &[Ask]) -> Outcome<()> {
    for (number, ask) in asks.iter().enumerate() {
        stage.refuse("ADD", (ask, None), None).map_err(|trouble| format!("{number}: {trouble}"))?;
        stage.nothing_is_left()?;
    }
    stage.left("left")
}

pub(super) fn never_attached(stage: &mut Stage<'_>, ask: &Ask) -> Outcome<()> {
    stage.del("DEL", ask, None)?;
    stage.left("left")?;
    stage.nothing_is_left()?;
    stage.no_record_is_left()
}

pub(super) fn without_pod(stage: &mut Stage<'_>, ask: &Ask) -> Outcome<()> {
    let pod = stage.another_pod()?;
    let ask = Ask { netns: pod.path().to_string(), ..ask.clone() };
    let made = stage.succeed("ADD", "ADD", (&ask, None));
    drop(pod);
    made?;
    stage.del("DEL", &ask, None)?;
    stage.left("left")?;
    let stopped = Ask { netns: String::new(), ..ask };
    stage.del("DEL without a name", &stopped, None)?;
    stage.nothing_is_left()?;
    stage.no_record_is_left()
}

pub(super) fn without_master(stage: &mut Stage<'_>, ask: &Ask) -> Outcome<()> {
    let result = stage.add("ADD", ask)?;
    ip("link delete up0")?;
    stage.attempt("DEL", "DEL", (ask, Some(&result)))?;
    stage.left("left")?;
    stage.no_record_is_left()
}

/// One loss after the other, each with a name, what brings it about, and what mends it; those that nothing mends come last.
pub(super) fn check_sees(stage: &mut Stage<'_>, ask: &Ask, losses: &[(&str, &str, &[&str])]) -> Outcome<()> {
    let result = stage.add("ADD", ask)?;
    stage.check(ask, &result)?;
    for (label, lose, mend) in losses {
        stage.ip_in_pod(lose)?;
        stage.refuse("CHECK", (ask, Some(&result)), None).map_err(|trouble| format!("{label}: {trouble}"))?;
        for act in *mend {
            stage.ip_in_pod(act)?;
        }
        if !mend.is_empty() {
            stage.succeed(&format!("CHECK with {label} again"), "CHECK", (ask, Some(&result)))?;
        }
    }
    stage.del("DEL", ask, Some(&result))?;
    stage.nothing_is_left()
}
