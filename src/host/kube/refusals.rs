//! That the API server does not know who asks: told by whoever hears it, to the one who can do something about it.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A bell that rings where a login is refused, or no trusted connection is made.
#[derive(Debug, Default)]
pub struct Refusals {
    told: Mutex<bool>,
    bell: Condvar,
}

impl Refusals {
    pub(super) fn tell(&self) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.bell.notify_all();
    }

    /// Waits until one is told, or the time is over; whether one was since the last time.
    pub fn wait(&self, limit: Duration) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.bell.wait_timeout_while(told, limit, |told| !*told);
        let (mut told, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_before_is_heard_once() {
        let refusals = Refusals::default();
        refusals.tell();

        assert!(refusals.wait(Duration::ZERO));
        assert!(!refusals.wait(Duration::ZERO));
    }
}
