//! The timer machine: delayed messages that wait in the log, in the order in which they are due.
//!
//! A plain value: the records of the wheel topic put entries in, outcomes (the delivered copy, a recall) take them out,
//! the time is passed in. The youngest entries and those that are due soon are in memory; all others are sealed, many at a
//! time, into *parts* (`timer/part.rs`), whose files (`timer/run.rs`) are written with the checkpoints and loaded as their time
//! comes near (`timer/spill.rs`). See `docs/decisions/0005-timers-on-disk.md`.
//! Not here: reading records and files, making copies (`copy`).
//! Source of topic and properties: Apache `TimerMessageStore`, `HookUtils.transformTimerMessage`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use store::MachineFile;
use types::{PhysicalOffset, Timestamp};

use crate::codec::{Input, Malformed, put_time, put_u64};
use change::Change;
use part::{Content, Part};
use run::Name;

pub mod change;
pub mod due;
mod part;
pub mod recall;
pub(crate) mod run;
mod snapshot;
pub(crate) mod spill;
mod spilled;
mod verify;

pub(crate) use part::Source;

/// The system topic that keeps delayed messages, in its queue 0. Source: Apache `TimerMessageStore.TIMER_TOPIC`.
pub const WHEEL_TOPIC: &str = "rmq_sys_wheel_timer";

/// How much of what waits is in memory. Nobody sets it but tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Entries that have come since the last part was sealed: with so many the next one is; about 56 bytes each.
    pub young_max: usize,
    /// Entries that are due soon and were sealed: with so many no more are loaded before they are due; about 56 bytes each.
    pub near_max: usize,
    /// Entries that are loaded at once.
    pub load_max: usize,
    /// How long before they are due entries are loaded at the earliest; at the latest it is half of it.
    pub ahead: Duration,
    /// Sealed entries that have ended before their time and are still in files: with so many no more are recalled until the
    /// files are made anew; about 40 bytes each.
    pub gone_max: usize,
    /// Entries in memory, sealed ones that are in no file yet among them: with so many no delayed message is stored.
    pub held_max: usize,
}

impl Default for Bounds {
    /// 8 MB, 4 MB, and 10 MB at most; a file has 4 MB. What is refused is 56 MB.
    fn default() -> Self {
        Self {
            young_max: 131_072,
            near_max: 65_536,
            load_max: 4_096,
            ahead: Duration::from_secs(10),
            gone_max: 262_144,
            held_max: 1_000_000,
        }
    }
}

/// Messages that wait for their time, see [`Bounds`]. Of those in parts only what [`Part`] says is in memory: a few hundred bytes
/// for each [`Bounds::young_max`] of them.
///
/// Invariants: an entry is in one of `near`, `young`, `delivering` and the parts, in a part if [`Part::has`] it. The stretches
/// of the parts follow each other and end at `sealed_to`; `young` has no entries of before, `near` only such.
#[derive(Clone, Debug, Default)]
pub struct Timer {
    near: BTreeMap<Key, Waiting>,
    young: BTreeMap<Key, Waiting>,
    /// Reserved outcomes: their copies are being made. Memory only: after a restart they are pending again.
    delivering: BTreeMap<Key, Waiting>,
    parts: Vec<Part>,
    sealed_to: PhysicalOffset,
    /// What lies before is gone from the log.
    expired_to: PhysicalOffset,
    /// Counts what makes entries useless that were read before.
    epoch: u64,
    /// The latest time that was passed in.
    now: Timestamp,
    bounds: Bounds,
}

/// When an entry is due and where it is: equal times keep the order in which the messages were stored.
type Key = (Timestamp, PhysicalOffset);

/// What else is known of a waiting message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiting {
    record_bytes: u32,
    /// [`recall::identity`] of its topic and unique key.
    identity: u64,
}

/// A message that waits, as it is journaled where no record of the wheel topic says so in our way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// Until when.
    pub due: Timestamp,
    /// Its record, in the wheel topic or one of Apache's delay levels.
    pub offset: PhysicalOffset,
    /// That record's size.
    pub record_bytes: u32,
    /// [`recall::identity`] of its topic and unique key.
    pub identity: u64,
}

impl Waits {
    fn key(&self) -> Key {
        (self.due, self.offset)
    }

    fn of((due, offset): Key, waiting: Waiting) -> Self {
        let Waiting { record_bytes, identity } = waiting;
        Self { due, offset, record_bytes, identity }
    }

    fn waiting(&self) -> Waiting {
        Waiting { record_bytes: self.record_bytes, identity: self.identity }
    }

    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        put_time(out, self.due);
        put_u64(out, self.offset.0);
        put_u64(out, self.record_bytes.into());
        out.extend_from_slice(&self.identity.to_le_bytes());
    }

    pub(crate) fn decode(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let (due, offset, record_bytes) = (input.time()?, input.physical_offset()?, input.u32()?);
        let mut identity = [0; 8];
        for byte in &mut identity {
            *byte = input.u8()?;
        }
        Ok(Self { due, offset, record_bytes, identity: u64::from_le_bytes(identity) })
    }
}

/// A message whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When it was due.
    pub due: Timestamp,
    /// Its record in the wheel topic.
    pub offset: PhysicalOffset,
    /// That record's size.
    pub record_bytes: u32,
}

impl From<Waits> for Due {
    fn from(Waits { due, offset, record_bytes, .. }: Waits) -> Self {
        Self { due, offset, record_bytes }
    }
}

impl Timer {
    /// None waits, and these are the bounds.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// The bounds that were set.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// How many messages wait; about, where some of those in files have ended.
    #[must_use]
    pub fn len(&self) -> usize {
        let spilled: u64 = self.parts.iter().map(Part::len).sum();
        self.near.len() + self.young.len() + self.delivering.len() + usize::try_from(spilled).unwrap_or(usize::MAX)
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no other message may wait: the number of those in memory, if it is too large because files cannot be written.
    #[must_use]
    pub fn is_full(&self) -> Option<usize> {
        let unfiled = |part: &Part| if let Content::Block(entries) = &part.content { entries.len() } else { 0 };
        let held = self.near.len() + self.young.len() + self.parts.iter().map(unfiled).sum::<usize>();
        (held >= self.bounds.held_max).then_some(self.bounds.held_max)
    }

    /// Takes what a record says.
    pub fn change(&mut self, change: Change) {
        match change {
            Change::Stored(waits) => self.stored(waits),
            Change::Finished(due, offset) => self.finished(due, offset),
            Change::Reset => self.reset(),
        }
    }

    /// Goes back to the state in which none waits.
    pub fn reset(&mut self) {
        *self = Self { epoch: self.epoch + 1, ..Self::new(self.bounds) };
    }

    fn stored(&mut self, waits: Waits) {
        let map = if waits.offset < self.sealed_to { &mut self.near } else { &mut self.young };
        map.insert(waits.key(), waits.waiting());
    }

    fn finished(&mut self, due: Timestamp, offset: PhysicalOffset) {
        let key = (due, offset);
        let held = self.delivering.remove(&key).or_else(|| self.near.remove(&key)).or_else(|| self.young.remove(&key));
        if held.is_none()
            && let Some(part) = self.part_of(offset)
            && key >= part.next
        {
            part.gone.insert(key);
        }
    }

    /// When the next message is due that is in memory.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.first().map(|(due, _)| due)
    }

    /// Before which time no message is due that waits or whose delivery has begun; `None` when there is none.
    #[must_use]
    pub fn earliest(&self) -> Option<Timestamp> {
        let delivering = self.delivering.first_key_value().map(|(key, _)| *key);
        let held = self.first().into_iter().chain(delivering);
        held.chain(self.parts.iter().map(|part| part.next)).min().map(|(due, _)| due)
    }

    fn first(&self) -> Option<Key> {
        let firsts = [self.near.first_key_value(), self.young.first_key_value()];
        firsts.into_iter().flatten().map(|(key, _)| *key).min()
    }

    /// Reserves the outcome of one message that is due at `now`; call until `None`.
    pub fn reserve_due(&mut self, now: Timestamp) -> Option<Due> {
        self.now = now;
        let key = self.first().filter(|(due, _)| *due <= now)?;
        let waiting = self.near.remove(&key).or_else(|| self.young.remove(&key))?;
        self.delivering.insert(key, waiting);
        Some(Waits::of(key, waiting).into())
    }

    /// Gives a reservation back: its copy could not be stored.
    pub fn release(&mut self, due: Timestamp, offset: PhysicalOffset) {
        if let Some(waiting) = self.delivering.remove(&(due, offset)) {
            self.stored(Waits::of((due, offset), waiting));
        }
    }

    /// The waiting message in memory with this due time and identity. One whose delivery has begun is not found.
    ///
    /// Looks at all messages that are due in the same millisecond.
    #[must_use]
    pub fn find(&self, due: Timestamp, identity: u64) -> Option<PhysicalOffset> {
        let same_time = (due, PhysicalOffset(0))..=(due, PhysicalOffset(u64::MAX));
        let same_time = self.near.range(same_time.clone()).chain(self.young.range(same_time));
        same_time.filter(|(_, waiting)| waiting.identity == identity).map(|((_, offset), _)| *offset).next()
    }

    /// Whether a message waits, or is being delivered. Of one that is in a file it must be known that it was there.
    #[must_use]
    pub fn has(&self, due: Timestamp, offset: PhysicalOffset) -> bool {
        self.delivering.contains_key(&(due, offset)) || self.is_waiting(due, offset)
    }

    /// Whether a message waits and its delivery has not begun. Of one that is in a file it must be known that it was there.
    #[must_use]
    pub fn is_waiting(&self, due: Timestamp, offset: PhysicalOffset) -> bool {
        let key = (due, offset);
        let is_held = self.near.contains_key(&key) || self.young.contains_key(&key);
        is_held || self.parts.iter().any(|part| part.is_of(offset) && part.has(key)) && offset >= self.expired_to
    }

    /// Adds waiting messages in memory whose records lie before a position to `found`: looks at `looks_max` at most and finds
    /// `found_max`, from behind `cursor` on, which it moves; whether that were all.
    pub fn find_before(
        &self,
        before: PhysicalOffset,
        cursor: &mut Option<(Timestamp, PhysicalOffset)>,
        looks_max: usize,
        found_max: usize,
        found: &mut Vec<Due>,
    ) -> bool {
        let from = (cursor.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let behind = in_order(self.near.range(from), self.young.range(from));
        for (looks, (key, waiting)) in behind.enumerate() {
            if looks == looks_max || found.len() == found_max {
                return false;
            }
            *cursor = Some(*key);
            if key.1 < before {
                found.push(Waits::of(*key, *waiting).into());
            }
        }
        true
    }

    /// Messages whose records lie before a position and whose delivery has begun and not ended.
    pub fn delivering_before(&self, before: PhysicalOffset) -> impl Iterator<Item = (Timestamp, PhysicalOffset)> {
        self.delivering.keys().copied().filter(move |(_, offset)| *offset < before)
    }

    /// All messages in memory that wait, by time and position, reserved or not.
    pub fn held(&self) -> impl Iterator<Item = Waits> {
        let pending = in_order(self.near.iter(), self.young.iter());
        in_order(pending, self.delivering.iter()).map(|(key, waiting)| Waits::of(*key, *waiting))
    }
}

/// Entries of two ordered sequences in their order.
fn in_order<'a>(
    first: impl Iterator<Item = (&'a Key, &'a Waiting)>,
    second: impl Iterator<Item = (&'a Key, &'a Waiting)>,
) -> impl Iterator<Item = (&'a Key, &'a Waiting)> {
    let (mut first, mut second) = (first.peekable(), second.peekable());
    std::iter::from_fn(move || match (first.peek(), second.peek()) {
        (Some((one, _)), Some((other, _))) if one > other => second.next(),
        (None, _) => second.next(),
        (Some(_), _) => first.next(),
    })
}

impl PartialEq for Timer {
    /// Equal in what survives: reservations count as waiting.
    fn eq(&self, other: &Self) -> bool {
        self.held().eq(other.held()) && self.parts == other.parts
    }
}

#[cfg(test)]
mod tests;
