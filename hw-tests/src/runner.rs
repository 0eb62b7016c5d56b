//! Runs the chosen cases and reports one line for each.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::ExitCode;
use std::time::Instant;

use chrono::Utc;

use crate::catalogue::{Case, HoldsFor, chosen};
use crate::need::Need;
use crate::options::{Options, Whom};
use crate::plugin::Subject;
use crate::report::{self, Ended, Report, Verdict};
use crate::trouble::{Outcome, Trouble, holds};

/// The needs that were probed, and what is missing.
struct Machine(Vec<(Need, Outcome<()>)>);

/// Runs the chosen cases here.
///
/// # Errors
/// They cannot be run at all. That cases failed is an exit code.
pub(crate) fn run(options: &Options) -> Outcome<ExitCode> {
    let me = std::fs::metadata("/proc/self").map_err(Trouble::doing("cannot tell who runs this"))?;
    holds(me.uid() == 0, "the cases make links and namespaces: run them as root, or use --rig emulated")?;
    let subject = Subject::of(options)?;
    let mut machine = Machine(Vec::new());
    let mut facts = report::machine();
    facts.push(("subject", subject.version_of_program()?));
    let mut report = Report { began: Utc::now(), machine: facts, needs: Vec::new(), ended: Vec::new() };
    for (area, case) in chosen(options) {
        let start = Instant::now();
        let verdict = judge(case, &mut machine, (&subject, options));
        let took = start.elapsed();
        say(&format!("{} ({:.1} s)", line(case, &verdict), took.as_secs_f32()))?;
        if let Verdict::Failed(trouble) = &verdict {
            say(&format!("        {trouble}"))?;
        }
        report.ended.push(Ended { area, case, verdict, took });
    }
    report.needs = machine.found();
    if let Some(folder) = &options.report {
        report.write(folder)?;
    }
    let (passed, failed, skipped) = report.tally();
    say(&format!("{passed} passed, {failed} failed, {skipped} skipped"))?;
    holds(passed + failed > 0, "not one case ran")?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a case if it can be.
fn judge(case: &Case, machine: &mut Machine, (subject, options): (&Subject, &Options)) -> Verdict {
    if options.subject == Whom::Reference && case.holds_for == HoldsFor::Manifold {
        return Verdict::Skipped("the reference plugins do not promise it".into());
    }
    match machine.lacks(case.needs) {
        Some(lack) if options.must_run => Verdict::Failed(Trouble::new(format!("could not run: {lack}"))),
        Some(lack) => Verdict::Skipped(lack),
        None => match (case.run)(subject) {
            Ok(()) => Verdict::Passed,
            Err(trouble) => Verdict::Failed(trouble),
        },
    }
}

fn line(case: &Case, verdict: &Verdict) -> String {
    match verdict {
        Verdict::Passed => format!("ok      {} — {}", case.name, case.proves),
        Verdict::Failed(_) => format!("FAILED  {} — {}", case.name, case.proves),
        Verdict::Skipped(why) => format!("skipped {} — {}; {why}", case.name, case.proves),
    }
}

fn say(line: &str) -> Outcome<()> {
    writeln!(std::io::stdout(), "{line}").map_err(Trouble::doing("cannot report"))
}

impl Machine {
    /// The first of these needs that the machine does not meet, in words.
    fn lacks(&mut self, needs: &[Need]) -> Option<String> {
        needs.iter().find_map(|need| match self.probed(*need) {
            Ok(()) => None,
            Err(why) => Some(format!("needs {need}: {why}")),
        })
    }

    fn probed(&mut self, need: Need) -> Result<(), String> {
        if !self.0.iter().any(|(known, _)| *known == need) {
            self.0.push((need, need.probe()));
        }
        let known = self.0.iter().find(|(known, _)| *known == need);
        known.map_or(Ok(()), |(_, met)| met.as_ref().copied().map_err(ToString::to_string))
    }

    /// What was looked for, and why it is not there.
    fn found(self) -> Vec<(Need, Option<String>)> {
        self.0.into_iter().map(|(need, met)| (need, met.err().map(|why| why.to_string()))).collect()
    }
}
