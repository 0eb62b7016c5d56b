//! The command line.

use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};

use crate::trouble::{Outcome, Trouble};

/// Runs the cases that need more than the kernel of a build machine has.
#[derive(Parser)]
#[command(name = "hw-tests")]
pub(crate) struct Options {
    /// Where to run the cases: "emulated", "here", or the file of a machine's profile (profiles/example.toml): here, with
    /// the adapter that it names.
    #[arg(long, value_parser = Rig::parse, default_value = "emulated")]
    pub(crate) rig: Rig,
    /// Prints the catalogue and runs nothing.
    #[arg(long)]
    pub(crate) list: bool,
    /// Only the cases whose name contains this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) filter: String,
    /// The manifold binary to hold to account; without it, the one that was built beside this program.
    #[arg(long, value_name = "PATH")]
    pub(crate) manifold: Option<PathBuf>,
    /// What the cases are held against; the reference plugins show that the cases themselves are right.
    #[arg(long, value_enum, default_value_t = Whom::Manifold)]
    pub(crate) subject: Whom,
    /// Where to write junit.xml and report.html; of the emulated machine they are in rig/report in the build folder
    /// otherwise.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) report: Option<PathBuf>,
    /// Measures, instead of running cases.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) bench: Option<Measure>,
    /// How often what is measured is done.
    #[arg(long, default_value_t = 40)]
    pub(crate) rounds: usize,
    /// A case that lacks something has failed; set inside the emulated machine, which lacks nothing.
    #[arg(long, hide = true)]
    pub(crate) must_run: bool,
}

/// The machine that runs the cases.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Rig {
    /// A throw-away machine in QEMU, booted for this run.
    Emulated,
    /// This machine, in network namespaces of its own. Needs root.
    Here,
    /// The same, with the adapter that this file names.
    Lab(PathBuf),
}

impl Rig {
    fn parse(word: &str) -> Result<Self, String> {
        match word {
            "emulated" => Ok(Self::Emulated),
            "here" => Ok(Self::Here),
            file if Path::new(file).is_file() => Ok(Self::Lab(file.into())),
            _ => Err("neither \"emulated\", \"here\" nor a file".to_owned()),
        }
    }
}

/// What to measure.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Measure {
    /// Giving one pod a virtual function, beside what the peer does for it.
    One,
    /// Giving seven pods one each, at once and in a row.
    Seven,
}

impl Measure {
    /// The word for it on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Seven => "seven",
        }
    }
}

/// Which program serves the CNI calls.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Whom {
    /// The manifold binary.
    Manifold,
    /// The reference plugins, as the distribution packages them.
    Reference,
}

impl Options {
    /// The manifold binary to hold to account.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn manifold(&self) -> Outcome<PathBuf> {
        let path = match &self.manifold {
            Some(path) => {
                std::path::absolute(path).map_err(Trouble::doing("cannot tell where --manifold is"))?
            }
            None => built()?.join("manifold"),
        };
        if path.is_file() {
            return Ok(path);
        }
        Err(Trouble::new(format!("there is no {path:?}; run \"cargo build\" first, or give --manifold")))
    }
}

/// The outermost of cargo's folders, in which what is fetched stays, whatever this program was built for.
///
/// # Errors
/// This program lies in no build folder.
pub(crate) fn target() -> Outcome<PathBuf> {
    let built = built()?;
    // Cargo tags the folder only if it has made it itself.
    let is_cargos =
        |folder: &&Path| ["CACHEDIR.TAG", ".rustc_info.json"].iter().any(|name| folder.join(name).is_file());
    let outermost = built.ancestors().filter(is_cargos).last();
    outermost.map(Path::to_path_buf).ok_or_else(|| Trouble::new("this program lies in no build folder"))
}

/// The folder that cargo built this program into.
///
/// # Errors
/// The system does not tell where this program is.
pub(crate) fn built() -> Outcome<PathBuf> {
    let me = std::env::current_exe().map_err(Trouble::doing("cannot tell where this program is"))?;
    me.parent().map(Path::to_path_buf).ok_or_else(|| Trouble::new("this program lies in no folder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_measure_is_passed_on_by_the_word_it_was_asked_by() {
        for measure in Measure::value_variants() {
            assert!(Measure::from_str(measure.word(), false).is_ok_and(|read| read == *measure));
        }
    }

    #[test]
    fn what_is_fetched_goes_beside_what_was_built() {
        let (target, built) = (target().unwrap(), built().unwrap());

        assert!(built.starts_with(&target), "{built:?} is not in {target:?}");
    }
}
