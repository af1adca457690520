//! Stretches of the log that were read ahead, for readers that go on where the last read ended.
//!
//! Only who goes on pays for it: a read that begins where none ended a moment ago is read as it is asked for. Bytes below the log's
//! end never change, so what is kept never goes stale; it is refused once it has expired, and each record is checked
//! as one that comes from the disk.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use super::{GAP_BYTES_MAX, Place, check};
use crate::segments::Segments;

/// Most stretches that are kept, each of at most [`super::RUN_BYTES_MAX`] bytes: readers that go on side by side.
const STRETCHES_MAX: usize = 8;
/// Ends of reads that are remembered: readers, going on or not, side by side.
const ENDS_MAX: usize = 64;

/// See the module's head.
pub(super) struct ReadAhead {
    segments: Arc<Segments>,
    /// Held for a look-up or a move.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The one that was used last is the last.
    stretches: VecDeque<Stretch>,
    /// Where reads ended, the newest last.
    ends: VecDeque<u64>,
}

#[derive(Clone)]
struct Stretch {
    from: u64,
    bytes: Bytes,
}

impl Stretch {
    fn end(&self) -> u64 {
        self.from + self.bytes.len() as u64
    }

    fn has(&self, place: Place) -> bool {
        place.bytes.is_some() && self.from <= place.offset.0 && place.end() <= self.end()
    }

    /// The record, if it is what is there.
    fn record(&self, place: Place) -> Option<Bytes> {
        let start = (place.offset.0 - self.from) as usize;
        let record = self.bytes.slice(start..start + place.bytes? as usize);
        check(place.offset, &record).is_ok().then_some(record)
    }
}

impl ReadAhead {
    pub(super) fn new(segments: Arc<Segments>) -> Self {
        Self { segments, state: Mutex::default() }
    }

    /// Whether a read from `from` on goes on where another one ended a moment ago.
    pub(super) fn is_next(&self, from: u64) -> bool {
        let state = self.state.lock();
        let is_behind = |end: u64| (end..=end + GAP_BYTES_MAX).contains(&from);
        state.ends.iter().any(|end| is_behind(*end))
            // Also the record that a stretch ends within.
            || state.stretches.iter().any(|stretch| stretch.from < from && from <= stretch.end() + GAP_BYTES_MAX)
    }

    /// Says that a read ended here.
    pub(super) fn ended_at(&self, end: u64) {
        let mut state = self.state.lock();
        if state.ends.len() == ENDS_MAX {
            state.ends.pop_front();
        }
        state.ends.push_back(end);
    }

    /// Memory for another stretch: that of the one not used for longest, unless somebody holds on to a record of it.
    pub(super) fn memory(&self) -> BytesMut {
        let mut state = self.state.lock();
        let oldest = if state.stretches.len() < STRETCHES_MAX { None } else { state.stretches.pop_front() };
        drop(state);
        oldest.and_then(|stretch| stretch.bytes.try_into_mut().ok()).unwrap_or_default()
    }

    /// Keeps the log's bytes from `from` on, of one segment and not beyond what was appended before they were read.
    pub(super) fn keep(&self, from: u64, bytes: Bytes) {
        let mut state = self.state.lock();
        if state.stretches.len() == STRETCHES_MAX {
            state.stretches.pop_front();
        }
        state.stretches.push_back(Stretch { from, bytes });
    }

    /// For looking up several records.
    pub(super) fn kept(&self) -> Kept<'_> {
        Kept { ahead: self, last: None }
    }

    /// How many stretches are kept.
    #[cfg(test)]
    pub(super) fn stretches(&self) -> usize {
        self.state.lock().stretches.len()
    }

    /// The newest stretch that has all of the place.
    fn find(&self, place: Place) -> Option<Stretch> {
        let mut state = self.state.lock();
        let index = state.stretches.iter().rposition(|stretch| stretch.has(place))?;
        let stretch = state.stretches.remove(index)?;
        state.stretches.push_back(stretch.clone());
        Some(stretch)
    }
}

/// What is kept, for one caller: records that follow each other cost one look-up.
pub(super) struct Kept<'a> {
    ahead: &'a ReadAhead,
    last: Option<Stretch>,
}

impl Kept<'_> {
    /// The record, if it is here, whole and not expired.
    pub(super) fn record(&mut self, place: Place) -> Option<Bytes> {
        if place.offset.0 < self.ahead.segments.first() {
            return None;
        }
        if !self.last.as_ref().is_some_and(|stretch| stretch.has(place)) {
            self.last = self.ahead.find(place);
        }
        self.last.as_ref()?.record(place)
    }
}
