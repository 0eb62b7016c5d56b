//! What the API server keeps telling: the pods of this node and the network definitions, trimmed to what Manifold reads
//! of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
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
/// Most bytes of texts that are kept of all objects of one sort. Who may make network definitions is not to decide how
/// much memory every node needs.
const MOST_BYTES: usize = 8 << 20;

/// What is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sort {
    /// The pods of this node.
    Pods,
    /// The network definitions.
    Networks,
}

/// What was told so far.
///
/// # Guarantees
/// It only answers for what it was told. That it knows nothing of an object means nothing.
#[derive(Debug, Default)]
pub struct Watched {
    pods: Mutex<Store<Pod>>,
    definitions: Mutex<Store<Definition>>,
    /// Whether nothing is heard of them: what is known may be old.
    silent_pods: AtomicBool,
    silent_definitions: AtomicBool,
}

/// Objects by namespace and name.
#[derive(Debug)]
struct Objects<T> {
    all: BTreeMap<(String, String), T>,
    bytes: usize,
}

/// Objects of one sort.
#[derive(Debug)]
struct Store<T> {
    known: Objects<T>,
    /// What came of a new list so far.
    coming: Option<Objects<T>>,
    /// Pods that the list tells something new of.
    news: Vec<PodName>,
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Self { all: BTreeMap::new(), bytes: 0 }
    }
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self { known: Objects::default(), coming: None, news: Vec::new() }
    }
}

/// How much memory an object takes, more or less.
trait Weight {
    /// Most bytes of texts that are kept of one object.
    const MOST_OF_ONE: usize;

    fn bytes(&self) -> usize;
}

impl Weight for Pod {
    /// The API server lets all annotations of an object be no longer: of a pod that is not kept, nobody hears that it is to
    /// change.
    const MOST_OF_ONE: usize = 256 << 10;

    fn bytes(&self) -> usize {
        self.annotations.values().map(String::len).sum()
    }
}

impl Weight for Definition {
    const MOST_OF_ONE: usize = 64 << 10;

    fn bytes(&self) -> usize {
        self.config.len() + self.annotations.values().map(String::len).sum::<usize>()
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
        let pod = store.known.all.get(&(name.namespace.clone(), name.name.clone()))?;
        (name.uid.is_none() || name.uid == pod.name.uid || pod.is_static()).then(|| pod.clone())
    }

    /// The network definition of this name.
    pub(super) fn definition(&self, namespace: &str, name: &str) -> Option<Definition> {
        let store = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        store.known.all.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Whether what is known of a sort may be old, because nothing is heard.
    pub(super) fn is_old(&self, sort: Sort) -> bool {
        self.silent(sort).load(Ordering::Relaxed)
    }

    /// Notes whether anything is heard of a sort.
    pub(super) fn is_heard(&self, sort: Sort, heard: bool) {
        self.silent(sort).store(!heard, Ordering::Relaxed);
    }

    fn silent(&self, sort: Sort) -> &AtomicBool {
        match sort {
            Sort::Pods => &self.silent_pods,
            Sort::Networks => &self.silent_definitions,
        }
    }

    /// How many pods and how many network definitions are known.
    pub fn count(&self) -> (usize, usize) {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let definitions = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        (pods.known.all.len(), definitions.known.all.len())
    }

    /// Takes up a pod. Answers with its name if what it selects is not what was known. What a list tells is told when it
    /// is complete: a pod that is told for the first time by one may have changed while nobody listened.
    pub(super) fn take_pod(&self, mut pod: Pod, turn: Turn) -> Option<PodName> {
        keep(&mut pod.annotations, &OF_PODS);
        let mut store = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (pod.name.namespace.clone(), pod.name.name.clone());
        let same = |before: &Pod| {
            before.name.uid == pod.name.uid
                && before.annotations.get(NETWORKS) == pod.annotations.get(NETWORKS)
        };
        let is_news = match (store.known.all.get(&key), turn) {
            (_, Turn::Gone) => false,
            (Some(before), Turn::Listed | Turn::Changed) => !same(before),
            (None, turn) => turn == Turn::Listed,
        };
        let news = is_news.then(|| pod.name.clone());
        store.take(key, pod, turn);
        if turn != Turn::Listed {
            return news;
        }
        store.news.extend(news);
        None
    }

    pub(super) fn take_definition(&self, mut definition: Definition, turn: Turn) {
        keep(&mut definition.annotations, &OF_DEFINITIONS);
        let key = (definition.namespace.clone(), definition.name.clone());
        self.definitions.lock().unwrap_or_else(PoisonError::into_inner).take(key, definition, turn);
    }

    /// A list of all pods begins (`false`) or is complete. Answers with the pods that it tells something new of.
    pub(super) fn list_of_pods(&self, complete: bool) -> Vec<PodName> {
        let mut store = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        store.list(complete);
        std::mem::take(&mut store.news)
    }

    /// A list of all network definitions begins (`false`) or is complete.
    pub(super) fn list_of_definitions(&self, complete: bool) {
        self.definitions.lock().unwrap_or_else(PoisonError::into_inner).list(complete);
    }
}

impl<T: Weight> Objects<T> {
    fn remove(&mut self, key: &(String, String)) {
        if let Some(old) = self.all.remove(key) {
            self.bytes = self.bytes.saturating_sub(old.bytes());
        }
    }

    /// Keeps an object, if there is room for it.
    fn put(&mut self, key: (String, String), object: T) {
        self.remove(&key);
        let bytes = object.bytes();
        if self.all.len() < MOST && bytes <= T::MOST_OF_ONE && self.bytes + bytes <= MOST_BYTES {
            self.bytes += bytes;
            self.all.insert(key, object);
        }
    }
}

impl<T: Weight> Store<T> {
    fn list(&mut self, complete: bool) {
        match complete {
            false => self.coming = Some(Objects::default()),
            true => self.known = self.coming.take().unwrap_or_default(),
        }
    }

    fn take(&mut self, key: (String, String), object: T, turn: Turn) {
        let objects = match (turn, &mut self.coming) {
            (Turn::Listed, Some(coming)) => coming,
            (Turn::Listed | Turn::Changed | Turn::Gone, _) => &mut self.known,
        };
        match turn {
            Turn::Gone => objects.remove(&key),
            Turn::Listed | Turn::Changed => objects.put(key, object),
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
    fn what_a_pod_with_many_interfaces_selects_is_news_too() {
        let watched = Watched::default();
        let changed = |networks: &str| {
            let mut pod = pod("p", "u", networks);
            pod.annotations.insert(NETWORK_STATUS.to_owned(), "x".repeat(200 << 10));
            watched.take_pod(pod, Turn::Changed)
        };

        assert_eq!(changed("a"), None);
        assert_eq!(changed("a,b"), Some(named(Some("u"))));
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
        watched.take_pod(pod("p", "u", "a"), Turn::Listed);
        watched.take_pod(pod("new", "n", "a"), Turn::Listed);
        assert_eq!(watched.count().0, 2, "the old ones, until the list is complete");
        let news: Vec<String> = watched.list_of_pods(true).into_iter().map(|pod| pod.name).collect();
        assert_eq!(news, ["new"], "the other was known, and is the same");

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

    #[test]
    fn big_definitions_do_not_fill_the_memory() {
        let watched = Watched::default();
        let definition = |n: usize, bytes: usize| Definition {
            namespace: "ns".into(),
            name: format!("n{n}"),
            config: "x".repeat(bytes),
            annotations: BTreeMap::new(),
        };

        watched.take_definition(definition(0, 100), Turn::Changed);
        watched.take_definition(definition(0, Definition::MOST_OF_ONE + 1), Turn::Changed);
        assert_eq!(watched.definition("ns", "n0"), None, "not the new one, and not the old one in its place");
        (0..200).for_each(|n| watched.take_definition(definition(n, Definition::MOST_OF_ONE), Turn::Changed));
        assert_eq!(watched.count().1, MOST_BYTES / Definition::MOST_OF_ONE);
        (0..200).for_each(|n| watched.take_definition(definition(n, 0), Turn::Gone));
        watched.take_definition(definition(300, Definition::MOST_OF_ONE), Turn::Changed);
        assert_eq!(watched.count().1, 1, "there is room again");
    }
}
