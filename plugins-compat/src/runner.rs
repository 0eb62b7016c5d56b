//! Plays the cases and reports one line for each, and a sum in the form in which `cargo test` gives it.

use std::io::Write as _;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use crate::case::{Case, THEIR_NEWEST};
use crate::command::ip;
use crate::fixture::Node;
use crate::options::Options;
use crate::sheet::{Sheet, wrong};
use crate::stage::{Player, Stage};
use crate::{Outcome, cases};

/// How a case ended.
enum Verdict {
    Ok,
    Failed(Vec<String>),
    Skipped(String),
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// Plays the chosen cases.
///
/// # Errors
/// They cannot be played at all. That cases failed is an exit code.
pub(crate) fn run(options: &Options) -> Outcome<ExitCode> {
    let lacks = [("macvlan", lack("macvlan", "")), ("vlan", lack("vlan", "id 2"))];
    let mut tally = Tally::default();
    for case in cases::chosen(options) {
        let lack =
            lacks.iter().find(|(plugin, _)| *plugin == case.plugin).and_then(|(_, lack)| lack.as_ref());
        for version in case.versions {
            let start = Instant::now();
            let verdict = match lack {
                Some(lack) if options.must_run => Verdict::Failed(vec![lack.clone()]),
                Some(lack) => Verdict::Skipped(lack.clone()),
                None => judge(case, version, options)?,
            };
            tally.report(case, version, (&verdict, start))?;
        }
    }
    let word = if tally.failed == 0 { "ok" } else { "FAILED" };
    let Tally { passed, failed, skipped } = tally;
    say(&format!("test result: {word}. {passed} passed; {failed} failed; {skipped} ignored"))?;
    if options.must_run && passed + failed == 0 {
        return Err("not one case ran".into());
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the machine lacks to play with links of this kind, in words.
fn lack(kind: &'static str, more: &'static str) -> Option<String> {
    if let Some(missing) = [kind, "host-local", "static"].iter().find(|name| !Player::theirs(name).is_file())
    {
        return Some(format!("the reference plugin {missing:?} is not installed"));
    }
    let tried = in_a_node(move |_| {
        ip("link add up0 type veth peer name up1")?;
        ip(&format!("link add link up0 name probe type {kind} {more}")).map(drop)
    });
    tried.err().map(|cause| format!("links of type {kind} cannot be made: {cause}"))
}

/// Plays a case in one version, by both, and compares.
fn judge(case: &'static Case, version: &'static str, options: &Options) -> Outcome<Verdict> {
    let speaks = move |player| match player {
        Player::Reference if version > THEIR_NEWEST => THEIR_NEWEST,
        Player::Reference | Player::Ours => version,
    };
    let mut sheets = Vec::new();
    for player in [Player::Reference, Player::Ours] {
        match in_a_node(move |node| play(case, node, (player, speaks(player)))) {
            Ok(sheet) => sheets.push(sheet),
            Err(trouble) => return Ok(Verdict::Failed(vec![format!("{player:?}: {trouble}")])),
        }
    }
    let [reference, ours] = sheets.as_slice() else { return Err("a sheet is lost".into()) };
    if options.sheets {
        say(&reference.text())?;
    }
    let wrong = wrong((reference, ours), case.differs, cases::TOLERATED);
    Ok(if wrong.is_empty() { Verdict::Ok } else { Verdict::Failed(wrong) })
}

fn play(case: &Case, node: &Node, (player, version): (Player, &'static str)) -> Outcome<Sheet> {
    let mut stage = Stage::new(node, player, (case.plugin, version))?;
    (case.play)(&mut stage)?;
    Ok(stage.into_sheet())
}

/// Does something in a network namespace of its own.
fn in_a_node<T: Send + 'static>(job: impl FnOnce(&Node) -> Outcome<T> + Send + 'static) -> Outcome<T> {
    let inside = move || {
        let node = Node::enter().map_err(|cause| cause.to_string())?;
        job(&node)
    };
    thread::spawn(inside).join().unwrap_or_else(|_| Err("the scene broke off".into()))
}

fn say(line: &str) -> Outcome<()> {
    writeln!(std::io::stdout(), "{line}").map_err(|cause| format!("cannot report: {cause}"))
}

impl Tally {
    fn report(&mut self, case: &Case, version: &str, (verdict, start): (&Verdict, Instant)) -> Outcome<()> {
        let took = start.elapsed().as_secs_f32();
        let what = format!("{} [{version}]", case.name);
        match verdict {
            Verdict::Ok => {
                self.passed += 1;
                say(&format!("ok      {what} ({took:.1} s)"))?;
                case.differs.iter().try_for_each(|d| say(&format!("        but {}: {}", d.at, d.why)))
            }
            Verdict::Failed(wrong) => {
                self.failed += 1;
                say(&format!("FAILED  {what} ({took:.1} s)"))?;
                wrong.iter().try_for_each(|line| say(&format!("        {line}")))
            }
            Verdict::Skipped(why) => {
                self.skipped += 1;
                say(&format!("skipped {what}: {why}"))
            }
        }
    }
}
