//! Half messages that are appended again, because the log's front with their records is about to expire.

use std::ops::Bound;

use super::*;

impl Transactions {
    /// A half message was stored again at `place`. An op record is owed for the place before. One that is not known was stored
    /// first where the log does not reach any more.
    pub fn stored_again(
        &mut self,
        first: TransactionPosition,
        place: TransactionPosition,
        record_bytes: u32,
        topic: TopicName,
        check_at: Timestamp,
    ) {
        if !self.halves.contains_key(&first.physical_offset) {
            self.stored(first, record_bytes, topic, check_at);
        }
        let before = self.halves[&first.physical_offset].place.queue_offset;
        self.set_place(first.physical_offset, place, record_bytes);
        self.ops_owed.insert(before);
    }

    pub(super) fn set_place(&mut self, first: PhysicalOffset, place: TransactionPosition, record_bytes: u32) {
        let Some(half) = self.halves.get_mut(&first) else { return };
        half.record_bytes = record_bytes;
        let before = std::mem::replace(&mut half.place, place);
        self.by_queue_offset.remove(&before.queue_offset);
        self.by_queue_offset.insert(place.queue_offset, first);
    }

    /// Where the half message is now that was first stored at a position; `None` when none waits that was.
    #[must_use]
    pub fn place(&self, first: PhysicalOffset) -> Option<PhysicalOffset> {
        self.halves.get(&first).map(|half| half.place.physical_offset)
    }

    /// Whether a half message waits where it is said to be, and its outcome is not being stored.
    #[must_use]
    pub fn is_waiting(&self, half: &HalfMessage) -> bool {
        let first = half.position.physical_offset;
        self.halves.get(&first).is_some_and(|known| known.place == half.place) && !self.ending.contains(&first)
    }

    /// Adds half messages whose records lie before a position to `found`: looks at `looks_max` at most and finds
    /// `found_max`, from behind `cursor` on, which it moves; whether that were all.
    pub fn find_before(
        &self,
        before: PhysicalOffset,
        cursor: &mut Option<PhysicalOffset>,
        looks_max: usize,
        found_max: usize,
        found: &mut Vec<HalfMessage>,
    ) -> bool {
        let from = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        for (looks, (offset, half)) in self.halves.range((from, Bound::Unbounded)).enumerate() {
            if looks == looks_max || found.len() == found_max {
                return false;
            }
            *cursor = Some(*offset);
            if half.place.physical_offset < before {
                found.push(half.message(*offset));
            }
        }
        true
    }
}
