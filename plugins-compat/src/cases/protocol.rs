//! The protocol, with macvlan as the example: what the specification says of calls that are wrong.

use serde_json::{Value, json};

use crate::Outcome;
use crate::case::{Case, Difference, NEWEST, OURS_ONLY, WITH_CHECK};
use crate::stage::{Answer, Ask, Player, Stage};

pub(super) const CASES: &[Case] = &[
    Case::macvlan("protocol_versions_are_told", NEWEST, versions, VERSIONS),
    Case::macvlan("protocol_unknown_versions_are_refused", NEWEST, unknown_versions, &[]),
    Case::macvlan("protocol_missing_variables_are_refused", NEWEST, missing_variables, &[]),
    Case::macvlan("protocol_wrong_variables_are_refused", NEWEST, wrong_variables, &[]),
    Case::macvlan("protocol_unreadable_input_is_refused", NEWEST, unreadable, &[]),
    Case::macvlan("protocol_wrong_names_are_refused", NEWEST, wrong_names, &[]),
    Case::macvlan("protocol_a_namespace_must_be_there", NEWEST, no_namespace, &[]),
    Case::macvlan(
        "protocol_check_needs_a_previous_result",
        WITH_CHECK,
        check_without_result,
        CHECK_FROM_RECORD,
    ),
    Case::macvlan("protocol_unknown_arguments", NEWEST, unknown_arguments, UNKNOWN_ARGUMENTS),
    Case::macvlan("protocol_status_and_gc", OURS_ONLY, status_and_gc, STATUS_AND_GC),
];

const VERSIONS: &[Difference] = &[
    Difference {
        at: "VERSION/supportedVersions",
        reference: r#"["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","VERSION"]"#,
        ours: r#"["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","VERSION","1.1.0"]"#,
        why: "older releases do not speak 1.1.0",
    },
    Difference {
        at: "VERSION/cniVersion",
        reference: r#""VERSION""#,
        ours: r#""1.1.0""#,
        why: "each answers in its newest version",
    },
];

const CHECK_FROM_RECORD: &[Difference] = &[Difference {
    at: "CHECK/succeeded",
    reference: "false",
    ours: "true",
    why: "ours checks against its record, and needs no previous result",
}];

const UNKNOWN_ARGUMENTS: &[Difference] = &[Difference {
    at: "ADD/succeeded",
    reference: "false",
    ours: "true",
    why: "keys of CNI_ARGS that are for others are passed over, with or without IgnoreUnknown",
}];

const STATUS_AND_GC: &[Difference] = &[
    Difference {
        at: "STATUS/succeeded",
        reference: "false",
        ours: "true",
        why: "older releases do not speak 1.1.0",
    },
    Difference { at: "GC/succeeded", reference: "false", ours: "true", why: "the same" },
    Difference {
        at: "after GC/links",
        reference: r#"["net1"]"#,
        ours: "[]",
        why: "ours removes what is not valid; no release of the reference plugin does",
    },
    Difference {
        at: "after GC/store/net|10.77.0.2",
        reference: r#""pod-1\r\nnet1""#,
        ours: "",
        why: "the same",
    },
];

fn plain(stage: &Stage<'_>) -> Ask {
    stage.ask(json!({"ipam": {}}))
}

fn raw(stage: &Stage<'_>, variables: &[(&str, String)], input: &str) -> Outcome<Answer> {
    stage.call_raw(stage.player, variables, input.as_bytes())
}

fn versions(stage: &mut Stage<'_>) -> Outcome<()> {
    let variables = [("CNI_COMMAND", "VERSION".to_owned())];
    let answer = raw(stage, &variables, r#"{"cniVersion":"1.0.0"}"#)?;
    stage.note("VERSION", answer.printed)
}

fn unknown_versions(stage: &mut Stage<'_>) -> Outcome<()> {
    for version in ["0.0.9", "0.3.2", "1.2.0", "9.9.9", "nonsense"] {
        let ask = plain(stage).with(json!({"cniVersion": version}));
        let refused = stage.refuse("ADD", (&ask, None), Some(1));
        refused.map_err(|trouble| format!("{version}: {trouble}"))?;
    }
    stage.nothing_is_left()
}

fn missing_variables(stage: &mut Stage<'_>) -> Outcome<()> {
    let ask = plain(stage);
    for (command, missing) in [
        ("ADD", "CNI_CONTAINERID"),
        ("ADD", "CNI_NETNS"),
        ("ADD", "CNI_IFNAME"),
        ("ADD", "CNI_PATH"),
        ("CHECK", "CNI_CONTAINERID"),
        ("CHECK", "CNI_NETNS"),
        ("CHECK", "CNI_IFNAME"),
        ("DEL", "CNI_CONTAINERID"),
        ("DEL", "CNI_IFNAME"),
    ] {
        let mut variables = ask.variables(command);
        variables.retain(|(name, _)| *name != missing);
        let answer = raw(stage, &variables, &ask.conf.to_string())?;
        answer
            .must_be_refused(Some(4))
            .map_err(|trouble| format!("{command} without {missing} {trouble}"))?;
    }
    stage.nothing_is_left()
}

fn wrong_variables(stage: &mut Stage<'_>) -> Outcome<()> {
    let good = plain(stage);
    let asks = [
        Ask { ifname: "longer-than-fifteen".into(), ..good.clone() },
        Ask { ifname: "..".into(), ..good.clone() },
        Ask { ifname: "a/b".into(), ..good.clone() },
        Ask { ifname: "a:b".into(), ..good.clone() },
        Ask { ifname: "a b".into(), ..good.clone() },
        Ask { container: "../up".into(), ..good.clone() },
        Ask { container: "-dash".into(), ..good.clone() },
    ];
    for ask in asks {
        let refused = stage.refuse("ADD", (&ask, None), Some(4));
        refused.map_err(|trouble| format!("{:?} {:?}: {trouble}", ask.container, ask.ifname))?;
    }
    stage.refuse("NONSENSE", (&good, None), Some(4))?;
    stage.nothing_is_left()
}

fn unreadable(stage: &mut Stage<'_>) -> Outcome<()> {
    let ask = plain(stage);
    for input in ["", "nonsense", "[]", r#"{"name":7}"#, r#"{"name":"net","cniVersion":"1.0.0""#] {
        let answer = raw(stage, &ask.variables("ADD"), input)?;
        answer.must_be_refused(Some(6)).map_err(|trouble| format!("{input:?} {trouble}"))?;
    }
    stage.nothing_is_left()
}

fn wrong_names(stage: &mut Stage<'_>) -> Outcome<()> {
    for name in ["", "-dash", "a/b", "a b"] {
        let refused = stage.refuse("ADD", (&plain(stage).with(json!({"name": name})), None), Some(7));
        refused.map_err(|trouble| format!("{name:?}: {trouble}"))?;
    }
    stage.nothing_is_left()
}

fn no_namespace(stage: &mut Stage<'_>) -> Outcome<()> {
    let file = stage.file("no-namespace", "")?.to_string_lossy().into_owned();
    for netns in ["/run/netns/not-there".to_owned(), file] {
        stage.refuse("ADD", (&Ask { netns, ..plain(stage) }, None), None)?;
    }
    stage.nothing_is_left()
}

fn check_without_result(stage: &mut Stage<'_>) -> Outcome<()> {
    let ask = plain(stage);
    stage.add("ADD", &ask)?;
    stage.attempt("CHECK", "CHECK", (&ask, None))?;
    stage.del("DEL", &ask, None)?;
    stage.nothing_is_left()
}

fn unknown_arguments(stage: &mut Stage<'_>) -> Outcome<()> {
    let ask = Ask { args: "UNKNOWN=1".into(), ..plain(stage) };
    stage.attempt("ADD", "ADD", (&ask, None))?;
    stage.del("DEL", &plain(stage), None)?;
    let ask = Ask { args: "IgnoreUnknown=true;UNKNOWN=1".into(), ..ask };
    stage.add("ADD with IgnoreUnknown", &ask)?;
    stage.del("DEL with IgnoreUnknown", &ask, None)?;
    stage.nothing_is_left()
}

fn status_and_gc(stage: &mut Stage<'_>) -> Outcome<()> {
    let ask = stage.ask(json!({"ipam": stage.host_local(json!({"subnet": "10.77.0.0/24"}))}));
    stage.attempt("STATUS", "STATUS", (&ask, None))?;
    stage.add("ADD", &ask)?;
    let valid = |attachments: Value| ask.with(json!({"cni.dev/valid-attachments": attachments}));
    if stage.player == Player::Ours {
        let kept = valid(json!([{"containerID": "pod-1", "ifname": "net1"}]));
        stage.call(stage.player, "GC", (&kept, None))?;
    }
    stage.look("kept", &ask)?;
    stage.attempt("GC", "GC", (&valid(json!([])), None))?;
    stage.left("after GC")?;
    stage.del("DEL", &ask, None)?;
    stage.nothing_is_left()?;
    stage.no_record_is_left()
}
