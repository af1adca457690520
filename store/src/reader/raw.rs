//! The log's bytes as they are, for those who have a log of their own to make of them.

use bytes::Bytes;
use types::PhysicalOffset;

use super::{ReadError, Reader, Request};

impl Reader {
    /// The log's bytes from `from` on, at least one, up to `to` or to where their segment ends: read from its file by a reader thread, blanks
    /// included, unchecked. What is not written yet is not read.
    ///
    /// # Errors
    /// [`ReadError`]; of [`ReadError::Damaged`] only that a file is missing.
    pub async fn raw(&self, from: PhysicalOffset, to: PhysicalOffset) -> Result<Bytes, ReadError> {
        self.ask(|answer| Request::Raw { from, to, answer }).await?
    }

    /// Where the log begins.
    #[must_use]
    pub fn first(&self) -> PhysicalOffset {
        PhysicalOffset(self.segments.first())
    }

    /// Length of the log's segments in bytes.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        self.segments.segment_bytes
    }
}
