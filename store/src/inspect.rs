//! A store's directory as an operator looks at it: [`Directory::verify`], [`Directory::records`], [`Directory::stat`]
//! and [`Directory::copy`].
//!
//! Nothing here changes the directory or takes its lock, so all of it works beside a running server: what is looked
//! at then is what was complete in the log when the look began. Records, index runs and checkpoints are read by
//! the code that a start reads them with; memory follows the number of queues, not the length of the log.

mod checkpoints;
mod copy;
mod directory;
mod expired;
mod finding;
mod follow;
mod records;
mod stat;
mod verify;

pub use copy::{Copied, CopyError};
pub use directory::{Directory, Error, FileCheck, SnapshotCheck};
pub use finding::{Finding, Meaning, Report};
pub use records::Piece;
pub use stat::{CheckpointStat, QueueStat, SegmentStat, Stat, TopicStat};

/// How far long work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, as `checking the log`.
    pub work: &'static str,
    /// Bytes that are done.
    pub done_bytes: u64,
    /// Bytes to do; an estimate where the log's end is not known yet.
    pub total_bytes: u64,
}

/// Is told how far long work is, about once a megabyte.
pub type Watcher<'a> = dyn FnMut(Progress) + 'a;

/// Bytes after which a [`Watcher`] is told again.
const PROGRESS_BYTES: u64 = 1024 * 1024;

/// Tells a watcher in steps.
struct Steps<'a, 'w> {
    watcher: &'a mut Watcher<'w>,
    progress: Progress,
    told_bytes: u64,
}

impl<'a, 'w> Steps<'a, 'w> {
    fn begin(watcher: &'a mut Watcher<'w>, work: &'static str, total_bytes: u64) -> Self {
        let progress = Progress { work, done_bytes: 0, total_bytes };
        watcher(progress);
        Self { watcher, progress, told_bytes: 0 }
    }

    fn reach(&mut self, done_bytes: u64) {
        self.progress.done_bytes = done_bytes.min(self.progress.total_bytes);
        if self.progress.done_bytes >= self.told_bytes + PROGRESS_BYTES {
            self.told_bytes = self.progress.done_bytes;
            (self.watcher)(self.progress);
        }
    }

    fn finish(self) {
        let done_bytes = self.progress.total_bytes;
        (self.watcher)(Progress { done_bytes, ..self.progress });
    }
}
