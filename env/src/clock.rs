//! What time it is, and waiting.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use types::Timestamp;

/// A future that a trait object returns.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The wall clock and the passing of time.
pub trait Clock: Send + Sync {
    /// The wall clock, which may jump both ways.
    fn now(&self) -> Timestamp;

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
        let before = tokio::time::Instant::now();
        SystemClock.sleep(Duration::from_secs(3)).await;
        assert_eq!(before.elapsed(), Duration::from_secs(3));
    }
}
