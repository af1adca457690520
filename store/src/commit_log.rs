//! The CommitLog's end: placing records, and writing what was placed.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::BytesMut;
use record::{BLANK_BYTES, Encoded};
use types::{PhysicalOffset, QueueOffset, Timestamp};

use crate::flush::Dirty;
use crate::hot_tail::HotTail;
use crate::marks::{Failed, Marks};
use crate::segments::{Maker, NotReady, Segment, Segments};

/// Most buffers of one write (Linux `IOV_MAX`).
const SLICES_MAX: usize = 1024;

/// Why messages are not taken though there is a segment.
const RESERVED: &str = "the one that is left is kept for what ends messages";

/// Where a record was placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its place in its queue.
    pub queue_offset: QueueOffset,
    /// Its place in the log.
    pub physical_offset: PhysicalOffset,
    /// When it was appended; never less than for the record before.
    pub stored_at: Timestamp,
    /// Its length.
    pub record_bytes: u32,
}

impl Appended {
    /// The position behind the record: it is written, durable or visible once the mark has reached this.
    #[must_use]
    pub fn end(&self) -> PhysicalOffset {
        self.physical_offset.plus(u64::from(self.record_bytes))
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
    /// See [`Encoded::is_followed`].
    is_followed: bool,
    is_blank: bool,
}

impl Staged {
    /// Whether these bytes are the next ones of the same memory.
    fn is_followed_by(&self, bytes: &[u8]) -> bool {
        self.is_followed && self.bytes.as_ptr_range().end == bytes.as_ptr()
    }
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

    /// Whether records of these lengths can be placed, one after the other; messages only before [`Reserve::limit`].
    ///
    /// [`Reserve::limit`]: crate::segments::Reserve::limit
    pub(crate) fn check(&self, lengths: impl Iterator<Item = u32>, are_messages: bool) -> Result<(), AppendError> {
        if let Some(failed) = self.marks.failure() {
            return Err(failed.into());
        }
        let (mut end, mut total, mut rolls) = (self.end, 0, 0);
        for length in lengths.map(u64::from) {
            total += length;
            if !fits(length, self.left(end)) {
                end += self.left(end);
                rolls += 1;
                if rolls > 1 || !fits(length, self.segments.segment_bytes) {
                    return Err(AppendError::TooLarge { bytes: total });
                }
            }
            end += length;
        }
        if are_messages && end > self.segments.reserve.limit() {
            return Err(AppendError::DiskFull { detail: RESERVED.to_owned() });
        }
        if rolls == 0 {
            return Ok(());
        }
        self.maker.check().map_err(|not_ready| match not_ready {
            NotReady::Making => AppendError::NotReady,
            NotReady::Refused { detail } => AppendError::DiskFull { detail },
        })
    }

    /// Places a record that [`CommitLog::check`] has let pass, and takes its bytes.
    pub(crate) fn place(&mut self, record: &mut Encoded, queue_offset: QueueOffset, now: Timestamp) -> Appended {
        let record_bytes = record.record_bytes();
        if !self.fits(u64::from(record_bytes)) {
            self.roll();
        }
        let physical_offset = PhysicalOffset(self.end);
        let stored_at = now.max(self.last_stored_at);
        let is_followed = record.is_followed();
        let bytes = record.take_placed(queue_offset, physical_offset, stored_at);
        match self.staged.last_mut() {
            // Records that were made together are written, kept and let go as one.
            Some(last) if last.is_followed_by(&bytes) => {
                last.bytes.unsplit(bytes);
                last.is_followed = is_followed;
            }
            _ => self.staged.push(Staged { at: physical_offset, bytes, is_followed, is_blank: false }),
        }
        self.starts.push(physical_offset.0);
        self.end += u64::from(record_bytes);
        self.last = Some(physical_offset);
        self.last_stored_at = stored_at;
        Appended { queue_offset, physical_offset, stored_at, record_bytes }
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
        self.staged.push(Staged { at, bytes, is_followed: false, is_blank: true });
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
