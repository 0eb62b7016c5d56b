//! What a run found, for those who were not there: JUnit XML for machines, one page of HTML for people.

use std::fs;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use quick_junit::{NonSuccessKind, Property, TestCase, TestCaseStatus, TestSuite};

use crate::catalogue::Case;
use crate::need::{Need, sriov_adapter};
use crate::page;
use crate::profile::Profile;
use crate::trouble::{Outcome, Trouble};

/// How a case ended.
pub(crate) enum Verdict {
    /// What it proves holds.
    Passed,
    /// It does not, or the case could not run where it must.
    Failed(Trouble),
    /// The case could not run; why.
    Skipped(String),
}

/// A case that was come to.
pub(crate) struct Ended {
    /// The group it belongs to.
    pub(crate) area: &'static str,
    /// The case.
    pub(crate) case: &'static Case,
    /// How it ended.
    pub(crate) verdict: Verdict,
    /// How long it took, with setting up and cleaning up.
    pub(crate) took: Duration,
}

/// A run.
pub(crate) struct Report {
    /// When it began.
    pub(crate) began: DateTime<Utc>,
    /// What it ran on and what it held to account, by name.
    pub(crate) machine: Vec<(&'static str, String)>,
    /// What was looked for on the machine, and why it is not there.
    pub(crate) needs: Vec<(Need, Option<String>)>,
    /// Its cases, in order.
    pub(crate) ended: Vec<Ended>,
}

impl Report {
    /// How many passed, failed and were skipped.
    pub(crate) fn tally(&self) -> (usize, usize, usize) {
        let count = |is: fn(&Verdict) -> bool| self.ended.iter().filter(|ended| is(&ended.verdict)).count();
        (
            count(|verdict| matches!(verdict, Verdict::Passed)),
            count(|verdict| matches!(verdict, Verdict::Failed(_))),
            count(|verdict| matches!(verdict, Verdict::Skipped(_))),
        )
    }

    /// How long all cases took together.
    pub(crate) fn took(&self) -> Duration {
        self.ended.iter().map(|ended| ended.took).sum()
    }

    /// Writes `junit.xml` and `report.html` into a folder.
    ///
    /// # Errors
    /// They cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> Outcome<()> {
        fs::create_dir_all(folder).map_err(Trouble::doing(format!("cannot make {folder:?}")))?;
        let junit = self.junit().to_string().map_err(Trouble::doing("cannot write the report as XML"))?;
        for (name, text) in [("junit.xml", junit), ("report.html", page::of(self))] {
            let path = folder.join(name);
            fs::write(&path, text).map_err(Trouble::doing(format!("cannot write {path:?}")))?;
        }
        Ok(())
    }

    fn junit(&self) -> quick_junit::Report {
        let mut report = quick_junit::Report::new("hw-tests");
        report.set_timestamp(self.began).set_time(self.took());
        let mut areas: Vec<&str> = self.ended.iter().map(|ended| ended.area).collect();
        areas.dedup();
        for area in areas {
            let mut suite = TestSuite::new(area);
            let facts = self.machine.iter().map(|(name, value)| Property::new(*name, value.as_str()));
            suite.add_properties(facts);
            let cases = self.ended.iter().filter(|ended| ended.area == area);
            suite.set_timestamp(self.began).set_time(cases.clone().map(|ended| ended.took).sum());
            suite.add_test_cases(cases.map(Ended::junit));
            report.add_test_suite(suite);
        }
        report
    }
}

impl Ended {
    fn junit(&self) -> TestCase {
        let status = match &self.verdict {
            Verdict::Passed => TestCaseStatus::success(),
            Verdict::Failed(trouble) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(trouble.to_string());
                status
            }
            Verdict::Skipped(why) => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(why.as_str());
                status
            }
        };
        let mut case = TestCase::new(self.case.name, status);
        case.set_classname(self.area).set_time(self.took);
        case.add_property(Property::new("proves", self.case.proves));
        case
    }
}

/// What this machine is, in words: kernel, processors, the adapter that the cases may have.
pub(crate) fn machine() -> Vec<(&'static str, String)> {
    let read = |path: &Path| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let kernel = read(Path::new("/proc/sys/kernel/osrelease"));
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut facts = vec![("kernel", kernel), ("processors", processors.to_string())];
    if let Ok(profile) = Profile::current() {
        facts.insert(0, ("machine", profile.name.clone()));
    }
    if let (Ok(name), Ok(device)) = (sriov_adapter(), Profile::device()) {
        let last = |link: &str| {
            let target = fs::read_link(device.join(link)).unwrap_or_default();
            target.file_name().unwrap_or_default().to_string_lossy().into_owned()
        };
        let pci = device.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ids = [read(&device.join("vendor")), read(&device.join("device"))].map(|id| id.replace("0x", ""));
        let total = read(&device.join("sriov_totalvfs"));
        let (driver, ids) = (last("driver"), ids.join(":"));
        facts.push(("adapter", format!("{name}, {driver} {ids} at {pci}, {total} virtual functions")));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::HoldsFor;

    const CASE: Case = Case {
        name: "a_pod_gets_what_it_asked",
        proves: "a pod with <odd> & \"quoted\" words gets a link",
        needs: &[Need::SriovAdapter],
        holds_for: HoldsFor::Everyone,
        run: |_| Ok(()),
    };

    fn ended(verdict: Verdict) -> Ended {
        Ended { area: "area", case: &CASE, verdict, took: Duration::from_millis(1500) }
    }

    fn report() -> Report {
        let failed = Verdict::Failed(Trouble::new("the link is <down>"));
        let ended = [Verdict::Passed, failed, Verdict::Skipped("no adapter".into())].map(ended);
        Report {
            began: DateTime::from_timestamp(1_795_836_847, 0).unwrap(),
            machine: vec![("kernel", "6.1".into()), ("subject", "manifold 0.1.0".into())],
            needs: vec![(Need::SriovAdapter, Some("none".into()))],
            ended: ended.into(),
        }
    }

    #[test]
    fn machines_are_told_each_verdict_with_its_reason() {
        let xml = report().junit().to_string().unwrap();

        assert!(xml.contains(r#"tests="3" disabled="1" errors="0" failures="1""#), "{xml}");
        assert!(xml.contains("<failure message=\"the link is &lt;down&gt;\"/>"), "{xml}");
        assert!(xml.contains("<skipped message=\"no adapter\"/>"), "{xml}");
        // Of the whole, and of each area.
        assert_eq!(xml.matches("timestamp=\"2026-11-28T03:34:07").count(), 2, "{xml}");
        assert!(xml.contains("<property name=\"subject\" value=\"manifold 0.1.0\"/>"), "{xml}");
    }

    #[test]
    fn people_are_told_on_one_page_that_needs_nothing_else() {
        let page = page::of(&report());

        for part in [
            "Not all holds",
            "the link is &lt;down&gt;",
            "Skipped: no adapter",
            "2026-11-28 03:34:07 UTC",
            "<dt>kernel</dt><dd>6.1</dd>",
            "<dt>subject</dt><dd>manifold 0.1.0</dd>",
            "A pod with &lt;odd&gt; &amp;",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        for foreign in ["http://", "https://", "<script", "<link"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn both_are_files_in_a_folder() {
        let folder = tempfile::tempdir().unwrap();

        report().write(&folder.path().join("new")).unwrap();

        let mut names: Vec<_> =
            fs::read_dir(folder.path().join("new")).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["junit.xml", "report.html"]);
    }
}
