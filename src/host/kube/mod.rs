//! The cluster, asked at its API server: pods, network definitions, the status of a pod's networks, events.
//!
//! An instance serves one call: what it was told of a pod or a definition it does not ask again. So an ADD costs one GET
//! for the pod, one for each network it names, one conditional write of the status, and one POST for each event.
//! Everything asynchronous stays in here.

mod access;
mod certificate;
mod claims;
mod failure;
mod kubeconfig;
mod line;
mod login;
mod objects;
mod petition;
mod reactor;
mod refusals;
mod rights;
mod slices;
mod tls;
mod tried;
mod trunk;
mod watch;
mod watched;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use k8s_openapi::jiff::Timestamp;

pub use access::ServiceAccount;
pub use certificate::{Certificate, kubeconfig as certified_kubeconfig};
pub use line::Budget;
pub use petition::{Petition, is_refused};
pub use refusals::Refusals;
pub use rights::Right;
pub use tried::{Ended, Teller, Tried};
pub use trunk::{Source, Trunk};
pub use watch::{News, networks as watch_networks, pods as watch_pods};
pub use watched::{Sort, Watched};

use crate::engine::ports::Cluster;
use crate::model::FaultKind;
use crate::model::device::{ClaimedDevice, PublishedDevice};
use crate::model::fault::{Fault, Outcome};
use crate::model::pod::{Annotations, Definition, Event, Pod, PodName};
use crate::model::sockets::PodVolume;
use access::Access;
use claims::Placed;
use line::{Answer, Ask, Line, Wire};
use reactor::Reactor;

/// How often a write is tried again because something else wrote in between.
const CONFLICTS: u32 = 5;

/// A cluster, spoken with through its API server.
///
/// # Guarantees
/// Every call ends within the [`Budget`]. No fault holds a token, a key or the contents of a configuration.
///
/// # Assumes
/// Not used from within an asynchronous task. Connections are made in the network namespace of the calling thread.
#[derive(Debug)]
pub struct KubeCluster {
    line: Line,
    pods: Known<Pod>,
    definitions: Known<Definition>,
    placed: Known<Placed>,
    /// What a process that keeps listening was told; asked before the server is.
    watched: Option<Arc<Watched>>,
}

/// What the API server said, by namespace and name; `None` where it has nothing.
type Known<T> = Mutex<BTreeMap<(String, String), Option<T>>>;

/// Whether a write was made.
enum Write {
    /// It was, or there is nothing left to write to.
    Done,
    /// The pod has this name and is another one, or was written to in between.
    Conflict,
    /// The account may not write in this way.
    Forbidden(Fault),
}

impl KubeCluster {
    /// The cluster that a kubeconfig's current context names. Nothing is sent yet.
    ///
    /// Names of files in it are relative to its folder. Of the ways to log in, certificates, tokens, token files (read
    /// again for every request) and passwords are known; a program to run is refused. Proxies that the environment
    /// names are not used.
    ///
    /// # Errors
    /// The kubeconfig or a file it names cannot be read ([`FaultKind::Io`]), is malformed ([`FaultKind::Decode`]), is
    /// incomplete ([`FaultKind::Config`]), or asks for what is refused ([`FaultKind::Unsupported`]).
    pub fn from_kubeconfig(path: &Path, budget: Budget) -> Outcome<Self> {
        Self::through(Access::from_kubeconfig(path)?, budget)
    }

    /// The cluster that this process runs in, spoken with as its pod's service account. Nothing is sent yet.
    ///
    /// # Errors
    /// The account's files cannot be read ([`FaultKind::Io`]), or are malformed ([`FaultKind::Config`]).
    pub fn in_cluster(account: &ServiceAccount, budget: Budget) -> Outcome<Self> {
        Self::through(Access::of_account(account)?, budget)
    }

    /// The cluster of a kubeconfig or an account. Nothing is sent yet.
    ///
    /// # Errors
    /// As [`KubeCluster::from_kubeconfig`] and [`KubeCluster::in_cluster`].
    pub fn new(source: &Source, budget: Budget) -> Outcome<Self> {
        Self::through(source.access()?, budget)
    }

    /// A cluster whose connections calls share, and of which `watched` was told. Nothing is sent yet.
    ///
    /// # Errors
    /// As [`KubeCluster::from_kubeconfig`] and [`KubeCluster::in_cluster`].
    pub fn shared(trunk: &Trunk, watched: Arc<Watched>, budget: Budget) -> Outcome<Self> {
        Ok(Self { watched: Some(watched), ..Self::over(trunk.wire()?, budget) })
    }

    fn through(access: Access, budget: Budget) -> Outcome<Self> {
        let wire = Wire::open(access, Reactor::own()?, budget.one_try)?;
        Ok(Self::over(Arc::new(wire), budget))
    }

    fn over(wire: Arc<Wire>, budget: Budget) -> Self {
        let line = Line::over(wire, budget);
        let (pods, definitions, placed) = Default::default();
        Self { line, pods, definitions, placed, watched: None }
    }

    /// What is known without asking, if it is what the server would say; else what it says. What is old is better than
    /// nothing, where nobody answers.
    fn told_or_asked<T>(
        &self,
        sort: Sort,
        told: Option<T>,
        ask: impl FnOnce() -> Outcome<Option<T>>,
    ) -> Outcome<Option<T>> {
        if told.is_some() && self.watched.as_ref().is_some_and(|watched| !watched.is_old(sort)) {
            return Ok(told);
        }
        match (ask(), told) {
            (Err(fault), Some(told)) if fault.kind() == FaultKind::TimedOut => Ok(Some(told)),
            (asked, _) => asked,
        }
    }

    /// The same cluster; each try of a request is told.
    #[must_use]
    pub fn telling(mut self, teller: Teller) -> Self {
        self.line.teller = Some(teller);
        self
    }

    /// The pod, asked for now.
    fn live_pod(&self, name: &PodName) -> Outcome<Option<Pod>> {
        let path = pod_path(name)?;
        let ask = Ask::get(format!("get pod {:?}", name.to_string()), path).metadata_only();
        let pod = self.line.found(&ask)?.map(|answer| self.line.pod(&ask, &answer)).transpose()?;
        remember(&self.pods, &name.namespace, &name.name, pod.clone());
        Ok(pod)
    }

    /// Whether the API server's pod is the one named; one that the kubelet made by itself has another UID there.
    fn is_named(name: &PodName, pod: &Pod) -> bool {
        name.uid.is_none() || name.uid == pod.name.uid || pod.is_static()
    }

    /// The UID that the API server has for the pod, as far as it is known.
    fn uid(&self, name: &PodName) -> Option<String> {
        match recall(&self.pods, &name.namespace, &name.name) {
            Some(Some(pod)) if Self::is_named(name, &pod) => pod.name.uid,
            _ => name.uid.clone(),
        }
    }

    /// Writes the status in one request. The UID in the patch must be the pod's: the API server refuses another one with
    /// a conflict, or as an immutable field, by its version.
    fn patch(&self, name: &PodName, annotations: &Annotations) -> Outcome<Write> {
        let act = format!("write the network status of pod {:?}", name.to_string());
        let body = objects::patch(self.uid(name).as_deref(), annotations);
        let ask = Ask::patch(act, format!("{}/status", pod_path(name)?), &body).metadata_only();
        self.write(name, &ask)
    }

    fn write(&self, name: &PodName, ask: &Ask) -> Outcome<Write> {
        let answer = self.line.ask(ask)?;
        match answer.code {
            200..=299 | 404 => Ok(Write::Done),
            409 | 422 => self.conflict(name, ask, &answer),
            403 => Ok(Write::Forbidden(self.line.refusal(ask, &answer))),
            _ => Err(self.line.refusal(ask, &answer)),
        }
    }

    /// Writes the status with an account that may update but not patch, as the accounts of other meta-plugins: the pod
    /// is read whole and put back, if nothing else wrote to it in between.
    fn replace(&self, name: &PodName, annotations: &Annotations) -> Outcome<Write> {
        let ask = Ask::get(format!("get pod {:?}", name.to_string()), pod_path(name)?);
        let Some(answer) = self.line.found(&ask)? else { return Ok(Write::Done) };
        let pod = self.line.pod(&ask, &answer)?;
        if !Self::is_named(name, &pod) {
            return Ok(Write::Done);
        }
        let mut whole = self.line.decode(&ask, &answer)?;
        objects::annotate(&mut whole, annotations);
        let act = format!("write the network status of pod {:?}", name.to_string());
        let ask = Ask::put(act, format!("{}/status", pod_path(name)?), &whole);
        self.write(name, &ask)
    }

    /// What a refused write means: asks for the pod as it is now, since the same answer stands for several things.
    fn conflict(&self, name: &PodName, ask: &Ask, answer: &Answer) -> Outcome<Write> {
        let before = self.uid(name);
        let Some(pod) = self.live_pod(name)? else { return Ok(Write::Done) };
        if !Self::is_named(name, &pod) {
            return Ok(Write::Done);
        }
        if answer.code == 422 && before == pod.name.uid {
            return Err(self.line.refusal(ask, answer));
        }
        Ok(Write::Conflict)
    }
}

impl Cluster for KubeCluster {
    fn pod(&self, name: &PodName) -> Outcome<Option<Pod>> {
        let pod = match recall(&self.pods, &name.namespace, &name.name) {
            Some(known) => known,
            None => {
                let told = self.watched.as_ref().and_then(|watched| watched.pod(name));
                let pod = self.told_or_asked(Sort::Pods, told, || self.live_pod(name))?;
                remember(&self.pods, &name.namespace, &name.name, pod.clone());
                pod
            }
        };
        match pod {
            Some(pod) if !Self::is_named(name, &pod) => Err(another_uid(name, &pod)),
            pod => Ok(pod),
        }
    }

    fn definition(&self, namespace: &str, name: &str) -> Outcome<Option<Definition>> {
        if let Some(known) = recall(&self.definitions, namespace, name) {
            return Ok(known);
        }
        let act = format!("get network definition {:?}", format!("{namespace}/{name}"));
        let kind = "network-attachment-definitions";
        let (space, object) = (segment("namespace", namespace)?, segment("network definition", name)?);
        let ask = Ask::get(act, format!("/apis/k8s.cni.cncf.io/v1/namespaces/{space}/{kind}/{object}"));
        let decode =
            |answer: Answer| Ok(objects::definition(self.line.decode(&ask, &answer)?, namespace, name));
        let told = self.watched.as_ref().and_then(|watched| watched.definition(namespace, name));
        let definition =
            self.told_or_asked(Sort::Networks, told, || self.line.found(&ask)?.map(decode).transpose())?;
        remember(&self.definitions, namespace, name, definition.clone());
        Ok(definition)
    }

    fn claimed(&self, pod: &PodName) -> Outcome<Vec<ClaimedDevice>> {
        self.extended(pod)
    }

    fn published(&self, pod: &PodName, driver: &str) -> Outcome<Vec<PublishedDevice>> {
        self.slices(pod, driver)
    }

    fn volumes(&self, pod: &PodName) -> Outcome<Vec<PodVolume>> {
        let ask = Ask::get(format!("get the volumes of pod {:?}", pod.to_string()), pod_path(pod)?);
        let decode = |answer: Answer| self.line.decode(&ask, &answer).map(objects::volumes);
        Ok(self.line.found(&ask)?.map(decode).transpose()?.unwrap_or_default())
    }

    fn publish(&self, pod: &PodName, annotations: &Annotations) -> Outcome<()> {
        let mut may_patch = true;
        for _ in 0..=CONFLICTS {
            let write =
                if may_patch { self.patch(pod, annotations)? } else { self.replace(pod, annotations)? };
            match write {
                Write::Done => return Ok(()),
                Write::Conflict => {}
                Write::Forbidden(_) if may_patch => may_patch = false,
                Write::Forbidden(fault) => return Err(fault),
            }
        }
        let what = format!("cannot write the network status of pod {:?}", pod.to_string());
        Err(Fault::new(FaultKind::TryLater, what)
            .because(format!("something else wrote to the pod {CONFLICTS} times in between"))
            .remedy("find out what keeps writing to the pod"))
    }

    fn tell(&self, pod: &PodName, event: &Event) -> Outcome<()> {
        let act = format!("tell event {:?} of pod {:?}", event.reason, pod.to_string());
        let space = segment("namespace", &pod.namespace)?;
        segment("pod", &pod.name)?;
        let now = Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH);
        let body = objects::event(pod, self.uid(pod).as_deref(), event, now);
        let ask = Ask::post(act, format!("/api/v1/namespaces/{space}/events"), &body);
        let answer = self.line.ask(&ask)?;
        match answer.code {
            // 409: an earlier try arrived, and only its answer was lost. 404: the namespace is gone.
            200..=299 | 404 | 409 => Ok(()),
            _ => Err(self.line.refusal(&ask, &answer)),
        }
    }
}

impl Line {
    /// The pod in an answer.
    fn pod(&self, ask: &Ask, answer: &Answer) -> Outcome<Pod> {
        Ok(objects::pod(self.decode(ask, answer)?))
    }
}

fn another_uid(name: &PodName, pod: &Pod) -> Fault {
    let (asked, found) =
        (name.uid.as_deref().unwrap_or_default(), pod.name.uid.as_deref().unwrap_or_default());
    Fault::new(FaultKind::TryLater, format!("pod {:?} is not the one to attach", name.to_string()))
        .because(format!("its UID is {found:?} where the runtime names {asked:?}"))
        .remedy("none is needed: the pod was replaced, and the runtime gives this one up")
}

fn pod_path(name: &PodName) -> Outcome<String> {
    let (space, pod) = (segment("namespace", &name.namespace)?, segment("pod", &name.name)?);
    Ok(format!("/api/v1/namespaces/{space}/pods/{pod}"))
}

/// A name that may stand in a path: what Kubernetes calls a DNS subdomain, and nothing that leads elsewhere.
fn segment<'a>(kind: &str, name: &'a str) -> Outcome<&'a str> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.len() <= 253 && name.chars().all(plain) && name.starts_with(edge) && name.ends_with(edge) {
        return Ok(name);
    }
    let shown: String = name.chars().take(64).collect();
    Err(Fault::new(FaultKind::Config, format!("{kind} {shown:?} is no name that Kubernetes allows"))
        .remedy("use lower case letters, digits, \"-\" and \".\""))
}

fn recall<T: Clone>(known: &Known<T>, namespace: &str, name: &str) -> Option<Option<T>> {
    let known = known.lock().unwrap_or_else(PoisonError::into_inner);
    known.get(&(namespace.to_owned(), name.to_owned())).cloned()
}

fn remember<T>(known: &Known<T>, namespace: &str, name: &str, what: Option<T>) {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    known.insert((namespace.to_owned(), name.to_owned()), what);
}
