//! What a plugin is given, and how its answer is taken.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use manifold::engine::ports::Site;
use manifold::host::exec::Plugins;
use manifold::model::{Attachment, CniResult, FaultKind, NetnsPath, Object, dialect};
use manifold::plan::step::{ExecStep, Yields};

use crate::scene::{Scripts, attachment, nowhere, probe, steps};

/// Notes its environment and its input, and answers with a result.
const NOTES: &str = r#"cat /proc/$$/environ >"$OUT/environment"
cat >"$OUT/stdin"
echo '{"ips":[{"address":"10.1.2.3/24"}]}'"#;

const LIMIT: Duration = Duration::from_secs(60);

/// The environment a script noted, sorted.
fn environment(scripts: &Scripts) -> Vec<String> {
    let text = scripts.read("environment");
    let mut variables: Vec<String> = text.split_terminator('\0').map(str::to_owned).collect();
    variables.sort();
    variables
}

/// The same, of the parameters alone.
fn parameters(scripts: &Scripts) -> Vec<String> {
    environment(scripts).into_iter().filter(|variable| variable.starts_with("CNI_")).collect()
}

fn object(text: &str) -> Object {
    Object::parse(text.as_bytes(), "the test").unwrap()
}

fn some_result() -> CniResult {
    serde_json::from_str(r#"{"interfaces":[{"name":"net1","sandbox":"/n"}]}"#).unwrap()
}

/// An attachment to a network of one `probe` in this version.
fn probe_of(version: &str) -> (Attachment, ExecStep) {
    let text = format!(r#"{{"cniVersion":"{version}","name":"it","plugins":[{{"type":"probe"}}]}}"#);
    let it = attachment(&text);
    let step = steps(&it.network).remove(0);
    (it, step)
}

#[test]
fn the_environment_is_the_callers_with_the_parameters_replaced() {
    let scripts = Scripts::with_probe(NOTES);
    let (it, step) = probe();
    let netns: NetnsPath = "/run/netns/p".parse().unwrap();
    let mut callers = scripts.environment();
    callers.extend([
        ("CNI_COMMAND".into(), "DEL".into()),
        ("CNI_IFNAME".into(), "eth0".into()),
        ("CNI_NETNS_OVERRIDE".into(), "1".into()),
    ]);
    let path = vec![PathBuf::new(), scripts.path().to_owned(), "/usr/lib/cni".into()];

    let plugins = Plugins::new(path, callers, LIMIT);
    plugins.add(Site { netns: Some(&netns), ..nowhere(&it) }, &step, None).unwrap();

    let out = scripts.path().display();
    let expected = [
        "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=p".to_owned(),
        "CNI_COMMAND=ADD".to_owned(),
        "CNI_CONTAINERID=c1".to_owned(),
        "CNI_IFNAME=net1".to_owned(),
        "CNI_NETNS=/run/netns/p".to_owned(),
        "CNI_NETNS_OVERRIDE=1".to_owned(),
        format!("CNI_PATH={out}:/usr/lib/cni"),
        format!("OUT={out}"),
        "PATH=/usr/bin:/bin".to_owned(),
    ];
    assert_eq!(environment(&scripts), expected);
}

#[test]
fn the_configuration_arrives_as_it_was_written() {
    let scripts = Scripts::with_probe(NOTES);
    let mut it = attachment(
        r#"{"cniVersion":"1.0.0","name":"blue","plugins":[{"type":"probe","z":1,"NAME":"old","big":12345678901234567890,
            "x":1.50,"text":"\u00e9<&>é","o":{"k": [ 1,  2 ]},"capabilities":{"mac":true,"ips":false},"n":null}]}"#,
    );
    it.capabilities = object(r#"{"mac":"02:00:00:00:00:01","ips":["10.0.0.1"],"bandwidth":{}}"#);
    let step = steps(&it.network).remove(0);
    let prev = some_result();

    let result = scripts.plugins(LIMIT).add(nowhere(&it), &step, Some(&prev)).unwrap();

    let raw = dialect::raw(&prev, it.network.version).unwrap();
    let expected = format!(
        r#"{{"type":"probe","z":1,"name":"blue","big":12345678901234567890,"x":1.50,"text":"\u00e9<&>é","o":{{"k": [ 1,  2 ]}},"capabilities":{{"mac":true,"ips":false}},"n":null,"cniVersion":"1.0.0","runtimeConfig":{{"mac":"02:00:00:00:00:01"}},"prevResult":{}}}"#,
        raw.get()
    );
    assert_eq!(scripts.read("stdin"), expected);
    assert_eq!(result.ips[0].address, "10.1.2.3/24".parse().unwrap());
}

#[test]
fn an_ipam_plugin_is_given_the_configuration_of_the_plugin_that_calls_it() {
    let scripts = Scripts::new();
    scripts.write("leases", NOTES);
    let it = attachment(
        r#"{"cniVersion":"1.0.0","name":"it","plugins":[{"type":"macvlan","ipam":{"type":"leases"}}]}"#,
    );
    let conf = it.network.plugins[0].clone();
    let step = ExecStep { program: "leases".parse().unwrap(), conf, yields: Yields::Lease };

    let leased = scripts.plugins(LIMIT).add(nowhere(&it), &step, None).unwrap();

    let expected = r#"{"type":"macvlan","ipam":{"type":"leases"},"cniVersion":"1.0.0","name":"it"}"#;
    assert_eq!(scripts.read("stdin"), expected);
    assert_eq!(leased.ips.len(), 1);
}

#[test]
fn del_and_check_are_told_the_result_from_0_4_0_on() {
    for (version, told) in [("0.3.1", false), ("0.4.0", true), ("1.1.0", true)] {
        let scripts = Scripts::with_probe(NOTES);
        let (it, step) = probe_of(version);
        let result = some_result();
        let site = Site { result: Some(&result), ..nowhere(&it) };

        scripts.plugins(LIMIT).del(site, &step).unwrap();

        let given = object(&scripts.read("stdin"));
        assert_eq!(given.find("prevResult").is_some(), told, "DEL in {version}");
        assert!(parameters(&scripts).contains(&"CNI_NETNS=".to_owned()), "a namespace that is gone is empty");

        if told {
            scripts.plugins(LIMIT).check(site, &step).unwrap();
            let raw = dialect::raw(&result, it.network.version).unwrap();
            let given = object(&scripts.read("stdin"));
            assert_eq!(given.find("prevResult").unwrap().get(), raw.get(), "CHECK in {version}");
            assert!(parameters(&scripts).contains(&"CNI_COMMAND=CHECK".to_owned()));
        }
    }
}

#[test]
fn a_verb_the_version_does_not_know_succeeds_without_a_run() {
    let scripts = Scripts::with_probe("touch $OUT/ran; exit 1");
    let plugins = scripts.plugins(LIMIT);
    let (older, step) = probe_of("0.3.1");
    let (old, _) = probe_of("1.0.0");

    plugins.check(nowhere(&older), &step).unwrap();
    plugins.status(&old.network, &step).unwrap();
    plugins.gc(&old.network, &step, &[]).unwrap();
    assert!(!scripts.path().join("ran").exists());

    plugins.check(nowhere(&old), &step).unwrap_err();
    assert!(scripts.path().join("ran").exists());
}

#[test]
fn gc_lists_the_valid_attachments_under_both_keys() {
    let scripts = Scripts::with_probe(NOTES);
    let (it, step) = probe();

    scripts.plugins(LIMIT).gc(&it.network, &step, std::slice::from_ref(&it.owner)).unwrap();

    let list = r#"[{"containerID":"c1","ifname":"net1"}]"#;
    assert_eq!(
        scripts.read("stdin"),
        format!(
            r#"{{"type":"probe","cniVersion":"1.1.0","name":"it","cni.dev/valid-attachments":{list},"cni.dev/attachments":{list}}}"#
        )
    );
    let path = format!("CNI_PATH={}", scripts.path().display());
    let expected =
        ["CNI_ARGS=", "CNI_COMMAND=GC", "CNI_CONTAINERID=", "CNI_IFNAME=", "CNI_NETNS=", path.as_str()];
    assert_eq!(parameters(&scripts), expected);
}

#[test]
fn status_asks_with_empty_parameters_and_passes_the_answer_on() {
    let scripts = Scripts::with_probe(&format!(
        r#"{NOTES} >/dev/null
        echo '{{"cniVersion":"1.1.0","code":50,"msg":"no uplink","details":"wait"}}'; exit 1"#
    ));
    let (it, step) = probe();

    let fault = scripts.plugins(LIMIT).status(&it.network, &step).unwrap_err();

    assert_eq!((fault.kind(), fault.advice()), (FaultKind::Delegate(50), Some("wait")));
    assert_eq!(scripts.read("stdin"), r#"{"type":"probe","cniVersion":"1.1.0","name":"it"}"#);
    assert_eq!(
        parameters(&scripts)[1..5],
        ["CNI_COMMAND=STATUS", "CNI_CONTAINERID=", "CNI_IFNAME=", "CNI_NETNS="]
    );
}

/// Refuses what it is asked with this code, and tells what it speaks.
fn refusing(code: u32, spoken: &str) -> Scripts {
    Scripts::with_probe(&format!(
        r#"if [ "$CNI_COMMAND" = VERSION ]; then
            cat >"$OUT/asked"
            echo '{{"cniVersion":"1.0.0","supportedVersions":{spoken}}}'
        else
            echo '{{"code":{code},"msg":"no"}}'; exit 1
        fi"#
    ))
}

#[test]
fn a_plugin_that_does_not_speak_the_version_is_told_from_one_that_refuses() {
    let (it, step) = probe();
    let old = r#"["0.4.0","1.0.0"]"#;
    for (code, spoken, unspoken) in [
        (1, old, true),
        (3, old, true),
        (4, old, true),
        (11, old, false),
        (3, r#"["1.0.0","1.1.0"]"#, false),
        (3, "[]", false),
        (3, "7", false),
    ] {
        let scripts = refusing(code, spoken);

        let fault = scripts.plugins(LIMIT).status(&it.network, &step).unwrap_err();

        let kind = if unspoken { FaultKind::Version } else { FaultKind::Delegate(code) };
        assert_eq!(fault.kind(), kind, "{code} {spoken}");
        let told = fault.to_string().ends_with(": it does not speak CNI 1.1.0, but 0.4.0, 1.0.0: no");
        assert_eq!((told, fault.advice().is_some()), (unspoken, unspoken), "{fault}");
        let heard = scripts.plugins(LIMIT).gc(&it.network, &step, &[]);
        assert_eq!(heard.is_ok(), unspoken, "it has nothing to collect: {heard:?}");
    }
}

#[test]
fn what_an_add_is_refused_for_is_the_version_only_if_the_plugin_says_so() {
    let (it, step) = probe();
    for (code, spoken, kind) in [
        (1, r#"["1.0.0"]"#, FaultKind::Version),
        // A plugin that it runs does not speak it.
        (1, r#"["1.1.0"]"#, FaultKind::Delegate(1)),
        (3, r#"["1.0.0"]"#, FaultKind::Delegate(3)),
    ] {
        let scripts = refusing(code, spoken);

        assert_eq!(scripts.plugins(LIMIT).add(nowhere(&it), &step, None).unwrap_err().kind(), kind);
        assert_eq!(scripts.plugins(LIMIT).del(nowhere(&it), &step).unwrap_err().kind(), kind);
        let asked = fs::read_to_string(scripts.path().join("asked")).ok();
        assert_eq!(asked.as_deref(), (code == 1).then_some(r#"{"cniVersion":"1.1.0"}"#));
    }
}

#[test]
fn the_first_regular_file_in_the_list_is_the_plugin() {
    let (first, second, third) = (Scripts::new(), Scripts::new(), Scripts::new());
    fs::create_dir(first.path().join("probe")).unwrap();
    symlink("/nowhere", first.path().join("other")).unwrap();
    third.write("target", "");
    symlink(third.path().join("target"), second.path().join("probe")).unwrap();
    third.write("probe", "");
    let list = [&first, &second, &third].map(|scripts| scripts.path().to_owned()).to_vec();

    let plugins = Plugins::new(list.clone(), Vec::new(), LIMIT);

    assert_eq!(plugins.find(&"probe".parse().unwrap()).unwrap(), second.path().join("probe"));
    let fault = plugins.find(&"other".parse().unwrap()).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Absent);
    assert_eq!(fault.to_string(), format!("plugin \"other\" is in none of the directories {list:?}"));
    assert!(fault.advice().is_some());
}

#[test]
fn a_success_may_say_things_on_stderr() {
    let scripts = Scripts::with_probe("echo warning >&2; echo '{}'");
    let (it, step) = probe();
    assert_eq!(scripts.plugins(LIMIT).add(nowhere(&it), &step, None).unwrap(), CniResult::default());
}
