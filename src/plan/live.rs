//! What is to change of a running pod that selects other networks than when it was attached.

use crate::model::{Attachment, IfName, Role, Selection};

/// What is to change. Detaching comes first: an interface may be attached anew under the same name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Interfaces to take from the pod, the last made first.
    pub detach: Vec<IfName>,
    /// What to attach, in the order of the annotation, each with the name of its interface.
    pub attach: Vec<Selection>,
}

/// Compares what a pod of this namespace has, in the order it was made, with what it selects now.
///
/// A selection that names its interface means the one of that name; another means the first interface that was made for
/// the same. What was made for a selection that is not among them any more, or is another by now, goes. What the node
/// gives, or another program attached, stays. A new interface without a name is `net<n>`, with the lowest n that is free.
pub fn change(namespace: &str, held: &[Attachment], wanted: Vec<Selection>) -> Change {
    let asked_for: Vec<IfName> = wanted.iter().filter_map(|wish| wish.interface.clone()).collect();
    let mut kept = vec![false; held.len()];
    let mut keep = |wish: &Selection, by_name: bool| {
        let found = held.iter().zip(&mut kept).find(|(one, kept)| {
            let fits = match &wish.interface {
                Some(name) => *name == one.owner.ifname,
                // What has a name that another asks for is in its way.
                None => !by_name && !asked_for.contains(&one.owner.ifname),
            };
            !**kept && fits && serves(one, wish, namespace)
        });
        found.map(|(_, kept)| *kept = true).is_some()
    };
    // Those with a name first: what they mean is not to be taken by one that will have any.
    let named: Vec<bool> = wanted.iter().map(|wish| keep(wish, true)).collect();
    let new: Vec<Selection> = wanted
        .into_iter()
        .zip(named)
        .filter_map(|(wish, kept)| (!kept && !keep(&wish, false)).then_some(wish))
        .collect();
    let stays = |(one, kept): &(&Attachment, &bool)| **kept || !is_selected(one);
    let taken = held.iter().zip(&kept).filter(stays).map(|(one, _)| one.owner.ifname.clone());
    let mut taken: Vec<IfName> = taken.chain(asked_for).collect();
    let goes = held.iter().zip(&kept).filter(|pair| !stays(pair));
    let detach: Vec<IfName> = goes.map(|(one, _)| one.owner.ifname.clone()).rev().collect();
    let attach = new.into_iter().map(|wish| named_by_us(wish, &mut taken)).collect();
    Change { detach, attach }
}

/// Whether the pod's own selection is why it has this.
fn is_selected(held: &Attachment) -> bool {
    held.standalone.is_none() && held.role == Role::Additional && held.selection.is_some()
}

/// Whether this is what a selection wants, whatever its interface is named.
fn serves(held: &Attachment, wish: &Selection, namespace: &str) -> bool {
    match &held.selection {
        Some(made_for) if is_selected(held) => plain(made_for, namespace) == plain(wish, namespace),
        // Another program that reads the annotation may have attached it, under the name it asks for.
        Some(_) | None => {
            let of_network = held.network.name.as_str() == wish.name
                || held.label.rsplit('/').next() == Some(wish.name.as_str());
            held.standalone.is_none()
                && held.role == Role::Additional
                && wish.interface.is_some()
                && of_network
        }
    }
}

/// A selection without what may be left out of it.
fn plain(selection: &Selection, namespace: &str) -> Selection {
    let mut plain = selection.clone();
    plain.interface = None;
    plain.namespace.get_or_insert_with(|| namespace.to_owned());
    plain
}

fn named_by_us(mut wish: Selection, taken: &mut Vec<IfName>) -> Selection {
    if wish.interface.is_none() {
        let free = (1..).filter_map(|n: u32| format!("net{n}").parse::<IfName>().ok());
        wish.interface = free.into_iter().find(|name| !taken.contains(name));
        taken.extend(wish.interface.clone());
    }
    wish
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Network, Owner, selection};

    fn held(ifname: &str, selected: Option<Selection>) -> Attachment {
        let name = selected.as_ref().map_or("given", |selected| selected.name.as_str()).to_owned();
        let network = Network::parse(format!(r#"{{"name":"{name}","type":"x"}}"#).as_bytes(), None).unwrap();
        Attachment {
            role: if ifname == "eth0" { Role::Default } else { Role::Additional },
            label: format!("ns/{name}"),
            selection: selected.map(Box::new),
            ..Attachment::new(Owner::parse("c1", ifname).unwrap(), network)
        }
    }

    /// A pod as it is attached when it comes: `eth0` of the node, and what the annotation selects.
    fn pod(text: &str) -> Vec<Attachment> {
        let selected = selection::parse(text).unwrap().into_iter().enumerate().map(|(at, wish)| {
            let name =
                wish.interface.clone().map_or_else(|| format!("net{}", at + 1), |name| name.to_string());
            held(&name, Some(wish))
        });
        std::iter::once(held("eth0", None)).chain(selected).collect()
    }

    fn told(held: &[Attachment], text: &str) -> (Vec<String>, Vec<String>) {
        let Change { detach, attach } = change("ns", held, selection::parse(text).unwrap());
        let attach = attach.iter().map(|one| format!("{}@{}", one.name, one.interface.as_ref().unwrap()));
        (detach.iter().map(ToString::to_string).collect(), attach.collect())
    }

    fn lists(detach: &[&str], attach: &[&str]) -> (Vec<String>, Vec<String>) {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        (owned(detach), owned(attach))
    }

    #[test]
    fn the_same_selection_changes_nothing() {
        for text in ["a,b@data0,a", "", r#"[{"name":"a","mac":"02:00:00:00:00:01"}]"#] {
            assert_eq!(told(&pod(text), text), lists(&[], &[]), "{text}");
        }
        let unknown = r#"[{"name":"a","foo":1}]"#;
        assert_eq!(told(&pod("a"), unknown), lists(&[], &[]), "what nobody reads changes nothing");
        assert_eq!(told(&pod("a"), "ns/a"), lists(&[], &[]), "the pod's own namespace may be written or not");
    }

    #[test]
    fn what_is_selected_no_more_goes_the_last_first() {
        assert_eq!(told(&pod("a,b,c"), "b"), lists(&["net3", "net1"], &[]));
    }

    #[test]
    fn what_is_new_gets_the_lowest_free_name_or_the_one_it_asks_for() {
        assert_eq!(told(&pod("a"), "a,b,c@data0"), lists(&[], &["b@net2", "c@data0"]));
        assert_eq!(told(&pod("a,b"), "b,c,d@net1"), lists(&["net1"], &["c@net3", "d@net1"]));
    }

    #[test]
    fn what_asks_for_something_else_is_made_anew() {
        let mac = |last: u8| format!(r#"[{{"name":"a","interface":"d0","mac":"02:00:00:00:00:0{last}"}}]"#);
        assert_eq!(told(&pod(&mac(1)), &mac(2)), lists(&["d0"], &["a@d0"]));
        assert_eq!(told(&pod("a@d0"), "b@d0"), lists(&["d0"], &["b@d0"]));
        assert_eq!(told(&pod("a@d0"), "a,b@d0"), lists(&["d0"], &["a@net1", "b@d0"]));
        assert_eq!(told(&pod("a@d0"), "a@d1"), lists(&["d0"], &["a@d1"]));
    }

    #[test]
    fn the_same_network_twice_is_two_interfaces() {
        assert_eq!(told(&pod("a"), "a,a"), lists(&[], &["a@net2"]));
        assert_eq!(told(&pod("a,a"), "a"), lists(&["net2"], &[]));
        assert_eq!(told(&pod("a,a"), "a,a@net1"), lists(&[], &[]), "a name that it has may be written down");
    }

    #[test]
    fn what_the_node_gives_or_another_program_attached_stays() {
        let mut has = pod("");
        has.push(held("net1", None));
        assert_eq!(told(&has, ""), lists(&[], &[]));
        assert_eq!(told(&has, "a"), lists(&[], &["a@net2"]));
        assert_eq!(told(&has, "given@net1"), lists(&[], &[]), "it is there, whoever attached it");
        assert_eq!(told(&has, "given"), lists(&[], &["given@net2"]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn once_changed_there_is_nothing_more_to_change(
            before in proptest::collection::vec((0..3_u8, proptest::option::of(0..4_u8)), 0..5),
            after in proptest::collection::vec((0..3_u8, proptest::option::of(0..4_u8)), 0..5),
        ) {
            let text = |list: &[(u8, Option<u8>)]| {
                let names: Vec<String> = list.iter().map(|(network, name)| match name {
                    None => format!("n{network}"),
                    Some(name) => format!("n{network}@d{name}"),
                }).collect();
                names.join(",")
            };
            let (before, after) = (text(&before), text(&after));
            prop_assume!(selection::parse(&before).is_ok() && selection::parse(&after).is_ok());
            let mut has = pod(&before);
            let Change { detach, attach } = change("ns", &has, selection::parse(&after).unwrap());
            has.retain(|one| !detach.contains(&one.owner.ifname));
            for wish in attach {
                let name = wish.interface.clone().unwrap();
                prop_assert!(has.iter().all(|one| one.owner.ifname != name), "{name} is taken");
                has.push(held(name.as_str(), Some(wish)));
            }
            let selected = selection::parse(&after).unwrap();
            prop_assert_eq!(has.len(), selected.len() + 1);
            prop_assert_eq!(change("ns", &has, selected), Change::default());
        }
    }
}
