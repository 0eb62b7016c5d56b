//! The emulated machine: kernel and QEMU out of the distribution's packages, booted by `boot.sh`.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::command::{Program, bare};
use crate::netdevsim;
use crate::options::{Measure, Options, Whom, target};
use crate::packages::{Packages, major};
use crate::trouble::{Outcome, Trouble, holds};

/// The package that names the distribution's newest kernel.
const KERNEL: &str = "linux-image-amd64";

/// The package and the program of the emulator.
const QEMU: (&str, &str) = ("qemu-system-x86", "qemu-system-x86_64");

/// The first release of QEMU that emulates an SR-IOV network adapter (igb).
const QEMU_SINCE: u32 = 8;

/// How long booting and all cases may take together, in seconds.
const LIMIT: &str = "570";

/// Where the machine puts what is to outlive it.
const RESULTS: &str = "/run/rigout";

/// Runs QEMU out of the folder that its packages were unpacked into.
const WRAPPER: &str = r#"#!/bin/sh
root=${0%/*} lib=usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH="$root/$lib:$root/lib/x86_64-linux-gnu" QEMU_MODULE_DIR="$root/$lib/qemu"
for data in usr/share/qemu usr/share/seabios usr/lib/ipxe/qemu; do set -- -L "$root/$data" -L "/$data" "$@"; done
exec "$root/usr/bin/qemu-system-x86_64" "$@"
"#;

/// Loads the module that was built for the machine, and becomes what follows.
const LOADER: &str = r#"modprobe -a psample macsec && insmod "$0"; exec "$@""#;

/// What the emulated machine is made of, kept in the build folder.
struct Parts {
    home: PathBuf,
    kernel: PathBuf,
    qemu: PathBuf,
}

/// Boots the machine and becomes the run of the chosen cases inside it.
///
/// # Errors
/// The machine cannot be prepared. Once it boots, the exit status is that of the cases, 124 for too long, 125 for
/// a machine that did not come up.
pub(crate) fn boot(options: &Options) -> Outcome<ExitCode> {
    holds(cfg!(target_arch = "x86_64"), "the emulated machine needs an x86-64 host; use --rig here")?;
    let inside = inside(options)?;
    let parts = Parts::ready()?;
    let launcher = Path::new(env!("CARGO_MANIFEST_DIR")).join("boot.sh");
    let mut command = bare(&launcher);
    let report = options.report.clone().unwrap_or_else(|| parts.home.join("report"));
    let report = std::path::absolute(report).map_err(Trouble::doing("cannot tell where --report is"))?;
    std::fs::create_dir_all(&report).map_err(Trouble::doing(format!("cannot make {report:?}")))?;
    if options.bench == Some(Measure::Seven) {
        // Each processor of the machine gets a thread of its own, or nothing would be done at once. Where only one call is
        // made at a time it stays away: emulated so, programs of several threads are slower than they are.
        command.args(["-T", "multi"]);
    }
    command.args(["-t", LIMIT, "-o"]).arg(report).arg("--").args(inside);
    command.env("RIG_HOME", parts.home.join("home"));
    command.env("RIG_KROOT", parts.kernel).env("RIG_QEMU", parts.qemu);
    // Nothing is left to do here, so the launcher takes this process over: who ends it ends the machine.
    let cause = command.exec();
    Err(Trouble::doing(format!("cannot run {launcher:?}"))(cause))
}

/// The command to run in the machine: this program, which the machine sees under the same path.
fn inside(options: &Options) -> Outcome<Vec<PathBuf>> {
    let me = std::env::current_exe().map_err(Trouble::doing("cannot tell where this program is"))?;
    let module = netdevsim::module()?;
    let loaded = ["sh".into(), "-c".into(), LOADER.into(), module];
    let mut words: Vec<PathBuf> = loaded.into_iter().collect();
    let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/emulated.toml");
    words.extend([me, "--rig".into(), profile, "--must-run".into()]);
    words.extend(["--report".into(), RESULTS.into()]);
    words.extend(["--filter".into(), PathBuf::from(&options.filter)]);
    if let Some(measure) = options.bench {
        words.extend(["--bench".into(), measure.word().into()]);
        words.extend(["--rounds".into(), options.rounds.to_string().into()]);
    }
    match options.subject {
        Whom::Manifold => words.extend(["--manifold".into(), options.manifold()?]),
        Whom::Reference => words.extend(["--subject".into(), "reference".into()]),
    }
    Ok(words)
}

impl Parts {
    /// The parts, fetched if they are not there yet.
    fn ready() -> Outcome<Self> {
        let home = target()?.join("rig");
        std::fs::create_dir_all(&home).map_err(Trouble::doing(format!("cannot make {home:?}")))?;
        let kernel = home.join("kernel");
        let mut view = None;
        if !kernel.exists() {
            fetch_kernel(opened(&mut view, &home)?, &kernel)?;
        }
        let qemu = match installed() {
            Some(program) => program,
            None => {
                let unpacked = home.join("qemu");
                if !unpacked.exists() {
                    fetch_qemu(opened(&mut view, &home)?, &unpacked)?;
                }
                unpacked.join("run")
            }
        };
        let module = netdevsim::module()?;
        if !module.exists()
            && let Err(trouble) = netdevsim::build(opened(&mut view, &home)?, &kernel, &module)
        {
            // The cases that need it will say so; the others do without.
            writeln!(std::io::stderr(), "there is no simulated adapter: {trouble}").ok();
        }
        Ok(Self { home, kernel, qemu })
    }
}

/// The view of the repositories, opened when it is first needed.
fn opened<'a>(view: &'a mut Option<Packages>, home: &Path) -> Outcome<&'a mut Packages> {
    Ok(match view {
        Some(view) => view,
        None => view.insert(Packages::open(home)?),
    })
}

/// QEMU as this machine has it installed, if it is recent enough.
fn installed() -> Option<PathBuf> {
    let printed = Program::new([QEMU.1, "--version"]).output().ok()?;
    let version = printed.strip_prefix("QEMU emulator version ")?;
    (major(version)? >= QEMU_SINCE).then(|| PathBuf::from(QEMU.1))
}

fn fetch_kernel(packages: &Packages, home: &Path) -> Outcome<()> {
    let unpacked = packages.path("kernel");
    packages.unpack(&[packages.stands_for(KERNEL)?], &unpacked)?;
    let (modules, alias) = (unpacked.join("usr/lib/modules"), unpacked.join("lib"));
    // Newer packages follow the merge of /lib into /usr/lib, whose alias another package brings.
    if modules.exists() && !alias.exists() {
        std::os::unix::fs::symlink("usr/lib", &alias).map_err(Trouble::doing("cannot place the modules"))?;
    }
    keep(&unpacked, home)
}

fn fetch_qemu(packages: &mut Packages, home: &Path) -> Outcome<()> {
    let offered = packages.candidate(QEMU.0)?;
    if offered.as_deref().and_then(major).is_none_or(|version| version < QEMU_SINCE) {
        packages.add_backports()?;
    }
    let unpacked = packages.path("qemu");
    packages.unpack(&packages.with_dependencies(QEMU.0)?, &unpacked)?;
    let run = unpacked.join("run");
    std::fs::write(&run, WRAPPER).map_err(Trouble::doing("cannot write QEMU's wrapper"))?;
    std::fs::set_permissions(&run, Permissions::from_mode(0o755))
        .map_err(Trouble::doing("cannot write QEMU's wrapper"))?;
    Program::new([run.as_os_str(), "--version".as_ref()]).output()?;
    keep(&unpacked, home)
}

/// Moves what was unpacked to where it stays. Another run may have been quicker: its copy is as good.
fn keep(unpacked: &Path, home: &Path) -> Outcome<()> {
    match std::fs::rename(unpacked, home) {
        Err(_) if home.exists() => Ok(()),
        moved => moved.map_err(Trouble::doing(format!("cannot move {unpacked:?} to {home:?}"))),
    }
}
