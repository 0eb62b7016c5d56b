//! The machine that the cases run on, as far as it has to be told: which adapter they may have, and what it cannot do.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::Deserialize;

use crate::trouble::{Outcome, Trouble, holds};

/// Most virtual functions asked for: far more than any case needs.
const MOST: usize = 256;

/// What a file says of a machine; `hw-tests/profiles/example.toml` explains the keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// What the report calls the machine.
    pub(crate) name: String,
    /// The interface of the physical function that the cases may have.
    pub(crate) adapter: String,
    /// How many virtual functions to make.
    pub(crate) vfs: usize,
    /// The driver that the kernel binds them to, if it matters.
    pub(crate) driver: Option<String>,
    /// Settings that the adapter refuses, by their keys.
    #[serde(default)]
    pub(crate) lacks: Vec<String>,
}

/// The profile of this run, and the device of its adapter: cases rename the interface and move it.
static CURRENT: OnceLock<(Profile, PathBuf)> = OnceLock::new();

impl Profile {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is no profile.
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        let text = fs::read_to_string(path).map_err(Trouble::doing(format!("cannot read {path:?}")))?;
        let profile = Self::parse(&text).map_err(|trouble| Trouble::new(format!("{path:?}: {trouble}")))?;
        Ok(profile)
    }

    fn parse(text: &str) -> Outcome<Self> {
        let profile: Self = toml::from_str(text).map_err(Trouble::doing("it is no profile"))?;
        let is_name =
            !profile.adapter.is_empty() && !profile.adapter.contains('/') && profile.adapter.len() < 16;
        holds(is_name, format!("\"adapter\" is {:?}, which is no name of an interface", profile.adapter))?;
        holds((1..=MOST).contains(&profile.vfs), format!("\"vfs\" is {}, not 1 to {MOST}", profile.vfs))?;
        Ok(profile)
    }

    /// Makes it the profile of this run; the first one counts.
    ///
    /// # Errors
    /// The machine has no such adapter.
    pub(crate) fn set(self) -> Outcome<()> {
        let link = Path::new("/sys/class/net").join(&self.adapter).join("device");
        let device = fs::canonicalize(link);
        let device = device.map_err(Trouble::doing(format!("there is no adapter {:?}", self.adapter)))?;
        CURRENT.set((self, device)).unwrap_or_default();
        Ok(())
    }

    /// The profile of this run.
    ///
    /// # Errors
    /// No file was named: then no adapter of the machine is touched.
    pub(crate) fn current() -> Outcome<&'static Self> {
        Self::chosen().map(|(profile, _)| profile)
    }

    /// The directory of its adapter in sysfs, whatever the interface is called now.
    ///
    /// # Errors
    /// As [`Profile::current`].
    pub(crate) fn device() -> Outcome<&'static Path> {
        Self::chosen().map(|(_, device)| device.as_path())
    }

    fn chosen() -> Outcome<&'static (Self, PathBuf)> {
        CURRENT.get().ok_or_else(|| Trouble::new("no profile names an adapter that may be used (--rig FILE)"))
    }

    /// Whether the adapter takes a setting.
    pub(crate) fn takes(&self, setting: &str) -> bool {
        !self.lacks.iter().any(|lacking| lacking == setting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_that_come_with_it_are_profiles() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
        for file in fs::read_dir(folder).unwrap() {
            Profile::read(&file.unwrap().path()).unwrap();
        }
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        let good = r#"name = "n"
adapter = "ens1f0"
vfs = 7
"#;
        assert!(Profile::parse(good).unwrap().takes("trust"));
        for (from, to) in [
            ("ens1f0", "../x"),
            ("ens1f0", ""),
            ("vfs = 7", "vfs = 0"),
            ("vfs = 7", "vfs = 7000"),
            ("vfs", "count"),
        ] {
            assert!(Profile::parse(&good.replace(from, to)).is_err(), "{to}");
        }
    }
}
