//! sriov: virtual functions of the machine's adapter, given to pods and taken back.

mod application;
mod attach;
mod given_back;
mod hard_ends;
mod names;
mod packets;
mod put_back;
mod simulated;
mod surroundings;

use serde_json::{Value, json};

use crate::adapter::{Adapter, Picture};
use crate::catalogue::Case;
use crate::need::Need;
use crate::node::{Netns, Node};
use crate::plugin::{Attachment, Subject, addresses};
use crate::trouble::Outcome;

const NEEDS: &[Need] = &[Need::SriovAdapter];

pub(crate) const CASES: [&[Case]; 9] = [
    attach::CASES,
    given_back::CASES,
    names::CASES,
    surroundings::CASES,
    application::CASES,
    packets::CASES,
    hard_ends::CASES,
    simulated::CASES,
    put_back::CASES,
];

/// The machine, an adapter with virtual functions, and a pod.
struct Stage {
    // Dropped first: a namespace that goes gives the interfaces in it back.
    pod: Netns,
    adapter: Adapter,
    node: Node,
}

impl Stage {
    fn new(vfs: usize) -> Outcome<Self> {
        let (node, adapter) = (Node::of_machine()?, Adapter::with_vfs(vfs)?);
        Ok(Self { pod: node.netns("pod")?, adapter, node })
    }

    /// The first virtual function, with these keys and an address.
    fn config(&self, keys: Value) -> Value {
        self.config_of(0, keys)
    }

    fn config_of(&self, number: usize, keys: Value) -> Value {
        let mut config = json!({"type": "sriov", "deviceID": self.adapter.vf(number),
            "ipam": addresses(&self.node)});
        if let (Some(config), Value::Object(keys)) = (config.as_object_mut(), keys) {
            config.extend(keys);
        }
        config
    }

    fn attachment<'a>(&'a self, subject: &'a Subject, keys: Value) -> Attachment<'a> {
        Attachment::new(subject, &self.node, &self.pod, self.config(keys))
    }

    fn picture(&self) -> Outcome<Picture> {
        self.adapter.picture(&self.node, 0)
    }
}
