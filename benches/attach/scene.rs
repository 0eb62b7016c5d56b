//! The node that attachments are made on: a network namespace of its own, one master, a directory for all state.

use std::path::{Path, PathBuf};
use std::process::Command;

use manifold::model::Network;
use tempfile::TempDir;

use crate::common::{Node, Pod};
use crate::disk::Disk;

/// The link that every macvlan sits on.
pub(crate) const MASTER: &str = "uplink";

/// Where the distribution has the reference plugins.
const REFERENCE: &str = "/usr/lib/cni";

/// The node.
pub(crate) struct Scene {
    node: Node,
    disk: Disk,
    programs: TempDir,
    memory: TempDir,
}

impl Scene {
    /// Takes the calling thread into a new node.
    pub(crate) fn enter() -> Self {
        let node = Node::enter().unwrap();
        for command in [
            format!("link add {MASTER} type veth peer name far"),
            format!("link set {MASTER} up"),
            "link set far up".to_owned(),
        ] {
            #[allow(clippy::disallowed_methods, reason = "the scene is set with ip")]
            let status = Command::new("ip").args(command.split(' ')).status().unwrap();
            assert!(status.success(), "ip {command}");
        }
        let programs = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let scene = Self { node, disk: Disk::make(), programs, memory: TempDir::new_in("/dev/shm").unwrap() };
        scene.install();
        scene
    }

    /// Puts all programs in one directory, each written as a whole, as an installer does. What a linker has just written
    /// lies in memory in small pieces, and mapping those makes every start slower. Another process writes: what this one
    /// has had in memory is counted as that of its children, too.
    fn install(&self) {
        let reference = ["macvlan", "host-local", "bridge"].map(|name| format!("{REFERENCE}/{name}"));
        for from in reference.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_manifold")]) {
            let to = self.programs().join(Path::new(from).file_name().unwrap());
            #[allow(clippy::disallowed_methods, reason = "the scene is set with dd")]
            let written = Command::new("dd")
                .args(["bs=32M", "status=none", &format!("if={from}"), &format!("of={}", to.display())])
                .status();
            assert!(written.unwrap().success(), "dd {from}");
            std::fs::set_permissions(&to, std::fs::metadata(from).unwrap().permissions()).unwrap();
        }
    }

    /// The directory of the programs: `CNI_PATH`.
    pub(crate) fn programs(&self) -> PathBuf {
        self.programs.path().to_owned()
    }

    pub(crate) fn pod(&self) -> Pod {
        self.node.pod().unwrap()
    }

    /// A directory of state.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.disk.path().join(name)
    }

    /// What state is kept on.
    pub(crate) fn medium(&self) -> &'static str {
        self.disk.describe()
    }

    /// A directory of state on a file system in memory.
    pub(crate) fn in_memory(&self) -> PathBuf {
        self.memory.path().join("state")
    }

    /// The configuration of a macvlan whose address comes from a store of its own, in which `crowd` are in use.
    pub(crate) fn leased(&self, store: &str, crowd: u16) -> Network {
        network(&self.leased_text(store, crowd))
    }

    pub(crate) fn leased_text(&self, store: &str, crowd: u16) -> String {
        let data_dir = self.path(&format!("{store}-{crowd}"));
        fill(&data_dir.join("blue"), crowd);
        let data_dir = data_dir.to_str().unwrap();
        configuration(&format!(
            r#""type":"host-local","dataDir":"{data_dir}","ranges":[[{{"subnet":"10.9.0.0/16"}}]],"routes":[{{"dst":"0.0.0.0/0"}},{{"dst":"10.10.0.0/16","gw":"10.9.0.1"}}]"#
        ))
    }

    /// The same macvlan with a fixed address.
    pub(crate) fn fixed(&self) -> Network {
        network(&configuration(
            r#""type":"static","addresses":[{"address":"10.9.0.7/16","gateway":"10.9.0.1"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"10.10.0.0/16","gw":"10.9.0.1"}]"#,
        ))
    }
}

fn configuration(ipam: &str) -> String {
    format!(
        r#"{{"cniVersion":"1.0.0","name":"blue","type":"macvlan","master":"{MASTER}","mode":"bridge","ipam":{{{ipam}}}}}"#
    )
}

fn network(text: &str) -> Network {
    Network::parse(text.as_bytes(), None).unwrap()
}

/// Fills a store with other containers' addresses, the round just past them.
fn fill(store: &Path, crowd: u16) {
    std::fs::create_dir_all(store).unwrap();
    let address = |number: u16| format!("10.9.{}.{}", number >> 8, number & 0xff);
    for number in 2..crowd {
        std::fs::write(store.join(address(number)), format!("other{number}\r\neth0")).unwrap();
    }
    if crowd > 0 {
        std::fs::write(store.join("last_reserved_ip.0"), address(crowd)).unwrap();
    }
}
