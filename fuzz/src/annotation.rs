//! What a pod's owner may write into its annotations, and what other writers left there.

use manifold::model::selection::{self, MAX_SELECTIONS};
use manifold::model::{Object, Selection, status};
use manifold::plan::resolve::{First, Named, Sandbox, Wish, resolve};

use crate::stand;

pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match selection::parse(&text) {
        Ok(selections) => selected(&selections),
        Err(fault) => stand::told(&fault),
    }
    if let Ok(entries) = status::parse(&text) {
        assert_eq!(status::parse(&status::text(&entries)).unwrap(), entries);
    }
}

fn selected(selections: &[Selection]) {
    assert!(selections.len() <= MAX_SELECTIONS);
    for selection in selections {
        assert!(is_subdomain(&selection.name), "{:?}", selection.name);
        assert!(selection.namespace.as_deref().is_none_or(is_label), "{:?}", selection.namespace);
        let id = selection.device_id().map(|id| id.as_str());
        assert!(id.is_none_or(|id| !id.contains('/') && id != ".."));
        assert!(selection.interface.as_ref().is_none_or(|name| stand::is_one_component(name.as_str())));
        let given = selection.capabilities().unwrap();
        assert_eq!(Object::parse(&given.to_bytes(), "it").unwrap(), given);
    }
    // As an annotation, and as an entry of a record.
    let text = serde_json::to_string(selections).unwrap();
    assert_eq!(selection::parse(&text).unwrap(), selections);
    for selection in selections {
        let entry = serde_json::to_vec(selection).unwrap();
        assert_eq!(&serde_json::from_slice::<Selection>(&entry).unwrap(), selection);
    }
    resolved(selections);
}

/// Every selection makes one attachment, each with a name of its own.
fn resolved(selections: &[Selection]) {
    let network = stand::network();
    let named = |name: &str| Named::new(name, network.clone());
    let sandbox = Sandbox {
        container: "pod1".parse().unwrap(),
        netns: None,
        args: Default::default(),
        standalone: None,
        called: None,
        in_place: true,
        device_info_dir: "/run/devinfo".into(),
    };
    let first = First {
        named: named("cluster"),
        ifname: "eth0".parse().unwrap(),
        capabilities: Object::default(),
        selection: None,
    };
    let selected = selections.iter().map(|one| (one.clone(), named(&one.name))).collect();
    let wish = Wish { default: Some(first), selected, ..Wish::default() };
    let Ok(attachments) = resolve(&sandbox, wish) else { return };
    assert_eq!(attachments.len(), selections.len() + 1);
    let mut names: Vec<&str> = attachments.iter().map(|one| one.owner.ifname.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), attachments.len());
    attachments.iter().for_each(stand::recorded);
}

fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.len() <= 63 && text.bytes().all(plain) && !text.starts_with('-')
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|part| !part.is_empty() && is_label(&part[..part.len().min(63)]))
}
