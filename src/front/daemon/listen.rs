//! What the cluster tells by itself: calls find in it what they would have to ask for, and running pods whose annotation
//! changes are brought to it.

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel as bounded};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::desk::{self, Desk, Ended};
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
    // The pods that are worked on: what is told meanwhile is heard all the same.
    let mut work = JoinSet::new();
    loop {
        if work.is_empty()
            && let Some(ready) = ready(&mut due)
        {
            work.spawn(turn(Arc::clone(&desk), ready));
        }
        let next = due.values().map(|turn| turn.at).min().filter(|_| work.is_empty());
        tokio::select! {
            told = news.recv() => match told {
                Some(told) => hear(&desk, told, &mut due),
                None => return,
            },
            Some(done) = work.join_next() => match done {
                Ok(Some(again)) => again.into_iter().for_each(|(pod, turn)| {
                    // What was heard meanwhile comes first.
                    due.entry(pod).or_insert(turn);
                }),
                Ok(None) | Err(_) => return,
            },
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
    }
}

/// The pods whose turn it is, if there are any.
fn ready(due: &mut Due) -> Option<Vec<(PodName, Turn)>> {
    let now = Instant::now();
    let ready = due.iter().filter(|(_, turn)| turn.at <= now).take(MOST);
    let ready: Vec<(PodName, Turn)> = ready.map(|(pod, turn)| (pod.clone(), *turn)).collect();
    due.retain(|pod, _| !ready.iter().any(|(taken, _)| taken == pod));
    (!ready.is_empty()).then_some(ready)
}

/// Works on these pods; answers with those whose turn comes again. Nothing if nobody is let in any more.
async fn turn(desk: Arc<Desk>, ready: Vec<(PodName, Turn)>) -> Option<Vec<(PodName, Turn)>> {
    let names: Vec<PodName> = ready.iter().map(|(pod, _)| pod.clone()).collect();
    let passes = match desk.serve(desk::Sort::Makes, move |desk| live::bring(desk, &names)).await {
        Ended::Done(passes) => passes,
        // The log has it. Who is to blame is not known: all come again, after a while.
        Ended::Broken | Ended::Busy => vec![Pass::Again; ready.len()],
        Ended::Closed => return None,
    };
    let again = ready.into_iter().zip(passes).filter(|(_, pass)| *pass == Pass::Again);
    let again = again.map(|((pod, turn), _)| {
        let pause = turn.pause.map_or(PAUSES.0, |pause| (pause * 2).min(PAUSES.1));
        (pod, Turn { at: Instant::now() + pause, pause: Some(pause) })
    });
    Some(again.collect())
}

fn hear(desk: &Desk, news: News, due: &mut Due) {
    let said = |sort| match sort {
        Sort::Pods => "pods of this node",
        Sort::Networks => "networks",
    };
    match news {
        News::Complete(sort, changed) => {
            if desk.settings.live {
                let now = Turn { at: Instant::now(), pause: None };
                due.extend(changed.into_iter().map(|pod| (pod, now)));
            }
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
