//! What the pod's people are told: its network-status, and events.

use std::collections::BTreeMap;

use crate::engine::add::Attached;
use crate::engine::ports::Cluster;
use crate::model::event;
use crate::model::fault::{Fault, Outcome};
use crate::model::pod::{Event, NETWORK_STATUS, Pod};
use crate::model::{Attachment, NetworkStatus, status};
use crate::plan::note;

/// Tells the cluster of one pod; nobody is told where there is no cluster or no pod.
pub(super) struct Publisher<'a> {
    to: Option<(&'a dyn Cluster, &'a Pod)>,
}

impl<'a> Publisher<'a> {
    pub(super) fn new(cluster: Option<&'a dyn Cluster>, pod: Option<&'a Pod>) -> Self {
        Self { to: cluster.zip(pod.filter(|pod| !pod.name.name.is_empty())) }
    }

    /// What was attached: the annotations, in one request, then one event per attachment.
    ///
    /// # Errors
    /// The annotations could not be written. An event that could not be told is not worth a pod.
    pub(super) fn attached(&self, made: &[Attached]) -> Outcome<()> {
        let entries: Vec<_> = made
            .iter()
            .flat_map(|a| status::entries(&a.attachment, &a.result, a.device_info.as_ref()))
            .collect();
        if !entries.is_empty() {
            let sockets = made.iter().filter_map(|a| Some((&a.attachment, &a.result, a.note.as_ref()?)));
            self.status(&entries, note::annotations(sockets))?;
        }
        self.added(made);
        Ok(())
    }

    /// The status of all that is attached, and what is told of interfaces that are sockets; what was told of others before
    /// is removed.
    ///
    /// # Errors
    /// It could not be written.
    pub(super) fn status(&self, entries: &[NetworkStatus], sockets: BTreeMap<String, String>) -> Outcome<()> {
        let Some((cluster, pod)) = self.to else { return Ok(()) };
        let old = [note::CONFIGURATION, note::MAPPED_DIR].map(str::to_owned).into_iter();
        let old = old.filter(|key| pod.annotations.contains_key(key)).map(|key| (key, None));
        let new = sockets.into_iter().map(|(key, text)| (key, Some(text)));
        let status = (NETWORK_STATUS.to_owned(), Some(status::text(entries)));
        cluster.publish(&pod.name, &old.chain(new).chain([status]).collect())
    }

    /// That an interface was taken from a running pod.
    pub(super) fn removed(&self, gone: &Attachment) {
        self.tell(&event::removed(gone));
    }

    /// That a running pod has not what it selects.
    pub(super) fn unchanged(&self, fault: &Fault) {
        self.tell(&event::unchanged(fault));
    }

    /// That interfaces were added.
    pub(super) fn added(&self, made: &[Attached]) {
        for event in made.iter().filter_map(|a| event::added(&a.attachment, &a.result)) {
            self.tell(&event);
        }
    }

    /// That the networks asked for cannot be had.
    pub(super) fn refused(&self, fault: &Fault) {
        self.tell(&event::unresolved(fault));
    }

    /// That attaching failed.
    pub(super) fn failed(&self, fault: &Fault) {
        self.tell(&event::failed(fault));
    }

    fn tell(&self, event: &Event) {
        if let Some((cluster, pod)) = self.to {
            // The runtime gets the failure itself; an event is a courtesy.
            drop(cluster.tell(&pod.name, event));
        }
    }
}
