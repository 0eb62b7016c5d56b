//! The journal of the simulated node. Records are kept as bytes, so each is written and read as on a disk.

use super::{SimNode, State};
use crate::engine::ports::{Broken, Entry, Holder, Journal, Patience, Records};
use crate::engine::record::Record;
use crate::model::fault::{Fault, Outcome};
use crate::model::{ContainerId, FaultKind, IfName, Owner};
use crate::plan::claim::Claim;

/// The records of one sandbox, locked.
struct Sheet<'a> {
    container: ContainerId,
    node: &'a SimNode,
}

impl Drop for Sheet<'_> {
    fn drop(&mut self) {
        self.node.locks.borrow_mut().remove(&self.container);
    }
}

impl Sheet<'_> {
    fn write(&self, record: &Record) -> Outcome<()> {
        let bytes = serde_json::to_vec(record)
            .map_err(|cause| Fault::new(FaultKind::Decode, "cannot write a record").because(cause))?;
        self.node.operate(|state| {
            state.world.records.insert(record.attachment.owner.clone(), bytes);
            Ok(())
        })
    }
}

impl Records for Sheet<'_> {
    fn entries(&self) -> Outcome<Vec<Entry>> {
        Ok(entries(&self.node.state.borrow(), &self.container))
    }

    fn put(&self, record: &Record) -> Outcome<()> {
        self.write(record)
    }

    /// Brings what is written to where the mark says it is, so that nothing is known later that no mark tells.
    fn mark(&self, record: &Record) -> Outcome<()> {
        let written = self.entries()?.into_iter().find_map(|entry| match entry {
            Entry::Whole(written) if written.attachment.owner == record.attachment.owner => Some(written),
            Entry::Whole(_) | Entry::Broken(_) => None,
        });
        let Some(mut written) = written else {
            return Err(Fault::new(FaultKind::Decode, "nothing is written that could be marked"));
        };
        written.reach(record.mark());
        self.write(&written)
    }

    fn remove(&self, ifnames: &[&IfName]) -> Outcome<()> {
        self.node.operate(|state| {
            let is_gone =
                |owner: &Owner| owner.container == self.container && ifnames.contains(&&owner.ifname);
            state.world.records.retain(|owner, _| !is_gone(owner));
            Ok(())
        })
    }

    fn set_aside(&self, ifname: Option<&IfName>) -> Outcome<()> {
        ifname.map_or(Ok(()), |ifname| self.remove(&[ifname]))
    }
}

fn entries(state: &State, container: &ContainerId) -> Vec<Entry> {
    let ours = state.world.records.iter().filter(|(owner, _)| owner.container == *container);
    let mut entries: Vec<Entry> = ours
        .map(|(owner, bytes)| match serde_json::from_slice::<Record>(bytes) {
            Ok(record) => Entry::Whole(Box::new(record)),
            Err(cause) => Entry::Broken(Broken {
                container: container.clone(),
                ifname: Some(owner.ifname.clone()),
                fault: Fault::new(FaultKind::Decode, "no record").because(cause),
            }),
        })
        .collect();
    entries.sort_by_key(|entry| match entry {
        Entry::Whole(record) => record.order,
        Entry::Broken(_) => u32::MAX,
    });
    entries
}

impl Journal for SimNode {
    fn lock(&self, container: &ContainerId, _patience: Patience) -> Outcome<Box<dyn Records + '_>> {
        if self.state.borrow().dead {
            return Err(super::killed());
        }
        if !self.locks.borrow_mut().insert(container.clone()) {
            return Err(Fault::new(FaultKind::TryLater, format!("{:?} is locked", container.as_str())));
        }
        Ok(Box::new(Sheet { container: container.clone(), node: self }))
    }

    fn is_writable(&self, container: &ContainerId) -> Outcome<()> {
        self.lock(container, Patience::Try).map(drop)
    }

    fn entries(&self, container: &ContainerId) -> Outcome<Vec<Entry>> {
        Ok(entries(&self.state.borrow(), container))
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
