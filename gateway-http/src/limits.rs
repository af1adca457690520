//! What clients of the HTTP port may use up, and the counters behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Limits of the HTTP port, each a bound on memory or on time. An operator may set the first four.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest body of one request that sends messages, in bytes.
    pub request_bytes_max: usize,
    /// How long the body of such a request may take to come.
    pub request_timeout: Duration,
    /// Bytes of bodies of requests that have begun and not ended, of all connections together.
    pub inbound_bytes_max: usize,
    /// Bytes of messages that were popped and that their clients have not taken yet, of all connections together.
    pub undelivered_bytes_max: usize,
    /// What a message may be, as gRPC has it.
    pub messages: proxy::Limits,
}

impl Limits {
    /// Messages of one answer: after so many bytes no further one is put into it.
    pub const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: 8 * 1024 * 1024,
            request_timeout: Duration::from_secs(30),
            inbound_bytes_max: 256 * 1024 * 1024,
            undelivered_bytes_max: 256 * 1024 * 1024,
            messages: proxy::Limits::default(),
        }
    }
}

/// Bytes in use, under a bound.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max })
    }

    /// The bound.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Whether the bound is reached.
    pub(crate) fn is_used_up(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.max
    }

    /// What is left.
    pub(crate) fn free(&self) -> usize {
        self.max.saturating_sub(self.used.load(Ordering::Relaxed))
    }

    /// A share of nothing, to be enlarged.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }
}

/// Bytes that are in use as long as this lives.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    /// Adds bytes, unless the bound is reached; says whether.
    pub(crate) fn try_add(&mut self, bytes: usize) -> bool {
        let before = self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.budget.max {
            self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.bytes += bytes;
        true
    }

    /// Adds bytes unless the bound is reached already, so that the last ones may pass it; says whether. For what has no other
    /// way than being taken whole.
    pub(crate) fn try_add_last(&mut self, bytes: usize) -> bool {
        let before = self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        if before >= self.budget.max {
            self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.bytes += bytes;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back_and_never_pass_the_bound() {
        let budget = Budget::new(10);
        let mut first = budget.share();
        assert!(first.try_add(6) && !first.try_add(5) && first.try_add(4));
        assert!(budget.is_used_up() && !budget.share().try_add(1));
        drop(first);
        assert!(budget.share().try_add(10));
        let mut last = budget.share();
        assert!(last.try_add_last(11) && budget.is_used_up());
        assert!(!budget.share().try_add_last(1));
        drop(last);
        assert!(budget.share().try_add(10));
    }
}
