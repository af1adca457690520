//! The state of machines and queues as records of the log: what a start without checkpoints goes on from when the
//! log's front, which led to it, has expired.
//!
//! A state is a checkpoint's body (`checkpoint.rs`) without runs, cut into records of queue 0 of [`STATE_TOPIC`]. Each body:
//!
//! | bytes  | content                                                        |
//! |--------|----------------------------------------------------------------|
//! | 0..4   | `GSTA`                                                         |
//! | 4..8   | version, 2                                                     |
//! | 8..16  | position at which the state was taken: names it                |
//! | 16..20 | which part this is, from 0                                     |
//! | 20..24 | how many there are: the state is whole once all are in the log |
//! | 24..32 | where the log may begin once the state is whole in it          |
//! | 32..   | the part, which in version 1 is from 24 on                     |
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
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 32;
/// Longest part in bytes.
const PART_BYTES_MAX: u64 = 1024 * 1024;
/// So many parts fit in a segment at least.
const PARTS_PER_SEGMENT: u64 = 4;

/// The bodies of a state's records, for a log with segments of this length that may begin at `begins` once they are there.
pub(crate) fn bodies<'a>(
    end: End,
    begins: u64,
    queues: impl ExactSizeIterator<Item = SavedQueue<'a>>,
    segment_bytes: u64,
    snapshot: impl FnOnce(&mut Vec<u8>),
) -> Vec<Bytes> {
    let part_bytes_max = PART_BYTES_MAX.min(segment_bytes / PARTS_PER_SEGMENT) as usize - HEADER_BYTES;
    let mut state = begin_body(end, queues, snapshot);
    finish_body(&mut state, &[]);
    let count = state.len().div_ceil(part_bytes_max) as u32;
    let parts = (0..).zip(state.chunks(part_bytes_max));
    parts.map(|(index, part)| body(Part { at: end.at.0, index, count, begins }, part)).collect()
}

/// What the body of one record says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) at: u64,
    pub(crate) index: u32,
    pub(crate) count: u32,
    /// [`u64::MAX`] in the first version, which did not say it.
    pub(crate) begins: u64,
}

/// The body of one record.
pub(crate) fn body(Part { at, index, count, begins }: Part, part: &[u8]) -> Bytes {
    let mut body = Vec::with_capacity(HEADER_BYTES + part.len());
    body.put_slice(MAGIC);
    body.put_u32(VERSION);
    body.put_u64(at);
    body.put_u32(index);
    body.put_u32(count);
    body.put_u64(begins);
    body.put_slice(part);
    Bytes::from(body)
}

/// Reads the body of one record; `None` when it is none.
fn parse(mut body: &[u8]) -> Option<(Part, &[u8])> {
    let (magic, version) = (body.try_get_u32().ok()?, body.try_get_u32().ok()?);
    let (at, index, count) = (body.try_get_u64().ok()?, body.try_get_u32().ok()?, body.try_get_u32().ok()?);
    let begins = match version {
        1 => u64::MAX,
        VERSION => body.try_get_u64().ok()?,
        _ => return None,
    };
    (magic.to_be_bytes() == *MAGIC).then_some((Part { at, index, count, begins }, body))
}

/// The first whole state in the log, for `checkpoint::parse_body`.
pub(crate) fn find(segments: &Segments) -> Result<Option<Vec<u8>>, Error> {
    let first = segments.first();
    let mut find = Find::new(first);
    let start = End { at: PhysicalOffset(first), last: None, last_stored_at: Timestamp(i64::MIN) };
    scan(segments, start, None, &mut find)?;
    Ok(find.progress.is_whole().then_some(find.state))
}

/// How much of a state has been met.
#[derive(Debug)]
struct Progress {
    at: u64,
    parts: u32,
    count: u32,
}

impl Default for Progress {
    fn default() -> Self {
        Self { at: 0, parts: 0, count: u32::MAX }
    }
}

impl Progress {
    fn is_whole(&self) -> bool {
        self.parts == self.count
    }

    /// Whether a part is the one that follows, or a state's first. Another one begins nothing.
    fn takes(&mut self, part: Part) -> bool {
        if part.index == 0 {
            *self = Self { at: part.at, parts: 0, count: part.count };
        }
        let is_next = (part.at, part.index, part.count) == (self.at, self.parts, self.count);
        self.parts += u32::from(is_next);
        is_next
    }
}

/// Follows the states in the log: where they allow it to begin.
#[derive(Debug, Default)]
pub(crate) struct Begins {
    progress: Progress,
    begins: Option<u64>,
    newest: Option<(PhysicalOffset, PhysicalOffset)>,
}

impl Begins {
    /// Takes a record of the log.
    pub(crate) fn take(&mut self, record: &Record<'_>) {
        if record.topic == STATE_TOPIC
            && let Some((part, _)) = parse(record.body)
            && self.progress.takes(part)
            && self.progress.is_whole()
        {
            self.begins = self.begins.max(Some(part.begins));
            let at = record.header.physical_offset;
            // The first version does not say it, and no log goes before it is there: that would be another program's word.
            if part.begins <= at.0 {
                self.newest = Some((PhysicalOffset(part.begins), at.plus(record.header.record_bytes.into())));
            }
        }
    }

    /// The farthest position that one of them, whole, lets the log begin at; `None` without any.
    pub(crate) fn begins(&self) -> Option<u64> {
        self.begins
    }

    /// Where the newest of them that says so lets the log begin, and where that one ends in the log.
    pub(crate) fn newest(&self) -> Option<(PhysicalOffset, PhysicalOffset)> {
        self.newest
    }
}

struct Find {
    /// Where the log begins: a state from before lacks the records between.
    first: u64,
    progress: Progress,
    state: Vec<u8>,
}

impl Find {
    fn new(first: u64) -> Self {
        Self { first, progress: Progress::default(), state: Vec::new() }
    }

    fn take(&mut self, body: &[u8]) {
        let Some((part, bytes)) = parse(body).filter(|(part, _)| part.at >= self.first) else { return };
        if self.progress.takes(part) {
            if part.index == 0 {
                self.state.clear();
            }
            self.state.extend_from_slice(bytes);
        }
    }
}

impl Visitor for Find {
    fn record(&mut self, record: &Record<'_>) -> Result<(), String> {
        if record.topic == STATE_TOPIC {
            self.take(record.body);
        }
        if self.progress.is_whole() { Err("the state is whole".to_owned()) } else { Ok(()) }
    }
}

/// Reads the only part of a state; whether it is one.
#[cfg(feature = "fuzz")]
pub(crate) fn is_state(body: &[u8]) -> bool {
    let mut find = Find::new(0);
    find.take(body);
    find.progress.is_whole() && crate::checkpoint::parse_body(&find.state).is_some()
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
                !find.progress.is_whole()
            })
            .count();
        find.progress.is_whole().then_some(find.state)
    }

    fn part(at: u64, index: u32, count: u32, text: &str) -> Bytes {
        body(Part { at, index, count, begins: 3 }, text.as_bytes())
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
    fn the_first_version_is_read() {
        let mut old = part(5, 0, 1, "a").to_vec();
        old[7] = 1;
        old.drain(24..32);
        assert_eq!(found(0, &[Bytes::from(old.clone())]).as_deref(), Some(&b"a"[..]));
        assert_eq!(parse(&old), Some((Part { at: 5, index: 0, count: 1, begins: u64::MAX }, &b"a"[..])));
    }

    #[test]
    fn what_is_none_changes_nothing() {
        let mut newer = part(5, 0, 1, "a").to_vec();
        newer[7] = 3;
        let none = [Bytes::from(newer), Bytes::from_static(b"GSTA"), Bytes::new(), part(5, 0, 0, "")];
        assert_eq!(found(0, &none), None);
    }
}
