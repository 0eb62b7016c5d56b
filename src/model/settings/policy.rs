//! Which pods may use which networks.

use serde::Deserialize;

use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::object::Object;

/// Which pods may use which networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Whether a pod may only select networks of its own namespace; key `namespaceIsolation`.
    pub isolation: bool,
    /// Namespaces whose networks every pod may select all the same; key `globalNamespaces`, separated by commas.
    pub global: Vec<String>,
    /// Namespaces whose pods get no `defaultNetworks`; key `systemNamespaces`.
    pub system: Vec<String>,
    /// The namespace of networks that the configuration names; key `multusNamespace`.
    pub own: String,
}

impl Default for Policy {
    fn default() -> Self {
        let system = "kube-system".to_owned();
        Self {
            isolation: false,
            global: vec!["default".to_owned()],
            system: vec![system.clone()],
            own: system,
        }
    }
}

#[derive(Deserialize)]
struct Keys {
    #[serde(default)]
    namespaceisolation: bool,
    globalnamespaces: Option<String>,
    systemnamespaces: Option<Vec<String>>,
    multusnamespace: Option<String>,
}

impl Policy {
    /// Reads the policy.
    ///
    /// # Errors
    /// A value of the wrong type.
    pub fn read(object: &Object) -> Outcome<Self> {
        let keys: Keys = object.decode("Manifold's configuration")?;
        let standard = Self::default();
        let listed =
            |text: String| text.split(',').map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect();
        Ok(Self {
            isolation: keys.namespaceisolation,
            global: keys.globalnamespaces.filter(|text| !text.is_empty()).map_or(standard.global, listed),
            system: keys.systemnamespaces.filter(|list| !list.is_empty()).unwrap_or(standard.system),
            own: keys.multusnamespace.filter(|n| !n.is_empty()).unwrap_or(standard.own),
        })
    }

    /// Whether a pod of namespace `pod` may select a network of namespace `network`.
    ///
    /// # Errors
    /// It may not.
    pub fn permit(&self, pod: &str, network: &str) -> Outcome<()> {
        if !self.isolation || pod == network || self.global.iter().any(|n| n == network) {
            return Ok(());
        }
        let what = format!(
            "namespace isolation enabled, annotation violates permission, pod is in namespace {pod} but refers to target namespace {network}"
        );
        Err(Fault::new(FaultKind::Config, what)
            .remedy("select a network of the pod's own namespace, or add the other to \"globalNamespaces\""))
    }

    /// Whether a pod of namespace `pod` may have a network of namespace `network` in place of its default network: the
    /// namespace of the node's own networks is everybody's there.
    ///
    /// # Errors
    /// It may not.
    pub fn permit_default(&self, pod: &str, network: &str) -> Outcome<()> {
        if network == self.own { Ok(()) } else { self.permit(pod, network) }
    }

    /// Whether pods of a namespace get the default networks beside the first.
    pub fn gets_default_networks(&self, pod: &str) -> bool {
        !self.system.iter().any(|n| n == pod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Policy {
        Policy::read(&Object::parse(text.as_bytes(), "the test").unwrap()).unwrap()
    }

    #[test]
    fn isolation_allows_the_own_and_the_global_namespaces() {
        let isolated = policy(r#"{"namespaceIsolation":true}"#);
        assert!(isolated.permit("red", "red").is_ok() && isolated.permit("red", "default").is_ok());
        let fault = isolated.permit("red", "blue").unwrap_err();
        assert!(fault.to_string().starts_with("namespace isolation enabled, annotation violates permission"));

        let global = policy(r#"{"NamespaceIsolation":true,"globalNamespaces":" blue , green"}"#);
        assert!(global.permit("red", "blue").is_ok());
        assert!(global.permit("red", "default").is_err(), "a list replaces the standard one");
        assert!(policy("{}").permit("red", "blue").is_ok());
    }

    #[test]
    fn isolation_allows_a_default_network_of_the_nodes_own_namespace_as_well() {
        let isolated = policy(r#"{"namespaceIsolation":true,"multusNamespace":"infra"}"#);
        for allowed in ["infra", "red", "default"] {
            assert!(isolated.permit_default("red", allowed).is_ok(), "{allowed}");
        }
        assert!(isolated.permit_default("red", "blue").is_err() && isolated.permit("red", "infra").is_err());
    }

    #[test]
    fn system_namespaces_get_no_default_networks() {
        assert!(!policy("{}").gets_default_networks("kube-system"));
        let other = policy(r#"{"systemNamespaces":["infra"]}"#);
        assert!(other.gets_default_networks("kube-system") && !other.gets_default_networks("infra"));
    }
}
