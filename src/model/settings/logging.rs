//! Where and how much is logged.

use std::path::PathBuf;

use serde::Deserialize;

use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::object::Object;
use crate::model::path::given_absolute;

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Only failures: every level has those.
    #[default]
    Panic,
    /// Failures.
    Error,
    /// One line per call.
    Verbose,
    /// Everything.
    Debug,
}

/// How a line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object for each line.
    Json,
}

/// Where and how much is logged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logging {
    /// How much; key `logLevel`. An unknown word leaves it as it is.
    pub level: Level,
    /// How a line is written; key `logFormat`: `text` or `json`.
    pub format: Format,
    /// Whether standard error gets failures only; key `logToStderr`, where it is false.
    pub quiet_stderr: bool,
    /// The file lines go to; key `logFile`.
    pub file: Option<LogFile>,
}

/// A log file, and when it is replaced; key `logOptions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Where it is; absolute.
    pub path: PathBuf,
    /// Size at which it is replaced, in MiB; `maxSize`.
    pub max_size: u64,
    /// How many replaced ones are kept; `maxBackups`. 0 keeps them all.
    pub max_backups: usize,
    /// How long replaced ones are kept, in days; `maxAge`. 0 keeps them for ever.
    pub max_age: u64,
    /// Whether replaced ones are compressed; `compress`.
    pub compress: bool,
}

#[derive(Deserialize)]
struct Keys {
    loglevel: Option<String>,
    logformat: Option<String>,
    logtostderr: Option<bool>,
    logfile: Option<PathBuf>,
    #[serde(default)]
    logoptions: Options,
}

#[derive(Deserialize, Default)]
struct Options {
    maxsize: Option<u64>,
    maxbackups: Option<usize>,
    maxage: Option<u64>,
    compress: Option<bool>,
}

impl Logging {
    /// Reads where and how much is logged.
    ///
    /// # Errors
    /// A value of the wrong type, a format that is none, or a file that is no absolute path.
    pub fn read(object: &Object) -> Outcome<Self> {
        let keys: Keys = object.decode("Manifold's configuration")?;
        let options = keys.logoptions;
        let file = given_absolute("logFile", keys.logfile)?.map(|path| LogFile {
            path,
            max_size: options.maxsize.filter(|n| *n > 0).unwrap_or(100),
            max_backups: options.maxbackups.unwrap_or(5),
            max_age: options.maxage.unwrap_or(5),
            compress: options.compress.unwrap_or(true),
        });
        let level = Level::read(&keys.loglevel.unwrap_or_default());
        let format = Format::read(&keys.logformat.unwrap_or_default())?;
        Ok(Self { level, format, quiet_stderr: keys.logtostderr == Some(false), file })
    }
}

impl Level {
    fn read(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "debug" => Self::Debug,
            "verbose" => Self::Verbose,
            "error" => Self::Error,
            _ => Self::Panic,
        }
    }
}

impl Format {
    fn read(word: &str) -> Outcome<Self> {
        match word {
            "" | "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(Fault::new(FaultKind::Config, format!("\"logFormat\" is {word:?}"))
                .remedy("write \"text\" or \"json\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_the_defaults_of_the_peer() {
        let read = |text: &str| Logging::read(&Object::parse(text.as_bytes(), "the test").unwrap()).unwrap();

        assert_eq!(read("{}"), Logging::default());
        let logging = read(
            r#"{"LogFile":"/x","logLevel":"Debug","logToStderr":false,"logOptions":{"maxAge":1,"compress":false}}"#,
        );
        let file = LogFile { path: "/x".into(), max_size: 100, max_backups: 5, max_age: 1, compress: false };
        assert_eq!(
            logging,
            Logging { level: Level::Debug, format: Format::Text, quiet_stderr: true, file: Some(file) }
        );
    }

    #[test]
    fn a_format_is_one_of_two() {
        let read = |text: &str| Logging::read(&Object::parse(text.as_bytes(), "the test").unwrap());

        assert_eq!(read(r#"{"logFormat":"json"}"#).unwrap().format, Format::Json);
        assert_eq!(read(r#"{"logFormat":"text"}"#).unwrap().format, Format::Text);
        assert_eq!(read(r#"{"logFormat":"xml"}"#).unwrap_err().to_string(), r#""logFormat" is "xml""#);
    }

    #[test]
    fn a_file_is_named_by_an_absolute_path() {
        let object = Object::parse(br#"{"logFile":"manifold.log"}"#, "the test").unwrap();

        assert_eq!(Logging::read(&object).unwrap_err().to_string(), r#""logFile" is "manifold.log""#);
    }
}
