//! Contenders that are run as processes, as a container runtime runs them.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;

use crate::common::Pod;
use crate::race::Contender;
use crate::scene::Scene;

/// A program, what it is told, and for which pod.
pub(crate) struct Plugin {
    program: PathBuf,
    search: PathBuf,
    stdin: String,
    pod: Pod,
}

/// The reference plugin `macvlan`, which runs `host-local`.
pub(crate) fn reference(scene: &Scene, name: &str, crowd: u16) -> Contender {
    let stdin = scene.leased_text("reference", crowd);
    Plugin::new(scene, "macvlan", stdin).contender(name)
}

/// Manifold, configured with the same network as its default one.
pub(crate) fn manifold(scene: &Scene, name: &str, crowd: u16) -> Contender {
    let (network, state, cache) =
        (scene.leased_text("manifold", crowd), scene.path("state"), scene.path("cache"));
    let stdin = format!(
        r#"{{"cniVersion":"1.0.0","name":"meta","type":"manifold","stateDir":{state:?},"cniDir":{cache:?},"delegates":[{network}]}}"#
    );
    Plugin::new(scene, "manifold", stdin).contender(name)
}

/// The reference plugin, asked only which versions it knows.
pub(crate) fn version_of_reference(scene: &Scene) -> Contender {
    version("reference", Plugin::new(scene, "macvlan", version_request()))
}

/// Manifold, asked the same.
pub(crate) fn version_of_manifold(scene: &Scene) -> Contender {
    version("manifold", Plugin::new(scene, "manifold", version_request()))
}

fn version(name: &str, plugin: Plugin) -> Contender {
    Contender::new(name, move || plugin.run("VERSION"), || ())
}

fn version_request() -> String {
    r#"{"cniVersion":"1.0.0"}"#.into()
}

impl Plugin {
    /// The program of that name, as it is installed on the node.
    pub(crate) fn new(scene: &Scene, name: &str, stdin: String) -> Self {
        let search = scene.programs();
        Self { program: search.join(name), search, stdin, pod: scene.pod() }
    }

    /// Attaches, and detaches.
    pub(crate) fn contender(self, name: &str) -> Contender {
        let adding = Rc::new(self);
        let deleting = Rc::clone(&adding);
        Contender::new(name, move || adding.run("ADD"), move || deleting.run("DEL"))
    }

    pub(crate) fn run(&self, verb: &str) {
        #[allow(clippy::disallowed_methods, reason = "the measured process")]
        let mut child = Command::new(&self.program)
            .env_clear()
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", "process")
            .env("CNI_NETNS", self.pod.path().as_str())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", &self.search)
            .env("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Not every verb reads it; whether the call succeeded is seen below.
        drop(child.stdin.take().unwrap().write_all(self.stdin.as_bytes()));
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{:?} {verb}: {said}", self.program);
    }
}
