//! Turns: how many plugins run at a time, where many calls are served by one process.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::model::fault::{Fault, FaultKind, Outcome};

/// A number of turns; whoever runs a plugin takes one.
#[derive(Debug)]
pub struct Turns {
    free: Mutex<Free>,
    given_back: Condvar,
}

/// What is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Free {
    turns: usize,
    /// Those of the turns that whoever makes something may have: a quarter, from 4 on, is for the others alone, so that
    /// plugins that hang while they make something do not keep pods from going.
    makers: usize,
    /// Those of these that whoever makes what a pod selected may have: one, from 2 on, is for what the node gives to
    /// every pod, so that plugins that hang for one pod do not keep all others from coming.
    selected: usize,
}

/// What a turn is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To make what the node gives to a pod.
    Making,
    /// To make what a pod selected.
    MakingSelected,
    /// To take something down, or to look.
    Other,
}

/// One turn; it is given back when dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Turns, Purpose);

impl Free {
    fn has_one(&self, purpose: Purpose) -> bool {
        self.turns > 0
            && match purpose {
                Purpose::Making => self.makers > 0,
                Purpose::MakingSelected => self.makers > 0 && self.selected > 0,
                Purpose::Other => true,
            }
    }

    /// The counts that a turn is taken from.
    fn of(&mut self, purpose: Purpose) -> impl Iterator<Item = &mut usize> {
        let makers = (purpose != Purpose::Other).then_some(&mut self.makers);
        let selected = (purpose == Purpose::MakingSelected).then_some(&mut self.selected);
        [Some(&mut self.turns), makers, selected].into_iter().flatten()
    }
}

impl Turns {
    /// So many turns.
    pub fn new(count: usize) -> Self {
        let makers = count - count / 4;
        let free = Free { turns: count, makers, selected: makers.saturating_sub(1).max(1) };
        Self { free: Mutex::new(free), given_back: Condvar::new() }
    }

    /// Takes a turn, waiting for one for at most `limit`.
    ///
    /// # Errors
    /// [`FaultKind::TryLater`]: none became free in time.
    pub(super) fn take(&self, purpose: Purpose, limit: Duration) -> Outcome<Turn<'_>> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.given_back.wait_timeout_while(free, limit, |free| !free.has_one(purpose));
        let (mut free, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !free.has_one(purpose) {
            let what = format!("no plugin could be run within {} s: as many as may run do", limit.as_secs());
            return Err(Fault::new(FaultKind::TryLater, what)
                .remedy("raise \"pluginLimit\", or see which plugin takes so long"));
        }
        free.of(purpose).for_each(|count| *count -= 1);
        Ok(Turn(self, purpose))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.of(self.1).for_each(|count| *count += 1);
        // It may not be for the one who waits longest.
        self.0.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn now(turns: &Turns, purpose: Purpose) -> Outcome<Turn<'_>> {
        turns.take(purpose, Duration::ZERO)
    }

    #[test]
    fn no_more_run_than_there_are_turns_and_a_turn_goes_to_who_waits() {
        let turns = Turns::new(1);
        let first = now(&turns, Purpose::Making).unwrap();
        for purpose in [Purpose::Making, Purpose::Other] {
            assert_eq!(now(&turns, purpose).unwrap_err().kind(), FaultKind::TryLater);
        }

        std::thread::scope(|scope| {
            let second = scope.spawn(|| turns.take(Purpose::Making, LONG).is_ok());
            drop(first);
            assert!(second.join().unwrap());
        });

        assert_eq!(*turns.free.lock().unwrap(), Free { turns: 1, makers: 1, selected: 1 });
    }

    #[test]
    fn whoever_makes_something_leaves_a_quarter_of_the_turns() {
        let turns = Turns::new(4);
        let made: Vec<_> = (0..3).map(|_| now(&turns, Purpose::Making).unwrap()).collect();
        now(&turns, Purpose::Making).unwrap_err();

        let other = now(&turns, Purpose::Other).unwrap();
        now(&turns, Purpose::Other).unwrap_err();
        drop(other);
        now(&turns, Purpose::Making).unwrap_err();

        drop(made);
        let others: Vec<_> = (0..4).map(|_| now(&turns, Purpose::Other).unwrap()).collect();
        now(&turns, Purpose::Making).unwrap_err();
        drop(others);
        assert_eq!(*turns.free.lock().unwrap(), Free { turns: 4, makers: 3, selected: 2 });
    }

    #[test]
    fn what_pods_select_leaves_a_turn_to_what_every_pod_gets() {
        let turns = Turns::new(4);
        let selected: Vec<_> = (0..2).map(|_| now(&turns, Purpose::MakingSelected).unwrap()).collect();
        now(&turns, Purpose::MakingSelected).unwrap_err();

        let nodes = now(&turns, Purpose::Making).unwrap();
        now(&turns, Purpose::Making).unwrap_err();
        drop((selected, nodes));

        let nodes: Vec<_> = (0..3).map(|_| now(&turns, Purpose::Making).unwrap()).collect();
        now(&turns, Purpose::MakingSelected).unwrap_err();
        drop(nodes);
        assert_eq!(*turns.free.lock().unwrap(), Free { turns: 4, makers: 3, selected: 2 });
    }

    #[test]
    fn a_turn_that_is_not_for_one_who_waits_goes_to_another() {
        let turns = Turns::new(4);
        let made: Vec<_> = (0..3).map(|_| now(&turns, Purpose::Making).unwrap()).collect();
        let other = now(&turns, Purpose::Other).unwrap();
        std::thread::scope(|scope| {
            let maker = scope.spawn(|| turns.take(Purpose::Making, LONG).is_ok());
            let second = scope.spawn(|| turns.take(Purpose::Other, LONG).is_ok());
            drop(other);
            assert!(second.join().unwrap());
            drop(made);
            assert!(maker.join().unwrap());
        });
    }
}
