//! Records' bytes for everyone but the engine.

use bytes::Bytes;
use types::PhysicalOffset;

use crate::marks::Failed;

/// Reads records by position. Cheap to clone; used from any thread.
#[derive(Clone)]
pub struct Reader {}

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// More reads wait than the bound allows.
    #[error("{waiting_max} reads are waiting for the disk")]
    Busy {
        /// The bound.
        waiting_max: usize,
    },
    /// The position is outside the log.
    #[error("no record at {offset}: the log ends at {end}")]
    OutOfLog {
        /// What was asked for.
        offset: PhysicalOffset,
        /// Where the log ends.
        end: PhysicalOffset,
    },
    /// What is there is not the record.
    #[error("record at {offset} is damaged: {problem}")]
    Damaged {
        /// Where.
        offset: PhysicalOffset,
        /// What is wrong.
        problem: String,
    },
    /// The disk failed.
    #[error(transparent)]
    Failed(#[from] Failed),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl Reader {
    /// The record from the log's hot tail, which is in memory: a shared buffer, not a copy. `None` when it
    /// has left the tail.
    #[must_use]
    pub fn hot(&self, _offset: PhysicalOffset, _bytes: u32) -> Option<Bytes> {
        todo!()
    }

    /// The record from memory or, by a reader thread, from the disk; then checked as recovery does.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read(&self, _offset: PhysicalOffset, _bytes: u32) -> Result<Bytes, ReadError> {
        todo!()
    }
}
