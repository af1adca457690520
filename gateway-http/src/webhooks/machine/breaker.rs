//! Leaves an endpoint alone that fails again and again, and finds out by single calls whether it is back.

use std::time::Duration;

use env::clock::Moment;

use super::{doubled, jittered};

/// Failed calls in a row that open it.
const FAILURES_MAX: u32 = 10;
/// How long it stays open for the first time, and at most.
const OPEN_FIRST: Duration = Duration::from_secs(5);
const OPEN_MAX: Duration = Duration::from_secs(300);

/// Closed with few failures in a row; open until a moment; from then on it lets single calls through, until one says how it is.
#[derive(Debug, Default)]
pub(in crate::webhooks) struct Breaker {
    failures: u32,
    /// `None` when closed.
    open_until: Option<Moment>,
    /// How often it was opened since it was closed last.
    opened: u32,
}

impl Breaker {
    pub(super) fn is_open(&self) -> bool {
        self.open_until.is_some()
    }

    pub(super) fn open_until(&self) -> Option<Moment> {
        self.open_until
    }

    /// Whether single calls shall find out how it is.
    pub(super) fn is_probing(&self, now: Moment) -> bool {
        self.open_until.is_some_and(|until| until <= now)
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Calls that began before it was opened, and fail while it is open, say nothing new.
    pub(super) fn failed(&mut self, now: Moment, random: u64) {
        self.failures = self.failures.saturating_add(1);
        let is_open = self.open_until.is_some_and(|until| until > now);
        if is_open || self.failures < FAILURES_MAX {
            return;
        }
        self.open_until = Some(now.plus(jittered(doubled(OPEN_FIRST, self.opened, OPEN_MAX), random)));
        self.opened = self.opened.saturating_add(1);
    }
}
