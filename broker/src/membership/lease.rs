//! How long a master may act as one without hearing from the controllers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use env::Clock;
use env::clock::Moment;

/// How long a master acts on one word of the controllers.
pub const LEASE: Duration = Duration::from_secs(2);
/// How long a broker counts as living without a sign of life, as it tells the controllers. One that stands still or is cut off has asked them for
/// the last time no later after its last sign of life than [`SPEAK_EVERY`] and [`SENT_WITHIN`], so its lease is over before they elect another.
pub const SILENT_MAX: Duration = Duration::from_secs(3);
/// How often it gives one. Apache's brokers do each second, and count as living for 10 s (`controllerHeartBeatTimeoutMills`).
pub(super) const SPEAK_EVERY: Duration = Duration::from_millis(500);
/// How long one may take to be on its way.
pub(super) const SENT_WITHIN: Duration = Duration::from_millis(500);
const _: () = assert!(
    LEASE.as_millis() + SPEAK_EVERY.as_millis() + SENT_WITHIN.as_millis() <= SILENT_MAX.as_millis(),
    "a master's lease ends before another is elected"
);

/// A master's lease, over until the epoch has begun and it is extended. Clones are the same. It goes by the time that passes, so that a
/// process that was stopped finds it over.
#[derive(Clone)]
pub struct Lease {
    clock: Arc<dyn Clock>,
    /// Whether it is noted where the epoch begins: before that nothing may be appended in it.
    has_begun: Arc<AtomicBool>,
    /// When it ends, in nanoseconds of the clock's [`Moment`].
    until_ns: Arc<AtomicU64>,
}

impl Lease {
    /// One that is over.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, has_begun: Arc::default(), until_ns: Arc::default() }
    }

    /// The epoch has begun.
    pub(super) fn begin(&self) {
        self.has_begun.store(true, Ordering::Release);
    }

    /// The controllers have answered that this broker is the master, when they were asked at `asked_at`.
    pub fn extend(&self, asked_at: Moment) {
        self.until_ns.fetch_max(nanoseconds(asked_at.plus(LEASE)), Ordering::AcqRel);
    }

    /// From now on it is over, until another epoch begins.
    pub(super) fn end(&self) {
        self.has_begun.store(false, Ordering::Release);
        self.until_ns.store(0, Ordering::Release);
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.has_begun.load(Ordering::Acquire) || self.is_late()
    }

    /// Whether it is over because the controllers were not heard in time, in an epoch that has begun.
    #[must_use]
    pub fn has_run_out(&self) -> bool {
        self.has_begun.load(Ordering::Acquire) && self.is_late()
    }

    fn is_late(&self) -> bool {
        nanoseconds(self.clock.moment()) >= self.until_ns.load(Ordering::Acquire)
    }
}

/// Of 584 years.
fn nanoseconds(moment: Moment) -> u64 {
    u64::try_from(moment.0.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { has_begun, until_ns, .. } = self;
        f.debug_struct("Lease").field("has_begun", has_begun).field("until_ns", until_ns).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use env::sim;

    use super::*;

    #[test]
    fn a_lease_goes_from_when_the_controllers_were_asked() {
        sim::run(1, async |world: sim::World| {
            let clock = world.env().clock;
            let lease = Lease::new(clock.clone());
            let asked_at = clock.moment();
            clock.sleep(LEASE / 2).await;
            lease.extend(asked_at);
            assert!(lease.is_over(), "the epoch has not begun");
            assert!(!lease.has_run_out());
            lease.begin();
            assert!(!lease.is_over() && !lease.has_run_out());
            clock.sleep(LEASE / 2).await;
            assert!(lease.is_over() && lease.has_run_out(), "the way to the controllers and back counts");
            lease.extend(clock.moment());
            lease.extend(asked_at);
            assert!(!lease.is_over(), "an older answer takes nothing back");
            lease.end();
            lease.extend(clock.moment());
            assert!(lease.is_over(), "another epoch has not begun");
        });
    }
}
