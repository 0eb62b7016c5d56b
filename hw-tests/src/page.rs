//! The report as one page that needs nothing else: what holds, what does not, what could not be tried, and where the time
//! went.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::need::Need;
use crate::report::{Ended, Report, Verdict};

/// The looks. Colours follow the reader's light or dark setting; a verdict is told by its sign and word too.
const STYLE: &str = include_str!("page.css");

/// The page of a run.
pub(crate) fn of(report: &Report) -> String {
    let (passed, failed, skipped) = report.tally();
    let verdict = if failed == 0 { "All that was tried holds" } else { "Not all holds" };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Manifold on hardware: " (passed) " passed, " (failed) " failed" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header class=(if failed == 0 { "good" } else { "bad" }) {
                    p.eyebrow { "Manifold · hardware in the loop" }
                    h1 { (verdict) }
                    dl.tiles {
                        (tile("passed", passed)) (tile("failed", failed)) (tile("skipped", skipped))
                        div { dt { "seconds" } dd { (format!("{:.0}", report.took().as_secs_f32())) } }
                    }
                    dl.facts {
                        div { dt { "began" } dd { (report.began.format("%Y-%m-%d %H:%M:%S UTC")) } }
                        @for (name, value) in &report.machine { div { dt { (name) } dd { (value) } } }
                    }
                }
                main { (failures(report)) (areas(report)) (needs(report)) (times(report)) }
            }
        }
    };
    page.into_string()
}

fn tile(word: &str, count: usize) -> Markup {
    html! { div class=(if count == 0 { "none" } else { word }) { dt { (word) } dd { (count) } } }
}

/// What failed, in full, first.
fn failures(report: &Report) -> Markup {
    let failed = report.ended.iter().filter_map(|ended| match &ended.verdict {
        Verdict::Failed(trouble) => Some((ended, trouble)),
        Verdict::Passed | Verdict::Skipped(_) => None,
    });
    let failed: Vec<_> = failed.collect();
    html! {
        @if !failed.is_empty() {
            section {
                h2 { "What does not hold" }
                @for (ended, trouble) in failed {
                    h3 { (sentence(ended.case.name)) }
                    pre { (trouble) }
                }
            }
        }
    }
}

/// Every case, by area.
fn areas(report: &Report) -> Markup {
    let mut areas: Vec<&str> = report.ended.iter().map(|ended| ended.area).collect();
    areas.dedup();
    html! {
        @for area in areas {
            section {
                h2 { (area) }
                div.wide { table.cases {
                    thead { tr { th { "" } th { "Case" } th { "Needs" } th.time { "Seconds" } } }
                    tbody {
                        @for ended in report.ended.iter().filter(|ended| ended.area == area) {
                            (row(ended, report))
                        }
                    }
                } }
            }
        }
    }
}

fn row(ended: &Ended, report: &Report) -> Markup {
    let (class, sign, word, why) = match &ended.verdict {
        Verdict::Passed => ("passed", "✓", "passed", None),
        Verdict::Failed(_) => ("failed", "✗", "failed", None),
        Verdict::Skipped(why) => ("skipped", "–", "skipped", Some(why)),
    };
    html! {
        tr class=(class) {
            td.sign title=(word) aria-label=(word) { (sign) }
            td {
                strong { (sentence(ended.case.name)) }
                p { (capital(ended.case.proves)) "." }
                @if let Some(why) = why { p.why { "Skipped: " (why) } }
            }
            td { @for need in ended.case.needs { (chip(*need, report)) " " } }
            td.time { (format!("{:.1}", ended.took.as_secs_f32())) }
        }
    }
}

fn chip(need: Need, report: &Report) -> Markup {
    let lack = report.needs.iter().find(|(known, _)| *known == need).and_then(|(_, lack)| lack.as_ref());
    html! {
        @match lack {
            Some(lack) => span.chip.lacks title=(lack) { "✗ " (need) },
            None => span.chip { (need) },
        }
    }
}

/// What the machine has, and how many cases rest on it.
fn needs(report: &Report) -> Markup {
    let resting = |need: Need| report.ended.iter().filter(|ended| ended.case.needs.contains(&need)).count();
    html! {
        section {
            h2 { "What the machine has" }
            div.wide { table {
                thead { tr { th { "" } th { "Capability" } th.time { "Cases" } } }
                tbody {
                    @for (need, lack) in &report.needs {
                        tr class=(if lack.is_none() { "passed" } else { "skipped" }) {
                            td.sign { (if lack.is_none() { "✓" } else { "–" }) }
                            td { (need) @if let Some(lack) = lack { p.why { (lack) } } }
                            td.time { (resting(*need)) }
                        }
                    }
                }
            } }
        }
    }
}

/// Where the time went: a bar for each case that ran, the longest first.
fn times(report: &Report) -> Markup {
    let mut ran: Vec<&Ended> =
        report.ended.iter().filter(|ended| !matches!(ended.verdict, Verdict::Skipped(_))).collect();
    ran.sort_by_key(|ended| std::cmp::Reverse(ended.took));
    let longest = ran.first().map_or(1.0, |ended| ended.took.as_secs_f32()).max(0.001);
    let (line, label, room) = (22, 430, 520.0);
    let height = ran.len() * line + 8;
    html! {
        section {
            h2 { "Where the time went" }
            div.wide { svg viewBox=(format!("0 0 1000 {height}")) role="img" aria-label="Seconds for each case" {
                @for (number, ended) in ran.iter().enumerate() {
                    @let y = number * line + 4;
                    @let width = (ended.took.as_secs_f32() / longest * room).max(1.0);
                    text.label x=(label - 8) y=(y + 14) text-anchor="end" { (short(ended.case.name)) }
                    rect class=(if matches!(ended.verdict, Verdict::Failed(_)) { "bar failed" } else { "bar" })
                        x=(label) y=(y + 2) width=(format!("{width:.0}")) height="15" rx="2" {}
                    text.value x=(format!("{:.0}", label as f32 + width + 6.0)) y=(y + 14) {
                        (format!("{:.1}", ended.took.as_secs_f32()))
                    }
                }
            } }
        }
    }
}

/// A name as words.
fn sentence(name: &str) -> String {
    capital(&name.replace('_', " "))
}

/// The text with its first letter as a capital.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// The same, cut to what fits beside a bar.
fn short(name: &str) -> String {
    let words = sentence(name);
    if words.chars().count() <= 58 {
        return words;
    }
    words.chars().take(57).chain(['…']).collect()
}
