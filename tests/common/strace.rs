//! The program under `strace`, which counts its system calls and delivers a signal at the entry of the n-th of a name.

#![allow(dead_code, reason = "every test uses its part")]

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::scene::{self, Call, Scene};

/// The system calls that change something outside the process.
pub(crate) const CHANGES: [&str; 23] = [
    "clone",
    "clone3",
    "fchmod",
    "fchownat",
    "ftruncate",
    "link",
    "linkat",
    "mkdir",
    "mkdirat",
    "openat",
    "pwrite64",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendmsg",
    "sendto",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
    "vfork",
    "write",
];

/// A call that was traced.
pub(crate) struct Traced {
    pub(crate) ok: bool,
    /// What strace wrote: a line for each system call.
    pub(crate) log: String,
}

impl Traced {
    /// Makes a call with these words for strace.
    fn call(scene: &Scene, call: &Call<'_>, conf: &Value, words: &[String]) -> Self {
        let log = scene.path("strace");
        let plain = scene.command(env!("CARGO_BIN_EXE_manifold"), call);
        let mut command = Command::new("strace");
        command.envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?))));
        command.arg("-o").arg(&log).args(words).arg(env!("CARGO_BIN_EXE_manifold"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = scene::feed(command, conf.to_string().as_bytes());
        Self { ok: output.status.success(), log: fs::read_to_string(log).expect("strace writes") }
    }

    /// How often it made this system call.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.log.lines().filter(|line| line.split('(').next() == Some(name)).count()
    }
}

/// Makes a call that must succeed.
pub(crate) fn trace(scene: &Scene, call: &Call<'_>, conf: &Value) -> Traced {
    let traced = Traced::call(scene, call, conf, &[]);
    assert!(traced.ok, "{}: {}", call.verb, traced.log);
    traced
}

/// Makes a call that must succeed although the kernel refuses all system calls of this name with this error.
pub(crate) fn refuse(scene: &Scene, call: &Call<'_>, conf: &Value, (name, error): (&str, &str)) {
    let words = ["-e".to_owned(), format!("inject={name}:error={error}")];
    let traced = Traced::call(scene, call, conf, &words);
    assert!(traced.ok && traced.log.contains("(INJECTED)"), "{}: {}", call.verb, traced.log);
}

/// Makes a call that is killed when it enters the n-th system call of this name. It may come to need fewer of them than
/// the one that was counted, where it has to wait less for others: then it goes well.
pub(crate) fn kill(scene: &Scene, call: &Call<'_>, conf: &Value, (name, n): (&str, usize)) {
    let words = ["-e".to_owned(), format!("inject={name}:signal=KILL:when={n}")];
    let traced = Traced::call(scene, call, conf, &words);
    let killed = !traced.ok && traced.log.contains("killed by SIGKILL");
    let spared = n > 1 && traced.ok && traced.count(name) < n;
    assert!(killed || spared, "{} was not killed at {name} {n}", call.verb);
}
