//! Names: taken, borne beside others, or changed while nobody looks.

use std::ffi::OsString;
use std::fs::File;

use serde_json::json;

use super::{NEEDS, Stage};
use crate::adapter::await_that;
use crate::catalogue::{Case, HoldsFor};
use crate::command::Program;
use crate::need::Need;
use crate::plugin::{Attachment, IFNAME, Subject};
use crate::trouble::{Outcome, Trouble, equal, holds};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a_vf_that_bears_the_pods_name_beside_its_own_is_attached",
        proves: "an altname that is the pod's name is no obstacle, and is there again after DEL, like any other",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: other_names,
    },
    Case {
        name: "a_name_that_a_link_of_the_pod_bears_beside_its_own_is_taken",
        proves: "the pod has a link with that altname: refused with code 101, and the VF is as before",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: taken_as_other_name,
    },
    Case {
        name: "a_vf_comes_back_when_even_the_pods_name_is_taken",
        proves: "the pod is gone and the host has a link of its name: DEL finds the VF as dev<number> and restores it",
        needs: NEEDS,
        holds_for: HoldsFor::Manifold,
        run: both_names_taken,
    },
    Case {
        name: "a_vf_that_is_renamed_during_add_is_attached",
        proves: "renamed on the host after any message of ADD, as by udev: the pod gets it, and DEL gives it back",
        needs: &[Need::SriovAdapter, Need::Program("strace")],
        holds_for: HoldsFor::Manifold,
        run: renamed_during_add,
    },
];

/// What udev might call it.
const NEW_NAME: &str = "renamed0";

/// Messages of an ADD without settings and addresses.
const MESSAGES: u32 = 6;

fn other_names(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let port = stage.adapter.port(0)?;
    let names = [IFNAME, "beside0"];
    for name in names {
        stage.node.own.ip(&format!("link property add dev {port} altname {name}"))?;
    }
    let before = (stage.picture()?, stage.node.own.link(&port)?.altnames());
    let attachment = stage.attachment(subject, json!({}));

    let attached = attachment.add().and_then(|_| stage.pod.link(IFNAME).map(|_| ()));
    let detached = attachment.del(None);
    let after = (stage.picture()?, stage.node.own.link(&port)?.altnames());

    for name in &after.1 {
        stage.node.own.ip(&format!("link property del dev {port} altname {name}"))?;
    }
    attached?;
    detached?;
    equal("the VF and its other names", sorted(after), sorted(before))
}

fn sorted<T>((picture, mut names): (T, Vec<String>)) -> (T, Vec<String>) {
    names.sort();
    (picture, names)
}

fn taken_as_other_name(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    stage.pod.ip("link add own0 type dummy")?;
    stage.pod.ip(&format!("link property add dev own0 altname {IFNAME}"))?;
    let attachment = stage.attachment(subject, json!({"vlan": 6}));

    let refusal = attachment.refusal()?;

    equal("the code", refusal.code, 101)?;
    equal("the VF", stage.picture()?, before)?;
    attachment.del(None)?;
    equal("the pod's links", stage.pod.names()?, vec!["lo".to_owned(), "own0".to_owned()])
}

fn both_names_taken(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    let pod = stage.node.netns("short-lived")?;
    let attachment = Attachment::new(subject, &stage.node, &pod, stage.config(json!({"vlan": 13})));
    attachment.add()?;
    stage.node.own.ip(&format!("link add {IFNAME} type dummy"))?;

    drop(pod);
    let back = await_that("the interface is not back", || stage.adapter.port(0).is_ok());
    let name = stage.adapter.port(0);
    let gone = attachment.del(None);
    let after = stage.picture();

    stage.node.own.ip(&format!("link delete {IFNAME}"))?;
    back?;
    gone?;
    let name = name?;
    holds(name.starts_with("dev"), format!("the kernel brought it back as {name:?}"))?;
    equal("the VF", after?, before)?;
    attachment.left_nothing()
}

fn renamed_during_add(subject: &Subject) -> Outcome<()> {
    let stage = Stage::new(1)?;
    let before = stage.picture()?;
    let mut config = stage.config(json!({}));
    config.as_object_mut().map(|keys| keys.remove("ipam"));
    let attachment = Attachment::new(subject, &stage.node, &stage.pod, config);
    let mut renamed = 0;
    for message in 1..=MESSAGES {
        let halted = Halted::start(&attachment, message)?;
        // Once it has moved there is nothing to rename.
        let done = stage.node.own.ip(&format!("link set {} name {NEW_NAME}", before.port)).is_ok();
        renamed += u32::from(done);
        let when = |what: &str| format!("{what}, renamed after message {message}");
        halted.end().map_err(Trouble::doing(when("ADD failed")))?;
        equal(&when("the address in the pod"), stage.pod.link(IFNAME)?.mac(), before.mac.as_str())?;
        attachment.del(None)?;
        // Which name it had depends on when it was looked at.
        if stage.adapter.port(0)? == NEW_NAME {
            stage.node.own.ip(&format!("link set {NEW_NAME} name {}", before.port))?;
        }
        equal(&when("the VF"), stage.picture()?, before.clone())?;
        attachment.left_nothing()?;
    }
    holds(renamed > 1, "it was never renamed in time")
}

/// An ADD that was halted after one of its messages to the kernel.
struct Halted {
    program: std::process::Child,
    process: String,
    said: std::path::PathBuf,
}

impl Halted {
    fn start(attachment: &Attachment<'_>, message: u32) -> Outcome<Self> {
        let (trace, said) = (attachment.node.path("trace"), attachment.node.path("said"));
        std::fs::remove_file(&trace).ok();
        let inject = format!("inject=sendto:signal=STOP:when={message}");
        let words = ["strace", "-f", "-qq", "-e", "trace=sendto", "-e", &inject, "-o"].map(OsString::from);
        let program = attachment.subject.program(&attachment.config).into_os_string();
        let words = words.into_iter().chain([trace.clone().into_os_string(), program]);
        let output = File::create(&said).map_err(Trouble::doing(format!("cannot make {said:?}")))?;
        let program = attachment.program("ADD", words, None).start(output)?;
        let stopped = || stopped(&std::fs::read_to_string(&trace).unwrap_or_default());
        await_that(&format!("ADD has not come to message {message}"), || stopped().is_some())?;
        Ok(Self { program, process: stopped().unwrap_or_default(), said })
    }

    /// Has it go on to its end.
    fn end(mut self) -> Outcome<()> {
        Program::new(["kill", "-CONT", &self.process]).output()?;
        let ended = self.program.wait().map_err(Trouble::doing("cannot wait for ADD"))?;
        let said = std::fs::read_to_string(&self.said).unwrap_or_default();
        holds(ended.success(), format!("it says {said}"))
    }
}

/// The process that has stopped, by a trace of it.
fn stopped(trace: &str) -> Option<String> {
    let line = trace.lines().find(|line| line.contains("--- stopped by SIGSTOP ---"))?;
    line.split_whitespace().next().map(str::to_owned)
}
