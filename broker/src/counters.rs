//! What the broker counts: cheap atomics that the engine and the callers write and the metrics read.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that only rise since the start, and levels that go both ways.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) messages_in: Count,
    pub(crate) bytes_in: Count,
    pub(crate) messages_out: Count,
    pub(crate) bytes_out: Count,
    pub(crate) acked: Count,
    pub(crate) dead_lettered: Count,
    pub(crate) lost: Count,
    pub(crate) unreadable: Count,
    pub(crate) moved: Count,
    pub(crate) carried: Count,
    pub(crate) expired_segments: Count,
    pub(crate) expired_lost: Count,
    pub(crate) expired_topics: Count,
    pub(crate) expired_groups: Count,
    pub(crate) log_bytes: Count,
    pub(crate) timers_delivered: Count,
    pub(crate) escaped: Count,
    pub(crate) delivered_twice: Count,
    pub(crate) committed: Count,
    pub(crate) rolled_back: Count,
    pub(crate) parked: Count,
    pub(crate) halves_lost: Count,
    pub(crate) repeated: Count,
    pub(crate) busy: Count,
    pub(crate) waiting: Count,
    pub(crate) timers: Count,
    pub(crate) halves: Count,
    pub(crate) keys: Count,
    pub(crate) in_flight: Count,
    pub(crate) topics: Count,
    pub(crate) groups: Count,
}

/// One number; others may see it a moment late.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, level: usize) {
        self.0.store(level as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A broker's state in numbers, as the metrics export it. Counts are since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Messages stored for producers.
    pub messages_in: u64,
    /// Bytes of their records.
    pub bytes_in: u64,
    /// Messages leased or pulled.
    pub messages_out: u64,
    /// Bytes of their records.
    pub bytes_out: u64,
    /// Messages acked.
    pub acked: u64,
    /// Messages moved to dead-letter topics.
    pub dead_lettered: u64,
    /// Messages given up without a copy in the dead-letter topic, because their record is damaged or too long for one.
    pub lost: u64,
    /// Damaged records that receivers were not given, each time.
    pub unreadable: u64,
    /// Messages moved to retry topics.
    pub moved: u64,
    /// Waiting messages that were appended again because the log's front was about to expire.
    pub carried: u64,
    /// Log segments that have expired.
    pub expired_segments: u64,
    /// Unfinished and waiting messages that have expired with them: they could not be carried forward.
    pub expired_lost: u64,
    /// Topics that first use had made and that were deleted, because they were empty and nobody used them.
    pub expired_topics: u64,
    /// Consumer groups that first use had made and that were deleted, because nobody used them.
    pub expired_groups: u64,
    /// Length of the log's segments, when it was last looked.
    pub log_bytes: u64,
    /// Delayed messages delivered.
    pub timers_delivered: u64,
    /// Delayed messages that this slave has sent to other brokers in its master's stead.
    pub escaped: u64,
    /// Of these, those that may be twice at a broker without idempotency keys; at a master, those that it has delivered too.
    pub delivered_twice: u64,
    /// Transactions committed.
    pub committed: u64,
    /// Transactions rolled back.
    pub rolled_back: u64,
    /// Transactions put aside, because nobody decided.
    pub parked: u64,
    /// Half messages that nobody decided and that were given up, because their records are damaged.
    pub halves_lost: u64,
    /// Messages that were not stored, because they repeat others with the same idempotency key.
    pub repeated: u64,
    /// Requests refused because too much was waiting.
    pub busy: u64,
    /// Receivers that wait for messages now.
    pub waiting: u64,
    /// Commands that wait for the engine now.
    pub queued: u64,
    /// Messages that wait for their time now.
    pub timers_pending: u64,
    /// Half messages that wait for their outcome now.
    pub halves_pending: u64,
    /// Idempotency keys that are known now.
    pub keys_known: u64,
    /// Messages that are leased or wait for their retry time, of all groups, at most a second ago.
    pub in_flight: u64,
    /// Topics now.
    pub topics: u64,
    /// Consumer groups now.
    pub groups: u64,
    /// End of the log in the operating system's hands.
    pub appended_to: u64,
    /// End of the log on the disk.
    pub durable_to: u64,
    /// End of what may be handed out and acknowledged.
    pub visible_to: u64,
    /// End of what as many brokers have as are wanted. Less than `visible_to` while slaves are missing that are waited for.
    pub confirmed_to: u64,
    /// Why the store only refuses, if it does.
    pub failure: Option<String>,
}
