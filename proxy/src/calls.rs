//! How much is going on on one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The calls of a connection that are under way. A hint: the two numbers are not read at the same time.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    open: AtomicUsize,
    /// Those of them that wait for something to come: long polls, telemetry.
    waiting: AtomicUsize,
}

impl Calls {
    /// A call begins; it ends when the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// A call begins to wait; it goes on when the guard is dropped.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    /// Whether several calls are being worked on.
    pub(crate) fn are_many(&self) -> bool {
        self.open.load(Ordering::Relaxed).saturating_sub(self.waiting.load(Ordering::Relaxed)) > 1
    }
}

/// See [`Calls::begin`].
pub(crate) struct Open(Arc<Calls>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// See [`Calls::wait`].
pub(crate) struct Waiting<'a>(&'a Calls);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_wait_are_not_worked_on() {
        let calls = Arc::<Calls>::default();
        let open: Vec<Open> = (0..3).map(|_| calls.begin()).collect();
        assert!(calls.are_many());
        let waiting = [calls.wait(), calls.wait()];
        assert!(!calls.are_many());
        drop(waiting);
        assert!(calls.are_many());
        drop(open);
        assert!(!calls.are_many());
    }
}
