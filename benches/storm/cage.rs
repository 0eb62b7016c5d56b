//! A control group that limits and measures memory, of either version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A control group of its own; gone when dropped, by when nobody may be in it.
pub(crate) struct Cage {
    folder: PathBuf,
    peak: &'static str,
}

impl Cage {
    /// A group whose processes may use so many bytes together, page cache included.
    pub(crate) fn new(limit: u64) -> Self {
        let name = format!("manifold-storm-{}", std::process::id());
        let old = Path::new("/sys/fs/cgroup/memory");
        let (folder, most, peak) = if old.is_dir() {
            (old.join(name), "memory.limit_in_bytes", "memory.max_usage_in_bytes")
        } else {
            (Path::new("/sys/fs/cgroup").join(name), "memory.max", "memory.peak")
        };
        fs::create_dir(&folder)
            .expect("a control group of one's own: run this as root, where memory is controlled");
        fs::write(folder.join(most), limit.to_string()).unwrap();
        Self { folder, peak }
    }

    /// Starts a program in it.
    pub(crate) fn start(&self, words: &[&str]) -> Child {
        let script = "echo $$ >\"$0/cgroup.procs\" && exec \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(&self.folder).args(words).env_remove("CNI_COMMAND");
        // As deployments/manifold-daemon.yaml has it.
        command.env("MALLOC_ARENA_MAX", "2");
        command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// The most that was used since it was last forgotten, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        fs::read_to_string(self.folder.join(self.peak)).unwrap().trim().parse().unwrap()
    }

    /// Measures anew from here; where the kernel cannot do that, the peak is that of the whole run.
    pub(crate) fn forget_peak(&self) {
        fs::write(self.folder.join(self.peak), "0").unwrap_or_default();
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        fs::remove_dir(&self.folder).unwrap_or_default();
    }
}
