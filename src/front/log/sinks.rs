//! Where lines go: to standard error, and to the log file if one is named.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::file::RotatedFile;
use crate::model::settings::Logging;

pub(super) struct Sinks {
    /// Standard error gets failures only.
    quiet: bool,
    file: Option<RotatedFile>,
    /// It was said that the file cannot be written.
    complained: AtomicBool,
}

/// The way of one line to the sinks.
pub(super) struct Line<'a> {
    sinks: &'a Sinks,
    level: Level,
}

impl Sinks {
    pub(super) fn of(logging: &Logging) -> Self {
        Self {
            quiet: logging.quiet_stderr,
            file: logging.file.clone().map(RotatedFile::new),
            complained: AtomicBool::new(false),
        }
    }

    fn put(&self, line: &[u8], level: Level) {
        if level <= Level::WARN || !self.quiet {
            say(line);
        }
        let trouble = self.file.as_ref().and_then(|file| file.append(line).err().map(|cause| (file, cause)));
        if let Some((file, cause)) = trouble
            && !self.complained.swap(true, Ordering::Relaxed)
        {
            say(format!("cannot write the log file {:?}: {cause}\n", file.path()).as_bytes());
        }
    }
}

/// Writes on standard error. Where nobody listens there is nobody to tell.
fn say(line: &[u8]) {
    io::stderr().write_all(line).unwrap_or_default();
}

impl<'a> MakeWriter<'a> for Sinks {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { sinks: self, level: Level::ERROR }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line<'a> {
        Line { sinks: self, level: *meta.level() }
    }
}

impl Write for Line<'_> {
    /// Takes one event, whole.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.sinks.put(&one_line(event), self.level);
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The event on one line: a plugin's message may have several, and one of them might look like another event.
fn one_line(event: &[u8]) -> Vec<u8> {
    let text = event.strip_suffix(b"\n").unwrap_or(event);
    let mut line = Vec::with_capacity(event.len());
    for byte in text {
        match byte {
            b'\n' => line.extend(b"\\n"),
            byte if byte.is_ascii_control() => line.push(b' '),
            byte => line.push(*byte),
        }
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        assert_eq!(one_line(b"a\nb\x1b[1m\tc\n"), b"a\\nb [1m c\n");
        assert_eq!(one_line(b"a"), b"a\n");
    }
}
