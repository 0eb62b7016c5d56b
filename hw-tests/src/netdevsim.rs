//! netdevsim: an adapter that the kernel simulates. It takes every setting of a virtual function, also those that the
//! emulated adapter refuses, and has a switch with representors. Distributions do not build it, so it is built here,
//! out of their package of the kernel's source.

use std::path::{Path, PathBuf};

use crate::command::Program;
use crate::options::target;
use crate::packages::Packages;
use crate::trouble::{Outcome, Trouble};

/// How long the compiler may take, in seconds.
const COMPILES: u32 = 300;

/// What the kernel's own Makefile would say.
const KBUILD: &str = "\
ccflags-y += -DCONFIG_NETDEVSIM_MODULE=1 -DCONFIG_PTP_1588_CLOCK_MOCK_MODULE=1
obj-m += netdevsim.o
netdevsim-y := $(patsubst $(src)/%.c,%.o,$(wildcard $(src)/*.c))
";

/// Where the module of this build folder is.
///
/// # Errors
/// This program lies in no build folder.
pub(crate) fn module() -> Outcome<PathBuf> {
    Ok(target()?.join("rig/netdevsim.ko"))
}

/// Builds the module for an unpacked kernel.
///
/// # Errors
/// A package cannot be had, or the compiler failed.
pub(crate) fn build(packages: &Packages, kernel: &Path, module: &Path) -> Outcome<()> {
    let folder = packages.path("netdevsim");
    let version = version(kernel)?;
    let headers = packages.with_dependencies(&format!("linux-headers-{version}"))?;
    let mut wanted: Vec<String> = headers.into_iter().filter(|name| name.starts_with("linux-")).collect();
    let source = format!("linux-source-{}", series(&version));
    wanted.push(source.clone());
    packages.unpack(&wanted, &folder)?;

    let headers = folder.join("usr/src").join(format!("linux-headers-{version}"));
    let makefile = headers.join("Makefile");
    let text =
        std::fs::read_to_string(&makefile).map_err(Trouble::doing(format!("cannot read {makefile:?}")))?;
    let text = text.replace("/usr/src/", &format!("{}/usr/src/", folder.display()));
    std::fs::write(&makefile, text).map_err(Trouble::doing(format!("cannot write {makefile:?}")))?;

    let archive = folder.join("usr/src").join(format!("{source}.tar.xz"));
    let part = format!("{source}/drivers/net/netdevsim");
    Program::within(COMPILES, ["tar", "-C", &words(&folder), "-xf", &words(&archive), &part]).output()?;
    let sources = folder.join(part);
    std::fs::write(sources.join("Kbuild"), KBUILD).map_err(Trouble::doing("cannot write a Makefile"))?;
    let into = format!("M={}", sources.display());
    Program::within(COMPILES, ["make", "-C", &words(&headers), &into, "modules"]).output()?;
    std::fs::copy(sources.join("netdevsim.ko"), module)
        .map(|_| ())
        .map_err(Trouble::doing(format!("cannot place {module:?}")))
}

/// The version of an unpacked kernel: `6.1.0-56-amd64`.
fn version(kernel: &Path) -> Outcome<String> {
    let folder = kernel.join("lib/modules");
    let entries = std::fs::read_dir(&folder).map_err(Trouble::doing(format!("cannot list {folder:?}")))?;
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.pop().ok_or_else(|| Trouble::new(format!("{folder:?} is empty")))
}

/// The first two numbers of a version.
fn series(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

fn words(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_what_packages_of_sources_are_named_after() {
        assert_eq!(series("6.1.0-56-amd64"), "6.1");
        assert_eq!(series("6.12.95+deb12-amd64"), "6.12");
    }
}
