//! The last calls of one webhook by this gateway, for people: in memory only.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::views::{Deliveries, DeliveryView};

/// Calls that are kept.
const CALLS_MAX: usize = 100;

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The newest last; held for a push or a copy.
    calls: Mutex<VecDeque<DeliveryView>>,
    is_open: AtomicBool,
}

impl History {
    /// Notes a call, and whether calls are held back after it.
    pub(super) fn add(&self, call: DeliveryView, is_open: bool) {
        let mut calls = self.calls.lock();
        if calls.len() == CALLS_MAX {
            calls.pop_front();
        }
        calls.push_back(call);
        self.is_open.store(is_open, Ordering::Relaxed);
    }

    /// Whether calls were held back after the last one.
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// What people are shown.
    pub(super) fn shown(&self) -> Deliveries {
        let deliveries = self.calls.lock().iter().rev().cloned().collect();
        Deliveries { breaker_open: self.is_open(), deliveries }
    }
}

#[cfg(test)]
mod tests {
    use super::super::views::OutcomeView;
    use super::*;

    #[test]
    fn the_last_hundred_are_kept_newest_first() {
        let history = History::default();
        for n in 0..150 {
            let call = DeliveryView {
                at_ms: n,
                webhook_id: "id".to_owned(),
                attempt: 1,
                messages: 1,
                status: Some(500),
                latency_ms: 1,
                outcome: OutcomeView::Failed,
                error: None,
            };
            history.add(call, n == 149);
        }
        let shown = history.shown();
        let times: Vec<i64> = shown.deliveries.iter().map(|call| call.at_ms).collect();
        assert_eq!((times.len(), times[0], times[99], shown.breaker_open), (100, 149, 50, true));
    }
}
