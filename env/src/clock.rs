//! What time it is, and waiting.

use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use types::Timestamp;

/// A future that a trait object returns.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A moment of the time that only passes, whatever the wall clock shows: how long after the clock's begin, which is another one
/// in each process. For what lasts a while and is forgotten with the process; what is stored has a [`Timestamp`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Duration);

impl Moment {
    /// The moment so much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// How long after `earlier`; nothing when it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The wall clock and the passing of time.
pub trait Clock: Send + Sync {
    /// The wall clock, which may jump both ways.
    fn now(&self) -> Timestamp;

    /// How much time has passed, whatever the wall clock does meanwhile. Never goes back.
    fn moment(&self) -> Moment;

    /// Completes after `duration` has passed, whatever the wall clock does meanwhile.
    fn sleep(&self, duration: Duration) -> BoxFuture<()>;
}

/// The machine's clock; sleeping needs a tokio runtime with time enabled.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the seam that the rule points to")]
    fn now(&self) -> Timestamp {
        // A machine whose clock stands before 1970 is one without a clock: time then begins at 0.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::default().plus(since_epoch)
    }

    fn moment(&self) -> Moment {
        static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
        Moment(BEGIN.elapsed())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the seam that the rule points to")]
    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_is_past_the_day_this_was_written() {
        const THAT_DAY: Timestamp = Timestamp(1_767_225_600_000);
        assert!(SystemClock.now() > THAT_DAY);
    }

    #[tokio::test(start_paused = true)]
    async fn sleep_lasts_its_duration() {
        let before = SystemClock.moment();
        SystemClock.sleep(Duration::from_secs(3)).await;
        assert_eq!(SystemClock.moment().since(before), Duration::from_secs(3));
    }
}
