//! A plugin that tells what it was given.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// The plugin type of the spy.
pub(crate) const SPY: &str = "spy";

/// The configuration of a network with the spy for its only plugin.
pub(crate) fn network(name: &str) -> Value {
    json!({"cniVersion": "1.1.0", "name": name, "type": SPY})
}

/// A pod with these delegates on a node that has the spy; the runtime hands the pod's annotations over.
pub(crate) fn stage(delegates: &Value) -> Stage {
    let scene = Scene::new();
    fs::create_dir(scene.path("bin")).unwrap();
    fs::create_dir(scene.path("heard")).unwrap();
    let answer = r#"{"interfaces":[{"name":"'$CNI_IFNAME'","sandbox":"'$CNI_NETNS'"}],"ips":[]}"#;
    let heard = scene.path("heard").display().to_string();
    let text = format!(
        "#!/bin/sh\nstem=\"{heard}/$CNI_COMMAND-$CNI_IFNAME\"\ncat >\"$stem.json\"\nprintf %s \"$CNI_ARGS\" >\"$stem.args\"\n[ \"$CNI_COMMAND\" != ADD ] || printf %s '{answer}'\n"
    );
    let mut conf = scene.conf(delegates);
    conf["binDir"] = json!(scene.path("bin"));
    conf["runtimeConfig"] = json!({"io.kubernetes.cri.pod-annotations": {}});
    let stage = Stage::around(scene, conf);
    stage.plugin(SPY, &text);
    stage
}

impl Stage {
    /// Installs a plugin written for the shell.
    pub(crate) fn plugin(&self, kind: &str, script: &str) {
        let path = self.scene.path("bin").join(kind);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What the spy read on standard input, as it was written.
    pub(crate) fn heard(&self, verb: &str, ifname: &str) -> String {
        let path = self.scene.path("heard").join(format!("{verb}-{ifname}.json"));
        fs::read_to_string(&path)
            .unwrap_or_else(|cause| panic!("the spy heard no {verb} for {ifname}: {cause}"))
    }

    pub(crate) fn heard_json(&self, verb: &str, ifname: &str) -> Value {
        serde_json::from_str(&self.heard(verb, ifname)).unwrap()
    }

    /// The `CNI_ARGS` the spy got.
    pub(crate) fn args(&self, verb: &str, ifname: &str) -> String {
        fs::read_to_string(self.scene.path("heard").join(format!("{verb}-{ifname}.args"))).unwrap()
    }

    /// Every call the spy heard, sorted.
    pub(crate) fn all_heard(&self) -> Vec<String> {
        let files = fs::read_dir(self.scene.path("heard")).unwrap().map(|entry| entry.unwrap().path());
        let calls = files.filter(|path| path.extension().is_some_and(|e| e == "json"));
        let mut calls: Vec<String> =
            calls.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        calls.sort();
        calls
    }

    /// A call with these `CNI_ARGS`.
    pub(crate) fn call_with_args(&self, verb: &str, args: &str) -> Answer {
        let netns = self.pod.path().as_str();
        let call = Call { verb, container: "pod-1", ifname: "eth0", netns };
        let mut command = self.scene.command(env!("CARGO_BIN_EXE_manifold"), &call);
        command.env("CNI_ARGS", args);
        scene::finish(scene::start(command, self.conf.to_string().as_bytes()))
    }

    /// A call about the node: STATUS or GC.
    pub(crate) fn call_without_pod(&self, verb: &str) -> Answer {
        self.scene.call(&Call { verb, container: "", ifname: "", netns: "" }, &self.conf)
    }

    /// Changes one of the pod's annotations.
    pub(crate) fn annotate(&mut self, key: &str, value: &str) {
        self.conf["runtimeConfig"]["io.kubernetes.cri.pod-annotations"][key] = json!(value);
    }
}
