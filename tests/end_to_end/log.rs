//! The log: what it says, where, and that it is never in the way.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;

const ARGS: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=till;K8S_POD_UID=0a1b";
const MIB: usize = 1 << 20;

/// A pod with two networks whose calls are logged at this level, and the log file.
fn logged(level: &str) -> (Stage, PathBuf) {
    let mut stage = Stage::with_everything();
    stage.select("data@x0");
    let file = stage.scene.path("logs/manifold.log");
    stage.conf["logFile"] = json!(file);
    stage.conf["logLevel"] = json!(level);
    (stage, file)
}

/// Calls for the pod; whether it went well, and what was said on standard error.
fn call(stage: &Stage, verb: &str) -> (bool, String) {
    let netns = stage.pod.path().as_str();
    let call = Call { verb, container: "pod-1", ifname: "eth0", netns };
    let mut command = stage.scene.command(env!("CARGO_BIN_EXE_manifold"), &call);
    command.env("CNI_ARGS", ARGS);
    let done = scene::feed(command, stage.conf.to_string().as_bytes());
    (done.status.success(), String::from_utf8(done.stderr).unwrap())
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A log file that has grown to its limit of 1 MiB.
fn fill(file: &std::path::Path, word: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, word.repeat(MIB / word.len())).unwrap();
}

#[test]
fn as_json_each_line_is_an_object_with_all_its_names() {
    let (mut stage, file) = logged("verbose");
    stage.conf["logFormat"] = json!("json");

    let (went_well, said) = call(&stage, "ADD");

    assert!(went_well, "{said}");
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(lines(&text).len(), 1, "{text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&line["level"], &line["message"]), (&json!("INFO"), &json!("done")), "{text}");
    for (name, value) in
        [("command", "ADD"), ("namespace", "shop"), ("pod", "till"), ("uid", "0a1b"), ("container", "pod-1")]
    {
        assert_eq!(line["span"][name], value, "{text}");
    }
    assert!(line["span"]["attachments"].as_str().unwrap().contains("x0"), "{text}");
}

#[test]
fn verbose_has_one_line_per_call_with_all_its_names() {
    let (stage, file) = logged("verbose");

    for verb in ["ADD", "CHECK", "DEL"] {
        assert!(call(&stage, verb).0, "{verb}");
    }

    let text = fs::read_to_string(&file).unwrap();
    let lines = lines(&text);
    assert_eq!(lines.len(), 3, "{text}");
    for (line, verb) in lines.iter().zip(["ADD", "CHECK", "DEL"]) {
        let said = format!(
            r#"INFO call{{command="{verb}" container="pod-1" ifname="eth0" namespace="shop" pod="till" uid="0a1b" network="meta""#
        );
        assert!(line.contains(&said), "{line} should say {said}");
        let ms: u64 = line.rsplit_once("done ms=").expect(line).1.parse().unwrap();
        assert!(ms < 60_000, "{line}");
    }
    assert!(
        lines[0].contains(r#"attachments="eth0 (default) 10.77.0.2/24, x0 (data) 10.77.1.2/24""#),
        "{text}"
    );
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn standard_error_has_the_same_lines_unless_it_is_to_be_quiet() {
    let (mut stage, file) = logged("verbose");

    let (_, said) = call(&stage, "ADD");
    assert_eq!(said, fs::read_to_string(&file).unwrap());

    stage.conf["logToStderr"] = json!(false);
    assert_eq!(call(&stage, "CHECK"), (true, String::new()));
    let (ok, said) = call(&stage, "ADD");
    assert!(!ok && said.contains("ERROR"), "{said}");
}

#[test]
fn a_failure_is_logged_at_every_level_with_code_and_remedy() {
    for level in ["panic", "error", "verbose", "debug", "nonsense"] {
        let (mut stage, file) = logged(level);
        stage.select("nowhere");

        let (ok, said) = call(&stage, "ADD");

        let text = fs::read_to_string(&file).unwrap();
        assert!(!ok);
        assert_eq!(lines(&text).len(), 1, "{level}: {text}");
        for part in [
            "ERROR call{command=\"ADD\"",
            "pod=\"till\"",
            "no network named \"nowhere\"",
            "code=100",
            "details=\"",
        ] {
            assert!(text.contains(part), "{level}: {text} should say {part}");
        }
        assert_eq!(said, text);
    }
}

#[test]
fn what_goes_well_is_not_logged_below_verbose() {
    for level in ["panic", "error"] {
        let (stage, file) = logged(level);

        assert_eq!(call(&stage, "ADD"), (true, String::new()));

        assert!(!file.exists(), "a file that nothing is written to is not made");
    }
}

#[test]
fn polls_of_the_status_are_logged_at_debug_only() {
    for (level, count) in [("verbose", 0), ("debug", 2)] {
        let (stage, file) = logged(level);

        assert!(call(&stage, "STATUS").0);
        scene::ip("link del up0");
        assert!(!call(&stage, "STATUS").0);

        let text = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(lines(&text).len(), count, "{level}: {text}");
    }
}

#[test]
fn a_full_file_is_replaced_and_some_are_kept() {
    let (mut stage, file) = logged("verbose");
    stage.conf["logOptions"] = json!({"maxSize": 1, "maxBackups": 2, "compress": false});
    let replaced = |n: u8| file.with_file_name(format!("manifold.log.{n}"));

    for word in ["first", "second", "third"] {
        fill(&file, word);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(call(&stage, "DEL").0);
        assert_eq!(lines(&fs::read_to_string(&file).unwrap()).len(), 1, "the new file has the new line");
    }

    assert!(fs::read_to_string(replaced(1)).unwrap().starts_with("third"));
    assert!(fs::read_to_string(replaced(2)).unwrap().starts_with("second"));
    assert!(!replaced(3).exists());
    assert_eq!((mode(&file), mode(&replaced(1))), (0o600, 0o600));
}

#[test]
fn replaced_files_are_compressed_unless_said_otherwise() {
    let (mut stage, file) = logged("verbose");
    stage.conf["logOptions"] = json!({"maxSize": 1});
    fill(&file, "some");

    assert!(call(&stage, "DEL").0);

    let packed = file.with_file_name("manifold.log.1.gz");
    let unpacked = std::process::Command::new("gzip").arg("-dc").arg(&packed).output().unwrap();
    assert_eq!(unpacked.stdout, "some".repeat(MIB / 4).into_bytes());
    assert_eq!(mode(&packed), 0o600);
    assert!(!file.with_file_name("manifold.log.1").exists());
}

#[test]
fn replaced_files_that_are_too_old_go() {
    let (mut stage, file) = logged("verbose");
    stage.conf["logOptions"] = json!({"maxSize": 1, "maxAge": 2, "compress": false});
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    fill(&file, "new");
    for (n, days) in [(1, 1), (2, 3)] {
        let old = fs::File::create(file.with_file_name(format!("manifold.log.{n}"))).unwrap();
        old.set_modified(std::time::SystemTime::now() - day * days).unwrap();
    }
    let stranger = fs::File::create(file.with_file_name("manifold.log.txt")).unwrap();
    stranger.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();

    assert!(call(&stage, "DEL").0);

    let mut left: Vec<_> =
        fs::read_dir(file.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["manifold.log", "manifold.log.1", "manifold.log.2", "manifold.log.txt"]);
}

#[test]
fn calls_that_replace_the_file_at_once_lose_nothing_of_their_own() {
    let (mut stage, file) = logged("verbose");
    stage.conf["logOptions"] = json!({"maxSize": 1, "maxBackups": 30, "compress": false});
    fill(&file, "full");
    let start = |n: u32| {
        let container = format!("gone-{n}");
        let call = Call { verb: "DEL", container: &container, ifname: "eth0", netns: "" };
        let command = stage.scene.command(env!("CARGO_BIN_EXE_manifold"), &call);
        scene::start(command, stage.conf.to_string().as_bytes())
    };

    let calls: Vec<_> = (0..16).map(start).collect();
    for call in calls {
        let done = call.wait_with_output().unwrap();
        assert!(done.status.success());
        assert_eq!(lines(&String::from_utf8(done.stderr).unwrap()).len(), 1);
    }

    let files = fs::read_dir(file.parent().unwrap()).unwrap();
    let all: String = files.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    for n in 0..16 {
        assert_eq!(all.matches(&format!("container=\"gone-{n}\"")).count(), 1, "gone-{n}");
    }
}

#[test]
fn a_file_that_another_call_is_replacing_is_appended_to() {
    let (mut stage, file) = logged("verbose");
    stage.conf["logOptions"] = json!({"maxSize": 1, "compress": false});
    fill(&file, "full");
    let folder = fs::File::open(file.parent().unwrap()).unwrap();
    folder.lock().unwrap();

    assert!(call(&stage, "DEL").0);

    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("full") && text.ends_with('\n'), "it was neither waited for nor replaced");
    drop(folder);
    assert!(call(&stage, "DEL").0);
    assert_eq!(fs::read_to_string(file.with_file_name("manifold.log.1")).unwrap(), text);
}

#[test]
fn a_file_that_cannot_be_written_fails_no_call_and_is_told_once() {
    let (mut stage, _) = logged("debug");
    fs::write(stage.scene.path("plain"), "").unwrap();
    nix::unistd::mkfifo(&stage.scene.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let places =
        [stage.scene.path("plain/manifold.log"), stage.scene.path("networks"), stage.scene.path("pipe")];
    for place in places {
        stage.conf["logFile"] = json!(place);
        for verb in ["ADD", "DEL"] {
            let (ok, said) = call(&stage, verb);
            assert!(ok, "{place:?} {verb}: {said}");
            assert_eq!(said.matches("cannot write the log file").count(), 1, "{said}");
        }
    }
}

#[test]
fn a_file_without_a_place_is_refused_and_del_goes_on() {
    let (mut stage, _) = logged("verbose");
    assert!(call(&stage, "ADD").0);
    stage.conf["logFile"] = json!("manifold.log");

    let (_, message, details) = stage.call("ADD").error();
    assert_eq!(
        (message.as_str(), details.as_str()),
        (r#""logFile" is "manifold.log""#, "give an absolute path")
    );

    stage.del();
    stage.assert_empty();
}

#[test]
fn nothing_of_a_configuration_gets_into_the_log() {
    let (mut stage, file) = logged("debug");
    let mut default = stage.scene.macvlan("default", 0);
    default["token"] = json!("hunter2");
    stage.conf["delegates"] = json!([default, {"cniVersion": "1.0.0", "name": "run", "type": "bridge",
        "bridge": "b0", "password": "hunter2", "ipam": stage.scene.ipam(4)}]);
    stage.conf["runtimeConfig"]["secret"] = json!("hunter2");
    for verb in ["ADD", "CHECK", "STATUS", "ADD", "DEL"] {
        call(&stage, verb);
    }
    stage.conf["delegates"][0]["mtu"] = json!({"hunter2": 1});
    call(&stage, "ADD");

    let text = fs::read_to_string(&file).unwrap();
    // One line more tells of a key that nobody reads, by its name.
    assert_eq!(lines(&text).len(), 7, "{text}");
    assert!(text.contains("\"token\" has no effect") && !text.contains("\"password\""), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_message_of_several_lines_is_one_line_in_the_log() {
    let (mut stage, file) = logged("error");
    let bin = stage.scene.path("bin");
    fs::create_dir(&bin).unwrap();
    let plugin = bin.join("talker");
    fs::write(&plugin, "#!/bin/sh\nprintf '%s' '{\"code\":77,\"msg\":\"first\\nERROR second\"}'\nexit 1\n")
        .unwrap();
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).unwrap();
    stage.conf["binDir"] = json!(bin);
    stage.conf["delegates"] = json!([{"cniVersion": "1.0.0", "name": "n", "type": "talker"}]);

    call(&stage, "ADD");

    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(lines(&text).len(), 1, "{text}");
    assert!(text.contains(r"first\nERROR second"), "{text}");
}

#[test]
fn an_answer_that_cannot_be_written_is_told_on_standard_error() {
    let (stage, _) = logged("error");
    let netns = stage.pod.path().as_str();
    let call = Call { verb: "ADD", container: "pod-1", ifname: "eth0", netns };
    let mut command = stage.scene.command(env!("CARGO_BIN_EXE_manifold"), &call);
    command.stdout(fs::File::options().write(true).open("/dev/full").unwrap());

    let done = scene::feed(command, stage.conf.to_string().as_bytes());

    let said = String::from_utf8(done.stderr).unwrap();
    assert!(!done.status.success(), "{said}");
    assert!(said.contains("cannot write the answer to standard output: No space left on device"), "{said}");
    stage.del();
}
