//! What the pod's people are told: its network-status, and events.

use crate::engine::add::Attached;
use crate::engine::ports::Cluster;
use crate::model::event;
use crate::model::fault::{Fault, Outcome};
use crate::model::pod::{Event, Pod};
use crate::model::{Attachment, NetworkStatus, status};

/// Tells the cluster of one pod; nobody is told where there is no cluster or no pod.
pub(super) struct Publisher<'a> {
    to: Option<(&'a dyn Cluster, &'a Pod)>,
}

impl<'a> Publisher<'a> {
    pub(super) fn new(cluster: Option<&'a dyn Cluster>, pod: Option<&'a Pod>) -> Self {
        Self { to: cluster.zip(pod.filter(|pod| !pod.name.name.is_empty())) }
    }

    /// What was attached: the status, in one request, then one event per attachment.
    ///
    /// # Errors
    /// The status could not be written. An event that could not be told is not worth a pod.
    pub(super) fn attached(&self, made: &[Attached]) -> Outcome<()> {
        let Some((cluster, pod)) = self.to else { return Ok(()) };
        let entries: Vec<_> = made
            .iter()
            .flat_map(|a| status::entries(&a.attachment, &a.result, a.device_info.as_ref()))
            .collect();
        if !entries.is_empty() {
            cluster.publish(&pod.name, &status::text(&entries))?;
        }
        self.added(made);
        Ok(())
    }

    /// The status of all that is attached.
    ///
    /// # Errors
    /// It could not be written.
    pub(super) fn status(&self, entries: &[NetworkStatus]) -> Outcome<()> {
        match self.to {
            Some((cluster, pod)) => cluster.publish(&pod.name, &status::text(entries)),
            None => Ok(()),
        }
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
