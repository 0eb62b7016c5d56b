//! The file system that all state is on: an ext4 with a journal, new and empty, as nodes have.
//!
//! What happens to lie beneath the build says little. Without a journal, as on some virtual machines' disks, ext4 gives
//! no inode out anew for a minute and looks through all that were freed meanwhile, each time one is wanted: what else ran
//! on the machine would decide.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

/// Room for the crowded stores, which have an inode for each address. Nothing is taken but what is written to.
const SIZE: u64 = 8 << 30;

/// A directory on such a file system.
pub(crate) struct Disk {
    beside_the_build: TempDir,
    mounted: bool,
}

impl Disk {
    /// Makes the file system and takes the calling thread into a mount namespace that has it; with the thread it goes.
    /// Where the kernel has no loop devices, the directory is beside the build.
    pub(crate) fn make() -> Self {
        let beside_the_build = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mounted = mount(beside_the_build.path());
        Self { beside_the_build, mounted }
    }

    /// Where state goes.
    pub(crate) fn path(&self) -> PathBuf {
        self.beside_the_build.path().join(if self.mounted { "disk" } else { "state" })
    }

    /// What it is, in a few words.
    pub(crate) fn describe(&self) -> &'static str {
        if self.mounted { "a new ext4 with a journal" } else { "what lies beneath the build" }
    }
}

/// Whether a new file system is at `disk` in the directory.
fn mount(directory: &Path) -> bool {
    let (image, target) = (directory.join("image"), directory.join("disk"));
    File::create(&image).unwrap().set_len(SIZE).unwrap();
    fs::create_dir(&target).unwrap();
    fs::create_dir(directory.join("state")).unwrap();
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let (image, target) = (image.to_str().unwrap(), target.to_str().unwrap());
    [
        "mount --make-rprivate /".to_owned(),
        format!("mkfs.ext4 -q {image}"),
        format!("mount -o loop {image} {target}"),
    ]
    .iter()
    .all(|command| run(command))
}

fn run(command: &str) -> bool {
    let mut words = command.split(' ');
    #[allow(clippy::disallowed_methods, reason = "the scene is set with the node's own programs")]
    let status = Command::new(words.next().unwrap()).args(words).status();
    status.is_ok_and(|status| status.success())
}
