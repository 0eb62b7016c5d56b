//! What is told of each try of a request to the API server: for those who count.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::failure::Failure;
use super::line::{Answer, Ask};

/// One try of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// What was asked, in the words of Kubernetes: `get`, `list`, `create`, `update`, `patch`.
    pub verb: &'static str,
    /// Of what: `pods`, `pods/status`.
    pub resource: String,
    /// How it ended.
    pub ended: Ended,
    /// How long it took.
    pub took: Duration,
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With an answer of this code.
    Answered(u16),
    /// There was none in time.
    Late,
    /// The connection could not be made, or broke off.
    Broken,
    /// It could not be asked: no trust, no token, an answer that is too long.
    Impossible,
}

/// Who is told of each try.
pub type Teller = Arc<dyn Fn(Tried) + Send + Sync>;

impl Tried {
    /// A try that ended like this; outside is whether it ended in time.
    pub(super) fn of<T>(ask: &Ask, ended: &Result<Result<Answer, Failure>, T>, took: Duration) -> Self {
        let (resource, named) = resource(&ask.path);
        let ended = match ended {
            Ok(Ok(answer)) => Ended::Answered(answer.code),
            Ok(Err(Failure::Passing(_))) => Ended::Broken,
            Ok(Err(Failure::Lasting(_))) => Ended::Impossible,
            Err(_) => Ended::Late,
        };
        Self { verb: verb(&ask.method, named), resource, ended, took }
    }
}

fn verb(method: &Method, named: bool) -> &'static str {
    match (method.as_str(), named) {
        ("GET", true) => "get",
        ("GET", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        (_, _) => "other",
    }
}

/// The resource that a path stands for, and whether it names one object of it: without the group, the namespace and the
/// name, of which there is no end.
fn resource(path: &str) -> (String, bool) {
    let path = path.split('?').next().unwrap_or_default().trim_start_matches('/');
    let parts: Vec<&str> = path.split('/').collect();
    let beneath = match parts.as_slice() {
        ["api", _, beneath @ ..] | ["apis", _, _, beneath @ ..] => beneath,
        other => other,
    };
    match beneath {
        ["namespaces", _, kind, _, sub] => (format!("{kind}/{sub}"), true),
        ["namespaces", _, kind, rest @ ..] | [kind, rest @ ..] => ((*kind).to_owned(), !rest.is_empty()),
        [] => (String::new(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_by_its_resource() {
        for (path, known) in [
            ("/api/v1/namespaces/shop/pods/till", ("pods", true)),
            ("/api/v1/namespaces/shop/pods/till/status", ("pods/status", true)),
            ("/api/v1/namespaces/shop/events", ("events", false)),
            (
                "/apis/k8s.cni.cncf.io/v1/namespaces/a/network-attachment-definitions/b",
                ("network-attachment-definitions", true),
            ),
            ("/apis/resource.k8s.io/v1/resourceslices?fieldSelector=a/b", ("resourceslices", false)),
        ] {
            let (resource, named) = resource(path);
            assert_eq!((resource.as_str(), named), known, "{path}");
        }
    }

    #[test]
    fn a_method_is_a_verb_of_kubernetes() {
        let verbs = [(Method::GET, true), (Method::GET, false), (Method::POST, false), (Method::PATCH, true)];
        assert_eq!(verbs.map(|(method, named)| verb(&method, named)), ["get", "list", "create", "patch"]);
    }
}
