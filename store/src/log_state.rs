//! The state of machines and queues as records of the log: what a start without checkpoints goes on from when the
//! log's front, which led to it, has expired.
//!
//! A state is a checkpoint's body (`checkpoint.rs`) without runs, cut into records of queue 0 of [`STATE_TOPIC`]. Each body:
//!
//! | bytes  | content                                                        |
//! |--------|----------------------------------------------------------------|
//! | 0..4   | `GSTA`                                                         |
//! | 4..8   | version, 1                                                     |
//! | 8..16  | position at which the state was taken: names it                |
//! | 16..20 | which part this is, from 0                                     |
//! | 20..24 | how many there are: the state is whole once all are in the log |
//! | 24..   | the part                                                       |
//!
//! Numbers are big-endian; the record's CRC covers all. One that was not finished is passed over.

use bytes::{Buf, BufMut, Bytes};
use record::Record;
use types::{PhysicalOffset, Timestamp};

use crate::checkpoint::{begin_body, finish_body};
use crate::commit_log::End;
use crate::files::Error;
use crate::queue_index::SavedQueue;
use crate::recovery::{Visitor, scan};
use crate::segments::Segments;

/// The system topic that keeps the states.
pub const STATE_TOPIC: &str = "rmq_sys_gantry_state";

const MAGIC: &[u8; 4] = b"GSTA";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 24;
/// Longest part in bytes.
const PART_BYTES_MAX: u64 = 1024 * 1024;
/// So many parts fit in a segment at least.
const PARTS_PER_SEGMENT: u64 = 4;

/// The bodies of a state's records, for a log with segments of this length.
pub(crate) fn bodies<'a>(
    end: End,
    queues: impl ExactSizeIterator<Item = SavedQueue<'a>>,
    segment_bytes: u64,
    snapshot: impl FnOnce(&mut Vec<u8>),
) -> Vec<Bytes> {
    let part_bytes_max = PART_BYTES_MAX.min(segment_bytes / PARTS_PER_SEGMENT) as usize - HEADER_BYTES;
    let mut state = begin_body(end, queues, snapshot);
    finish_body(&mut state, &[]);
    let count = state.len().div_ceil(part_bytes_max);
    let parts = state.chunks(part_bytes_max).enumerate();
    parts.map(|(index, part)| body(end.at, index as u32, count as u32, part)).collect()
}

/// The body of one record.
pub(crate) fn body(at: PhysicalOffset, index: u32, count: u32, part: &[u8]) -> Bytes {
    let mut body = Vec::with_capacity(HEADER_BYTES + part.len());
    body.put_slice(MAGIC);
    body.put_u32(VERSION);
    body.put_u64(at.0);
    body.put_u32(index);
    body.put_u32(count);
    body.put_slice(part);
    Bytes::from(body)
}

/// The first whole state in the log, for `checkpoint::parse_body`.
pub(crate) fn find(segments: &Segments) -> Result<Option<Vec<u8>>, Error> {
    let first = segments.first();
    let mut find = Find::new(first);
    let start = End { at: PhysicalOffset(first), last: None, last_stored_at: Timestamp(i64::MIN) };
    scan(segments, start, None, &mut find)?;
    Ok(find.is_whole().then_some(find.state))
}

struct Find {
    /// Where the log begins: a state from before lacks the records between.
    first: u64,
    /// The state that is being read.
    at: u64,
    parts: u32,
    count: u32,
    state: Vec<u8>,
}

impl Find {
    fn new(first: u64) -> Self {
        Self { first, at: 0, parts: 0, count: u32::MAX, state: Vec::new() }
    }

    fn is_whole(&self) -> bool {
        self.parts == self.count
    }

    /// Takes a record's body. A part that does not follow the one before begins nothing unless it is a state's first.
    fn take(&mut self, mut body: &[u8]) -> Option<()> {
        let (magic, version) = (body.try_get_u32().ok()?, body.try_get_u32().ok()?);
        let (at, part, count) = (body.try_get_u64().ok()?, body.try_get_u32().ok()?, body.try_get_u32().ok()?);
        if magic.to_be_bytes() != *MAGIC || version != VERSION || at < self.first {
            return None;
        }
        if part == 0 {
            (self.at, self.parts, self.count) = (at, 0, count);
            self.state.clear();
        }
        if (at, part, count) == (self.at, self.parts, self.count) {
            self.state.extend_from_slice(body);
            self.parts += 1;
        }
        Some(())
    }
}

impl Visitor for Find {
    fn record(&mut self, record: &Record<'_>) -> Result<(), String> {
        if record.topic == STATE_TOPIC {
            self.take(record.body);
        }
        if self.is_whole() { Err("the state is whole".to_owned()) } else { Ok(()) }
    }
}

/// Reads the only part of a state; whether it is one.
#[cfg(feature = "fuzz")]
pub(crate) fn is_state(body: &[u8]) -> bool {
    let mut find = Find::new(0);
    find.take(body);
    find.is_whole() && crate::checkpoint::parse_body(&find.state).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of these bodies in the log, one after the other.
    fn found(first: u64, bodies: &[Bytes]) -> Option<Vec<u8>> {
        let mut find = Find::new(first);
        bodies
            .iter()
            .take_while(|body| {
                find.take(body);
                !find.is_whole()
            })
            .count();
        find.is_whole().then_some(find.state)
    }

    fn part(at: u64, index: u32, count: u32, text: &str) -> Bytes {
        body(PhysicalOffset(at), index, count, text.as_bytes())
    }

    #[test]
    fn a_state_is_found_once_all_its_parts_are_there() {
        let parts = [part(5, 0, 3, "a"), part(5, 1, 3, "b"), part(5, 2, 3, "c"), part(9, 0, 1, "d")];
        assert_eq!(found(0, &parts).as_deref(), Some(&b"abc"[..]));
        assert_eq!(found(0, &parts[..2]), None);
        assert_eq!(found(0, &parts[1..]).as_deref(), Some(&b"d"[..]));
    }

    #[test]
    fn one_that_was_not_finished_is_passed_over() {
        let parts = [part(5, 0, 2, "a"), part(9, 0, 2, "c"), part(5, 1, 2, "b"), part(9, 1, 2, "d")];
        assert_eq!(found(0, &parts).as_deref(), Some(&b"cd"[..]));
    }

    #[test]
    fn one_that_was_taken_before_the_log_begins_lacks_records() {
        let parts = [part(5, 0, 1, "a"), part(9, 0, 1, "b")];
        assert_eq!(found(6, &parts).as_deref(), Some(&b"b"[..]));
    }

    #[test]
    fn what_is_none_changes_nothing() {
        let mut newer = part(5, 0, 1, "a").to_vec();
        newer[7] = 2;
        let none = [Bytes::from(newer), Bytes::from_static(b"GSTA"), Bytes::new(), part(5, 0, 0, "")];
        assert_eq!(found(0, &none), None);
    }
}
