//! The API server as Manifold speaks with it: over real TLS, with a server that can be told to misbehave.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test may panic"
)]

#[path = "../common/api_server/mod.rs"]
mod api_server;
#[path = "../common/mod.rs"]
mod common;

mod events;
mod login;
mod objects;
mod patience;
mod stand_in;
mod status;
mod told;

use std::path::Path;
use std::time::Duration;

use api_server::{ApiServer, Mishap};
use common::Node;
use manifold::host::kube::{Budget, KubeCluster};
use manifold::model::fault::Outcome;
use manifold::model::pod::{Annotations, NETWORK_STATUS, PodName};
use serde_json::json;

/// The annotation of a status, as it is written.
fn status_of(text: &str) -> Annotations {
    Annotations::from([(NETWORK_STATUS.to_owned(), Some(text.to_owned()))])
}

/// Ample: a test that uses it up has failed.
const AMPLE: Budget = Budget { whole: Duration::from_secs(120), one_try: Duration::from_secs(60) };
/// Little, for tests that use it up; on a slow machine too it is enough for a try that is answered.
const LITTLE: Budget = Budget { whole: Duration::from_secs(6), one_try: Duration::from_secs(2) };
/// Later than any try waits for.
const NEVER: Mishap = Mishap::Late(Duration::from_secs(600));

/// An API server that holds pod "default/web", on a node of its own.
struct Cluster {
    api: ApiServer,
    _node: Node,
}

impl Cluster {
    fn new() -> Self {
        Self::of(ApiServer::start)
    }

    /// Starts the server once the thread has left the machine's network.
    fn of(start: impl FnOnce() -> ApiServer) -> Self {
        let node = Node::enter().unwrap();
        let api = start();
        api.put_pod("default/web", "uid-1", &json!({"k8s.v1.cni.cncf.io/networks": "data"}));
        Self { api, _node: node }
    }

    /// Manifold's side of it.
    fn asked(&self) -> KubeCluster {
        self.asked_within(AMPLE)
    }

    fn asked_within(&self, budget: Budget) -> KubeCluster {
        of(&self.api.kubeconfig(), budget).unwrap()
    }
}

fn of(kubeconfig: &Path, budget: Budget) -> Outcome<KubeCluster> {
    KubeCluster::from_kubeconfig(kubeconfig, budget)
}

/// Pod "default/web" with this UID.
fn web(uid: &str) -> PodName {
    PodName { uid: Some(uid.into()), ..anonymous() }
}

/// Pod "default/web" as a runtime names it that gives no UID.
fn anonymous() -> PodName {
    PodName { namespace: "default".into(), name: "web".into(), uid: None }
}
