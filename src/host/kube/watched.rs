//! What the API server keeps telling: the pods of this node and the network definitions, trimmed to what Manifold reads
//! of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::model::pod::{
    CONFIG_SOURCE, DEFAULT_NETWORK, Definition, NETWORK_STATUS, NETWORKS, Pod, PodName, RESOURCE_NAME,
};

/// Annotations of pods that are kept.
const OF_PODS: [&str; 4] = [NETWORKS, NETWORK_STATUS, DEFAULT_NETWORK, CONFIG_SOURCE];
/// Annotations of network definitions that are kept.
const OF_DEFINITIONS: [&str; 1] = [RESOURCE_NAME];
/// Most objects of one sort that are kept; what is not kept is asked for when it is needed.
const MOST: usize = 1 << 14;

/// What was told so far.
///
/// # Guarantees
/// It only answers for what it was told. That it knows nothing of an object means nothing.
#[derive(Debug, Default)]
pub struct Watched {
    pods: Mutex<Store<Pod>>,
    definitions: Mutex<Store<Definition>>,
}

/// Objects by namespace and name.
type Objects<T> = BTreeMap<(String, String), T>;

/// Objects of one sort.
#[derive(Debug)]
struct Store<T> {
    known: Objects<T>,
    /// What came of a new list so far.
    coming: Option<Objects<T>>,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self { known: BTreeMap::new(), coming: None }
    }
}

/// What becomes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is there, as a list of all tells.
    Listed,
    /// It came or changed.
    Changed,
    /// It is gone.
    Gone,
}

impl Watched {
    /// The pod of this name, if it is the one of this UID.
    pub fn pod(&self, name: &PodName) -> Option<Pod> {
        let store = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let pod = store.known.get(&(name.namespace.clone(), name.name.clone()))?;
        (name.uid.is_none() || name.uid == pod.name.uid || pod.is_static()).then(|| pod.clone())
    }

    /// The network definition of this name.
    pub(super) fn definition(&self, namespace: &str, name: &str) -> Option<Definition> {
        let store = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        store.known.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// How many pods and how many network definitions are known.
    pub fn count(&self) -> (usize, usize) {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let definitions = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        (pods.known.len(), definitions.known.len())
    }

    /// Takes up a pod. Answers with its name if what it selects is not what was known, or is told for the first time by
    /// a list: it may have changed while nobody listened.
    pub(super) fn take_pod(&self, mut pod: Pod, turn: Turn) -> Option<PodName> {
        keep(&mut pod.annotations, &OF_PODS);
        let mut store = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (pod.name.namespace.clone(), pod.name.name.clone());
        let same = |before: &Pod| {
            before.name.uid == pod.name.uid
                && before.annotations.get(NETWORKS) == pod.annotations.get(NETWORKS)
        };
        let is_news = match (store.known.get(&key), turn) {
            (_, Turn::Gone) => false,
            (Some(before), Turn::Listed | Turn::Changed) => !same(before),
            (None, turn) => turn == Turn::Listed,
        };
        let news = is_news.then(|| pod.name.clone());
        store.take(key, pod, turn);
        news
    }

    pub(super) fn take_definition(&self, mut definition: Definition, turn: Turn) {
        keep(&mut definition.annotations, &OF_DEFINITIONS);
        let key = (definition.namespace.clone(), definition.name.clone());
        self.definitions.lock().unwrap_or_else(PoisonError::into_inner).take(key, definition, turn);
    }

    /// A list of all pods begins (`false`) or is complete.
    pub(super) fn list_of_pods(&self, complete: bool) {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner).list(complete);
    }

    /// A list of all network definitions begins (`false`) or is complete.
    pub(super) fn list_of_definitions(&self, complete: bool) {
        self.definitions.lock().unwrap_or_else(PoisonError::into_inner).list(complete);
    }
}

impl<T> Store<T> {
    fn list(&mut self, complete: bool) {
        match complete {
            false => self.coming = Some(BTreeMap::new()),
            true => self.known = self.coming.take().unwrap_or_default(),
        }
    }

    fn take(&mut self, key: (String, String), object: T, turn: Turn) {
        let objects = match (turn, &mut self.coming) {
            (Turn::Listed, Some(coming)) => coming,
            (Turn::Listed | Turn::Changed | Turn::Gone, _) => &mut self.known,
        };
        if turn == Turn::Gone || (objects.len() >= MOST && !objects.contains_key(&key)) {
            objects.remove(&key);
        } else {
            objects.insert(key, object);
        }
    }
}

fn keep(annotations: &mut BTreeMap<String, String>, wanted: &[&str]) {
    annotations.retain(|key, _| wanted.contains(&key.as_str()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, uid: &str, networks: &str) -> Pod {
        Pod {
            name: PodName { namespace: "ns".into(), name: name.into(), uid: Some(uid.into()) },
            annotations: [(NETWORKS.to_owned(), networks.to_owned()), ("other".into(), "x".into())].into(),
        }
    }

    fn named(uid: Option<&str>) -> PodName {
        PodName { namespace: "ns".into(), name: "p".into(), uid: uid.map(Into::into) }
    }

    #[test]
    fn a_pod_is_known_by_its_uid_and_without_what_nobody_reads() {
        let watched = Watched::default();

        assert_eq!(watched.take_pod(pod("p", "u", "a"), Turn::Changed), None, "a new pod is the runtime's");

        let known = watched.pod(&named(Some("u"))).unwrap();
        assert_eq!(known.annotations.keys().collect::<Vec<_>>(), [NETWORKS]);
        assert_eq!(watched.pod(&named(None)), Some(known));
        assert_eq!(watched.pod(&named(Some("of-its-successor"))), None);
    }

    #[test]
    fn only_what_a_pod_selects_is_news_of_it() {
        let watched = Watched::default();
        watched.take_pod(pod("p", "u", "a"), Turn::Changed);

        assert_eq!(watched.take_pod(pod("p", "u", "a"), Turn::Changed), None);
        assert_eq!(watched.take_pod(pod("p", "u", "a,b"), Turn::Changed), Some(named(Some("u"))));
        assert_eq!(watched.take_pod(pod("p", "v", "a,b"), Turn::Changed), Some(named(Some("v"))));
        assert_eq!(watched.take_pod(pod("p", "v", ""), Turn::Gone), None);
        assert_eq!(watched.pod(&named(None)), None);
    }

    #[test]
    fn a_new_list_takes_the_place_of_what_was_known_when_it_is_complete() {
        let watched = Watched::default();
        watched.take_pod(pod("gone-since", "1", "a"), Turn::Changed);
        watched.take_pod(pod("p", "u", "a"), Turn::Changed);

        watched.list_of_pods(false);
        assert_eq!(watched.take_pod(pod("p", "u", "a"), Turn::Listed), None, "it was known, and is the same");
        assert!(watched.take_pod(pod("new", "n", "a"), Turn::Listed).is_some());
        assert_eq!(watched.count().0, 2, "the old ones, until the list is complete");
        watched.list_of_pods(true);

        let gone = PodName { name: "gone-since".into(), ..named(None) };
        assert_eq!((watched.count().0, watched.pod(&gone)), (2, None));
    }

    #[test]
    fn more_than_can_be_kept_is_left_to_be_asked_for() {
        let watched = Watched::default();
        let definition = |n: usize| Definition {
            namespace: "ns".into(),
            name: format!("n{n}"),
            config: "{}".into(),
            annotations: BTreeMap::new(),
        };
        (0..=MOST).for_each(|n| watched.take_definition(definition(n), Turn::Changed));

        assert_eq!(watched.count().1, MOST);
        assert_eq!(watched.definition("ns", &format!("n{MOST}")), None);
    }
}
