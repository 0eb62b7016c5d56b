//! Contenders that call the engine in process, on this machine's adapters, wired anew for each call as the doors do.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use manifold::engine::scope::Scope;
use manifold::engine::{self, add, del};
use manifold::host::exec::Plugins;
use manifold::host::hands::HostHands;
use manifold::host::journal::FileJournal;
use manifold::host::netlink::Sockets;
use manifold::host::probe::HostProbe;
use manifold::model::{Attachment, ContainerId, Network, Owner};

use crate::common::Pod;
use crate::race::Contender;

/// A pod, what it is to get, and where that is put on record.
pub(crate) struct Sandbox {
    pub(crate) pod: Pod,
    pub(crate) networks: Vec<Network>,
    pub(crate) state: PathBuf,
}

/// Attaches a pod to its networks, in process.
pub(crate) fn attach(name: &str, sandbox: Sandbox) -> Contender {
    let adding = Rc::new(Attaching::new(name, sandbox));
    let (preparing, deleting) = (Rc::clone(&adding), Rc::clone(&adding));
    Contender::new(name, move || adding.add(), move || deleting.del()).preparing(move || preparing.prepare())
}

/// A pod and its attachments.
struct Attaching {
    container: ContainerId,
    attachments: Vec<Attachment>,
    /// Those of the next ADD.
    resolved: RefCell<Vec<Attachment>>,
    state: PathBuf,
    _pod: Pod,
}

impl Attaching {
    fn new(name: &str, sandbox: Sandbox) -> Self {
        let container: ContainerId = name.replace([',', ' '], "").parse().unwrap();
        let attachment = |(network, number): (Network, u32)| Attachment {
            netns: Some(sandbox.pod.path().clone()),
            ..Attachment::new(
                Owner { container: container.clone(), ifname: format!("net{number}").parse().unwrap() },
                network,
            )
        };
        let attachments = sandbox.networks.into_iter().zip(1..).map(attachment).collect();
        Self { container, attachments, resolved: RefCell::default(), state: sandbox.state, _pod: sandbox.pod }
    }

    fn prepare(&self) {
        self.resolved.replace(self.attachments.clone());
    }

    fn add(&self) {
        let made = self.on_node(|node| add::add(&node, self.resolved.take()));
        assert_eq!(made.unwrap().len(), self.attachments.len());
    }

    fn del(&self) {
        let detach = del::Detach::recorded(&self.container, Scope::Any);
        self.on_node(|node| del::del(&node, &detach)).map(drop).unwrap();
    }

    fn on_node<T>(&self, work: impl FnOnce(engine::Node<'_>) -> T) -> T {
        let sockets = Rc::new(Sockets::default());
        let plugins = Rc::new(Plugins::new(Vec::new(), Vec::new(), Duration::from_secs(1)));
        let probe = HostProbe::new(Rc::clone(&sockets), Rc::clone(&plugins));
        let hands = HostHands::new(sockets, plugins, &self.state);
        let journal = FileJournal::new(&self.state);
        work(engine::Node { probe: &probe, hands: &hands, journal: &journal })
    }
}
