//! Waiting for what the kernel announces to nobody: a driver's answer, an interface that comes back, an address that gets
//! free.

use std::time::{Duration, Instant};

/// First pause between two looks; each next is half as long again.
const FIRST: Duration = Duration::from_millis(2);
/// Longest pause between two looks.
const LONGEST: Duration = Duration::from_millis(100);

/// Looks again and again, with pauses that grow, until a limit is reached.
pub(super) struct Pace {
    end: Instant,
    pause: Duration,
}

impl Pace {
    /// Looks for at most this long.
    pub(super) fn of(limit: Duration) -> Self {
        Self { end: Instant::now() + limit, pause: FIRST }
    }

    /// Pauses before the next look; `false` if the limit is reached.
    pub(super) fn again(&mut self) -> bool {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        rest(self.pause.min(left));
        self.pause = (self.pause * 3 / 2).min(LONGEST);
        true
    }
}

#[allow(clippy::disallowed_methods, reason = "there is no event to wait for")]
fn rest(pause: Duration) {
    std::thread::sleep(pause);
}
