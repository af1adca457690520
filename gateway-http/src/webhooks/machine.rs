//! What to do next for one webhook: when to receive and how much, what becomes of a message, when to leave the endpoint alone. A value: time
//! and random numbers come in, decisions go out.
//!
//! Three things hold calls back, each with a type or a field of its own:
//! - the *window*, calls at a time: grows by one for as many delivered calls as it is wide, shrinks with each that fails;
//! - the *pause* that a throttling endpoint asks for, or that grows while it goes on throttling;
//! - the [`breaker`]: too many failures in a row, and only probes are made.

use std::time::Duration;

use env::clock::Moment;
use types::GroupConfig;
use types::broker::Pop;

use super::client::Outcome;
use super::subscription::{CheckUrl, Subscription};
use super::views::{Format, Order};

pub(super) mod breaker;

use breaker::Breaker;

/// Calls at a time in the beginning.
const WINDOW_FIRST: f64 = 4.0;
/// What a failed call leaves of the window.
const AFTER_FAILURE: f64 = 0.9;
/// What a throttled call leaves of the window.
const AFTER_THROTTLE: f64 = 0.5;
/// First and longest pause of an endpoint that throttles without saying how long.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// First and longest pause after a receive that failed.
const RECEIVE_PAUSE_FIRST: Duration = Duration::from_millis(500);
const RECEIVE_PAUSE_MAX: Duration = Duration::from_secs(30);
/// The pause after a receive that brought nothing: whatever made it end at once, it is not asked in a tight loop.
const EMPTY_PAUSE: Duration = Duration::from_millis(50);
/// Calls that a rate may save up, in seconds.
const BURST_SECONDS: f64 = 0.1;

/// What a webhook's owner wants.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// Calls at a time.
    pub(super) calls_max: u32,
    /// Calls a second.
    pub(super) rate: Option<f64>,
    /// Whether messages are taken one by one.
    pub(super) is_ordered: bool,
    /// Whether what is received together is one call.
    pub(super) is_batch: bool,
    /// Waits of the first failures.
    pub(super) retry: Vec<Duration>,
}

impl Pace {
    pub(super) fn of(subscription: &Subscription) -> Self {
        Self {
            calls_max: subscription.endpoint.concurrency,
            rate: subscription.rate,
            is_ordered: subscription.order == Order::Fifo,
            is_batch: subscription.format == Format::JsonBatch,
            retry: subscription.retry.clone(),
        }
    }

    /// Checks come one by one as the broker makes them, which also repeats them.
    pub(super) fn of_checks(check_url: &CheckUrl) -> Self {
        Self {
            calls_max: check_url.endpoint.concurrency,
            rate: None,
            is_ordered: false,
            is_batch: false,
            retry: Vec::new(),
        }
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Lease at most so many messages, and say what came.
    Receive { messages_max: u32 },
    /// Nothing before this moment, or before something happens.
    Wait { until: Option<Moment> },
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settle {
    /// It is finished.
    Ack,
    /// It comes again after so long; `is_attempt` of the group's maximum, if the endpoint was asked to do its work.
    Nack { delay: Duration, is_attempt: bool },
    /// It has failed often enough.
    DeadLetter,
}

/// See the module's head. Invariants: `1 <= window <= calls_max`; at most one receive at a time.
#[derive(Debug)]
pub(super) struct Machine {
    pace: Pace,
    window: f64,
    /// Calls that have begun and whose messages are not settled yet.
    in_flight: u32,
    is_receiving: bool,
    /// Calls that the rate allows, and when that was so.
    tokens: f64,
    tokens_at: Moment,
    /// Until then the endpoint is left alone.
    paused_until: Moment,
    /// Throttled calls since the last that was delivered.
    throttled: u32,
    /// Until then nothing is received.
    receive_after: Moment,
    /// Receives in a row that failed.
    receives_failed: u32,
    breaker: Breaker,
}

impl Machine {
    pub(super) fn new(pace: Pace, now: Moment) -> Self {
        let window = WINDOW_FIRST.min(pace.calls_max.into());
        let mut machine = Self {
            window,
            in_flight: 0,
            is_receiving: false,
            tokens: 0.0,
            tokens_at: now,
            paused_until: now,
            throttled: 0,
            receive_after: now,
            receives_failed: 0,
            breaker: Breaker::default(),
            pace,
        };
        machine.tokens = machine.burst();
        machine
    }

    /// Whether calls are held back by too many failures.
    pub(super) fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// Whether a receive that is under way must not bring anything now.
    pub(super) fn is_held_back(&self, now: Moment) -> bool {
        self.held_until().is_some_and(|until| until > now)
    }

    fn held_until(&self) -> Option<Moment> {
        self.breaker.open_until().max(Some(self.paused_until))
    }

    /// What to do now. A receive that is told counts as begun.
    pub(super) fn next(&mut self, now: Moment) -> Next {
        if self.is_receiving {
            return Next::Wait { until: None };
        }
        let held_until = self.held_until().max(Some(self.receive_after)).filter(|until| *until > now);
        if held_until.is_some() {
            return Next::Wait { until: held_until };
        }
        let free = self.free(now);
        if free == 0 {
            return Next::Wait { until: None };
        }
        let allowed = match self.allowed(now) {
            Ok(allowed) => allowed,
            Err(until) => return Next::Wait { until: Some(until) },
        };
        self.is_receiving = true;
        let messages_max = match (self.pace.is_batch, self.pace.is_ordered) {
            (true, _) => Pop::MESSAGES_MAX,
            (false, true) => 1,
            (false, false) => free.min(allowed).min(Pop::MESSAGES_MAX),
        };
        Next::Receive { messages_max }
    }

    /// Calls that may begin beside those that have.
    fn free(&self, now: Moment) -> u32 {
        let window = if self.breaker.is_probing(now) { 1 } else { self.window as u32 };
        window.saturating_sub(self.in_flight)
    }

    /// Calls that the rate allows, or when it allows the next.
    fn allowed(&mut self, now: Moment) -> Result<u32, Moment> {
        let Some(rate) = self.pace.rate else { return Ok(u32::MAX) };
        self.tokens = (self.tokens + now.since(self.tokens_at).as_secs_f64() * rate).min(self.burst());
        self.tokens_at = now;
        if self.tokens >= 1.0 {
            return Ok(self.tokens as u32);
        }
        // Never at this moment again, however little is missing.
        let wait = Duration::from_secs_f64((1.0 - self.tokens) / rate).max(Duration::from_millis(1));
        Err(now.plus(wait))
    }

    fn burst(&self) -> f64 {
        self.pace.rate.map_or(0.0, |rate| (rate * BURST_SECONDS).max(1.0))
    }

    /// The receive has ended with so many messages. Returns how many calls are made of them, which count as begun.
    pub(super) fn received(&mut self, now: Moment, messages: u32) -> u32 {
        self.is_receiving = false;
        self.receives_failed = 0;
        if messages == 0 {
            self.receive_after = now.plus(EMPTY_PAUSE);
            return 0;
        }
        let calls = if self.pace.is_batch { 1 } else { messages };
        self.in_flight += calls;
        self.tokens -= f64::from(calls);
        calls
    }

    /// The receive has failed.
    pub(super) fn receive_failed(&mut self, now: Moment) {
        self.is_receiving = false;
        self.receive_after = now.plus(doubled(RECEIVE_PAUSE_FIRST, self.receives_failed, RECEIVE_PAUSE_MAX));
        self.receives_failed += 1;
    }

    /// The receive was given up.
    pub(super) fn receive_dropped(&mut self) {
        self.is_receiving = false;
    }

    /// A call has ended. Its messages are still to be settled.
    pub(super) fn ended(&mut self, now: Moment, outcome: Outcome, random: u64) {
        match outcome {
            Outcome::Delivered => {
                self.window = if self.breaker.is_open() { 1.0 } else { self.window + 1.0 / self.window };
                self.throttled = 0;
                self.breaker.succeeded();
            }
            Outcome::Throttled { retry_after, .. } => {
                // Calls that were under way together are told once.
                let is_new = self.paused_until <= now;
                if is_new {
                    self.window *= AFTER_THROTTLE;
                }
                if is_new || retry_after.is_some() {
                    let doubled = || jittered(doubled(PAUSE_FIRST, self.throttled, PAUSE_MAX), random);
                    self.paused_until = self.paused_until.max(now.plus(retry_after.unwrap_or_else(doubled)));
                }
                self.throttled += u32::from(is_new);
                // It answers, so it is there.
                self.breaker.succeeded();
            }
            Outcome::Failed | Outcome::Gone => {
                self.window *= AFTER_FAILURE;
                self.breaker.failed(now, random);
            }
        }
        self.window = self.window.clamp(1.0, self.pace.calls_max.into());
    }

    /// What becomes of a message whose call has [`Machine::ended`] like this; `None` without the settings of its group, where they are needed:
    /// its lease then ends by time, and the group's own retry policy goes on.
    pub(super) fn settle(
        &self,
        now: Moment,
        outcome: Outcome,
        attempt: u32,
        group: Option<&GroupConfig>,
        random: u64,
    ) -> Option<Settle> {
        let group = match outcome {
            Outcome::Delivered => return Some(Settle::Ack),
            // The endpoint did not look at it: it waits as long as the endpoint is left alone.
            Outcome::Throttled { is_attempt: false, .. } => {
                return Some(Settle::Nack { delay: self.paused_until.since(now), is_attempt: false });
            }
            Outcome::Throttled { .. } | Outcome::Failed | Outcome::Gone => group?,
        };
        if attempt >= group.attempts_max {
            return Some(Settle::DeadLetter);
        }
        let failed = attempt.max(1);
        let own = usize::try_from(failed - 1).ok().and_then(|index| self.pace.retry.get(index));
        let skipped = u32::try_from(self.pace.retry.len()).unwrap_or(u32::MAX);
        let delay = own.copied().unwrap_or_else(|| group.retry.delay_after(failed.saturating_sub(skipped)));
        Some(Settle::Nack { delay: jittered(delay, random), is_attempt: true })
    }

    /// All messages of a call are settled.
    pub(super) fn settled(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }
}

/// `first` doubled so many times, at most `max`.
fn doubled(first: Duration, times: u32, max: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times)).min(max)
}

/// Three to five quarters of a duration, so that what failed together does not come together again.
fn jittered(duration: Duration, random: u64) -> Duration {
    let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
    duration.mul_f64(0.75 + share / 2.0)
}

#[cfg(test)]
mod tests;
