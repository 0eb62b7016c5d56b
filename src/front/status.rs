//! What is attached on this node, pod by pod: with the devices, and since when.

use std::time::{Duration, SystemTime};

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use super::machine::Machine;
use super::table::{Row, drawn, shortened};
use crate::engine::ports::{Entry, Journal};
use crate::engine::record::{Phase, Record};
use crate::model::fault::Outcome;
use crate::model::pod::PodName;

/// The state of an attachment whose sandbox is gone.
const STALE: &str = "stale";

/// One attachment, as people and programs read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    /// `null` where the runtime named none.
    pod: Option<PodName>,
    #[serde(flatten)]
    row: Row,
    device: String,
    /// When it came to its state.
    since: Option<Timestamp>,
}

/// All attachments of the node, by pod.
///
/// # Errors
/// The journal cannot be read.
pub(super) fn views(machine: &Machine) -> Outcome<Vec<View>> {
    let mut views = Vec::new();
    for container in machine.journal.containers()? {
        views.extend(machine.journal.told(&container).iter().map(|entry| View::of(machine, entry)));
    }
    // Within a sandbox the order of its attachments stands. Sandboxes without a pod come last.
    views.sort_by_cached_key(|view: &View| {
        let named = view.pod.as_ref().map(|pod| (pod.namespace.clone(), pod.name.clone()));
        (named.is_none(), named, view.row.container.clone())
    });
    Ok(views)
}

impl View {
    fn of(machine: &Machine, entry: &Entry) -> Self {
        let record = match entry {
            Entry::Whole(record) => Some(record.as_ref()),
            Entry::Broken(_) => None,
        };
        let mut row = Row::entry(entry);
        let stale = |record: &Record| {
            record.phase == Phase::Attached && machine.node().living_netns(record).is_none()
        };
        if record.is_some_and(stale) {
            row.state = STALE.to_owned();
        }
        let since = record.and_then(|record| machine.journal.since(&record.attachment.owner));
        Self {
            pod: record.and_then(|record| PodName::of(&record.attachment.args)),
            row,
            device: record.map(device).unwrap_or_default(),
            since: since.and_then(|since| Timestamp::try_from(since).ok()),
        }
    }

    fn cells(&self, now: SystemTime) -> [String; 9] {
        let Row { container, interface, network, kinds, addresses, state, .. } = &self.row;
        [
            self.pod.as_ref().map(ToString::to_string).unwrap_or_default(),
            shortened(container),
            interface.clone(),
            network.clone(),
            kinds.join("\n"),
            self.device.clone(),
            addresses.join("\n"),
            state.clone(),
            self.since.map(|since| age(now, since.into())).unwrap_or_default(),
        ]
    }
}

/// The device behind an attachment: the one it was given, that its plugins tell of, or a socket.
fn device(record: &Record) -> String {
    if let Some(device) = &record.attachment.device {
        return device.id.to_string();
    }
    let interfaces = record.result.iter().flat_map(|result| &result.interfaces);
    let told = interfaces.flat_map(|interface| [&interface.pci_id, &interface.socket_path]);
    told.into_iter().find(|device| !device.is_empty()).cloned().unwrap_or_default()
}

/// The attachments as a table.
pub(super) fn table(views: &[View]) -> String {
    let header = ["POD", "SANDBOX", "INTERFACE", "NETWORK", "PLUGINS", "DEVICE", "ADDRESSES", "STATE", "AGE"];
    let now = SystemTime::now();
    drawn(header, views.iter().map(|view| view.cells(now)))
}

/// How long ago something was, in its largest units that tell at least two.
fn age(now: SystemTime, since: SystemTime) -> String {
    // A clock that was set back makes nothing younger than it is.
    let seconds = now.duration_since(since).unwrap_or(Duration::ZERO).as_secs();
    match (seconds / 60, seconds / 3_600, seconds / 86_400) {
        (0 | 1, ..) => format!("{seconds}s"),
        (minutes, 0 | 1, _) => format!("{minutes}m"),
        (_, hours, 0 | 1) => format!("{hours}h"),
        (.., days) => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_units_of_which_there_are_two() {
        let ages = [0, 119, 120, 7_199, 7_200, 172_799, 172_800, 86_400_000];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100_000_000);

        let told = ages.map(|seconds| age(now, now - Duration::from_secs(seconds)));

        assert_eq!(told, ["0s", "119s", "2m", "119m", "2h", "47h", "2d", "1000d"]);
        assert_eq!(age(now, now + Duration::from_secs(5)), "0s");
    }
}
