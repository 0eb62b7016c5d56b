//! Why the API server gave no answer, or refused: what passes by itself, what does not, and what to do about it.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::CertificateError;

use super::line::Answer;
use super::objects::{Status, cut};
use crate::model::FaultKind;
use crate::model::fault::Fault;

/// Longest quotation of the API server's words, in bytes.
const WORDS: usize = 512;

type Cause = Box<dyn Error + Send + Sync>;

/// Why a try failed.
pub(super) enum Failure {
    /// It may pass by itself.
    Passing(Cause),
    /// It will not.
    Lasting(Fault),
}

/// What was attempted: `get pod "default/web"`, and with whom.
#[derive(Clone, Copy)]
pub(super) struct Act<'a> {
    pub(super) what: &'a str,
    pub(super) server: &'a str,
}

impl Act<'_> {
    fn fault(self, kind: FaultKind) -> Fault {
        Fault::new(kind, format!("cannot {} at API server {:?}", self.what, self.server))
    }

    pub(super) fn too_late(self, after: Duration) -> Fault {
        let what = format!(
            "gave up after {:.1} s waiting to {} at API server {:?}",
            after.as_secs_f64(),
            self.what,
            self.server
        );
        Fault::new(FaultKind::TimedOut, what)
            .remedy("look whether the API server runs, and is reached from this node")
    }

    pub(super) fn undecodable(self, cause: &serde_json::Error) -> Fault {
        // The library's words about it may quote the answer.
        self.fault(FaultKind::Decode)
            .because(format!(
                "the answer is not what was asked for (line {}, column {})",
                cause.line(),
                cause.column()
            ))
            .remedy("look at what stands between this node and the API server")
    }

    pub(super) fn unsendable(self, cause: http::Error) -> Fault {
        self.fault(FaultKind::Config).because(cause)
    }

    /// A connection that could not be made, or ended without an answer: it passes, unless it is a matter of trust.
    pub(super) fn broken(self, cause: kube::Error) -> Failure {
        if let Some(tls) = tls_error(&cause) {
            return Failure::Lasting(self.untrusted(tls));
        }
        if let kube::Error::Service(cause) = cause {
            return Failure::Passing(cause);
        }
        if let kube::Error::HyperError(cause) = cause {
            return Failure::Passing(cause.into());
        }
        Failure::Lasting(self.fault(FaultKind::Config).because(cause))
    }

    /// An answer whose body did not come to its end.
    pub(super) fn cut_off(self, cause: Cause) -> Failure {
        if cause.is::<http_body_util::LengthLimitError>() {
            return Failure::Lasting(self.fault(FaultKind::Decode).because(cause));
        }
        Failure::Passing(cause)
    }

    fn untrusted(self, cause: &rustls::Error) -> Fault {
        let what = format!("cannot {} at API server {:?}: no trusted connection", self.what, self.server);
        Fault::new(FaultKind::Cluster, what).because(cause.clone()).remedy(trust(cause))
    }

    pub(super) fn refusal(self, answer: &Answer) -> Fault {
        let remedy = match answer.code {
            401 => "renew the token or the client certificate",
            403 => "let the account do that (RBAC)",
            _ => "look at what the API server says",
        };
        self.fault(FaultKind::Cluster).because(answer.words()).remedy(remedy)
    }
}

/// What to do so that both sides trust each other.
fn trust(cause: &rustls::Error) -> &'static str {
    use CertificateError as Wrong;
    if let rustls::Error::AlertReceived(_) = cause {
        return "renew the client certificate, or let the API server trust its authority";
    }
    let rustls::Error::InvalidCertificate(wrong) = cause else {
        return "look whether an API server listens there";
    };
    if matches!(wrong, Wrong::Expired | Wrong::ExpiredContext { .. }) {
        "renew the API server's certificate, or correct this node's clock"
    } else if matches!(wrong, Wrong::NotValidYet | Wrong::NotValidYetContext { .. }) {
        "correct this node's clock"
    } else if matches!(wrong, Wrong::NotValidForName | Wrong::NotValidForNameContext { .. }) {
        "use an address that the API server's certificate names, or \"tls-server-name\""
    } else {
        "name the authority that signed the API server's certificate"
    }
}

impl Answer {
    /// The code, and what the API server says about it, shortened.
    pub(super) fn words(&self) -> String {
        let status = serde_json::from_slice(&self.body).unwrap_or(Status { message: String::new() });
        match cut(&status.message, WORDS) {
            "" => format!("it answers {}", self.code),
            words => format!("it answers {}: {words:?}", self.code),
        }
    }
}

/// Whether one side does not trust the other.
pub(super) fn is_distrust(cause: &kube::Error) -> bool {
    tls_error(cause).is_some()
}

/// The TLS error that is at the bottom of another. `io::Error` does not show what it holds as its source.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match held {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    None
}
