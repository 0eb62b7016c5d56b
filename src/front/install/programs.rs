//! The programs that the container runtime is to call, put among its plugins.

use std::path::{Path, PathBuf};

use crate::host::conf_dir;
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};
use crate::model::settings::{Installation, Program};

/// This program, whatever became of its file.
const SELF: &str = "/proc/self/exe";

/// Puts both programs into the directory, and the one that is to be called under the name it is called by; those that
/// were not there, or were others.
///
/// # Errors
/// One that is to be called is not there. The others are a convenience.
pub(super) fn put(installation: &Installation) -> Outcome<Vec<PathBuf>> {
    let Some(dir) = &installation.bin_dir else { return Ok(Vec::new()) };
    let shim = beside(Program::ManifoldShim.as_str());
    let mut new = Vec::new();
    for program in wanted(installation.program) {
        let target = dir.join(program.as_str());
        let source = if program.is_shim() { shim.as_deref() } else { Some(Path::new(SELF)) };
        let put = match source.filter(|path| path.exists()) {
            Some(source) => conf_dir::put_program(source, &target)?,
            None if target.exists() || program != installation.program => false,
            None => return Err(missing(program, &target)),
        };
        if put {
            new.push(target);
        }
    }
    Ok(new)
}

/// Whether all that is to be called is there.
pub(super) fn are_there(installation: &Installation) -> bool {
    let dir = installation.bin_dir.as_ref();
    dir.is_none_or(|dir| dir.join(installation.program.as_str()).exists())
}

fn wanted(program: Program) -> Vec<Program> {
    let mut wanted = vec![Program::Manifold, Program::ManifoldShim];
    if program.is_peers() {
        wanted.push(program);
    }
    wanted
}

/// A program beside this one.
fn beside(name: &str) -> Option<PathBuf> {
    std::env::current_exe().ok().map(|path| path.with_file_name(name))
}

fn missing(program: Program, target: &Path) -> Fault {
    Fault::new(
        FaultKind::Absent,
        format!("{target:?} is not there, and \"manifold-shim\" is not beside this program"),
    )
    .remedy(format!(
        "put \"manifold-shim\" beside \"manifold\", or {:?} in its place by hand, with \"cniBinDir\" empty",
        program.as_str()
    ))
}
