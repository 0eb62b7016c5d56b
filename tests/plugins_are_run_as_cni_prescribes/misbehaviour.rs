//! Plugins that fail, hang, flood, or leave children behind.

use std::fs::{File, OpenOptions};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use manifold::model::fault::Fault;
use manifold::model::{CniResult, FaultKind};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::scene::{Scripts, attachment, nowhere, probe, steps};

/// More than any of these scripts needs.
const LONG: Duration = Duration::from_secs(60);

/// Enough for a script to get to where it hangs.
const SHORT: Duration = Duration::from_secs(3);

/// Holds a lock, as `host-local` does on its store, for as long as a process that inherits it lives.
const LOCKED: &str = r#"exec 9>"$OUT/lock"; flock 9; "#;

fn add(scripts: &Scripts, limit: Duration) -> Result<CniResult, Fault> {
    let (it, step) = probe();
    scripts.plugins(limit).add(nowhere(&it), &step, None)
}

/// How the probe of these scripts fails.
fn failure(script: &str, limit: Duration) -> Fault {
    add(&Scripts::with_probe(script), limit).unwrap_err()
}

/// The text of a fault without what all of them begin with: plugin, path and verb.
fn reason(fault: &Fault) -> String {
    let text = fault.to_string();
    assert!(text.starts_with("plugin \"probe\" (\"/"), "{text}");
    text.split_once("/probe\") failed on ADD: ").unwrap_or_else(|| panic!("{text}")).1.to_owned()
}

/// Asserts that nobody holds the lock of [`LOCKED`] any more, or will not in a moment: SIGKILL was sent, not awaited.
fn assert_unlocked(scripts: &Scripts) {
    let lock = File::open(scripts.path().join("lock")).expect("the script took its lock");
    let (done, locked) = channel();
    std::thread::spawn(move || done.send(lock.lock()));
    locked.recv_timeout(LONG).expect("the lock is free").unwrap();
}

#[test]
fn an_error_object_is_passed_on() {
    let fault = failure(
        r#"echo 'level=debug' >&2; echo '{"code":11,"msg":"pool is busy","details":"try again"}'; exit 1"#,
        LONG,
    );

    assert_eq!(fault.kind(), FaultKind::Delegate(11));
    assert_eq!(reason(&fault), "pool is busy; on stderr it wrote \"level=debug\"");
    assert_eq!(fault.to_reply().details, "try again");
}

#[test]
fn garbage_is_quoted() {
    let fault = failure("echo not json; echo oops >&2; exit 3", LONG);

    assert_eq!(fault.kind(), FaultKind::Plugin);
    assert_eq!(
        reason(&fault),
        "it ended with exit status: 3; on stdout it wrote \"not json\"; on stderr it wrote \"oops\""
    );
}

#[test]
fn stderr_alone_is_quoted() {
    let fault = failure("echo oops >&2; exit 1", LONG);
    assert_eq!(reason(&fault), "it ended with exit status: 1; on stderr it wrote \"oops\"");
}

#[test]
fn a_signal_is_told() {
    let fault = failure("kill -9 $$", LONG);

    assert_eq!(fault.kind(), FaultKind::Plugin);
    assert_eq!(reason(&fault), "it ended with signal: 9 (SIGKILL) and wrote nothing");
}

#[test]
fn a_success_without_a_result_is_a_failure() {
    for script in ["exit 0", "echo done"] {
        let fault = failure(script, LONG);
        assert_eq!(fault.kind(), FaultKind::Decode, "{script}");
        assert!(fault.to_string().starts_with("plugin \"probe\" answered ADD with no result: "), "{fault}");
    }
}

#[test]
fn a_plugin_that_is_not_there_is_named() {
    let scripts = Scripts::new();
    let fault = add(&scripts, LONG).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::Absent);
    let dir = scripts.path();
    assert_eq!(
        fault.to_string(),
        format!("plugin \"probe\" failed on ADD: plugin \"probe\" is in none of the directories [{dir:?}]")
    );
}

#[test]
fn a_file_that_cannot_be_executed_is_told() {
    let scripts = Scripts::new();
    std::fs::write(scripts.path().join("probe"), "text").unwrap();

    let fault = add(&scripts, LONG).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::Plugin);
    assert_eq!(reason(&fault), "cannot start it: Permission denied (os error 13)");
}

#[test]
fn a_file_that_stays_open_for_writing_is_given_up_in_time() {
    let scripts = Scripts::with_probe("echo '{}'");
    let writer = OpenOptions::new().append(true).open(scripts.path().join("probe")).unwrap();
    let begin = Instant::now();

    let fault = add(&scripts, SHORT).unwrap_err();

    assert_eq!(reason(&fault), "cannot start it: Text file busy (os error 26)");
    assert!(begin.elapsed() >= SHORT, "it was not tried again");
    drop(writer);
    add(&scripts, LONG).unwrap();
}

#[test]
fn a_plugin_that_hangs_is_killed() {
    let fault = failure("echo waiting >&2; exec sleep 1000", SHORT);

    assert_eq!(fault.kind(), FaultKind::TimedOut);
    assert_eq!(
        reason(&fault),
        "it has not ended after 3s and was killed with its children; on stderr it wrote \"waiting\""
    );
}

#[test]
fn a_plugin_that_hangs_is_killed_with_its_children() {
    let scripts = Scripts::with_probe(&format!("{LOCKED} sleep 1000 & wait"));

    let fault = add(&scripts, SHORT).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::TimedOut);
    assert_unlocked(&scripts);
}

#[test]
fn a_plugin_that_ignores_signals_is_killed() {
    let fault = failure("trap '' TERM INT HUP; while :; do sleep 1000; done", SHORT);
    assert_eq!(fault.kind(), FaultKind::TimedOut);
}

#[test]
fn a_plugin_that_closes_its_outputs_and_lives_on_is_killed() {
    let fault = failure("echo '{}'; exec >&- 2>&-; exec sleep 1000", SHORT);
    assert_eq!(fault.kind(), FaultKind::TimedOut);
}

#[test]
fn a_failing_plugins_children_are_killed() {
    let scripts = Scripts::with_probe(&format!("{LOCKED} sleep 1000 & exit 1"));

    let fault = add(&scripts, LONG).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::Plugin);
    assert_unlocked(&scripts);
}

#[test]
fn a_daemon_that_a_plugin_leaves_neither_delays_its_success_nor_dies() {
    let scripts = Scripts::with_probe(r#"sleep 1000 & echo $! >"$OUT/daemon"; echo '{}'"#);

    // A plugin that is waited for as long as its daemon lives is none that succeeds within the limit.
    add(&scripts, LONG).unwrap();

    let daemon = Pid::from_raw(scripts.read("daemon").trim().parse().unwrap());
    kill(daemon, Signal::SIGKILL).expect("the daemon lives");
}

#[test]
fn a_daemon_that_writes_for_ever_does_not_delay_success() {
    let scripts = Scripts::with_probe(r#"echo '{}'; exec >&-; yes >&2 & echo $! >"$OUT/daemon""#);

    add(&scripts, LONG).unwrap();

    // It ends by SIGPIPE; should it live, it is ours to end.
    let daemon = Pid::from_raw(scripts.read("daemon").trim().parse().unwrap());
    drop(kill(daemon, Signal::SIGKILL).map_err(std::io::Error::from));
}

#[test]
fn a_plugin_that_writes_without_end_is_killed() {
    let scripts = Scripts::with_probe(&format!("{LOCKED} yes"));

    let fault = add(&scripts, LONG).unwrap_err();

    assert_eq!(fault.kind(), FaultKind::Plugin);
    assert_eq!(reason(&fault), "it wrote more than 4194304 bytes and was killed");
    assert_unlocked(&scripts);
}

#[test]
fn what_was_written_last_is_heard_out() {
    // All of it fits the pipe: it is gone before most of it is read.
    let written = r#"text=$(head -c 60000 /dev/zero | tr '\0' x); echo "{\"dns\":{\"domain\":\"$text\"}}""#;
    let scripts = Scripts::with_probe(written);
    for _ in 0..20 {
        assert_eq!(add(&scripts, LONG).unwrap().dns.domain.len(), 60_000);
    }
}

#[test]
fn of_a_long_stderr_both_ends_are_told() {
    let fault =
        failure("echo first >&2; head -c 9000000 /dev/zero | tr '\\0' x >&2; echo last >&2; exit 1", LONG);

    let reason = reason(&fault);
    assert!(reason.len() < 10_000);
    assert!(reason.starts_with("it ended with exit status: 1; on stderr it wrote \"first\\nxx"), "{reason}");
    assert!(reason.contains("bytes left out") && reason.ends_with("xxlast\""), "{reason}");
}

#[test]
fn a_long_configuration_may_be_read_late_in_part_or_not_at_all() {
    let text =
        format!(r#"{{"cniVersion":"1.0.0","name":"it","type":"probe","long":"{}"}}"#, "x".repeat(400_000));
    let it = attachment(&text);
    let step = steps(&it.network).remove(0);
    let reads = r#"head -c 300000 /dev/zero | tr '\0' ' '; printf '{"dns":{"domain":"%s"}}' $(wc -c)"#;

    for (script, domain) in [
        ("echo '{}'", String::new()),
        ("exec <&-; echo '{}'", String::new()),
        ("head -c 10 >/dev/null; echo '{}'", String::new()),
        (reads, text.len().to_string()),
    ] {
        let scripts = Scripts::with_probe(script);
        let result = scripts.plugins(LONG).add(nowhere(&it), &step, None).unwrap();
        assert_eq!(result.dns.domain, domain, "{script}");
    }
}
