//! The CommitLog's end: placing records, and writing what was placed.

mod stored;

use std::io::IoSlice;
use std::sync::Arc;

use bytes::BytesMut;
use record::{BLANK_BYTES, Encoded};
use smallvec::SmallVec;
use types::{PhysicalOffset, QueueOffset, Timestamp};

use crate::flush::Dirty;
use crate::hot_tail::HotTail;
use crate::marks::{Failed, Marks};
use crate::segments::{Maker, NotReady, Segment, Segments};

/// Most buffers of one write (Linux `IOV_MAX`).
const SLICES_MAX: usize = 1024;

/// Why messages are not taken though there is a segment.
const RESERVED: &str = "the one that is left is kept for what ends messages";

/// Where records of one queue were placed, one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Place of the first in its queue; the others have the places behind it.
    pub queue_offset: QueueOffset,
    /// Where each one is in the log.
    pub physical_offsets: SmallVec<[PhysicalOffset; 1]>,
    /// When they were appended; never less than for the record before.
    pub stored_at: Timestamp,
    /// The position behind the last: they are written, durable or visible once the mark has reached this.
    pub end: PhysicalOffset,
}

impl Appended {
    /// Where the first is in the log.
    ///
    /// # Panics
    /// Never: there is no append of nothing.
    #[must_use]
    pub fn physical_offset(&self) -> PhysicalOffset {
        self.physical_offsets[0]
    }

    /// The queue's offset behind the last.
    #[must_use]
    pub fn next(&self) -> QueueOffset {
        self.queue_offset.plus(self.physical_offsets.len() as u64)
    }
}

/// Why records were not appended. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// There is no room for another segment.
    #[error("no room for another log segment: {detail}")]
    DiskFull {
        /// What the system said.
        detail: String,
    },
    /// The next segment is still being made: see [`crate::Store::ready`].
    #[error("the next log segment is not ready")]
    NotReady,
    /// They do not fit in what is left of this segment and the next.
    #[error("{bytes} bytes at once are more than the log takes")]
    TooLarge {
        /// Their length.
        bytes: u64,
    },
    /// The store failed before.
    #[error(transparent)]
    Failed(#[from] Failed),
}

/// The log's end. Invariants: `marks.appended_to() <= end`; `staged` covers what lies between them, without gaps but
/// for the part of a segment behind a blank; `starts` are those of the records in `staged`, rising; `writing` holds
/// every segment that `staged` touches, in order, and ends with the one that `end` is in.
pub(crate) struct CommitLog {
    segments: Arc<Segments>,
    maker: Arc<Maker>,
    marks: Marks,
    dirty: Arc<Dirty>,
    hot: Arc<HotTail>,
    writing: Vec<Segment>,
    staged: Vec<Staged>,
    starts: Vec<u64>,
    end: u64,
    /// Start of the newest record; `None` in an empty log.
    last: Option<PhysicalOffset>,
    last_stored_at: Timestamp,
}

/// Records that follow each other in memory as in the log, or a blank.
struct Staged {
    at: PhysicalOffset,
    bytes: BytesMut,
    is_blank: bool,
}

/// Where recovery found the log's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) at: PhysicalOffset,
    /// Start of the newest record.
    pub(crate) last: Option<PhysicalOffset>,
    pub(crate) last_stored_at: Timestamp,
}

/// What the log's end shares with others.
pub(crate) struct Shared {
    pub(crate) segments: Arc<Segments>,
    pub(crate) maker: Arc<Maker>,
    pub(crate) marks: Marks,
    pub(crate) dirty: Arc<Dirty>,
    pub(crate) hot: Arc<HotTail>,
}

impl CommitLog {
    pub(crate) fn new(shared: Shared, active: Segment, end: End) -> Self {
        let Shared { segments, maker, marks, dirty, hot } = shared;
        dirty.push(active.clone());
        Self {
            segments,
            maker,
            marks,
            dirty,
            hot,
            writing: vec![active],
            staged: Vec::new(),
            starts: Vec::new(),
            end: end.at.0,
            last: end.last,
            last_stored_at: end.last_stored_at,
        }
    }

    /// The end, with all that is placed.
    pub(crate) fn end(&self) -> End {
        End { at: PhysicalOffset(self.end), last: self.last, last_stored_at: self.last_stored_at }
    }

    /// Whether everything that was placed is written.
    pub(crate) fn is_written(&self) -> bool {
        self.staged.is_empty()
    }

    /// Whether the next `bytes` fit in the segment at hand.
    pub(crate) fn fits(&self, bytes: u64) -> bool {
        fits(bytes, self.left(self.end))
    }

    /// Whether the log has come to what is kept for others than messages.
    pub(crate) fn is_short(&self) -> bool {
        self.end > self.segments.reserve.limit()
    }

    /// Whether records can be placed, one behind the other; messages only before [`Reserve::limit`].
    ///
    /// [`Reserve::limit`]: crate::segments::Reserve::limit
    pub(crate) fn check(&self, records: &Encoded, are_messages: bool) -> Result<(), AppendError> {
        if let Some(failed) = self.marks.failure() {
            return Err(failed.into());
        }
        let bytes = records.total_bytes();
        let (mut end, mut rolls) = (self.end, 0);
        if self.fits(bytes) {
            end += bytes;
        } else {
            for length in records.marks().iter().map(|mark| u64::from(mark.record_bytes)) {
                if !fits(length, self.left(end)) {
                    end += self.left(end);
                    rolls += 1;
                    if rolls > 1 || !fits(length, self.segments.segment_bytes) {
                        return Err(AppendError::TooLarge { bytes });
                    }
                }
                end += length;
            }
        }
        if are_messages && end > self.segments.reserve.limit() {
            return Err(AppendError::DiskFull { detail: RESERVED.to_owned() });
        }
        if rolls == 0 {
            return Ok(());
        }
        self.has_next()
    }

    /// Whether the next segment is there.
    fn has_next(&self) -> Result<(), AppendError> {
        self.maker.check().map_err(|not_ready| match not_ready {
            NotReady::Making => AppendError::NotReady,
            NotReady::Refused { detail } => AppendError::DiskFull { detail },
        })
    }

    /// Places records that [`CommitLog::check`] has let pass, and takes their bytes.
    pub(crate) fn place(&mut self, records: &mut Encoded, queue_offset: QueueOffset, now: Timestamp) -> Appended {
        let stored_at = now.max(self.last_stored_at);
        let mut physical_offsets = SmallVec::with_capacity(records.count());
        while physical_offsets.len() < records.count() {
            if !self.fits(records.marks()[physical_offsets.len()].record_bytes.into()) {
                self.roll();
            }
            let (at, placed) = (PhysicalOffset(self.end), physical_offsets.len());
            for mark in &records.marks()[placed..] {
                if !self.fits(mark.record_bytes.into()) {
                    break;
                }
                physical_offsets.push(PhysicalOffset(self.end));
                self.starts.push(self.end);
                self.end += u64::from(mark.record_bytes);
            }
            let count = physical_offsets.len() - placed;
            let bytes = records.take_placed(count, queue_offset.plus(placed as u64), at, stored_at);
            self.staged.push(Staged { at, bytes, is_blank: false });
        }
        self.last = physical_offsets.last().copied();
        self.last_stored_at = stored_at;
        Appended { queue_offset, physical_offsets, stored_at, end: PhysicalOffset(self.end) }
    }

    /// The placed records from the one at `offset` on that are not written yet, in pieces of whole records.
    pub(crate) fn staged_from(&self, offset: PhysicalOffset) -> impl Iterator<Item = &[u8]> {
        let first = self.staged.partition_point(|staged| staged.at <= offset).saturating_sub(1);
        let records = self.staged[first..].iter().filter(|staged| !staged.is_blank);
        records.filter_map(move |staged| staged.bytes.get(offset.0.saturating_sub(staged.at.0) as usize..))
    }

    /// Writes what is placed. A failed write is final: part of it may be there.
    pub(crate) fn write(&mut self) -> Result<(), Failed> {
        if let Some(failed) = self.marks.failure() {
            return Err(failed);
        }
        if self.staged.is_empty() {
            return Ok(());
        }
        for segment in &self.writing {
            let from = self.staged.partition_point(|staged| staged.at.0 < segment.base);
            let to = self.staged.partition_point(|staged| staged.at.0 < segment.base + self.segments.segment_bytes);
            for chunk in self.staged[from..to].chunks(SLICES_MAX) {
                let slices: Vec<IoSlice<'_>> = chunk.iter().map(|staged| IoSlice::new(&staged.bytes)).collect();
                let at = chunk[0].at.0 - segment.base;
                segment.file.write_all_at(&slices, at).map_err(|error| self.marks.fail("write of the log", &error))?;
            }
        }
        self.writing.drain(..self.writing.len() - 1);
        let written = self.staged.drain(..).filter(|staged| !staged.is_blank);
        self.hot.extend(written.map(|staged| (staged.at, staged.bytes.freeze())), &self.starts);
        self.starts.clear();
        self.marks.set_appended(PhysicalOffset(self.end));
        Ok(())
    }

    /// Room from a position to its segment's end. The end never rests on a boundary that was not rolled over, because
    /// of the blank's room behind every record.
    fn left(&self, position: u64) -> u64 {
        self.segments.segment_bytes - position % self.segments.segment_bytes
    }

    /// Fills the segment with a blank and goes on in the next.
    fn roll(&mut self) {
        let left = self.left(self.end);
        let next = self.maker.take().expect("a record is placed only when the next segment is ready");
        assert!(left >= BLANK_BYTES as u64, "every record leaves room for a blank behind it");
        let blank = record::blank(u32::try_from(left).expect("a segment is less than 4 GiB"));
        let (at, bytes) = (PhysicalOffset(self.end), BytesMut::from(&*blank));
        self.staged.push(Staged { at, bytes, is_blank: true });
        self.end += left;
        assert_eq!(self.end, next.base, "segments follow each other");
        self.dirty.push(next.clone());
        self.writing.push(next);
    }
}

/// Apache's rule: a record is placed only where a blank fits behind it.
fn fits(bytes: u64, left: u64) -> bool {
    bytes.saturating_add(BLANK_BYTES as u64) <= left
}
