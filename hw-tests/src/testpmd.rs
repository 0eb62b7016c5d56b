//! dpdk-testpmd, the application that DPDK brings along: it drives a virtual function itself, without the kernel, and
//! counts the frames it sends and receives. It is spoken to at its prompt.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin};
use std::time::Duration;

use crate::adapter::await_within;
use crate::command::Program;
use crate::node::{Netns, Node};
use crate::trouble::{Outcome, Trouble, holds};

/// The program.
const PROGRAM: &str = "dpdk-testpmd";

/// How long it may run, in seconds; it ends sooner when nobody is at its prompt any more.
const LIMIT: u32 = 240;

/// How long it may take to start, and then until enough frames arrived.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pages of 2 MiB that one of them needs, with some to spare.
const PAGES: u32 = 48;

/// How many pages of 2 MiB the kernel keeps.
const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

/// One that is running.
pub(crate) struct Testpmd {
    program: Child,
    // Taken when nobody is at the prompt any more.
    prompt: Option<ChildStdin>,
    said: PathBuf,
}

/// Huge pages for so many of them, given back when dropped.
pub(crate) struct HugePages {
    before: u32,
}

/// Tries whether it can be run here.
///
/// # Errors
/// It is not installed, or the kernel has no huge pages for it.
pub(crate) fn probe() -> Outcome<()> {
    Program::new([PROGRAM, "--help"]).output()?;
    HugePages::for_applications(1).map(drop)
}

impl Testpmd {
    /// Starts it in a pod, on a virtual function and a processor, and waits for its prompt.
    ///
    /// # Errors
    /// It could not be started, or found the virtual function unfit.
    pub(crate) fn start(node: &Node, pod: &Netns, (vf, cpu): (&str, usize)) -> Outcome<Self> {
        let said = node.path(&format!("testpmd-{cpu}"));
        let output = File::create(&said).map_err(Trouble::doing(format!("cannot make {said:?}")))?;
        let lcores = format!("0@{cpu},1@{cpu}");
        // Its output is read while it runs, so it must not be held back until a buffer is full.
        let words = ["stdbuf", "-oL", PROGRAM, "--in-memory", "--no-telemetry", "-n", "1", "-m", "64"];
        let words = words.into_iter().chain(["--lcores", &lcores, "-a", vf]);
        let words = words.chain(["--", "--interactive", "--total-num-mbufs=2048"]);
        let mut program = pod.program_within(LIMIT, words).start(output)?;
        let prompt = program.stdin.take();
        let testpmd = Self { program, prompt, said };
        let ready = await_within(PATIENCE, "testpmd has no prompt", || testpmd.has_said("testpmd>"));
        // Without a port it has a prompt as well.
        let ready = ready.and_then(|()| holds(testpmd.has_said("Port 0:"), "testpmd has no port"));
        ready.map_err(|trouble| Trouble::new(format!("{trouble}: {}", testpmd.text())))?;
        Ok(testpmd)
    }

    /// Gives it commands.
    ///
    /// # Errors
    /// It does not take them.
    pub(crate) fn tell(&self, commands: &[&str]) -> Outcome<()> {
        let text: String = commands.iter().map(|command| format!("{command}\n")).collect();
        let Some(mut prompt) = self.prompt.as_ref() else { return Ok(()) };
        prompt.write_all(text.as_bytes()).map_err(Trouble::doing("testpmd does not listen"))
    }

    /// Waits until it has received so many frames.
    ///
    /// # Errors
    /// They do not come.
    pub(crate) fn await_frames(&self, count: u64) -> Outcome<()> {
        let start = self.text().len();
        let received = || last_number(self.text().get(start..)?, "RX-packets");
        let enough = || {
            self.tell(&["show fwd stats all"]).is_ok() && received().is_some_and(|received| received >= count)
        };
        await_within(PATIENCE, &format!("{count} frames do not arrive"), enough)
            .map_err(|trouble| Trouble::new(format!("{trouble}; last it said {:?}", self.last_words())))
    }

    /// Has it stop, and tells how many frames it received and sent since it was started last.
    ///
    /// # Errors
    /// It does not say.
    pub(crate) fn stop(&self) -> Outcome<(u64, u64)> {
        let start = self.text().len();
        self.tell(&["stop"])?;
        // What was asked before may be answered only now.
        let summary = || {
            let text = self.text();
            let (_, summary) = text.get(start..)?.split_once("Telling cores to stop")?;
            summary.split_once("\nDone.").map(|(summary, _)| summary.to_owned())
        };
        await_within(PATIENCE, "testpmd does not stop", || summary().is_some())?;
        let summary = summary().unwrap_or_default();
        let told = |key| last_number(&summary, key);
        let told = told("RX-packets").zip(told("TX-packets"));
        told.ok_or_else(|| Trouble::new(format!("testpmd has counted nothing: {summary:?}")))
    }

    fn has_said(&self, words: &str) -> bool {
        self.text().contains(words)
    }

    fn text(&self) -> String {
        std::fs::read(&self.said)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    fn last_words(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(12)).copied().collect::<Vec<_>>().join("; ")
    }
}

impl Drop for Testpmd {
    fn drop(&mut self) {
        // At the end of its input it gives the virtual function back and ends, within its limit in any case.
        self.prompt.take();
        self.program.wait().ok();
    }
}

impl HugePages {
    /// Has the kernel keep pages for so many of them, beside those that it keeps already.
    ///
    /// # Errors
    /// The kernel has no huge pages, or no memory for them.
    pub(crate) fn for_applications(count: u32) -> Outcome<Self> {
        let pages = Self { before: kept()? };
        let wanted = pages.before + count * PAGES;
        keep(wanted)?;
        let now = kept()?;
        holds(now >= wanted, format!("the kernel keeps {now} huge pages, not {wanted}"))?;
        Ok(pages)
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        // Nobody is there to tell.
        keep(self.before).ok();
    }
}

fn kept() -> Outcome<u32> {
    let text = std::fs::read_to_string(POOL).map_err(Trouble::doing("there are no huge pages of 2 MiB"))?;
    text.trim().parse().map_err(Trouble::doing(format!("cannot read {POOL}")))
}

fn keep(count: u32) -> Outcome<()> {
    std::fs::write(POOL, count.to_string()).map_err(Trouble::doing(format!("cannot write {POOL}")))
}

/// The number after the last of these keys.
fn last_number(text: &str, key: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(&format!("{key}: "))?;
    rest.trim_start().split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
  ---------------------- Forward statistics for port 0  ----------------------
  RX-packets: 12             RX-dropped: 0             RX-total: 12
  TX-packets: 0              TX-dropped: 0             TX-total: 0
  ----------------------------------------------------------------------------
  ---------------------- Forward statistics for port 0  ----------------------
  RX-packets: 4711           RX-dropped: 0             RX-total: 4711
  TX-packets: 3              TX-dropped: 0             TX-total: 3
";

    #[test]
    fn the_last_count_counts() {
        assert_eq!(last_number(SAID, "RX-packets"), Some(4711));
        assert_eq!(last_number(SAID, "TX-packets"), Some(3));
    }

    #[test]
    fn what_was_not_told_is_no_number() {
        assert_eq!(last_number("testpmd> start", "RX-packets"), None);
        assert_eq!(last_number("  RX-packets: ", "RX-packets"), None);
    }
}
