//! What went wrong: one error type for every floor, with its CNI error code.
//!
//! A [`Fault`] says what could not be done and on what, why, and what to do about it. It becomes CNI error
//! JSON in one place, [`Fault::to_reply`] (CNI specification 1.1.0, section 5, "Error").

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The families of failure. Code branches on these, never on text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The configuration's `cniVersion` cannot be served.
    Version,
    /// Something the configuration asks for is known and not supported.
    Unsupported,
    /// The container is not known; nothing needs to be cleaned up.
    UnknownContainer,
    /// A `CNI_*` variable is absent or malformed.
    Environment,
    /// A file or socket of our own could not be read or written.
    Io,
    /// Bytes that should have been JSON (or YAML) are not.
    Decode,
    /// The network configuration is wrong.
    Config,
    /// The network namespace is the caller's own.
    OwnNetns,
    /// The same call may succeed later: something else holds what is needed.
    TryLater,
    /// The plugin cannot serve ADD now (STATUS).
    Unavailable,
    /// Something the configuration names is not on this node or in this namespace.
    Absent,
    /// Something stands where something new should be made.
    Exists,
    /// No address is left.
    Exhausted,
    /// The kernel refused.
    Kernel,
    /// A wait ended at its limit.
    TimedOut,
    /// What CHECK found is not what was made.
    Drift,
    /// A delegate failed without an error object of its own.
    Plugin,
    /// The cluster's API server refused, or is not to be trusted.
    Cluster,
    /// The virtual switch refused.
    Switch,
    /// A delegate answered with its own CNI error, whose code is passed on.
    Delegate(u32),
}

impl FaultKind {
    /// Whether a delegate gave its own code.
    pub fn is_delegates(self) -> bool {
        matches!(self, Self::Delegate(_))
    }

    /// The CNI error code: 1 to 99 as the specification has them, 100 and up are our own.
    pub fn code(self) -> u32 {
        match self {
            Self::Version => 1,
            Self::Unsupported => 2,
            Self::UnknownContainer => 3,
            Self::Environment => 4,
            Self::Io => 5,
            Self::Decode => 6,
            Self::Config => 7,
            Self::OwnNetns => 8,
            Self::TryLater => 11,
            Self::Unavailable => 50,
            Self::Absent => 100,
            Self::Exists => 101,
            Self::Exhausted => 102,
            Self::Kernel => 103,
            Self::TimedOut => 104,
            Self::Drift => 105,
            Self::Plugin => 106,
            Self::Cluster => 107,
            Self::Switch => 108,
            Self::Delegate(code) => code,
        }
    }
}

/// Longest part of what is told of a failure, in bytes: a plugin's message and what it wrote beside it have room.
const MAX_PART: usize = 32 << 10;

/// Most failures that are told beside the one they travel with.
const MAX_ALSO: usize = 32;

/// A failure: what was attempted and on what, the cause, the remedy, and clean-up failures that came with it.
#[derive(Debug)]
pub struct Fault {
    kind: FaultKind,
    what: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
    remedy: Option<Cow<'static, str>>,
    also: Vec<Fault>,
    confided: Option<String>,
}

/// A `Result` whose error is a [`Fault`].
pub type Outcome<T> = Result<T, Fault>;

impl Fault {
    /// A failure of this kind; `what` names the act and its object: `cannot attach "net1"`.
    pub fn new(kind: FaultKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), cause: None, remedy: None, also: Vec::new(), confided: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<Cow<'static, str>>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Adds what only people of the node are told, such as which other pod stands in the way: in the log and at the command
    /// line, and not in answers and events, which the owners of pods read.
    #[must_use]
    pub fn confiding(mut self, what: impl Into<String>) -> Self {
        self.confided = Some(what.into());
        self
    }

    /// Wraps this failure in what it prevented, keeping all else.
    #[must_use]
    pub fn while_doing(self, what: impl Into<String>) -> Self {
        let Self { kind, what: inner, cause, remedy, also, confided } = self;
        let cause: Box<dyn Error + Send + Sync> = match cause {
            None => inner.into(),
            Some(cause) => Box::new(Because { what: inner, cause }),
        };
        Self { kind, what: what.into(), cause: Some(cause), remedy, also, confided }
    }

    /// Lets clean-up failures travel with their cause, never instead of it.
    #[must_use]
    pub fn along_with(mut self, others: impl IntoIterator<Item = Fault>) -> Self {
        let told = self.to_string();
        // The same may have been tried twice.
        self.also.extend(others.into_iter().filter(|other| other.to_string() != told));
        self
    }

    /// One failure out of several: the first leads, the others travel along. `None` if there are none.
    pub fn gather(faults: impl IntoIterator<Item = Fault>) -> Option<Self> {
        let mut faults = faults.into_iter();
        let first = faults.next()?;
        Some(first.along_with(faults))
    }

    /// The same failure as another family.
    #[must_use]
    pub fn recast(self, kind: FaultKind) -> Self {
        Self { kind, ..self }
    }

    /// The family of this failure.
    pub fn kind(&self) -> FaultKind {
        self.kind
    }

    /// What the reader can do about it, if anything is known.
    pub fn advice(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// What only people of the node are told, if there is anything.
    pub fn confided(&self) -> Option<&str> {
        self.confided.as_deref()
    }

    /// What failed, and what the reader can do about it.
    pub fn advised(&self) -> String {
        match self.advice() {
            None => self.to_string(),
            Some(advice) => format!("{self}; {advice}"),
        }
    }

    /// The failures that travel along.
    pub fn companions(&self) -> &[Fault] {
        &self.also
    }

    /// The CNI error object: the message says what and why, the details say what to do and what else failed.
    pub fn to_reply(&self) -> ErrorReply {
        let mut details: Vec<String> = self.remedy.iter().map(|r| Excerpt(r).to_string()).collect();
        details.extend(self.also.iter().take(MAX_ALSO).map(|other| format!("also: {other}")));
        let untold = self.also.len().saturating_sub(MAX_ALSO);
        details.extend((untold > 0).then(|| format!("and {untold} more")));
        ErrorReply { code: self.kind.code(), msg: self.to_string(), details: details.join("; ") }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Excerpt(&self.what))?;
        let mut next = self.cause.as_deref().map(|c| c as &dyn Error);
        while let Some(cause) = next {
            write!(f, ": {}", Excerpt(&cause.to_string()))?;
            next = cause.source();
        }
        Ok(())
    }
}

/// A part of what is told of a failure, bounded: its beginning and its end, for it may quote what a stranger wrote.
struct Excerpt<'a>(&'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        if text.len() <= MAX_PART {
            return f.write_str(text);
        }
        let boundary = |from: usize| (from..text.len()).find(|at| text.is_char_boundary(*at));
        let (head, rest) = text.split_at(boundary(MAX_PART / 2).unwrap_or(0));
        let tail = boundary(text.len() - MAX_PART / 4).and_then(|at| text.get(at..)).unwrap_or_default();
        write!(f, "{head} ({} bytes left out) {tail}", rest.len() - tail.len())
    }
}

// `Display` already prints the chain of causes, so `source` stays silent: a reporter would print it twice.
impl Error for Fault {}

/// A link in the chain of causes.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct Because {
    what: String,
    #[source]
    cause: Box<dyn Error + Send + Sync>,
}

/// The error object a plugin prints (CNI specification 1.1.0, section 5). Without `cniVersion`, as the reference
/// library writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// The CNI error code.
    pub code: u32,
    /// What failed and why.
    #[serde(default)]
    pub msg: String,
    /// What to do, and what else failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_what_why_and_what_to_do() {
        let fault = Fault::new(FaultKind::Absent, "master \"ens5f0\" is not on this node")
            .remedy("fix the network's \"master\" or label the node")
            .while_doing("cannot attach \"net1\"");

        let reply = fault.to_reply();

        assert_eq!(reply.code, 100);
        assert_eq!(reply.msg, "cannot attach \"net1\": master \"ens5f0\" is not on this node");
        assert_eq!(reply.details, "fix the network's \"master\" or label the node");
    }

    #[test]
    fn what_is_confided_is_in_no_answer() {
        let fault = Fault::new(FaultKind::TryLater, "it is taken")
            .confiding("it is held by pod-2")
            .while_doing("cannot attach \"net1\"")
            .recast(FaultKind::Exists);

        assert_eq!(fault.confided(), Some("it is held by pod-2"));
        assert!(!format!("{fault} {} {:?}", fault.advised(), fault.to_reply()).contains("pod-2"));
    }

    #[test]
    fn a_cause_is_printed_once() {
        let io = std::io::Error::from_raw_os_error(2);
        let fault =
            Fault::new(FaultKind::Io, "cannot read \"/x\"").because(io).while_doing("cannot detach \"net1\"");

        assert_eq!(
            fault.to_string(),
            "cannot detach \"net1\": cannot read \"/x\": No such file or directory (os error 2)"
        );
    }

    #[test]
    fn what_a_stranger_wrote_is_not_repeated_at_length() {
        let name = format!("<{}>", "ü".repeat(1 << 20));
        let many = (0..5000).map(|_| Fault::new(FaultKind::Io, "one"));
        let fault = Fault::new(FaultKind::Config, format!("network name {name:?} is not valid"))
            .because(name.clone())
            .along_with(many);

        let reply = fault.to_reply();

        assert!(reply.msg.starts_with("network name \"<üü") && reply.msg.contains("ü>\" is not valid: <ü"));
        assert!(reply.msg.contains(" bytes left out) ") && reply.msg.len() < 2 * MAX_PART);
        assert!(reply.details.ends_with("; and 4968 more"));
    }

    #[test]
    fn what_failed_twice_is_told_once() {
        let read = || Fault::new(FaultKind::Io, "cannot read \"/x\"").remedy("make it readable");
        let reply = read().along_with([read(), Fault::new(FaultKind::Io, "other")]).to_reply();

        assert_eq!(reply.details, "make it readable; also: other");
    }

    #[test]
    fn clean_up_failures_travel_with_the_cause() {
        let first = Fault::new(FaultKind::Kernel, "first").remedy("do this");
        let all = Fault::gather([first, Fault::new(FaultKind::Io, "second")]);

        let reply = all.map(|f| f.to_reply());

        assert_eq!(
            reply,
            Some(ErrorReply { code: 103, msg: "first".into(), details: "do this; also: second".into() })
        );
    }
}
