//! Listening to the API server: the pods of this node, metadata alone, and the network definitions. Lists, bookmarks,
//! expired versions and the pauses after failures are the library's (`kube::runtime::watcher`).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1;
use kube::api::{ApiResource, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use tokio::sync::mpsc::Sender;

use super::line::Wire;
use super::trunk::Trunk;
use super::watched::{Sort, Turn, Watched};
use crate::model::FaultKind;
use crate::model::fault::Fault;
use crate::model::pod::{Definition, Pod, PodName};

/// Pods asked for at a time.
const PAGE: u32 = 200;
/// Network definitions asked for at a time: each may be as big as the API server lets an object be, 1.5 MiB.
const PAGE_OF_DEFINITIONS: u32 = 10;
/// The pause before what says how to reach the API server is read again.
const PAUSE: Duration = Duration::from_secs(5);

/// What whoever started listening is told.
#[derive(Debug)]
pub enum News {
    /// All there is is known; of pods, these select other networks than before, or may do so.
    Complete(Sort, Vec<PodName>),
    /// Nothing is heard any more; it is tried again and again.
    Trouble(Sort, Fault),
    /// A pod selects other networks than before, or may do so.
    Selects(PodName),
}

/// Listens to the pods of a node, for as long as anybody cares to hear.
pub async fn pods(trunk: Arc<Trunk>, node: String, watched: Arc<Watched>, ear: Sender<News>) {
    let config = watcher::Config::default().fields(&format!("spec.nodeName={node}")).page_size(PAGE);
    let take = |event: Event<PartialObjectMeta<v1::Pod>>| {
        let (turn, object) = match event {
            Event::Init => {
                watched.list_of_pods(false);
                return None;
            }
            Event::InitDone => {
                return Some(News::Complete(Sort::Pods, watched.list_of_pods(true)));
            }
            Event::InitApply(object) => (Turn::Listed, object),
            Event::Apply(object) => (Turn::Changed, object),
            Event::Delete(object) => (Turn::Gone, object),
        };
        watched.take_pod(pod(object), turn).map(News::Selects)
    };
    let start =
        |client: Client| watcher::watcher(Api::<PartialObjectMeta<v1::Pod>>::all(client), config.clone());
    Listener { trunk, sort: Sort::Pods, watched: &watched, ear }.listen(start, take).await;
}

/// Listens to the network definitions, for as long as anybody cares to hear.
pub async fn networks(trunk: Arc<Trunk>, watched: Arc<Watched>, ear: Sender<News>) {
    let kind = ApiResource {
        group: "k8s.cni.cncf.io".into(),
        version: "v1".into(),
        api_version: "k8s.cni.cncf.io/v1".into(),
        kind: "NetworkAttachmentDefinition".into(),
        plural: "network-attachment-definitions".into(),
    };
    let take = |event: Event<DynamicObject>| {
        let (turn, object) = match event {
            Event::Init => {
                watched.list_of_definitions(false);
                return None;
            }
            Event::InitDone => {
                watched.list_of_definitions(true);
                return Some(News::Complete(Sort::Networks, Vec::new()));
            }
            Event::InitApply(object) => (Turn::Listed, object),
            Event::Apply(object) => (Turn::Changed, object),
            Event::Delete(object) => (Turn::Gone, object),
        };
        watched.take_definition(definition(object), turn);
        None
    };
    let config = watcher::Config::default().page_size(PAGE_OF_DEFINITIONS);
    let start =
        |client: Client| watcher::watcher(Api::<DynamicObject>::all_with(client, &kind), config.clone());
    Listener { trunk, sort: Sort::Networks, watched: &watched, ear }.listen(start, take).await;
}

/// Who listens to one sort of objects.
struct Listener<'a> {
    trunk: Arc<Trunk>,
    sort: Sort,
    watched: &'a Watched,
    /// The channel to whoever minds what is heard.
    ear: Sender<News>,
}

impl Listener<'_> {
    /// Takes what comes, and begins anew where the way to the server is another by now.
    async fn listen<T, S>(&self, start: impl Fn(Client) -> S, take: impl Fn(Event<T>) -> Option<News>)
    where
        S: Stream<Item = watcher::Result<Event<T>>>,
    {
        let mut said = None;
        while !self.ear.is_closed() {
            match self.trunk.wire() {
                Ok(wire) => {
                    said = None;
                    self.hear(&wire, start(wire.client()).default_backoff(), &take).await;
                }
                Err(fault) => {
                    self.complain(fault, &mut said).await;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Tells of a fault, unless that was the last thing said.
    async fn complain(&self, fault: Fault, said: &mut Option<String>) {
        let text = fault.to_string();
        if said.replace(text.clone()) != Some(text) {
            self.tell(News::Trouble(self.sort, fault)).await;
        }
    }

    async fn hear<T>(
        &self,
        wire: &Arc<Wire>,
        events: impl Stream<Item = watcher::Result<Event<T>>>,
        take: impl Fn(Event<T>) -> Option<News>,
    ) {
        let mut events = pin!(events);
        let mut failures = 0_u32;
        while let Some(event) = events.next().await {
            let news = match event {
                Ok(event) => {
                    failures = 0;
                    self.watched.is_heard(self.sort, true);
                    take(event)
                }
                Err(cause) => {
                    failures = failures.saturating_add(1);
                    // One failure is a connection that has to be made anew.
                    self.watched.is_heard(self.sort, failures == 1);
                    // Once for each time of silence.
                    (failures == 1)
                        .then(|| News::Trouble(self.sort, unheard(self.sort, wire.server(), &cause)))
                }
            };
            if let Some(news) = news {
                self.tell(news).await;
            }
            if failures > 0 && !self.trunk.is_now(wire) {
                return;
            }
        }
    }

    async fn tell(&self, news: News) {
        // An error says that whoever started this is gone; so will this be.
        self.ear.send(news).await.unwrap_or_default();
    }
}

fn unheard(sort: Sort, server: &str, cause: &watcher::Error) -> Fault {
    let what = match sort {
        Sort::Pods => "pods",
        Sort::Networks => "network definitions",
    };
    Fault::new(FaultKind::Io, format!("cannot watch {what} at API server {server:?}"))
        .because(cause.to_string())
        .remedy("let the account list and watch them; until then they are asked for one by one")
}

fn pod(object: PartialObjectMeta<v1::Pod>) -> Pod {
    let metadata = object.metadata;
    let name = PodName {
        namespace: metadata.namespace.unwrap_or_default(),
        name: metadata.name.unwrap_or_default(),
        uid: metadata.uid,
    };
    Pod { name, annotations: metadata.annotations.unwrap_or_default() }
}

fn definition(object: DynamicObject) -> Definition {
    let config = object.data.pointer("/spec/config").and_then(Value::as_str).unwrap_or_default();
    Definition {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        config: config.to_owned(),
        annotations: object.metadata.annotations.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_definition_without_a_configuration_is_one() {
        let object: DynamicObject =
            serde_json::from_value(json!({"metadata": {"namespace": "ns", "name": "n"}})).unwrap();

        let read = definition(object);

        assert_eq!((read.namespace.as_str(), read.name.as_str(), read.config.as_str()), ("ns", "n", ""));
    }

    #[test]
    fn silence_is_told_with_what_is_not_heard_and_of_whom() {
        let text = unheard(Sort::Networks, "https://x", &watcher::Error::NoResourceVersion).to_string();

        assert!(text.starts_with("cannot watch network definitions at API server \"https://x\""), "{text}");
    }
}
