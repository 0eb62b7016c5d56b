//! What an account may do: the API server is asked, as `kubectl auth can-i` does (SelfSubjectAccessReview of
//! `authorization.k8s.io/v1`). Nothing is changed.

use serde::Deserialize;
use serde_json::json;

use super::KubeCluster;
use super::line::Ask;
use crate::model::fault::Outcome;

/// Where reviews are made.
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
/// Where the cluster tells that it knows network definitions.
const DEFINITIONS: &str = "/apis/k8s.cni.cncf.io/v1";

/// Something that may be allowed, in every namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// `get`, `list` and so on.
    pub verb: &'static str,
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The resource, in plural.
    pub resource: &'static str,
    /// A part of it; empty for the whole.
    pub subresource: &'static str,
}

#[derive(Deserialize)]
struct Review {
    status: ReviewStatus,
}

#[derive(Deserialize)]
struct ReviewStatus {
    allowed: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    #[serde(default)]
    git_version: String,
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if self.subresource.is_empty() { Ok(()) } else { write!(f, "/{}", self.subresource) }
    }
}

impl KubeCluster {
    /// The address of the API server.
    pub fn server(&self) -> &str {
        self.line.server()
    }

    /// The version of the API server, `v1.34.1`; empty if it does not say.
    ///
    /// # Errors
    /// It does not answer, or does not know who asks.
    pub fn version(&self) -> Outcome<String> {
        let ask = Ask::get("ask for the version".to_owned(), "/version".to_owned());
        let answer = self.line.ask(&ask)?;
        match answer.code {
            200..=299 => Ok(self.line.decode::<Version>(&ask, &answer)?.git_version),
            _ => Err(self.line.refusal(&ask, &answer)),
        }
    }

    /// Whether the account may do this.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn may(&self, right: &Right) -> Outcome<bool> {
        let Right { verb, group, resource, subresource } = right;
        let attributes =
            json!({"verb": verb, "group": group, "resource": resource, "subresource": subresource});
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        });
        let ask = Ask::post(format!("ask whether the account may {right}"), REVIEWS.to_owned(), &body);
        let answer = self.line.ask(&ask)?;
        match answer.code {
            200..=299 => Ok(self.line.decode::<Review>(&ask, &answer)?.status.allowed),
            _ => Err(self.line.refusal(&ask, &answer)),
        }
    }

    /// Whether the cluster knows what a network definition is.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn knows_definitions(&self) -> Outcome<bool> {
        let ask = Ask::get("look for network definitions".to_owned(), DEFINITIONS.to_owned());
        Ok(self.line.found(&ask)?.is_some())
    }
}
