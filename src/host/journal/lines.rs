//! Lines of records, and what they say.
//!
//! ```text
//! {"ifname":"net1","since":1764300000,"format":1,"phase":"pending", …}    a record, whole
//! {"ifname":"net1","since":1764300001,"phase":"attached","result":{ … }}  how far it has come since
//! ```
//!
//! The state of an interface is its last whole record with what came after it, key by key. A line that cannot be read was
//! cut short by the end of its writer, or is damaged: the state before it counts, and without one it is told as broken.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::engine::ports::{Broken, Entry};
use crate::engine::record::{FORMAT, Mark, Record};
use crate::model::fault::{Fault, Outcome};
use crate::model::{ContainerId, FaultKind, IfName, Owner};

/// How every line begins: one that is cut short still tells its interface.
const BEGINNING: &[u8] = br#"{"ifname":"#;

/// What is read of a line before it is known what it is.
#[derive(Deserialize)]
struct Head {
    ifname: IfName,
    /// Seconds since 1970.
    since: Option<u64>,
    /// Only a whole record has it.
    format: Option<u32>,
}

/// Puts the line of a record, or of what has become of one, behind a text.
///
/// # Errors
/// A value that cannot be written as JSON; there is none in a record.
pub(super) fn put(
    text: &mut Vec<u8>,
    ifname: &IfName,
    content: &impl Serialize,
) -> Result<(), serde_json::Error> {
    let start = text.len();
    let since = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    text.extend_from_slice(BEGINNING);
    serde_json::to_writer(&mut *text, ifname)?;
    text.extend_from_slice(b",\"since\":");
    serde_json::to_writer(&mut *text, &since)?;
    let brace = text.len();
    serde_json::to_writer(&mut *text, content)?;
    if let Some(brace) = text.get_mut(brace) {
        *brace = b',';
    }
    // A configuration is kept as it was written, with its line ends. Outside of texts, where JSON escapes them, they
    // mean nothing: as blanks they leave the record on its line.
    let line = text.get_mut(start..).unwrap_or_default();
    if line.contains(&b'\n') || line.contains(&b'\r') {
        line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    }
    text.push(b'\n');
    Ok(())
}

/// What a sandbox's lines tell, in order of making; what is broken comes last.
pub(super) fn entries(text: &[u8], container: &ContainerId) -> Vec<Entry> {
    let mut told: BTreeMap<Option<IfName>, Vec<&[u8]>> = BTreeMap::new();
    for line in split(text) {
        told.entry(whose(line)).or_default().push(line);
    }
    // Where a line was cut short, others may have followed.
    if text.last().is_some_and(|byte| *byte != b'\n') {
        told.entry(None).or_default();
    }
    let mut entries: Vec<Entry> = told
        .into_iter()
        .map(|(ifname, lines)| {
            let state = match &ifname {
                Some(ifname) => {
                    state(&lines, &Owner { container: container.clone(), ifname: ifname.clone() })
                }
                None => Err(no_record("it was cut short, or nobody can tell of which interface it is")),
            };
            match state {
                Ok(record) => Entry::Whole(Box::new(record)),
                Err(fault) => Entry::Broken(Broken { container: container.clone(), ifname, fault }),
            }
        })
        .collect();
    entries.sort_by_key(|entry| match entry {
        Entry::Whole(record) => record.order,
        Entry::Broken(_) => u32::MAX,
    });
    entries
}

/// When an interface came to its present state, in seconds since 1970.
pub(super) fn since(text: &[u8], ifname: &IfName) -> Option<u64> {
    let heads = split(text).filter_map(|line| serde_json::from_slice::<Head>(line).ok());
    heads.filter(|head| head.ifname == *ifname).last()?.since
}

/// The lines of these interfaces, and the others; `None` stands for lines of which no interface can be told.
pub(super) fn parted(text: &[u8], is_meant: impl Fn(Option<&IfName>) -> bool) -> (Vec<u8>, Vec<u8>) {
    let (mut meant, mut others) = (Vec::new(), Vec::new());
    for line in split(text) {
        let side = if is_meant(whose(line).as_ref()) { &mut meant } else { &mut others };
        side.extend_from_slice(line);
        side.push(b'\n');
    }
    (meant, others)
}

fn split(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// The interface a line is of.
fn whose(line: &[u8]) -> Option<IfName> {
    let Some(rest) = line.strip_prefix(BEGINNING) else {
        // Somebody has written it anew.
        return serde_json::from_slice::<Head>(line).ok().map(|head| head.ifname);
    };
    serde_json::Deserializer::from_slice(rest).into_iter::<IfName>().next()?.ok()
}

/// What the lines of one interface come to.
fn state(lines: &[&[u8]], owner: &Owner) -> Outcome<Record> {
    let mut state: Option<Record> = None;
    let mut wrong = None;
    for line in lines {
        match read(line, owner) {
            Ok(Line::Whole(record)) => state = Some(*record),
            Ok(Line::Mark(mark)) => match &mut state {
                Some(record) => record.reach(*mark),
                None => wrong = Some(no_record("what it goes on from is lost")),
            },
            Err(fault) if fault.kind() == FaultKind::Version => return Err(fault),
            Err(fault) => wrong = Some(fault),
        }
    }
    state.ok_or_else(|| wrong.unwrap_or_else(|| no_record("there is no line")))
}

enum Line {
    Whole(Box<Record>),
    Mark(Box<Mark<'static>>),
}

fn read(line: &[u8], owner: &Owner) -> Outcome<Line> {
    let no_record = |cause: serde_json::Error| no_record("it is damaged or was cut short").because(cause);
    let Some(format) = serde_json::from_slice::<Head>(line).map_err(no_record)?.format else {
        return Ok(Line::Mark(Box::new(serde_json::from_slice(line).map_err(no_record)?)));
    };
    if format != FORMAT {
        return Err(Fault::new(FaultKind::Version, format!("the record of {owner} has format {format}"))
            .remedy("finish with the version of Manifold that wrote it"));
    }
    let record: Record = serde_json::from_slice(line).map_err(no_record)?;
    if record.attachment.owner != *owner {
        let whose = &record.attachment.owner;
        return Err(Fault::new(
            FaultKind::Decode,
            format!("in the place of {owner} is the record of {whose}"),
        ));
    }
    Ok(Line::Whole(Box::new(record)))
}

fn no_record(why: &str) -> Fault {
    Fault::new(FaultKind::Decode, format!("a line is no record: {why}"))
}
