//! Loops that run beside the caller.

use crate::clock::BoxFuture;

/// Starts background work.
pub trait Tasks: Send + Sync {
    /// Runs `work` on a thread of its own, named `name`; it may block in disk calls. In a simulation it is a
    /// task of the one thread there is. The returned future completes when `work` has ended.
    fn spawn_thread(&self, name: &'static str, work: BoxFuture<()>) -> BoxFuture<()>;
}
