//! The command line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Output;

use super::*;

fn told(output: &Output) -> (bool, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn stage() -> (Stage, String) {
    let stage = Stage::with_everything();
    let manifest = format!(
        "kind: NetworkAttachmentDefinition\nmetadata: {{name: red, namespace: blue}}\nspec:\n  config: '{}'\n",
        stage.scene.macvlan("ignored", 9)
    );
    stage.scene.network("red.yaml", &manifest);
    let networks = stage.scene.path("networks").display().to_string();
    (stage, networks)
}

/// A command line, and where the networks and the pod are.
fn words<'a>(command: &'a str, networks: &'a str, netns: &'a str) -> Vec<&'a str> {
    let places = ["--networks-dir", networks, "--netns", netns];
    command.split(' ').chain(places).collect()
}

#[test]
fn attach_list_check_and_detach_by_hand() {
    let (stage, networks) = stage();
    let netns = stage.pod.path().as_str();
    let target = ["--netns", netns, "--container-id", "pod-1"];

    let attach =
        [&["attach", "--networks", "blue/red,lab@net7,tuned", "--networks-dir", &networks][..], &target]
            .concat();
    let (ok, table, errors) = told(&stage.scene.manifold(&attach));
    assert!(ok, "{errors}");
    assert_eq!(stage.pod.interfaces(), ["lo", "net1", "net3", "net7"]);
    assert!(table.contains("blue/red") && table.contains("10.77.9.2/24"), "{table}");

    let (_, json, _) = told(&stage.scene.manifold(&["list", "-o", "json"]));
    let rows: Value = serde_json::from_str(&json).unwrap();
    let interfaces: Vec<&str> =
        rows.as_array().unwrap().iter().map(|r| r["interface"].as_str().unwrap()).collect();
    assert_eq!(interfaces, ["net1", "net7", "net3"]);

    assert!(told(&stage.scene.manifold(&[&["check"][..], &target].concat())).0);
    assert!(told(&stage.scene.manifold(&[&["detach", "--interface", "net7"][..], &target].concat())).0);
    assert_eq!(stage.pod.interfaces(), ["lo", "net1", "net3"]);
    assert!(told(&stage.scene.manifold(&[&["detach"][..], &target].concat())).0);
    let (ok, _, errors) = told(&stage.scene.manifold(&[&["check"][..], &target].concat()));
    assert!(!ok && errors.starts_with("error: nothing is attached to sandbox \"pod-1\"\n"), "{errors}");
    stage.assert_empty();
}

/// The keys that the table of the page names.
fn documented() -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md");
    let page = fs::read_to_string(page).unwrap();
    let rows =
        page.split("| key | of | |\n").nth(1).unwrap().lines().take_while(|line| line.starts_with('|'));
    let columns = rows.filter_map(|row| row.split('|').nth(1));
    columns.flat_map(|column| column.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn the_page_has_the_keys_that_programs_are_given() {
    let (stage, networks) = stage();
    let netns = stage.pod.path().as_str();
    let words = words("attach --networks data --container-id c", &networks, netns);
    assert!(told(&stage.scene.manifold(&words)).0);

    let nowhere = stage.scene.path("nowhere").display().to_string();
    let mut keys = BTreeSet::new();
    for words in [&["list"][..], &["status"], &["doctor", "--conf-dir", &nowhere]] {
        let (_, json, errors) = told(&stage.scene.manifold(&[words, &["-o", "json"]].concat()));
        let rows: Vec<BTreeMap<String, Value>> = serde_json::from_str(&json).expect(&errors);
        keys.extend(rows.into_iter().flat_map(BTreeMap::into_keys));
    }

    assert_eq!(keys, documented());
}

#[test]
fn the_beginning_of_an_id_stands_for_the_one_sandbox_that_has_it() {
    let (stage, networks) = stage();
    let netns = stage.pod.path().as_str();
    let other = stage.scene.node.pod().unwrap();
    for (container, netns) in [("3fa94c0e71d25ab0", netns), ("3fa94c0e71d25ab1", other.path().as_str())] {
        let made = words("attach --networks data --container-id", &networks, netns);
        let made = [&made[..3], &["--container-id", container], &made[4..]].concat();
        assert!(told(&stage.scene.manifold(&made)).0);
    }

    for verb in ["check", "detach"] {
        let (ok, _, errors) = told(&stage.scene.manifold(&[verb, "--container-id", "3fa94c0e71d25"]));
        assert!(!ok && errors.contains("the beginning of several sandboxes"), "{errors}");
        assert!(errors.contains("3fa94c0e71d25ab0, 3fa94c0e71d25ab1"), "{errors}");
    }
    assert!(told(&stage.scene.manifold(&["detach", "--container-id", "3fa94c0e71d25ab1"])).0);
    let (ok, text, errors) = told(&stage.scene.manifold(&["check", "--container-id", "3fa94c0e71d25"]));
    assert!(ok && text.contains("3fa94c0e71d25ab0"), "{text}{errors}");
    let (ok, text, errors) = told(&stage.scene.manifold(&["detach", "--container-id", "3fa94"]));
    assert!(ok && text.contains("detached"), "{text}{errors}");
    stage.assert_empty();
}

#[test]
fn what_is_not_attached_is_told_by_name_and_is_no_error() {
    let (stage, networks) = stage();
    let netns = stage.pod.path().as_str();
    let made = words("attach --networks data,lab@lab --container-id pod-1", &networks, netns);
    assert!(told(&stage.scene.manifold(&made)).0);
    let detach = |words: &[&str]| {
        let (ok, text, errors) =
            told(&stage.scene.manifold(&[&["detach", "--container-id"], words].concat()));
        assert!(ok, "{errors}");
        text
    };
    let absent = |what: &str| format!("{what}: nothing is attached; \"manifold list\" tells what is\n");

    let text = detach(&["pod-1", "--interface", "net9", "--interface", "net1"]);
    assert_eq!(text, format!("pod-1/net1: detached\n{}", absent("pod-1/net9")));
    assert_eq!(stage.pod.interfaces(), ["lab", "lo"]);
    assert_eq!(detach(&["pod-1", "--interface", "net1"]), absent("pod-1/net1"));
    assert_eq!(detach(&["pod-9"]), absent("pod-9"));
    assert_eq!(detach(&["pod-1"]), "pod-1/lab: detached\n");
    assert_eq!(detach(&["pod-1"]), absent("pod-1"));
    stage.assert_empty();
}

#[test]
fn explain_shows_the_plan_and_touches_nothing() {
    let (stage, networks) = stage();
    let netns = stage.pod.path().as_str();
    let explain = words("explain --networks data,lab --container-id pod-1", &networks, netns);

    let (ok, text, errors) = told(&stage.scene.manifold(&explain));
    assert!(ok, "{errors}");
    assert!(text.contains("macvlan") && text.contains("bridge") && text.contains("10.77.1."), "{text}");
    let (_, json, _) = told(&stage.scene.manifold(&[&explain[..], &["-o", "json"]].concat()));
    let plans: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(plans[0]["steps"][1]["link"]["master"]["name"], "up0");

    stage.assert_empty();
}

/// Namespaces have names by mounts, those of a runtime as well; the pods of other tests are threads.
#[test]
fn a_namespace_may_be_a_mount() {
    let (stage, networks) = stage();
    let places = format!(
        "--state-dir {0}/state --cache-dir {0}/cache --bin-dir {PLUGINS}",
        stage.scene.path("").display().to_string().trim_end_matches('/')
    );
    let program = env!("CARGO_BIN_EXE_manifold");
    let script = format!(
        "set -e; mkdir -p /run/netns; mount -t tmpfs none /run/netns; ip netns add named
        for verb in explain attach; do
            {program} $verb --netns named --networks data --networks-dir {networks} {places}
        done
        ip -n named link show net1
        for verb in check detach; do {program} $verb --netns named {places}; done
        ! ip -n named link show net1"
    );
    let mut shell = std::process::Command::new("unshare");
    let shell = shell.args(["--mount", "sh", "-c", &script]).env_remove("CNI_COMMAND");

    let (ok, text, errors) = told(&shell.output().unwrap());

    assert!(ok, "{text}{errors}");
    stage.assert_empty();
}

#[test]
fn explain_says_no_where_attach_would() {
    let (stage, networks) = stage();
    let netns = stage.pod.path().as_str();
    let own = format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid());
    stage.pod.inside(|| scene::ip("link add taken type veth peer name other"));
    let there = words("attach --networks data@there --container-id pod-1", &networks, netns);
    assert!(told(&stage.scene.manifold(&there)).0);

    for (selected, netns, words) in [
        ("data", "/run/netns/none", "network namespace \"/run/netns/none\" does not exist"),
        ("data", &own, "is the host's own"),
        ("data@taken", netns, "interface \"taken\" already exists in the pod"),
        ("data@there", netns, "interface \"there\" already exists in the pod"),
    ] {
        // The kernel has other words for a name that is taken.
        for (verb, words) in [("explain", words), ("attach", "")] {
            let target = ["--networks-dir", &networks, "--netns", netns, "--container-id", "pod-1"];
            let words_of = [&[verb, "--networks", selected][..], &target].concat();

            let (ok, text, errors) = told(&stage.scene.manifold(&words_of));

            assert!(!ok && errors.contains(words), "{verb} {selected}: {text}{errors}");
        }
    }
    assert!(told(&stage.scene.manifold(&["detach", "--container-id", "pod-1"])).0);
    stage.pod.inside(|| scene::ip("link del taken"));
    stage.assert_empty();
}

/// What an earlier call for `net1` on a network left, made so from one that went well: what becomes of each line of its
/// record, and whether another has the name of its link. And what both verbs say, if not yes.
type Left = (&'static str, &'static str, fn(&str) -> Option<String>, bool, &'static str);

/// An ADD was killed before its end.
fn unfinished(line: &str) -> Option<String> {
    (!line.contains("\"phase\":\"attached\"")).then(|| line.to_owned())
}

fn in_another_namespace(line: &str) -> Option<String> {
    Some(line.replace("\"cookie\":", "\"cookie\":1"))
}

fn without_a_cookie(line: &str) -> Option<String> {
    let (head, tail) = line.split_once(",\"cookie\":").unwrap_or((line, ""));
    Some(format!("{head}{}", tail.trim_start_matches(|c: char| c.is_ascii_digit())))
}

#[test]
fn explain_and_attach_say_the_same_of_what_an_earlier_call_left() {
    let whole = |line: &str| Some(line.to_owned());
    let damaged = |_: &str| Some("{\"ifname\":\"net1\",\"for".to_owned());
    let newer = |line: &str| Some(line.replace("\"format\":1", "\"format\":9"));
    let taken = "interface \"net1\" already exists in the pod";
    let cases: [Left; 9] = [
        ("a link of ours", "data", unfinished, false, ""),
        ("an interface of a plugin's", "lab", unfinished, false, ""),
        ("a link of another's", "data", unfinished, true, taken),
        ("a link of ours, and a damaged record", "data", damaged, false, ""),
        ("what stands", "data", whole, false, taken),
        ("what stands, by a record without a cookie", "data", without_a_cookie, false, taken),
        ("nothing here, but elsewhere", "lab", in_another_namespace, true, taken),
        ("a link of another's, and a record of elsewhere", "data", in_another_namespace, true, taken),
        ("a record of a later version", "data", newer, false, "the record of pod-1/net1 is not readable"),
    ];
    for (what, network, change, is_anothers, words) in cases {
        let (stage, networks) = stage();
        let netns = stage.pod.path().as_str();
        let call = |verb: &str| {
            let words = [verb, "--networks", network, "--networks-dir", &networks, "--netns", netns];
            told(&stage.scene.manifold(&[&words[..], &["--container-id", "pod-1"]].concat()))
        };
        assert!(call("attach").0);
        stage.scene.alter("pod-1", "net1", change);
        if is_anothers {
            stage.ip("link del net1");
            stage.ip("link add net1 type veth peer name other");
        }

        let (explained, _, said) = call("explain");
        let (attached, _, errors) = call("attach");

        assert_eq!((explained, attached), (words.is_empty(), words.is_empty()), "{what}: {said}; {errors}");
        // The kernel has other words for a name that is taken.
        assert!(said.contains(words), "{what}: {said}");
    }
}

#[test]
fn what_has_no_effect_is_said_where_networks_are_tried() {
    let (mut stage, networks) = stage();
    let ipam = json!({"typ": "host-local", "ranges": []});
    let network =
        json!({"cniVersion": "1.1.0", "name": "loose", "type": "macvlan", "mastr": "up0", "ipam": ipam});
    stage.scene.network("loose.conf", &network.to_string());
    let selected = r#"[{"name": "loose", "ip": ["10.0.0.7"]}]"#;
    let words = ["--networks", selected, "--networks-dir", &networks, "--netns", stage.pod.path().as_str()];
    let words = [&words[..], &["--container-id", "pod-1"]].concat();
    let key = "plugin \"macvlan\": \"mastr\" has no effect: there is no such key; did you mean \"master\"?";
    let addresses =
        "plugin \"macvlan\": \"ipam\" has no \"type\", so no address is given; is \"typ\" meant to be it?";
    let field = "selection: \"ip\" has no effect: there is no such key; did you mean \"ips\"?";

    let (ok, text, errors) = told(&stage.scene.manifold(&[&["explain"][..], &words].concat()));
    assert!(ok && errors.is_empty(), "{errors}");
    let end = format!("\n  warning: {key}\n  warning: {addresses}\n  warning: {field}\n");
    assert!(text.ends_with(&end), "{text}");
    let (_, json, _) = told(&stage.scene.manifold(&[&["explain", "-o", "json"][..], &words].concat()));
    let plans: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(plans[0]["warnings"], json!([key, addresses, field]));
    stage.assert_empty();

    let (ok, _, errors) = told(&stage.scene.manifold(&[&["attach"][..], &words].concat()));
    let warning = |what: &str| format!("warning: network \"loose\": {what}\n");
    assert!(ok && errors == [warning(key), warning(addresses), warning(field)].concat(), "{errors}");
    assert!(told(&stage.scene.manifold(&["detach", "--container-id", "pod-1"])).0);

    stage.select(selected);
    let netns = stage.pod.path().as_str();
    let call = Call { verb: "ADD", container: "pod-2", ifname: "eth0", netns };
    let command = stage.scene.command(env!("CARGO_BIN_EXE_manifold"), &call);
    let (ok, _, log) = told(&scene::feed(command, stage.conf.to_string().as_bytes()));
    let lines: Vec<&str> = log.lines().collect();
    assert!(ok && lines.len() == 3 && lines.iter().all(|line| line.contains(" WARN ")), "{log}");
    assert!(lines[0].ends_with(&format!("network \"loose\": {key}")), "{log}");
    let call = Call { verb: "DEL", container: "pod-2", ifname: "eth0", netns };
    stage.scene.call(&call, &stage.conf).result();
    stage.assert_empty();
}

#[test]
fn prune_removes_what_belongs_to_pods_that_are_gone() {
    let (mut stage, _) = stage();
    // No bridge: its plugin takes the address of the bridge for fixed, and that changes with the pods on it.
    stage.select("data");
    stage.add();
    let gone = stage.scene.node.pod().unwrap();
    let netns = gone.path().to_string();
    stage
        .scene
        .call(&Call { verb: "ADD", container: "gone", ifname: "eth0", netns: &netns }, &stage.conf)
        .result();
    drop(gone);

    assert!(told(&stage.scene.manifold(&["prune"])).0);

    assert!(stage.scene.kept().keys().all(|path| !path.contains("gone")));
    stage.call("CHECK").result();
}

#[test]
fn an_error_says_what_and_what_to_do() {
    let (stage, networks) = stage();
    let netns = stage.pod.path().as_str();
    let attach = words("attach --networks nothing --container-id pod-1", &networks, netns);

    let (ok, _, errors) = told(&stage.scene.manifold(&attach));

    assert!(!ok);
    assert!(errors.starts_with("error: no network named \"nothing\" in "), "{errors}");
    assert!(errors.contains("\n  remedy: "), "{errors}");
}
