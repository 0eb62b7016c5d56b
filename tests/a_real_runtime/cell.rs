//! Namespaces of processes and mounts around a container runtime, so that all it starts and mounts goes with them.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where root's programs are, whatever the test was started with.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A process tree and a mount table of their own, on the network of the thread that made them. They end with this
/// value, or with the test's process however that ends: process 1 waits for its input to be closed, and the kernel
/// kills the rest.
pub(crate) struct Cell {
    unshare: Child,
    init: u32,
}

impl Cell {
    /// Opens a cell, with nothing in `/run` and `/var/lib`.
    pub(crate) fn open() -> Self {
        let first = "mount -t tmpfs none /run && mount -t tmpfs none /var/lib && echo && exec cat";
        let mut unshare = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount", "--propagation=private", "--mount-proc"])
            .args(["sh", "-ec", first])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let ready = unshare.stdout.as_mut().unwrap().read_exact(&mut [0]);
        ready.expect("a cell: run this test as root");
        let init = only_child(unshare.id());
        Self { unshare, init }
    }

    /// A command to be run in the cell, as a child of this process.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.init.to_string(), "--pid", "--mount", "--", program])
            .env("PATH", PATH);
        command
    }

    /// A path of the cell's file system, as it is reached from outside.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        Path::new("/proc").join(self.init.to_string()).join("root").join(path.trim_start_matches('/'))
    }

    /// The cell's processes but the first, by name, each with its number in the cell. Those that are dead and unburied
    /// do not count.
    pub(crate) fn processes(&self) -> Vec<(String, u32)> {
        let numbers = names_in(&self.path("/proc")).into_iter().filter_map(|name| name.parse().ok());
        let others = numbers.filter(|number: &u32| *number != 1);
        let named = others.filter_map(|number| {
            let stat = fs::read_to_string(self.path("/proc").join(number.to_string()).join("stat")).ok()?;
            Some((living(&stat)?, number))
        });
        named.collect()
    }

    /// Ends all that is in the cell. It may come twice.
    pub(crate) fn close(&mut self) {
        drop(self.unshare.stdin.take());
        drop(self.unshare.wait());
    }

    /// What is mounted beneath a path.
    pub(crate) fn mounts_beneath(&self, path: &Path) -> Vec<String> {
        let mounts = fs::read_to_string(format!("/proc/{}/mounts", self.init)).unwrap();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        points.filter(|point| Path::new(point).starts_with(path)).map(str::to_owned).collect()
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        self.close();
    }
}

/// The process that another one has started, if it is one.
pub(crate) fn only_child(process: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    children.trim().parse().expect("one child")
}

/// What is in a directory; nothing if there is no such.
pub(crate) fn names_in(directory: &Path) -> Vec<String> {
    let Ok(listing) = fs::read_dir(directory) else { return Vec::new() };
    listing.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// The name in a line of `/proc/PID/stat`, unless the process is dead.
fn living(stat: &str) -> Option<String> {
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    (!after.trim_start().starts_with(['Z', 'X'])).then(|| name.to_owned())
}
