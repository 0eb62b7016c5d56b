//! What the account may do: the rules of `deployments/manifold-daemon.yaml` and of
//! `deployments/per-node-certificate.yaml`, so that a request they do not allow fails the test that makes it.

use std::sync::LazyLock;

use http::Method;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use serde_json::Value;

use super::Asked;

const MANIFESTS: [&str; 2] = [
    include_str!("../../../deployments/manifold-daemon.yaml"),
    include_str!("../../../deployments/per-node-certificate.yaml"),
];

static RULES: LazyLock<Vec<PolicyRule>> = LazyLock::new(|| {
    let documents = |text: &str| serde_saphyr::from_multiple::<Value>(text).expect("YAML");
    let roles =
        MANIFESTS.into_iter().flat_map(documents).filter(|document| document["kind"] == "ClusterRole");
    let rules = |role| serde_json::from_value::<ClusterRole>(role).expect("a role").rules.expect("rules");
    roles.flat_map(rules).collect()
});

/// Why a request is not allowed, in the API server's words.
pub(super) fn forbidden(asked: &Asked) -> Option<String> {
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    let (group, resource, named) = resource(path)?;
    let verb = match (&asked.method, named) {
        (&Method::GET, _) if query.split('&').any(|word| word == "watch=true" || word == "watch=1") => {
            "watch"
        }
        (&Method::GET, true) => "get",
        (&Method::GET, false) => "list",
        (&Method::POST, _) => "create",
        (&Method::PATCH, _) => "patch",
        (&Method::PUT, _) => "update",
        _ => "other",
    };
    // Every account may ask what it may do.
    if group == "authorization.k8s.io" {
        return None;
    }
    // An account made for Multus may do this instead of "patch".
    let instead = (verb, resource.as_str()) == ("update", "pods/status");
    let has = |list: &[String], word: &str| list.iter().any(|one| one == word);
    let allowed = RULES.iter().any(|rule| {
        has(rule.api_groups.as_deref().unwrap_or_default(), group)
            && has(rule.resources.as_deref().unwrap_or_default(), &resource)
            && has(&rule.verbs, verb)
    });
    (!allowed && !instead).then(|| format!("cannot {verb} resource {resource:?} in API group {group:?}"))
}

/// Group, resource and subresource of a path, and whether it names one object; `None` where no resource is.
fn resource(path: &str) -> Option<(&str, String, bool)> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", "v1", rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        _ => return None,
    };
    let rest = match rest {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        other => other,
    };
    match rest {
        [kind] => Some((group, (*kind).to_owned(), false)),
        [kind, _] => Some((group, (*kind).to_owned(), true)),
        [kind, _, part] => Some((group, format!("{kind}/{part}"), true)),
        _ => None,
    }
}
