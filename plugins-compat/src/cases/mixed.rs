//! Both plugins on one node: an attachment that one made is taken down by the other, as when a node is upgraded, or
//! downgraded, with its pods running. The player makes; the other one takes down.

use serde_json::{Value, json};

use crate::Outcome;
use crate::case::{Case, Difference, NEWEST, SHAPES};
use crate::stage::{Answer, Ask, Stage};

pub(super) const CASES: &[Case] = &[
    Case::macvlan("mixed_macvlan_is_detached_by_the_other", SHAPES, detached_by_the_other, &[]),
    Case::macvlan("mixed_macvlan_without_addresses_is_detached_by_the_other", NEWEST, without_addresses, &[]),
    Case::macvlan("mixed_macvlan_is_checked_by_the_other", NEWEST, checked_by_the_other, NO_RECORD),
    Case::macvlan("mixed_macvlans_share_a_store", NEWEST, one_store, &[]),
    Case::macvlan("mixed_macvlan_comes_back", NEWEST, comes_back, STILL_ON_RECORD),
    Case::vlan("mixed_vlan_is_detached_by_the_other", SHAPES, detached_by_the_other, &[]),
    Case::vlan("mixed_vlan_comes_back", NEWEST, comes_back, STILL_ON_RECORD),
];

const NO_RECORD: &[Difference] = &[Difference {
    at: "CHECK by the other/succeeded",
    reference: "false",
    ours: "true",
    why: "ours checks against its record, and has none of what the reference plugin made",
}];

const STILL_ON_RECORD: &[Difference] = &[Difference {
    at: "second ADD/succeeded",
    reference: "true",
    ours: "false",
    why: "ours learns nothing of a DEL by the reference plugin: for this pod the interface exists until ours is told",
}];

fn with_address(stage: &Stage<'_>) -> Ask {
    stage.ask(json!({"ipam": stage.host_local(json!({"subnet": "10.77.0.0/24"}))}))
}

/// A call of the one who did not make the attachment, which must succeed.
fn other(stage: &Stage<'_>, command: &str, call: (&Ask, Option<&Value>)) -> Outcome<Answer> {
    let answer = stage.call(stage.player.other(), command, call)?;
    if answer.ok { Ok(answer) } else { Err(format!("the other's {command} was refused: {}", answer.printed)) }
}

fn detached_by_the_other(stage: &mut Stage<'_>) -> Outcome<()> {
    let ask = with_address(stage);
    taken_down(stage, &ask)
}

fn without_addresses(stage: &mut Stage<'_>) -> Outcome<()> {
    let ask = stage.ask(json!({"ipam": {}}));
    taken_down(stage, &ask)
}

/// With the result and without it, and once more by the one who made it.
fn taken_down(stage: &mut Stage<'_>, ask: &Ask) -> Outcome<()> {
    for (container, told) in [("pod-1", true), ("pod-2", false)] {
        let ask = Ask { container: container.into(), ..ask.clone() };
        let result = stage.add(&format!("ADD {container}"), &ask)?;
        other(stage, "DEL", (&ask, told.then_some(&result)))?;
        stage.nothing_is_left()?;
        stage.left(&format!("left of {container}"))?;
        // Both are asked, as neither knows what the other has done; nothing is kept by either.
        stage.del(&format!("DEL {container}"), &ask, None)?;
        stage.nothing_is_left()?;
        stage.no_record_is_left()?;
    }
    Ok(())
}

fn checked_by_the_other(stage: &mut Stage<'_>) -> Outcome<()> {
    let ask = with_address(stage);
    let result = stage.add("ADD", &ask)?;
    let answer = stage.call(stage.player.other(), "CHECK", (&ask, Some(&result)))?;
    stage.note("CHECK by the other", json!({"succeeded": answer.ok}))?;
    stage.del("DEL", &ask, Some(&result))?;
    stage.nothing_is_left()
}

/// Each makes an interface of one pod, out of one store; then each takes down what the other made.
fn one_store(stage: &mut Stage<'_>) -> Outcome<()> {
    let mine = with_address(stage);
    let others = Ask { ifname: "net2".into(), ..mine.clone() };
    let result = stage.add("ADD", &mine)?;
    let result_of_other = other(stage, "ADD", (&others, None))?.printed;
    stage.left("both")?;
    other(stage, "DEL", (&mine, Some(&result)))?;
    stage.left("one")?;
    stage.del("DEL of the other's", &others, Some(&result_of_other))?;
    stage.nothing_is_left()
}

/// Taken down by the other, and asked for again for the same pod.
fn comes_back(stage: &mut Stage<'_>) -> Outcome<()> {
    let ask = with_address(stage);
    let result = stage.add("ADD", &ask)?;
    other(stage, "DEL", (&ask, Some(&result)))?;
    stage.attempt("second ADD", "ADD", (&ask, None))?;
    stage.del("DEL", &ask, None)?;
    stage.nothing_is_left()?;
    stage.no_record_is_left()
}
