//! The connections of one call, one to each place, opened when first needed and kept while they are whole.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::stream::Deadline;
use crate::model::fault::Outcome;

/// A connection.
pub(super) trait Session: Sized {
    /// Why there is none.
    type Unopened;

    /// Connects.
    fn open(place: &Path, deadline: Deadline) -> Result<Self, Self::Unopened>;

    /// Whether the other side has ended it.
    fn is_lost(&self) -> bool;
}

/// The connections of one call.
#[derive(Debug)]
pub(super) struct Sessions<S>(RefCell<BTreeMap<PathBuf, S>>);

impl<S> Default for Sessions<S> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<S: Session> Sessions<S> {
    /// Works with the connection to a place, so many seconds at most. If it breaks, as when the server is restarted, the
    /// work is begun anew once: all work here can be done twice.
    pub(super) fn with<T>(
        &self,
        place: &Path,
        patience: u32,
        work: impl Fn(&mut S, Deadline) -> Outcome<T>,
    ) -> Result<Outcome<T>, S::Unopened> {
        let deadline = Deadline::after(patience);
        let (done, lost) = self.once(place, deadline, &work)?;
        if done.is_err() && lost { Ok(self.once(place, deadline, &work)?.0) } else { Ok(done) }
    }

    /// What came of it, and whether the connection was lost.
    fn once<T>(
        &self,
        place: &Path,
        deadline: Deadline,
        work: impl Fn(&mut S, Deadline) -> Outcome<T>,
    ) -> Result<(Outcome<T>, bool), S::Unopened> {
        let mut open = self.0.borrow_mut();
        let mut session = open.remove(place).map_or_else(|| S::open(place, deadline), Ok)?;
        let done = work(&mut session, deadline);
        let lost = session.is_lost();
        // Answers to what was asked in vain may still come.
        if done.is_ok() {
            open.insert(place.to_owned(), session);
        }
        Ok((done, lost))
    }
}
