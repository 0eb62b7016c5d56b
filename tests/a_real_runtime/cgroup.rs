//! Where the pods' control groups are, which belong to no namespace.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::cell::names_in;

/// The control group above those of a runtime's pods. It is made by the runtime, in whichever hierarchies there are, and
/// removed with this value, by when no process may be in it.
pub(crate) struct Cgroup(String);

impl Cgroup {
    /// A name that nobody else has.
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(format!("manifold-test-{}-{number}", std::process::id()))
    }

    /// Its path beneath the root of a hierarchy.
    pub(crate) fn path(&self) -> String {
        format!("/{}", self.0)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let top = Path::new("/sys/fs/cgroup");
        let hierarchies = names_in(top).into_iter().map(|hierarchy| top.join(hierarchy).join(&self.0));
        for group in hierarchies.chain([top.join(&self.0)]).filter(|group| group.is_dir()) {
            // The files in there are no obstacle, and are not removed.
            names_in(&group).iter().for_each(|inner| drop(fs::remove_dir(group.join(inner))));
            drop(fs::remove_dir(group));
        }
    }
}
