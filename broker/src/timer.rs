//! The timer machine: delayed messages that wait in the log, in the order in which they are due.
//!
//! A plain value: the records of the wheel topic put entries in, outcomes (the delivered copy, a recall) take them out,
//! the time is passed in. Not here: reading records and making copies (`copy`).
//! Source of topic and properties: Apache `TimerMessageStore`, `HookUtils.transformTimerMessage`.

use std::collections::BTreeMap;
use std::ops::Bound;

use types::{PhysicalOffset, Timestamp};

use crate::codec::{Input, Malformed, put_time, put_u64};

pub mod due;
pub mod recall;

/// The system topic that keeps delayed messages, in its queue 0. Source: Apache `TimerMessageStore.TIMER_TOPIC`.
pub const WHEEL_TOPIC: &str = "rmq_sys_wheel_timer";

/// Messages that wait for their time; about 56 bytes an entry, the B-tree's slack included.
///
/// Bounded by [`Timer::PENDING_MAX`]: beyond it the engine refuses to store another delayed message.
///
/// Invariant: an entry is either pending or being delivered, never both.
#[derive(Clone, Debug, Default)]
pub struct Timer {
    pending: BTreeMap<Key, Waiting>,
    /// Reserved outcomes: their copies are being made. Memory only: after a restart they are pending again.
    delivering: BTreeMap<Key, Waiting>,
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

/// A message that waits although no record of the wheel topic says so in our way, as it is journaled.
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

impl Timer {
    /// Most messages that may wait: 56 MiB of entries.
    pub const PENDING_MAX: usize = 1_000_000;

    /// How many messages wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len() + self.delivering.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no other message may wait.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= Self::PENDING_MAX
    }

    /// A record of the wheel topic was stored.
    pub fn stored(&mut self, due: Timestamp, offset: PhysicalOffset, record_bytes: u32, identity: u64) {
        self.pending.insert((due, offset), Waiting { record_bytes, identity });
    }

    /// The message was delivered or recalled; says whether it waited.
    pub fn finished(&mut self, due: Timestamp, offset: PhysicalOffset) -> bool {
        let key = (due, offset);
        self.delivering.remove(&key).or_else(|| self.pending.remove(&key)).is_some()
    }

    /// When the next message is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.pending.first_key_value().map(|((due, _), _)| *due)
    }

    /// Reserves the outcome of one message that is due at `now`; call until `None`.
    pub fn reserve_due(&mut self, now: Timestamp) -> Option<Due> {
        let entry = self.pending.first_entry()?;
        let (due, offset) = *entry.key();
        if due > now {
            return None;
        }
        let waiting = entry.remove();
        self.delivering.insert((due, offset), waiting);
        Some(Due { due, offset, record_bytes: waiting.record_bytes })
    }

    /// Gives a reservation back: its copy could not be stored.
    pub fn release(&mut self, due: Timestamp, offset: PhysicalOffset) {
        if let Some(waiting) = self.delivering.remove(&(due, offset)) {
            self.pending.insert((due, offset), waiting);
        }
    }

    /// The waiting message with this due time and identity. One whose delivery has begun is not found.
    ///
    /// Looks at all messages that are due in the same millisecond.
    #[must_use]
    pub fn find(&self, due: Timestamp, identity: u64) -> Option<PhysicalOffset> {
        let same_time = self.pending.range((due, PhysicalOffset(0))..=(due, PhysicalOffset(u64::MAX)));
        same_time.filter(|(_, waiting)| waiting.identity == identity).map(|((_, offset), _)| *offset).next()
    }

    /// Whether a message waits and its delivery has not begun.
    #[must_use]
    pub fn is_waiting(&self, due: Timestamp, offset: PhysicalOffset) -> bool {
        self.pending.contains_key(&(due, offset))
    }

    /// Adds waiting messages whose records lie before a position to `found`: looks at `looks_max` at most and finds `found_max`, from behind
    /// `cursor` on, which it moves; whether that were all.
    pub fn find_before(
        &self,
        before: PhysicalOffset,
        cursor: &mut Option<(Timestamp, PhysicalOffset)>,
        looks_max: usize,
        found_max: usize,
        found: &mut Vec<Due>,
    ) -> bool {
        let from = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.pending.range((from, Bound::Unbounded));
        for (looks, (key @ (due, offset), waiting)) in behind.enumerate() {
            if looks == looks_max || found.len() == found_max {
                return false;
            }
            *cursor = Some(*key);
            if *offset < before {
                found.push(Due { due: *due, offset: *offset, record_bytes: waiting.record_bytes });
            }
        }
        true
    }

    /// Messages whose records lie before a position and whose delivery has begun and not ended.
    pub fn delivering_before(&self, before: PhysicalOffset) -> impl Iterator<Item = (Timestamp, PhysicalOffset)> {
        self.delivering.keys().copied().filter(move |(_, offset)| *offset < before)
    }

    /// Writes the whole state; reserved messages count as waiting.
    pub fn snapshot(&self, out: &mut Vec<u8>) {
        put_u64(out, self.len() as u64);
        self.waits().for_each(|waits| waits.encode(out));
    }

    /// All messages that wait, by time and position, reserved or not.
    pub fn waits(&self) -> impl Iterator<Item = Waits> {
        self.in_order().map(|(&(due, offset), &Waiting { record_bytes, identity })| Waits {
            due,
            offset,
            record_bytes,
            identity,
        })
    }

    /// All entries by time and position, reserved or not.
    fn in_order(&self) -> impl Iterator<Item = (&Key, &Waiting)> {
        let (mut pending, mut delivering) = (self.pending.iter().peekable(), self.delivering.iter().peekable());
        std::iter::from_fn(move || match (pending.peek(), delivering.peek()) {
            (Some((first, _)), Some((second, _))) if first > second => delivering.next(),
            (None, _) => delivering.next(),
            (Some(_), _) => pending.next(),
        })
    }

    /// Reads what [`Timer::snapshot`] wrote.
    pub(crate) fn restore(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let mut timer = Self::default();
        for _ in 0..input.count()? {
            let Waits { due, offset, record_bytes, identity } = Waits::decode(input)?;
            timer.stored(due, offset, record_bytes, identity);
        }
        Ok(timer)
    }
}

impl PartialEq for Timer {
    /// Equal in what survives: reservations count as waiting.
    fn eq(&self, other: &Self) -> bool {
        self.in_order().eq(other.in_order())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: fn(i64) -> Timestamp = Timestamp;

    fn due(due: i64, offset: u64) -> Due {
        Due { due: AT(due), offset: PhysicalOffset(offset), record_bytes: 100 }
    }

    fn timer(entries: &[(i64, u64)]) -> Timer {
        let mut timer = Timer::default();
        for (due, offset) in entries {
            timer.stored(AT(*due), PhysicalOffset(*offset), 100, *offset);
        }
        timer
    }

    #[test]
    fn messages_come_when_due_and_in_stored_order() {
        let mut timer = timer(&[(20, 1), (10, 3), (10, 2)]);
        assert_eq!(timer.next_deadline(), Some(AT(10)));
        assert_eq!(timer.reserve_due(AT(9)), None);
        assert_eq!(timer.reserve_due(AT(10)), Some(due(10, 2)));
        assert_eq!(timer.reserve_due(AT(10)), Some(due(10, 3)));
        assert_eq!(timer.reserve_due(AT(10)), None);
        assert_eq!(timer.len(), 3);
        assert!(timer.finished(AT(10), PhysicalOffset(2)));
        assert!(!timer.finished(AT(10), PhysicalOffset(2)));
        assert_eq!(timer.len(), 2);
    }

    #[test]
    fn a_released_reservation_is_due_again() {
        let mut timer = timer(&[(10, 1)]);
        assert_eq!(timer.reserve_due(AT(10)), Some(due(10, 1)));
        timer.release(AT(10), PhysicalOffset(1));
        assert_eq!(timer.reserve_due(AT(10)), Some(due(10, 1)));
    }

    #[test]
    fn only_what_still_waits_is_found() {
        let mut timer = timer(&[(10, 1), (10, 2)]);
        assert_eq!(timer.find(AT(10), 2), Some(PhysicalOffset(2)));
        assert_eq!(timer.find(AT(11), 2), None);
        assert_eq!(timer.reserve_due(AT(10)), Some(due(10, 1)));
        assert_eq!(timer.find(AT(10), 1), None);
    }

    #[test]
    fn what_lies_before_a_position_is_found_step_by_step() {
        let mut timer = timer(&[(10, 5), (20, 1), (30, 9), (40, 2)]);
        assert!(timer.reserve_due(AT(10)).is_some());
        let (mut cursor, mut found) = (None, Vec::new());
        assert!(!timer.find_before(PhysicalOffset(6), &mut cursor, 2, 9, &mut found));
        assert!(timer.find_before(PhysicalOffset(6), &mut cursor, 2, 9, &mut found));
        assert_eq!(found, [due(20, 1), due(40, 2)]);
        assert_eq!(timer.delivering_before(PhysicalOffset(6)).collect::<Vec<_>>(), [(AT(10), PhysicalOffset(5))]);
        assert!(timer.is_waiting(AT(20), PhysicalOffset(1)) && !timer.is_waiting(AT(10), PhysicalOffset(5)));
    }

    proptest! {
        #[test]
        fn a_snapshot_restores_the_same_state(
            entries in proptest::collection::vec((0i64..50, 0u64..1000), 0..40),
            now in 0i64..50,
        ) {
            let mut timer = timer(&entries);
            timer.reserve_due(AT(now));
            let mut bytes = Vec::new();
            timer.snapshot(&mut bytes);
            prop_assert_eq!(Timer::restore(&mut Input(&bytes)).expect("own snapshot"), timer);
        }

        #[test]
        fn nothing_is_reserved_before_its_time(
            entries in proptest::collection::vec((0i64..50, 0u64..1000), 0..40),
            now in 0i64..50,
        ) {
            let mut timer = timer(&entries);
            while let Some(message) = timer.reserve_due(AT(now)) {
                prop_assert!(message.due <= AT(now));
            }
            prop_assert!(timer.next_deadline().is_none_or(|next| next > AT(now)));
        }
    }
}
