//! Turns: how many plugins run at a time, where many calls are served by one process.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::model::fault::{Fault, FaultKind, Outcome};

/// A number of turns; whoever runs a plugin takes one.
#[derive(Debug)]
pub struct Turns {
    free: Mutex<usize>,
    given_back: Condvar,
}

/// One turn; it is given back when dropped.
#[derive(Debug)]
pub struct Turn<'a>(&'a Turns);

impl Turns {
    /// So many turns.
    pub fn new(count: usize) -> Self {
        Self { free: Mutex::new(count), given_back: Condvar::new() }
    }

    /// Takes a turn, waiting for one for at most `limit`.
    ///
    /// # Errors
    /// [`FaultKind::TryLater`]: none became free in time.
    pub fn take(&self, limit: Duration) -> Outcome<Turn<'_>> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.given_back.wait_timeout_while(free, limit, |free| *free == 0);
        let (mut free, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *free == 0 {
            let what = format!("no plugin could be run within {} s: as many as may run do", limit.as_secs());
            return Err(Fault::new(FaultKind::TryLater, what)
                .remedy("raise \"pluginLimit\", or see which plugin takes so long"));
        }
        *free -= 1;
        Ok(Turn(self))
    }

    /// How many are free now.
    pub fn free(&self) -> usize {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.given_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_run_than_there_are_turns_and_a_turn_goes_to_who_waits() {
        let turns = Turns::new(1);
        let first = turns.take(Duration::ZERO).unwrap();
        assert_eq!(turns.take(Duration::ZERO).unwrap_err().kind(), FaultKind::TryLater);

        std::thread::scope(|scope| {
            let second = scope.spawn(|| turns.take(Duration::from_secs(60)).is_ok());
            drop(first);
            assert!(second.join().unwrap());
        });

        assert_eq!(turns.free(), 1);
    }
}
