//! What the cluster tells by itself: calls find in it what they would have to ask for, and running pods whose annotation
//! changes are brought to it.

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel as bounded};
use tokio::time::{Instant, sleep_until};

use super::desk::{Desk, Ended};
use super::live::{self, Pass};
use crate::host::kube::{self, News, Sort};
use crate::model::pod::PodName;

/// Most news that wait; who tells them waits with more.
const WAITING: usize = 256;
/// Most pods changed in one turn, so that calls that come meanwhile get theirs.
const MOST: usize = 16;
/// The first pause before a change that failed is tried again; then it doubles, up to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// Pods to look at.
type Due = BTreeMap<PodName, Turn>;

/// When it is a pod's turn.
#[derive(Debug, Clone, Copy)]
struct Turn {
    at: Instant,
    /// The pause before, if this is not the first try.
    pause: Option<Duration>,
}

pub(super) fn channel() -> (Sender<News>, Receiver<News>) {
    bounded(WAITING)
}

/// Starts listening, where there is a cluster.
pub(super) fn start(desk: &Arc<Desk>, news: Receiver<News>) {
    let Some(shared) = &desk.cluster else { return };
    let (trunk, watched) = (Arc::clone(&shared.trunk), Arc::clone(&shared.watched));
    drop(tokio::spawn(kube::watch_networks(trunk, watched, shared.ear.clone())));
    match node(desk) {
        None => {
            tracing::info!("the node's name is not known: pods are asked for one by one, and not changed")
        }
        Some(node) => {
            let (trunk, watched) = (Arc::clone(&shared.trunk), Arc::clone(&shared.watched));
            drop(tokio::spawn(kube::watch_pods(trunk, node, watched, shared.ear.clone())));
        }
    }
    drop(tokio::spawn(mind(Arc::clone(desk), news)));
}

/// The name of this node: of the configuration, else as the peer's manifests hand it over.
#[allow(clippy::disallowed_methods, reason = "doors read the environment")]
pub(super) fn node(desk: &Desk) -> Option<String> {
    let given = || env::var("MULTUS_NODE_NAME").ok().filter(|name| !name.is_empty());
    desk.settings.node.clone().or_else(given)
}

/// Minds what comes, for as long as anybody is let in.
async fn mind(desk: Arc<Desk>, mut news: Receiver<News>) {
    let mut due = Due::new();
    loop {
        let next = due.values().map(|turn| turn.at).min();
        tokio::select! {
            told = news.recv() => match told {
                Some(told) => hear(&desk, told, &mut due),
                None => return,
            },
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
        while let Ok(told) = news.try_recv() {
            hear(&desk, told, &mut due);
        }
        let now = Instant::now();
        let ready = due.iter().filter(|(_, turn)| turn.at <= now).take(MOST);
        let ready: Vec<(PodName, Turn)> = ready.map(|(pod, turn)| (pod.clone(), *turn)).collect();
        if ready.is_empty() {
            continue;
        }
        due.retain(|pod, _| !ready.iter().any(|(taken, _)| taken == pod));
        let names: Vec<PodName> = ready.iter().map(|(pod, _)| pod.clone()).collect();
        let Ended::Done(passes) = desk.serve(move |desk| live::bring(desk, &names)).await else { return };
        for ((pod, turn), pass) in ready.into_iter().zip(passes) {
            if pass == Pass::Again {
                let pause = turn.pause.map_or(PAUSES.0, |pause| (pause * 2).min(PAUSES.1));
                // What was heard meanwhile comes first.
                due.entry(pod).or_insert(Turn { at: Instant::now() + pause, pause: Some(pause) });
            }
        }
    }
}

fn hear(desk: &Desk, news: News, due: &mut Due) {
    let said = |sort| match sort {
        Sort::Pods => "pods of this node",
        Sort::Networks => "networks",
    };
    match news {
        News::Complete(sort) => {
            let count = desk.cluster.as_ref().map(|shared| shared.watched.count()).unwrap_or_default();
            let known = if sort == Sort::Pods { count.0 } else { count.1 };
            tracing::info!(known, "hearing of {}", said(sort));
        }
        News::Trouble(_, fault) => tracing::warn!("{fault}"),
        News::Selects(pod) if desk.settings.live => {
            due.insert(pod, Turn { at: Instant::now(), pause: None });
        }
        News::Selects(_) => {}
    }
}
