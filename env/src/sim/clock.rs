//! The simulated clock: tokio's stopped time, and a wall clock that may be wrong.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use types::Timestamp;

use crate::clock::{BoxFuture, Clock, Moment};

/// What the wall clock shows when a run begins.
const BEGIN: Timestamp = Timestamp(1_767_225_600_000);

/// Time that passes only when every task waits, and then jumps to the next timer.
pub struct SimClock {
    begin: Instant,
    /// How far the wall clock is ahead of the true time.
    skew_ms: AtomicI64,
}

impl SimClock {
    /// A clock that is right; made inside a runtime whose time is paused.
    pub(super) fn new() -> Self {
        Self { begin: Instant::now(), skew_ms: AtomicI64::new(0) }
    }

    /// The clock of another machine: time passes there as here, and its wall clock is right.
    pub(super) fn another(&self) -> Self {
        Self { begin: self.begin, skew_ms: AtomicI64::new(0) }
    }

    /// Sets how far the wall clock is ahead of the true time, or behind; a step of the clock when it was different.
    pub fn set_skew_ms(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }

    /// The true time, whatever the wall clock shows.
    #[must_use]
    pub fn true_now(&self) -> Timestamp {
        BEGIN.plus(self.begin.elapsed())
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.true_now().0.saturating_add(self.skew_ms.load(Ordering::Relaxed)))
    }

    fn moment(&self) -> Moment {
        Moment(self.begin.elapsed())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the seam that the rule points to")]
    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
