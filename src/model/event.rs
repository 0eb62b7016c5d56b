//! What the people who look at a pod are told of its networks: the words of its events.

use super::attachment::Attachment;
use super::fault::{Fault, FaultKind};
use super::pod::Event;
use super::result::CniResult;

/// Longest message the API server takes, in bytes (Kubernetes API, `Event.message`).
pub const MAX_MESSAGE: usize = 1024;

/// An interface was added: `Add net1 [10.1.2.3/24] from ns/net`. Nothing is told of a result with neither interfaces
/// nor addresses.
pub fn added(attachment: &Attachment, result: &CniResult) -> Option<Event> {
    if result.interfaces.is_empty() && result.ips.is_empty() {
        return None;
    }
    let addresses: Vec<String> = result.ips.iter().map(|ip| ip.address.to_string()).collect();
    let mut message = format!("Add {} [{}]", attachment.owner.ifname, addresses.join(" "));
    if !attachment.label.is_empty() {
        message.push_str(" from ");
        message.push_str(&attachment.label);
    }
    Some(event(false, "AddedInterface", message))
}

/// An interface was taken from a running pod.
pub fn removed(attachment: &Attachment) -> Event {
    let message = format!("Remove {} from {}", attachment.owner.ifname, attachment.label);
    event(false, "RemovedInterface", message)
}

/// A running pod could not be brought to what it selects now.
pub fn unchanged(fault: &Fault) -> Event {
    event(true, "FailedChange", fault.advised())
}

/// The networks that the pod is to get could not be told: mostly because one is not there.
pub fn unresolved(fault: &Fault) -> Event {
    let reason = if fault.kind() == FaultKind::Absent { "NoNetworkFound" } else { "FailedAttach" };
    event(true, reason, fault.advised())
}

/// The pod could not be attached to its networks.
pub fn failed(fault: &Fault) -> Event {
    event(true, "FailedAttach", fault.advised())
}

fn event(warning: bool, reason: &str, mut message: String) -> Event {
    if message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE - '…'.len_utf8()).rev().find(|at| message.is_char_boundary(*at));
        message.truncate(end.unwrap_or_default());
        message.push('…');
    }
    Event { warning, reason: reason.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Network, Owner};

    fn attachment(label: &str) -> Attachment {
        Attachment {
            label: label.to_owned(),
            ..Attachment::new(
                Owner::parse("c1", "net1").unwrap(),
                Network::parse(br#"{"name":"blue","type":"macvlan"}"#, None).unwrap(),
            )
        }
    }

    fn result(text: &str) -> CniResult {
        serde_json::from_str(text).unwrap()
    }

    fn added_message(label: &str, text: &str) -> Option<String> {
        added(&attachment(label), &result(text)).map(|event| {
            assert_eq!((event.warning, event.reason.as_str()), (false, "AddedInterface"));
            event.message
        })
    }

    #[test]
    fn an_interface_is_told_with_its_addresses_and_its_network() {
        let both =
            r#"{"interfaces":[{"name":"net1"}],"ips":[{"address":"10.1.2.3/24"},{"address":"fd00::3/64"}]}"#;
        assert_eq!(added_message("ns/blue", both).unwrap(), "Add net1 [10.1.2.3/24 fd00::3/64] from ns/blue");
        let bare = r#"{"interfaces":[{"name":"net1"}]}"#;
        assert_eq!(added_message("", bare).unwrap(), "Add net1 []");
        assert_eq!(added_message("ns/blue", "{}"), None);
    }

    #[test]
    fn a_failure_is_told_with_its_remedy() {
        let fault = Fault::new(FaultKind::Absent, "master \"ens1\" is not on this node").remedy("correct it");

        assert_eq!(
            failed(&fault),
            Event {
                warning: true,
                reason: "FailedAttach".to_owned(),
                message: "master \"ens1\" is not on this node; correct it".to_owned(),
            }
        );
        assert_eq!(unresolved(&fault).reason, "NoNetworkFound");
        assert_eq!(unresolved(&Fault::new(FaultKind::Config, "x")).reason, "FailedAttach");
    }

    #[test]
    fn a_message_is_never_longer_than_the_api_server_takes() {
        for start in 0..4 {
            let what = format!("{}{}", "x".repeat(start), "ü".repeat(MAX_MESSAGE));
            let message = failed(&Fault::new(FaultKind::Config, what)).message;
            assert!(message.len() <= MAX_MESSAGE && message.len() > MAX_MESSAGE - 8, "{}", message.len());
            assert!(message.ends_with("ü…"));
        }
    }
}
