//! `CNI_ARGS`: `KEY=value;KEY=value` (deprecated by the specification, used by every runtime).

use std::collections::HashMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::fault::{Fault, FaultKind};

/// The pairs of `CNI_ARGS`, in the order given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CniArgs(Vec<(String, String)>);

impl CniArgs {
    /// The value of a key; keys are matched exactly, as the reference plugins do.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Sets a key, in place or at the end.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        match self.0.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = value.into(),
            None => self.0.push((key.to_owned(), value.into())),
        }
    }

    /// Reads what is `K=V` and passes over the rest: for a DEL, which must not fail for it.
    pub fn what_is_readable(text: &str) -> Self {
        let pairs = text.split(';').filter_map(|part| part.split_once('='));
        Self(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    /// The pairs of a pod in the order plugins are used to, then all others; of several of one key, the last. Runtimes
    /// give them in an order that changes from call to call.
    #[must_use]
    pub fn tidied(&self) -> Self {
        const FIRST: [&str; 5] = [
            "IgnoreUnknown",
            "K8S_POD_NAMESPACE",
            "K8S_POD_NAME",
            "K8S_POD_INFRA_CONTAINER_ID",
            "K8S_POD_UID",
        ];
        let mut last: HashMap<&str, &str> = self.0.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let keys = FIRST.into_iter().chain(self.0.iter().map(|(key, _)| key.as_str()));
        let pairs = keys.filter_map(|key| last.remove_entry(key));
        Self(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    /// The pairs, in order.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

impl FromStr for CniArgs {
    type Err = Fault;

    /// Reads `K=V;K=V`. Empty parts are passed over.
    fn from_str(text: &str) -> Result<Self, Fault> {
        let mut pairs = Vec::new();
        for part in text.split(';').filter(|p| !p.is_empty()) {
            let (key, value) = part.split_once('=').ok_or_else(|| {
                Fault::new(FaultKind::Environment, format!("CNI_ARGS has {part:?}, which is not KEY=value"))
                    .remedy("separate pairs with \";\" and keys from values with \"=\"")
            })?;
            pairs.push((key.to_owned(), value.to_owned()));
        }
        Ok(Self(pairs))
    }
}

impl std::fmt::Display for CniArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, (key, value)) in self.0.iter().enumerate() {
            let mark = if n == 0 { "" } else { ";" };
            write!(f, "{mark}{key}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_read_and_print_alike() {
        let text = "IgnoreUnknown=1;K8S_POD_NAME=p;IP=10.0.0.1/24";
        let args: CniArgs = text.parse().unwrap();

        assert_eq!(args.get("K8S_POD_NAME"), Some("p"));
        assert_eq!(args.get("k8s_pod_name"), None);
        assert_eq!(args.to_string(), text);
    }

    #[test]
    fn arguments_are_tidied() {
        let args: CniArgs = "X=1;K8S_POD_NAME=p;IgnoreUnknown=1;X=2;K8S_POD_NAMESPACE=n".parse().unwrap();
        assert_eq!(args.tidied().to_string(), "IgnoreUnknown=1;K8S_POD_NAMESPACE=n;K8S_POD_NAME=p;X=2");
    }

    #[test]
    fn arguments_by_the_thousands_are_tidied_as_quickly_as_they_are_read() {
        let text = |from: usize| (from..100_000).map(|n| format!("K{n}=;")).collect::<String>();

        let args: CniArgs = format!("{}{}K0=1", text(0), text(50_000)).parse().unwrap();

        assert_eq!((args.pairs().len(), args.tidied().pairs().len()), (150_001, 100_000));
        assert_eq!(args.tidied().get("K0"), Some("1"));
    }

    #[test]
    fn a_word_without_a_value_is_refused() {
        assert_eq!("a;b=c".parse::<CniArgs>().unwrap_err().kind(), FaultKind::Environment);
        assert_eq!(CniArgs::what_is_readable("a;b=c;;d=e=f").to_string(), "b=c;d=e=f");
    }
}
