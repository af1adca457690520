//! What an operator sets about the store.

use std::path::PathBuf;

use types::PhysicalOffset;

/// A log segment in local mode, in bytes.
pub const SEGMENT_BYTES_LOCAL: u64 = 64 * 1024 * 1024;
/// Shortest possible segment, in bytes; records that do not fit in a segment are refused.
pub const SEGMENT_BYTES_MIN: u64 = 4096;
/// Longest possible segment, in bytes: Apache's default length of 1 GiB.
pub const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Newest part of the log that is kept in memory, in bytes, unless set otherwise.
pub const HOT_BYTES_DEFAULT: usize = 32 * 1024 * 1024;
/// The log is checkpointed each time it has grown by this many bytes, unless set otherwise: start-up after a kill
/// reads at most about twice as much.
pub const CHECKPOINT_BYTES_DEFAULT: u64 = 128 * 1024 * 1024;

/// When an appended record counts as stored. Apache: `flushDiskType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Once the operating system has it; it is brought to the disk within half a second.
    Async,
    /// Once the disk has it; all records that wait share one sync.
    Sync,
}

/// Settings of a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory that holds everything; made when missing.
    pub dir: PathBuf,
    /// Length of new log segments in bytes. A log that exists keeps the length of its first segment.
    pub segment_bytes: u64,
    /// When a record counts as stored.
    pub flush: Flush,
    /// Newest part of the log that is kept in memory, in bytes.
    pub hot_bytes: usize,
    /// Growth of the log after which a checkpoint is due, in bytes.
    pub checkpoint_bytes: u64,
    /// Where the log may be cut off though it was durable beyond: the position that [`crate::OpenError::Damaged`]
    /// named. At any other place a start refuses as without it.
    pub accept_loss_at: Option<PhysicalOffset>,
    /// Where the log is to end, a record's end: what lies behind is cut off though it may be whole and durable, and what was derived from it
    /// goes too. `None`: where it ends.
    pub end_at: Option<PhysicalOffset>,
}

impl Options {
    /// Local mode's settings for a directory.
    #[must_use]
    pub fn local(dir: PathBuf) -> Self {
        Self {
            dir,
            segment_bytes: SEGMENT_BYTES_LOCAL,
            flush: Flush::Async,
            hot_bytes: HOT_BYTES_DEFAULT,
            checkpoint_bytes: CHECKPOINT_BYTES_DEFAULT,
            accept_loss_at: None,
            end_at: None,
        }
    }
}
