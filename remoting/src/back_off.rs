//! When to try again after failures. No I/O.

use std::time::Duration;

use types::Timestamp;

/// First wait after a failure; each further one doubles it.
const WAIT_MIN: Duration = Duration::from_millis(100);
/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(crate) struct BackOff {
    failures: u32,
    failed_at: Timestamp,
}

impl BackOff {
    /// How long it is not to be tried yet. A clock that was set back shortens nothing: it is tried at once then.
    pub(crate) fn wait(&self, now: Timestamp) -> Duration {
        let Some(doublings) = self.failures.checked_sub(1) else { return Duration::ZERO };
        let wait = WAIT_MIN.saturating_mul(2_u32.saturating_pow(doublings)).min(WAIT_MAX);
        let passed = u64::try_from(now.0.saturating_sub(self.failed_at.0)).map_or(wait, Duration::from_millis);
        wait.saturating_sub(passed)
    }

    pub(crate) fn failed(&mut self, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        self.failed_at = now;
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_limit_and_end_with_a_success() {
        let mut back_off = BackOff::default();
        let mut waits = Vec::new();
        for _ in 0..9 {
            back_off.failed(Timestamp(1000));
            waits.push(back_off.wait(Timestamp(1000)).as_millis());
        }
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(back_off.wait(Timestamp(10_999)), Duration::from_millis(1));
        assert_eq!(back_off.wait(Timestamp(11_000)), Duration::ZERO);
        assert_eq!(back_off.wait(Timestamp(0)), Duration::ZERO, "the clock was set back");
        back_off.succeeded();
        assert_eq!(back_off.wait(Timestamp(1000)), Duration::ZERO);
    }
}
