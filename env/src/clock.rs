//! What time it is, and waiting.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

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
