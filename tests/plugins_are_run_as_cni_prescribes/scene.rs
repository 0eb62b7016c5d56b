//! What the tests are made of: scripts as plugins, and attachments to networks.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use manifold::engine::ports::Site;
use manifold::host::exec::Plugins;
use manifold::model::{Attachment, Network, Owner};
use manifold::plan::step::{ExecStep, Yields};

/// A directory of plugins that are scripts. `$OUT` is the directory.
pub(crate) struct Scripts {
    dir: tempfile::TempDir,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// With one plugin, named `probe`, that runs this shell script.
    pub(crate) fn with_probe(script: &str) -> Self {
        let it = Self::new();
        it.write("probe", script);
        it
    }

    pub(crate) fn write(&self, name: &str, script: &str) {
        let path = self.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What a script wrote into a file.
    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path().join(file)).unwrap()
    }

    pub(crate) fn environment(&self) -> Vec<(OsString, OsString)> {
        vec![("PATH".into(), "/usr/bin:/bin".into()), ("OUT".into(), self.path().into())]
    }

    pub(crate) fn plugins(&self, limit: Duration) -> Plugins {
        Plugins::new(vec![self.path().to_owned()], self.environment(), limit)
    }
}

/// The reference plugins of this machine.
pub(crate) fn reference_plugins() -> Plugins {
    let environment = vec![("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into())];
    Plugins::new(vec![PathBuf::from("/usr/lib/cni")], environment, Duration::from_secs(60))
}

/// An attachment of `net1` of container `c1` to a network.
pub(crate) fn attachment(config: &str) -> Attachment {
    Attachment {
        args: "IgnoreUnknown=1;K8S_POD_NAME=p".parse().unwrap(),
        ..Attachment::new(
            Owner::parse("c1", "net1").unwrap(),
            Network::parse(config.as_bytes(), None).unwrap(),
        )
    }
}

/// A site without a network namespace.
pub(crate) fn nowhere(attachment: &Attachment) -> Site<'_> {
    Site { attachment, netns: None, result: None }
}

/// The steps that run the chain of a network.
pub(crate) fn steps(network: &Network) -> Vec<ExecStep> {
    let step = |conf: &manifold::model::PluginConf| ExecStep {
        program: conf.kind().clone(),
        conf: conf.clone(),
        yields: Yields::Result,
    };
    network.plugins.iter().map(step).collect()
}

/// An attachment to a network of one plugin, `probe`, and the step that runs it.
pub(crate) fn probe() -> (Attachment, ExecStep) {
    let it = attachment(r#"{"cniVersion":"1.1.0","name":"it","plugins":[{"type":"probe"}]}"#);
    let step = steps(&it.network).remove(0);
    (it, step)
}
