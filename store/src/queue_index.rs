//! Where each queue's records are in the log, 20 bytes a record, and which records have which keys (`keys`): derived from
//! the log.
//!
//! Segment-wise: a *block* holds the entries of all queues for one stretch of the log. The youngest block is in memory
//! and grows; at a checkpoint it is sealed and written as an index *run* (`queue_index/run.rs`). So the number of
//! files follows the log's length and not the number of queues. Runs are not merged yet: one stands for 128 MiB of the log
//! (`CHECKPOINT_BYTES_DEFAULT`), so 160 for 20 GiB, and none is kept open. A look-up of an old offset asks each run's
//! directory, which is in memory, a search for a key reads a chunk of 4 KiB in each. A directory has 24 bytes a queue that has
//! entries in it and 8 for 256 keys: with records of 1 KiB and 8 queues 1.3 MB for all 160, with 100,000 queues 384 MB, so
//! there merging would pay. A merged run needs a name that says *from* and *to*, because a checkpoint may still name the first of
//! those that it is made of; that is a new form, to be read by one version before the next writes it (decision 8).

pub(crate) mod expiry;
pub(crate) mod keys;
pub(crate) mod names;
mod recent;
pub(crate) mod run;

use std::num::NonZeroU32;
use std::sync::Arc;

use record::{Hashes, Record};
use types::{PhysicalOffset, QueueId, QueueOffset};

use keys::{Batches, KeySearch, YoungKeys};
use names::Names;
pub(crate) use names::QueueNumber;
use recent::Recent;
use run::Run;

/// A record as the queue index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueEntry {
    /// Its place in the queue.
    pub queue_offset: QueueOffset,
    /// Its place in the log.
    pub physical_offset: PhysicalOffset,
    /// Its length.
    pub record_bytes: u32,
    /// Java's hash of its tag, 0 without one.
    pub tag_hash: i32,
    /// Hash of its message group.
    pub group_hash: Option<NonZeroU32>,
}

/// What a queue holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueRange {
    /// Offset of the first record that the log still has; `next` when there is none.
    pub min: QueueOffset,
    /// Offset of the first record that stays: those before are about to expire, see [`crate::Store::begin_expiry`].
    pub stays_from: QueueOffset,
    /// Offset that the next record gets.
    pub next: QueueOffset,
}

/// Why a queue's entries cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntriesError {
    /// Neither the index nor the log below it can be read.
    #[error("queue index of the log from {from} on cannot be read: {problem}")]
    Unreadable {
        /// The stretch of the log begins here.
        from: PhysicalOffset,
        /// What is wrong.
        problem: String,
    },
}

/// A record's entry without its offset, which its place in a list says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) physical_offset: u64,
    pub(crate) record_bytes: u32,
    pub(crate) tag_hash: i32,
    pub(crate) group_hash: Option<NonZeroU32>,
}

impl Entry {
    pub(crate) fn new(physical_offset: PhysicalOffset, record_bytes: u32, hashes: &Hashes) -> Self {
        let Hashes { tag, group, keys: _ } = hashes;
        Self { physical_offset: physical_offset.0, record_bytes, tag_hash: *tag, group_hash: *group }
    }

    /// The entry of a stored record with these hashes.
    pub(crate) fn of(record: &Record<'_>, hashes: &Hashes) -> Self {
        Self::new(record.header.physical_offset, record.header.record_bytes, hashes)
    }

    fn at(self, queue_offset: u64) -> QueueEntry {
        QueueEntry {
            queue_offset: QueueOffset(queue_offset),
            physical_offset: PhysicalOffset(self.physical_offset),
            record_bytes: self.record_bytes,
            tag_hash: self.tag_hash,
            group_hash: self.group_hash,
        }
    }
}

/// Entries of one queue with consecutive offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) queue: QueueNumber,
    pub(crate) first: u64,
    pub(crate) entries: Vec<Entry>,
}

/// The entries of all queues, by queue number, and the keys for the log from `from` to `to`, sealed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) stretches: Vec<Stretch>,
    pub(crate) keys: Batches,
}

impl Block {
    fn stretch(&self, queue: QueueNumber) -> Option<&Stretch> {
        let index = self.stretches.binary_search_by_key(&queue, |stretch| stretch.queue).ok()?;
        self.stretches.get(index)
    }
}

/// A sealed part of the index: on the disk, or in memory until it is.
#[derive(Clone)]
pub(crate) enum Part {
    Run(Arc<Run>),
    Block(Arc<Block>),
}

impl Part {
    pub(crate) fn from(&self) -> u64 {
        match self {
            Self::Run(run) => run.from,
            Self::Block(block) => block.from,
        }
    }

    pub(crate) fn to(&self) -> u64 {
        match self {
            Self::Run(run) => run.to,
            Self::Block(block) => block.to,
        }
    }

    /// First offset and number of the queue's entries here.
    fn range(&self, queue: QueueNumber) -> Option<(u64, u64)> {
        match self {
            Self::Run(run) => run.range(queue),
            Self::Block(block) => block.stretch(queue).map(|s| (s.first, s.entries.len() as u64)),
        }
    }
}

/// A queue and its youngest entries.
#[derive(Debug)]
struct Queue {
    min: u64,
    /// Its first offset once the expiry that has begun is done; 0 when none has.
    stays_from: u64,
    next: u64,
    /// Entries of the youngest block; the last has offset `next - 1`.
    young: Vec<Entry>,
    /// For how many entries the next block makes room at once: a little more than the last one had.
    room: u32,
}

impl Queue {
    fn new(min: u64, next: u64) -> Self {
        Self { min, stays_from: 0, next, young: Vec::new(), room: 0 }
    }
}

/// Most entries for which a queue makes room at once.
const ROOM_ENTRIES_MAX: usize = 16 * 1024;

/// A queue as a checkpoint keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SavedQueue<'a> {
    pub(crate) topic: &'a str,
    pub(crate) queue: QueueId,
    pub(crate) min: u64,
    pub(crate) next: u64,
}

/// Why a look-up found less than the index should hold.
pub(crate) enum Miss {
    /// The run for this stretch of the log cannot be read or is damaged.
    Damaged { from: u64, to: u64, problem: String },
}

/// All queues. Invariants: `parts` and the youngest block cover the log from its first byte to its end, in order and
/// without overlap; a queue's entries are consecutive over them from `min` to `next`. The oldest part may hold entries
/// before `min`, whose records have expired.
pub(crate) struct QueueIndex {
    names: Names,
    queues: Vec<Queue>,
    parts: Vec<Part>,
    /// Where the youngest block begins.
    young_from: u64,
    /// Queues with entries in the youngest block.
    active: Vec<QueueNumber>,
    /// The youngest block's keys.
    keys: YoungKeys,
    /// What look-ups in runs ended with.
    recent: Recent,
}

impl QueueIndex {
    pub(crate) fn new(from: u64) -> Self {
        Self {
            names: Names::default(),
            queues: Vec::new(),
            parts: Vec::new(),
            young_from: from,
            active: Vec::new(),
            keys: YoungKeys::default(),
            recent: Recent::default(),
        }
    }

    /// The index as a checkpoint at `at` has it.
    /// Its parts are pushed next.
    pub(crate) fn restore<'a>(at: u64, saved: impl Iterator<Item = SavedQueue<'a>>) -> Self {
        let mut index = Self::new(at);
        for SavedQueue { topic, queue, min, next } in saved {
            index.names.intern(topic, queue);
            index.queues.push(Queue::new(min, next));
        }
        index
    }

    /// Number of a queue, if it ever had a record.
    pub(crate) fn find(&self, topic: &str, queue: QueueId) -> Option<QueueNumber> {
        self.names.find(topic, queue)
    }

    /// Number of a queue that is about to get a record.
    pub(crate) fn intern(&mut self, topic: &str, queue: QueueId) -> QueueNumber {
        let number = self.names.intern(topic, queue);
        if number.index() == self.queues.len() {
            self.queues.push(Queue::new(0, 0));
        }
        number
    }

    pub(crate) fn range(&self, number: QueueNumber) -> QueueRange {
        let queue = &self.queues[number.index()];
        let stays_from = QueueOffset(queue.min.max(queue.stays_from));
        QueueRange { min: QueueOffset(queue.min), stays_from, next: QueueOffset(queue.next) }
    }

    /// Adds the queue's next entry, and the keys of its record.
    pub(crate) fn push(&mut self, number: QueueNumber, entry: Entry, keys: &[u64]) {
        self.extend(number, std::iter::once((entry, keys)));
    }

    /// Adds the queue's next entries, each with the keys of its record.
    pub(crate) fn extend<'a>(
        &mut self,
        number: QueueNumber,
        entries: impl ExactSizeIterator<Item = (Entry, &'a [u64])>,
    ) {
        let queue = &mut self.queues[number.index()];
        if queue.young.is_empty() {
            self.active.push(number);
            queue.young.reserve(queue.room as usize);
        }
        queue.next += entries.len() as u64;
        for (entry, keys) in entries {
            self.keys.push(keys, entry.physical_offset);
            queue.young.push(entry);
        }
    }

    /// Says that the queue begins at `offset`: the log's first record of it is the one there.
    pub(crate) fn begin_at(&mut self, number: QueueNumber, offset: QueueOffset) {
        let queue = &mut self.queues[number.index()];
        assert_eq!(queue.next, queue.min, "a queue begins only once");
        queue.min = offset.0;
        queue.next = offset.0;
    }

    /// All queues in the order of their numbers.
    pub(crate) fn saved(&self) -> impl ExactSizeIterator<Item = SavedQueue<'_>> {
        self.names.iter().zip(&self.queues).map(|((topic, queue), state)| SavedQueue {
            topic,
            queue,
            min: state.min,
            next: state.next,
        })
    }

    /// All queues' numbers.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = QueueNumber> + use<> {
        (0..self.queues.len() as u32).map(QueueNumber)
    }

    /// Where a queue's offsets in a stretch of the log begin, by the parts before it, and end, by what is behind; parts that begin at
    /// one of `unmade` say nothing, so the end may not be known.
    pub(crate) fn around(
        &self,
        number: QueueNumber,
        stretch: &std::ops::Range<u64>,
        unmade: &[u64],
    ) -> (u64, Option<u64>) {
        let queue = &self.queues[number.index()];
        let range = |part: &Part| part.range(number).map(|(first, count)| (part.from(), first, first + count));
        let before = self.parts.iter().rev().filter(|part| part.from() < stretch.start).find_map(range);
        let behind = self.parts.iter().filter(|part| part.from() >= stretch.end).find_map(range);
        let (at, end) = behind.map_or((u64::MAX, queue.next - queue.young.len() as u64), |(at, first, _)| (at, first));
        let is_known = !unmade.iter().any(|from| *from >= stretch.end && *from < at);
        (before.map_or(queue.min, |(.., end)| end), is_known.then_some(end))
    }

    /// Where the youngest block begins.
    pub(crate) fn young_from(&self) -> u64 {
        self.young_from
    }

    /// Seals the youngest block at `to`; the next begins there. Its entries are moved, not copied.
    pub(crate) fn seal(&mut self, to: u64) {
        if to == self.young_from {
            return;
        }
        self.active.sort_unstable();
        let mut stretches = Vec::with_capacity(self.active.len());
        for queue in self.active.drain(..) {
            let state = &mut self.queues[queue.index()];
            let entries = std::mem::take(&mut state.young);
            state.room = ROOM_ENTRIES_MAX.min(entries.len() + entries.len() / 8) as u32;
            stretches.push(Stretch { queue, first: state.next - entries.len() as u64, entries });
        }
        let block = Block { from: self.young_from, to, stretches, keys: self.keys.seal() };
        self.parts.push(Part::Block(Arc::new(block)));
        self.young_from = to;
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Adds a part of a checkpoint, in order.
    pub(crate) fn push_part(&mut self, part: Part) {
        self.parts.push(part);
    }

    /// Puts another form of the same part in its place.
    pub(crate) fn replace_part(&mut self, part: Part) {
        self.recent.forget(part.from());
        if let Some(old) = self.parts.iter_mut().find(|old| old.from() == part.from()) {
            *old = part;
        }
    }

    /// Gives `take` the queue's entries from `from` on, at most `max`, until it says `false`. Before a [`Miss`] it may
    /// have been given some.
    pub(crate) fn read(
        &mut self,
        number: QueueNumber,
        from: u64,
        max: usize,
        mut take: impl FnMut(QueueEntry) -> bool,
    ) -> Result<(), Miss> {
        let queue = &self.queues[number.index()];
        let (mut from, end) = (from, queue.next.min(from.saturating_add(max as u64)));
        if from < queue.min {
            return Ok(());
        }
        let young_first = queue.next - queue.young.len() as u64;
        if from < young_first {
            for (part, range) in self.parts_from(number, from) {
                let to = (range.0 + range.1).min(end);
                if from >= to {
                    break;
                }
                if !self.read_part(number, part, from..to, &mut take)? {
                    return Ok(());
                }
                from = to;
            }
        }
        if from < young_first {
            return Ok(());
        }
        let young = self.queues[number.index()].young.iter().zip(young_first..).skip((from - young_first) as usize);
        for (entry, offset) in young.take_while(|(_, offset)| *offset < end) {
            if !take(entry.at(offset)) {
                break;
            }
        }
        Ok(())
    }

    /// Begins a search for the records that have a key of this hash.
    pub(crate) fn search_keys(&self, hash: u64) -> KeySearch {
        KeySearch::new(hash, &self.keys, self.young_from, &self.parts)
    }

    /// The parts that hold entries of the queue from `from` on, in order: found from the newest backwards, because
    /// that is where readers are.
    fn parts_from(&self, number: QueueNumber, from: u64) -> Vec<(usize, (u64, u64))> {
        let mut found = Vec::new();
        for (index, part) in self.parts.iter().enumerate().rev() {
            let Some(range) = part.range(number) else { continue };
            if range.0 + range.1 <= from {
                break;
            }
            found.push((index, range));
            if range.0 <= from {
                break;
            }
        }
        found.reverse();
        found
    }

    /// Reads offsets of one part; `false` when `take` has had enough.
    fn read_part(
        &mut self,
        number: QueueNumber,
        index: usize,
        offsets: std::ops::Range<u64>,
        take: &mut impl FnMut(QueueEntry) -> bool,
    ) -> Result<bool, Miss> {
        match &self.parts[index] {
            Part::Block(block) => {
                let Some(stretch) = block.stretch(number) else { return Ok(true) };
                let (start, end) = ((offsets.start - stretch.first) as usize, (offsets.end - stretch.first) as usize);
                Ok(stretch.entries[start..end].iter().zip(offsets).all(|(entry, offset)| take(entry.at(offset))))
            }
            Part::Run(run) => {
                let damaged = |problem| Miss::Damaged { from: run.from, to: run.to, problem };
                self.recent.read(run, number, offsets, take).map_err(damaged)
            }
        }
    }
}

#[cfg(test)]
mod tests;
