//! An attachment of a pod that runs already, as the peer's controller for such attachments asks for it: one network, by
//! its configuration. It is put on record like any other, so the pod's DEL takes it down.

use serde_json::json;

use super::call;
use super::desk::Desk;
use crate::engine::ports::{Entry, Journal};
use crate::engine::record::{Phase, Record};
use crate::engine::scope::Scope;
use crate::engine::{add, check, del, status};
use crate::front::context::Context;
use crate::front::log;
use crate::front::machine::Machine;
use crate::front::publish::Publisher;
use crate::front::sockets::Offer;
use crate::model::args::CniArgs;
use crate::model::call::Command;
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::pod::{Pod, PodName};
use crate::model::settings::{Places, Switches};
use crate::model::thick::Question;
use crate::model::version::CniVersion;
use crate::model::{Attachment, NetnsPath, Network, Object, Owner, selection};
use crate::plan::resolve::{Named, Sandbox, Wish, resolve};

pub(super) fn serve(desk: &Desk, question: &Question, context: &Context) -> Outcome<Vec<u8>> {
    let asked = Asked::read(desk, question)?;
    let machine = Machine::new(&desk.settings.places, &[], context);
    let scope = Scope::Interfaces(vec![asked.owner.ifname.clone()]);
    match call::verb(question)? {
        Command::Add => asked.add(desk, &machine),
        Command::Del => {
            let request = del::Detach {
                container: &asked.owner.container,
                scope,
                configured: &|| asked.attachment(&machine).into_iter().collect(),
                netns: asked.netns.as_ref(),
                unrecorded: del::Unrecorded::Trace,
            };
            del::del(&machine.node(), &request).map(log::left_behind).map(|()| Vec::new())
        }
        Command::Check => {
            let owners = std::slice::from_ref(&asked.owner);
            check::check(&machine.node(), &asked.owner.container, &scope, owners).map(|()| Vec::new())
        }
        Command::Status => {
            let attachment = asked.attachment(&machine)?;
            status::status(&machine.node(), vec![attachment], &asked.owner.container).map(|()| Vec::new())
        }
        verb @ (Command::Gc | Command::Version) => {
            Err(Fault::new(FaultKind::Unsupported, format!("{} is not for one attachment", verb.as_str()))
                .remedy("ask for ADD, DEL, CHECK or STATUS"))
        }
    }
}

/// What is asked, read and checked.
struct Asked {
    owner: Owner,
    netns: Option<NetnsPath>,
    args: CniArgs,
    network: Network,
    selection: selection::Selection,
    places: Places,
    overlay: Object,
}

impl Asked {
    fn read(desk: &Desk, question: &Question) -> Outcome<Self> {
        let text = |key: &str| question.env.get(key).map(String::as_str).unwrap_or_default();
        let args = CniArgs::what_is_readable(text("CNI_ARGS"));
        let ifname = if text("CNI_IFNAME").is_empty() { "eth0" } else { text("CNI_IFNAME") };
        let config = call::config(question)?;
        let network = Network::parse_within(&config.to_bytes(), None, CniVersion::NEWEST)?;
        // What is asked of the network is what an annotation might ask, and is checked like one.
        let attributes = question.attributes.clone().unwrap_or_default();
        let mut entry = json!({ "name": "delegate", "interface": ifname, "ips": attributes.ips });
        if let Some(entry) = entry.as_object_mut() {
            let args = attributes.cni_args.and_then(|args| serde_json::to_value(args).ok());
            entry.extend(args.map(|args| ("cni-args".to_owned(), args)));
            entry.extend(attributes.mac.map(|mac| ("mac".to_owned(), json!(mac))));
        }
        let mut selections = selection::parse(&json!([entry]).to_string())?;
        let selection =
            selections.pop().ok_or_else(|| Fault::new(FaultKind::Config, "nothing is asked for"))?;
        Ok(Self {
            owner: Owner::parse(text("CNI_CONTAINERID"), ifname)?,
            netns: text("CNI_NETNS").parse().ok(),
            args,
            network,
            selection,
            places: desk.settings.places.clone(),
            overlay: desk.settings.overlay.clone(),
        })
    }

    fn attachment(&self, machine: &Machine) -> Outcome<Attachment> {
        let entries = machine.journal.entries(&self.owner.container).unwrap_or_default();
        let whole = entries.into_iter().filter_map(|entry| match entry {
            Entry::Whole(record) => Some(record.attachment),
            Entry::Broken(_) => None,
        });
        let recorded: Vec<Attachment> = whole.collect();
        // Whoever attached the pod may have left files for the peer; then so does this.
        let in_place = recorded.iter().any(|attachment| attachment.in_place);
        // It is valid with the pod.
        let called = recorded.into_iter().find_map(|attachment| attachment.called);
        let sandbox = Sandbox {
            container: self.owner.container.clone(),
            netns: self.netns.clone(),
            args: self.args.tidied(),
            standalone: None,
            called,
            in_place,
            device_info_dir: self.places.device_info_dir.clone(),
        };
        let named = Named::new(self.network.name.to_string(), self.network.clone());
        let wish = Wish { selected: vec![(self.selection.clone(), named)], ..Wish::default() };
        let mut attachments = resolve(&sandbox, wish)?;
        let (switches, rules) = Switches::read(&self.overlay)?;
        let (places, pod) = (&self.places, PodName::of(&self.args));
        // Whoever asks has taken the network from a definition in the pod's namespace.
        let namespace = pod.as_ref().map(|pod| pod.namespace.clone()).unwrap_or_default();
        Offer { switches: &switches, rules: &rules, places, namespace: &namespace, pod, cluster: None }
            .lay(&mut attachments);
        let attachment = attachments.pop();
        let mut attachment =
            attachment.ok_or_else(|| Fault::new(FaultKind::Config, "nothing is asked for"))?;
        // It is the caller's: what the pod selects is not held against it.
        attachment.selection = None;
        Ok(attachment)
    }

    /// The record of this very attachment, where it was made because the pod selects it.
    fn selected(&self, machine: &Machine) -> Outcome<Option<Box<Record>>> {
        let entries = machine.journal.entries(&self.owner.container)?;
        Ok(entries.into_iter().find_map(|entry| match entry {
            Entry::Whole(record) => {
                let Attachment { owner, network, selection, .. } = &record.attachment;
                let same = *owner == self.owner && network.name == self.network.name;
                (same && selection.is_some() && record.phase == Phase::Attached).then_some(record)
            }
            Entry::Broken(_) => None,
        }))
    }

    fn add(&self, desk: &Desk, machine: &Machine) -> Outcome<Vec<u8>> {
        // The daemon reads the pod's annotation as well, and may have been first.
        if let Some(record) = self.selected(machine)? {
            return record.result.as_ref().map_or(Ok(Vec::new()), call::result);
        }
        let _no_gc = desk.attaching();
        let made = add::add(&machine.node(), vec![self.attachment(machine)?])?;
        log::attached(&made);
        // The caller writes the pod's status; the event is ours, and a courtesy.
        let cluster = machine.cluster(desk.settings.kubeconfig.as_deref());
        if let (Some(name), Ok(Some(cluster))) = (PodName::of(&self.args), cluster) {
            let pod = Pod { name, annotations: Default::default() };
            Publisher::new(Some(cluster.as_ref()), Some(&pod)).added(&made);
        }
        made.first().map_or(Ok(Vec::new()), |made| call::result(&made.result))
    }
}
