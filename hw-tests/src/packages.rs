//! The distribution's packages, fetched and unpacked without installing anything.
//!
//! apt is given a view of its own: the machine's sources, and lists and caches in a folder that is thrown away.
//! So nothing under `/etc` or `/var` changes, no root is needed, stale lists do not matter, and no address of any
//! repository is written here: the backports suite is looked for where the machine has its main suite from.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::command::Program;
use crate::trouble::{Outcome, Trouble};

/// How long apt may take for one download, in seconds.
const DOWNLOAD: u32 = 180;

/// Where Debian keeps the keys that sign all its suites.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A private view of the distribution's repositories.
pub(crate) struct Packages {
    folder: TempDir,
    backports: Option<String>,
}

impl Packages {
    /// Reads the lists of the suites that the machine is configured for, in a folder inside this one.
    ///
    /// # Errors
    /// This machine has no apt, or the repository cannot be reached.
    pub(crate) fn open(inside: &Path) -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("fetch-").tempdir_in(inside);
        let folder = folder.map_err(Trouble::doing(format!("cannot make a folder in {inside:?}")))?;
        let view = Self { folder, backports: None };
        for below in ["lists/partial", "sources", "cache/archives/partial", "files"] {
            std::fs::create_dir_all(view.path(below))
                .map_err(Trouble::doing("cannot prepare apt's folders"))?;
        }
        for source in sources() {
            let name = source.file_name().unwrap_or_default();
            std::os::unix::fs::symlink(&source, view.path("sources").join(name))
                .map_err(Trouble::doing(format!("cannot take over {source:?}")))?;
        }
        view.update()?;
        Ok(view)
    }

    /// Adds the backports suite of the release that this machine runs.
    ///
    /// # Errors
    /// There is no such suite where the machine's packages come from.
    pub(crate) fn add_backports(&mut self) -> Outcome<()> {
        let release = std::fs::read_to_string("/etc/os-release").ok();
        let release = release.as_deref().and_then(|text| setting(text, "VERSION_CODENAME"));
        let release = release.ok_or_else(|| Trouble::new("/etc/os-release names no release"))?.to_owned();
        let format = ["indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"];
        let origins = self.apt("apt-get", 30, &format)?;
        let origin = origins.lines().find_map(|line| line.strip_suffix(&format!(" {release}")));
        let origin =
            origin.ok_or_else(|| Trouble::new(format!("apt has no source for suite {release:?}")))?;
        let signed = if Path::new(KEYS).exists() { format!("[signed-by={KEYS}] ") } else { String::new() };
        let suite = format!("{release}-backports");
        std::fs::write(self.path("sources/backports.list"), format!("deb {signed}{origin} {suite} main\n"))
            .map_err(Trouble::doing("cannot add the backports suite"))?;
        self.update()?;
        self.backports = Some(suite);
        Ok(())
    }

    /// The version of a package that would be installed, if there is one.
    ///
    /// # Errors
    /// apt failed.
    pub(crate) fn candidate(&self, package: &str) -> Outcome<Option<String>> {
        let policy = self.apt("apt-cache", 30, &["policy", package])?;
        let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
        Ok(version.filter(|version| *version != "(none)").map(str::to_owned))
    }

    /// The first package that this one depends on: what a package that only names another one stands for.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn stands_for(&self, package: &str) -> Outcome<String> {
        let printed = self.apt("apt-cache", 30, &["depends", "--important", package])?;
        let first = printed.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
        first.map(str::to_owned).ok_or_else(|| {
            Trouble::new(format!("package {package:?} cannot be had from this machine's sources"))
        })
    }

    /// A package and whatever this machine lacks for it, each as `name=version`.
    ///
    /// # Errors
    /// The package, or something that it needs, cannot be had.
    pub(crate) fn with_dependencies(&self, package: &str) -> Outcome<Vec<String>> {
        let mut words = vec!["--simulate", "--no-install-recommends", "install", package];
        if let Some(suite) = &self.backports {
            words.extend(["--target-release", suite]);
        }
        let printed = self.apt("apt-get", 60, &words)?;
        Ok(printed.lines().filter_map(planned).collect())
    }

    /// Downloads these packages and unpacks them all into one folder.
    ///
    /// # Errors
    /// One cannot be had, or not be unpacked.
    pub(crate) fn unpack(&self, packages: &[String], into: &Path) -> Outcome<()> {
        let files = self.path("files");
        let words = ["--quiet=2", "download"].into_iter().chain(packages.iter().map(String::as_str));
        let words: Vec<&str> = words.collect();
        Program::within(DOWNLOAD, self.words("apt-get", &words)).at(&files).output()?;
        let listed = std::fs::read_dir(&files).map_err(Trouble::doing("cannot find what apt downloaded"))?;
        for file in listed.filter_map(Result::ok).map(|entry| entry.path()) {
            Program::within(60, ["dpkg-deb".as_ref(), "-x".as_ref(), file.as_os_str(), into.as_os_str()])
                .output()?;
            std::fs::remove_file(&file).map_err(Trouble::doing(format!("cannot remove {file:?}")))?;
        }
        Ok(())
    }

    /// A folder of this view.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn update(&self) -> Outcome<()> {
        self.apt("apt-get", DOWNLOAD, &["--quiet=2", "update"]).map(|_| ())
    }

    fn apt(&self, program: &str, seconds: u32, words: &[&str]) -> Outcome<String> {
        Program::within(seconds, self.words(program, words)).env("LC_ALL", "C").output()
    }

    fn words(&self, program: &str, words: &[&str]) -> Vec<String> {
        let options = [
            "Dir::Etc::SourceList=/dev/null".to_owned(),
            format!("Dir::Etc::SourceParts={}", self.path("sources").display()),
            format!("Dir::State::Lists={}", self.path("lists").display()),
            format!("Dir::Cache={}", self.path("cache").display()),
            // The folder may lie where apt's own user cannot go.
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Retries=3".to_owned(),
        ];
        let mut all = vec![program.to_owned()];
        all.extend(options.into_iter().flat_map(|option| ["-o".to_owned(), option]));
        all.extend(words.iter().map(|word| (*word).to_owned()));
        all
    }
}

/// The files that say where this machine has its packages from.
fn sources() -> Vec<PathBuf> {
    let parts = std::fs::read_dir("/etc/apt/sources.list.d").ok().into_iter().flatten();
    let parts = parts.filter_map(Result::ok).map(|entry| entry.path());
    let parts = parts.filter(|path| path.extension().is_some_and(|kind| kind == "list" || kind == "sources"));
    let main = Some(PathBuf::from("/etc/apt/sources.list")).filter(|path| path.exists());
    parts.chain(main).collect()
}

/// The value of a shell-like setting.
fn setting<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(line.trim_matches('"'))
}

/// What a line of a simulated installation would install: `Inst name [old version] (version …`.
fn planned(line: &str) -> Option<String> {
    let rest = line.strip_prefix("Inst ")?;
    let (name, rest) = rest.split_once(' ')?;
    let (_, version) = rest.split_once('(')?;
    Some(format!("{name}={}", version.split_whitespace().next()?))
}

/// The first number of a Debian version, past its epoch.
pub(crate) fn major(version: &str) -> Option<u32> {
    let upstream = version.split_once(':').map_or(version, |(_, upstream)| upstream);
    upstream.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulated_installation_names_packages_and_versions() {
        assert_eq!(
            planned("Inst libfdt1 (1.6.1-4+b1 Debian:12.15/oldstable [amd64])").as_deref(),
            Some("libfdt1=1.6.1-4+b1")
        );
        assert_eq!(planned("Inst seabios [1.14] (1.16 Debian:12 [all])").as_deref(), Some("seabios=1.16"));
        assert_eq!(planned("Conf libfdt1 (1.6.1-4+b1 Debian:12.15/oldstable [amd64])"), None);
    }

    #[test]
    fn the_epoch_of_a_version_does_not_count() {
        assert_eq!(major("1:7.2+dfsg-7+deb12u18"), Some(7));
        assert_eq!(major("10.0.2"), Some(10));
        assert_eq!(major("unknown"), None);
    }

    #[test]
    fn a_setting_is_read_with_and_without_quotes() {
        let text = "ID=debian\nVERSION_CODENAME=bookworm\nNAME=\"Debian GNU/Linux\"\n";

        assert_eq!(setting(text, "VERSION_CODENAME"), Some("bookworm"));
        assert_eq!(setting(text, "NAME"), Some("Debian GNU/Linux"));
        assert_eq!(setting(text, "VERSION"), None);
    }
}
