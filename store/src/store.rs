//! The store as its owner, the engine, sees it.

use std::num::NonZeroU32;
use std::path::PathBuf;

use env::Env;
use record::{Encoded, Record};
use types::{PhysicalOffset, QueueId, QueueOffset, Timestamp};

use crate::machine::Machine;
use crate::marks::{Failed, Marks};
use crate::options::Options;
use crate::reader::Reader;

/// The log, its queue index and its checkpoints; see the crate's head for who owns it.
///
/// The engine's round: [`Store::ready`], any number of appends (each followed by applying what was appended, see
/// [`Store::staged_from`]), [`Store::write`], answers; now and then [`Store::begin_checkpoint`].
pub struct Store {}

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
    /// Offset that the next record gets.
    pub next: QueueOffset,
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the directory.
    #[error("{dir} is in use by another process", dir = dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// A newer program wrote it.
    #[error("{dir} has format {found}, this version knows up to {known}: use the newer version", dir = dir.display())]
    NewerFormat {
        /// The directory.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// The newest known.
        known: u32,
    },
    /// Not a file of ours, or one that was damaged.
    #[error("{path} is not usable: {problem}", path = path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The system refused something.
    #[error("{what} {path}: {error}", path = path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: std::io::Error,
    },
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
    /// The next segment is still being made: see [`Store::ready`].
    #[error("the next log segment is not ready")]
    NotReady,
    /// They do not fit in what is left of this segment and the next, or one is larger than a segment.
    #[error("{bytes} bytes at once are more than the log takes")]
    TooLarge {
        /// Their length.
        bytes: u64,
    },
    /// The store failed before.
    #[error(transparent)]
    Failed(#[from] Failed),
}

/// Why a queue's entries cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EntriesError {
    /// Neither the index nor the log below it can be read.
    #[error("queue index from {from} on cannot be read: {problem}")]
    Unreadable {
        /// The part of the log it covers begins here.
        from: PhysicalOffset,
        /// What is wrong.
        problem: String,
    },
}

impl Store {
    /// Opens or makes the store in `options.dir`: takes its lock, restores `machines` from the newest checkpoint that is
    /// whole and that the log covers, replays the log from there into them and cuts off what is not a valid record.
    /// On return everything that was found is durable.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(_env: &Env, _options: Options, _machines: &mut dyn Machine) -> Result<Self, OpenError> {
        todo!()
    }

    /// Completes when the next segment is ready or could not be made. Awaited before a round of appends, so that
    /// [`AppendError::NotReady`] is met only by rounds that need more than this segment and the next.
    pub async fn ready(&self) {
        todo!()
    }

    /// Places a record at the end of its queue and of the log, in memory: it is written by the next [`Store::write`].
    ///
    /// # Errors
    /// [`AppendError`]; then nothing was changed.
    pub fn append(&mut self, _record: Encoded, _now: Timestamp) -> Result<Appended, AppendError> {
        todo!()
    }

    /// Places all records, in order, or none. Those of one queue get consecutive offsets.
    ///
    /// # Errors
    /// [`AppendError`]; then nothing was changed.
    pub fn append_all(&mut self, _records: Vec<Encoded>, _now: Timestamp) -> Result<Vec<Appended>, AppendError> {
        todo!()
    }

    /// The records that were appended from `offset` on and not written yet, for [`Machine::apply`].
    pub fn staged_from(&self, _offset: PhysicalOffset) -> impl Iterator<Item = Record<'_>> {
        std::iter::empty()
    }

    /// Writes what was appended since the last call and returns the log's end. On return it is in the operating
    /// system's hands; that it is durable is told by [`Marks::durable`].
    ///
    /// # Errors
    /// [`Failed`]: from now on everything is refused, because part of it may be written.
    pub fn write(&mut self) -> Result<PhysicalOffset, Failed> {
        todo!()
    }

    /// The log's marks.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        todo!()
    }

    /// Reads records' bytes.
    #[must_use]
    pub fn reader(&self) -> Reader {
        todo!()
    }

    /// First and next offset of a queue; `None` when it never had a record.
    #[must_use]
    pub fn queue_range(&self, _topic: &str, _queue: QueueId) -> Option<QueueRange> {
        todo!()
    }

    /// Adds to `out` the queue's entries from `from` on, at most `max`, only those that may be handed out
    /// ([`Marks::visible_to`]). Fewer when the queue ends; none when `from` is outside its range. Newer entries
    /// are in memory, older ones cost a read of a few kilobytes.
    ///
    /// # Errors
    /// [`EntriesError`].
    pub fn entries(
        &mut self,
        _topic: &str,
        _queue: QueueId,
        _from: QueueOffset,
        _max: usize,
        _out: &mut Vec<QueueEntry>,
    ) -> Result<(), EntriesError> {
        todo!()
    }

    /// All queues that ever had a record, by topic and queue.
    pub fn queues(&self) -> impl Iterator<Item = (&str, QueueId, QueueRange)> {
        std::iter::empty()
    }

    /// Whether the log has grown enough since the last checkpoint and none is on its way.
    #[must_use]
    pub fn is_checkpoint_due(&self) -> bool {
        todo!()
    }

    /// Takes a snapshot of `machines` and the queue index between two rounds (nothing may be staged). It is
    /// published in the background once the log is durable up to here.
    pub fn begin_checkpoint(&mut self, _machines: &dyn Machine) {
        todo!()
    }

    /// Stops: what is written becomes durable, a checkpoint of `machines` is published, the threads end and the lock
    /// is given back.
    ///
    /// # Errors
    /// [`Failed`], also when it failed before; the next start then replays more of the log.
    #[expect(clippy::unused_async, reason = "the body comes with the flusher")]
    pub async fn close(self, _machines: &dyn Machine) -> Result<(), Failed> {
        todo!()
    }
}
