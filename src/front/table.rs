//! Attachments as a table or as JSON.

use std::fmt;

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::engine::add::Attached;
use crate::engine::ports::Entry;
use crate::engine::record::Phase;
use crate::model::{Attachment, CniResult, ContainerId, IfName, PluginConf};
use crate::plan::kinds;

/// What is said where there is no attachment.
const NOTHING: &str = "nothing is attached";
/// The state of an attachment whose record cannot be read.
const UNREADABLE: &str = "unreadable";
/// Longest sandbox id shown whole; a container runtime's has 64 characters.
const LONGEST_ID: usize = 24;

/// One attachment, as people and programs read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) container: String,
    pub(super) interface: String,
    pub(super) network: String,
    pub(super) kinds: Vec<String>,
    pub(super) addresses: Vec<String>,
    pub(super) mac: String,
    pub(super) netns: String,
    pub(super) state: String,
}

impl Row {
    /// The row of an attachment just made.
    pub(super) fn made(made: &Attached) -> Self {
        Self::of(&made.attachment, Some(&made.result), "attached")
    }

    /// The row of a journal's entry.
    pub(super) fn entry(entry: &Entry) -> Self {
        match entry {
            Entry::Whole(record) => {
                let state = match record.phase {
                    Phase::Attached => "attached",
                    Phase::Pending => "unfinished",
                    Phase::Detaching => "detaching",
                };
                Self::of(&record.attachment, record.result.as_ref(), state)
            }
            Entry::Broken(broken) => Self {
                container: broken.container.to_string(),
                interface: broken.ifname.as_ref().map(ToString::to_string).unwrap_or_default(),
                network: String::new(),
                kinds: Vec::new(),
                addresses: Vec::new(),
                mac: String::new(),
                netns: String::new(),
                state: UNREADABLE.to_owned(),
            },
        }
    }

    /// Whether both are of one attachment.
    fn is_of(&self, other: &Self) -> bool {
        (&self.container, &self.interface) == (&other.container, &other.interface)
    }

    fn of(attachment: &Attachment, result: Option<&CniResult>, state: &str) -> Self {
        let ifname = attachment.owner.ifname.as_str();
        let ours =
            result.and_then(|r| r.interfaces.iter().find(|i| i.name == ifname && !i.sandbox.is_empty()));
        Self {
            container: attachment.owner.container.to_string(),
            interface: ifname.to_owned(),
            network: attachment.label.clone(),
            kinds: attachment.network.plugins.iter().map(kind).collect(),
            addresses: result
                .map(|r| r.ips.iter().map(|ip| ip.address.to_string()).collect())
                .unwrap_or_default(),
            mac: ours.map(|i| i.mac.clone()).unwrap_or_default(),
            netns: attachment.netns.as_ref().map(ToString::to_string).unwrap_or_default(),
            state: state.to_owned(),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.interface.as_str() {
            "" => f.write_str(&self.container),
            interface => write!(f, "{}/{interface}", self.container),
        }
    }
}

/// The plugin type, and how it is served.
fn kind(conf: &PluginConf) -> String {
    let how = if kinds::is_native(conf) { "native" } else { "exec" };
    format!("{} ({how})", conf.kind())
}

/// The rows as a table.
pub(super) fn table(rows: &[Row]) -> String {
    let header = ["SANDBOX", "INTERFACE", "NETWORK", "PLUGINS", "ADDRESSES", "MAC", "STATE"];
    let cells = rows.iter().map(|row| {
        [
            shortened(&row.container),
            row.interface.clone(),
            row.network.clone(),
            row.kinds.join("\n"),
            row.addresses.join("\n"),
            row.mac.clone(),
            row.state.clone(),
        ]
    });
    drawn(header, cells)
}

/// Cells in columns, under a header.
pub(super) fn drawn<const N: usize>(
    header: [&str; N],
    cells: impl ExactSizeIterator<Item = [String; N]>,
) -> String {
    if cells.len() == 0 {
        return NOTHING.to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    cells.for_each(|row| {
        table.add_row(row);
    });
    // The style pads every cell, the first one too.
    table.trim_fmt().lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// An id, cut as other tools for containers cut it.
pub(super) fn shortened(id: &str) -> String {
    let kept = if id.len() > LONGEST_ID { 13 } else { LONGEST_ID };
    id.chars().take(kept).collect()
}

/// What became of attachments between two looks at the journal.
pub(super) fn gone(before: &[Row], after: &[Row]) -> String {
    let gone = before.iter().filter(|row| !after.iter().any(|other| other.is_of(row)));
    let lines = gone.map(|row| match row.state.as_str() {
        UNREADABLE => {
            format!("{row}: its record could not be read and is set aside; what it made may be there still\n")
        }
        _ => format!("{row}: detached\n"),
    });
    lines.collect()
}

/// What was to be detached and is not attached: interfaces that were named, else the sandbox.
pub(super) fn absent(before: &[Row], container: &ContainerId, interfaces: &[IfName]) -> String {
    let line = |what: String| format!("{what}: {NOTHING}; \"manifold list\" tells what is\n");
    if interfaces.is_empty() {
        return if before.is_empty() { line(container.to_string()) } else { String::new() };
    }
    // A record that cannot be read may be of any.
    let may_be = |row: &Row, name: &IfName| row.interface.is_empty() || row.interface == name.as_str();
    let absent = interfaces.iter().filter(|name| !before.iter().any(|row| may_be(row, name)));
    absent.map(|name| line(format!("{container}/{name}"))).collect()
}

/// That the attachments are as they were made.
pub(super) fn held(rows: &[Row]) -> String {
    match rows {
        [] => format!("{NOTHING}\n"),
        rows => rows.iter().map(|row| format!("{row}: as it was made\n")).collect(),
    }
}
