//! The journal of the simulated node. Records are kept as bytes, so each is written and read as on a disk.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::SimNode;
use crate::engine::ports::{Entry, Guard, Holder, Journal, Patience};
use crate::engine::record::Record;
use crate::model::fault::{Fault, Outcome};
use crate::model::{ContainerId, FaultKind, Owner};
use crate::plan::claim::Claim;

/// A lock of the simulated node.
struct Locked {
    container: ContainerId,
    locks: Rc<RefCell<BTreeSet<ContainerId>>>,
}

impl Guard for Locked {}

impl Drop for Locked {
    fn drop(&mut self) {
        self.locks.borrow_mut().remove(&self.container);
    }
}

impl Journal for SimNode {
    fn lock(&self, container: &ContainerId, _patience: Patience) -> Outcome<Box<dyn Guard>> {
        if self.state.borrow().dead {
            return Err(super::killed());
        }
        if !self.locks.borrow_mut().insert(container.clone()) {
            return Err(Fault::new(FaultKind::TryLater, format!("{:?} is locked", container.as_str())));
        }
        Ok(Box::new(Locked { container: container.clone(), locks: Rc::clone(&self.locks) }))
    }

    fn entries(&self, container: &ContainerId) -> Outcome<Vec<Entry>> {
        let state = self.state.borrow();
        let ours = state.world.records.iter().filter(|(owner, _)| owner.container == *container);
        let mut entries: Vec<Entry> = ours
            .map(|(owner, bytes)| match serde_json::from_slice::<Record>(bytes) {
                Ok(record) => Entry::Whole(Box::new(record)),
                Err(cause) => {
                    Entry::Broken(owner.clone(), Fault::new(FaultKind::Decode, "no record").because(cause))
                }
            })
            .collect();
        entries.sort_by_key(|entry| match entry {
            Entry::Whole(record) => record.order,
            Entry::Broken(..) => u32::MAX,
        });
        Ok(entries)
    }

    fn put(&self, record: &Record) -> Outcome<()> {
        let bytes = serde_json::to_vec(record)
            .map_err(|cause| Fault::new(FaultKind::Decode, "cannot write a record").because(cause))?;
        self.operate(|state| {
            state.world.records.insert(record.attachment.owner.clone(), bytes);
            Ok(())
        })
    }

    fn remove(&self, owner: &Owner) -> Outcome<()> {
        self.operate(|state| {
            state.world.records.remove(owner);
            Ok(())
        })
    }

    fn set_aside(&self, owner: &Owner) -> Outcome<()> {
        self.remove(owner)
    }

    fn containers(&self) -> Outcome<Vec<ContainerId>> {
        let state = self.state.borrow();
        let mut containers: Vec<ContainerId> =
            state.world.records.keys().map(|o| o.container.clone()).collect();
        containers.dedup();
        Ok(containers)
    }

    fn claim(&self, claim: &Claim, owner: &Owner) -> Outcome<Holder> {
        self.operate(|state| {
            let holder = state.world.claims.entry(claim.clone()).or_insert_with(|| owner.clone());
            Ok(if holder == owner { Holder::You } else { Holder::Other(holder.clone()) })
        })
    }

    fn holder(&self, claim: &Claim) -> Outcome<Option<Owner>> {
        Ok(self.state.borrow().world.claims.get(claim).cloned())
    }

    fn release(&self, claim: &Claim, owner: &Owner) -> Outcome<()> {
        self.operate(|state| {
            if state.world.claims.get(claim) == Some(owner) {
                state.world.claims.remove(claim);
            }
            Ok(())
        })
    }
}
