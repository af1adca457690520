//! What was appended, in the log's order, and what must survive a death.

use bytes::Bytes;
use record::Record;
use types::{PhysicalOffset, QueueId, QueueOffset, Timestamp};

use crate::report::Violation;

const ID_BYTES: usize = 8;

/// A record that was appended.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Index of its topic.
    pub topic: usize,
    /// Its queue.
    pub queue: QueueId,
    /// Its place in the queue.
    pub queue_offset: QueueOffset,
    /// Its place in the log.
    pub physical_offset: PhysicalOffset,
    /// Its length.
    pub record_bytes: u32,
    /// The number that its body begins with.
    pub id: u64,
    /// When it was written, by the true clock.
    pub written_at: Option<Timestamp>,
    /// The tally up to and with it.
    pub chain: u64,
}

impl Entry {
    /// Whether this is the record.
    #[must_use]
    pub fn is(&self, record: &Record<'_>) -> bool {
        let header = &record.header;
        let place = (header.queue, header.queue_offset, header.physical_offset, header.record_bytes);
        place == (self.queue, self.queue_offset, self.physical_offset, self.record_bytes)
            && *record.body == Self::body(self.id, record.body.len().saturating_sub(ID_BYTES))
    }

    /// The body that belongs to a number: the number, then bytes that follow from it.
    pub(super) fn body(id: u64, bytes: usize) -> Bytes {
        let mut rng = fastrand::Rng::with_seed(id);
        let mut body = id.to_be_bytes().to_vec();
        body.extend(std::iter::repeat_with(|| rng.u8(..)).take(bytes));
        Bytes::from(body)
    }
}

/// What a store said of itself.
#[derive(Clone, Copy, Debug)]
pub struct Promised {
    /// Written up to here.
    pub appended_to: PhysicalOffset,
    /// Durable up to here.
    pub durable_to: PhysicalOffset,
    /// Nothing more will be written or become durable.
    pub has_failed: bool,
}

/// The log as it should be.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Vec<Entry>,
    /// Entries whose appends were answered.
    acknowledged: usize,
    acknowledged_ever: u64,
    /// Entries that survive even a power loss. Invariant: `durable <= floor`.
    durable: usize,
    /// Entries that the next life must find.
    floor: usize,
    violation: Option<Violation>,
}

impl Ledger {
    /// All entries, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many entries were acknowledged, from the first on.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// How many entries the next life must find.
    #[must_use]
    pub fn floor(&self) -> usize {
        self.floor
    }

    /// How many entries lie before a position.
    #[must_use]
    pub fn count_before(&self, end: PhysicalOffset) -> usize {
        let is_before = |entry: &Entry| entry.physical_offset.plus(u64::from(entry.record_bytes)) <= end;
        self.entries.partition_point(is_before)
    }

    /// How many entries survive any death, as far as was known before this one.
    #[must_use]
    pub fn durable(&self) -> usize {
        self.durable
    }

    /// Notes how many entries are durable, and how many the next life must find.
    pub fn after_death(&mut self, durable: usize, floor: usize) {
        self.durable = durable;
        self.floor = floor;
    }

    pub(super) fn appended(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Notes the tally after the `count`-th entry; returns where that entry is.
    pub fn note_chain(&mut self, count: u64, chain: u64) -> Option<PhysicalOffset> {
        let index = usize::try_from(count).ok()?.checked_sub(1)?;
        let entry = self.entries.get_mut(index)?;
        entry.chain = chain;
        Some(entry.physical_offset)
    }

    /// All that was appended is written.
    pub(super) fn written(&mut self, now: Timestamp) {
        let is_new = |entry: &&mut Entry| entry.written_at.is_none();
        self.entries.iter_mut().rev().take_while(is_new).for_each(|entry| entry.written_at = Some(now));
    }

    /// The first `count` entries are answered.
    pub(super) fn acknowledge(&mut self, count: usize) {
        self.acknowledged_ever += (count - self.acknowledged) as u64;
        self.acknowledged = count;
    }

    pub(super) fn acknowledged_ever(&self) -> u64 {
        self.acknowledged_ever
    }

    /// A life has found the first `count` entries, which are durable now. Returns how many are gone.
    pub(super) fn recovered(&mut self, count: u64) -> u64 {
        let count = usize::try_from(count).expect("a run fits in memory");
        let lost = self.entries.len() - count;
        self.entries.truncate(count);
        (self.acknowledged, self.durable, self.floor) = (count, count, count);
        lost as u64
    }

    /// The store was closed in order: everything must be found.
    pub(super) fn closed(&mut self) {
        let count = self.entries.len();
        self.after_death(count, count);
    }

    /// Keeps the first violation, found by the engine.
    pub(super) fn violated(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    pub(super) fn take_violation(&mut self) -> Result<(), Violation> {
        self.violation.take().map_or(Ok(()), Err)
    }
}
