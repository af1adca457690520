//! The log and everything derived from it: CommitLog, queue index, machines' replay and checkpoints, recovery.
//!
//! Knows files and records, not sockets, groups or leases. A [`Store`] is owned by one thread, the engine; other
//! threads get a [`Reader`] for records' bytes and [`Marks`] to wait for durability.

mod checkpoint;
mod commit_log;
mod files;
mod flush;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod hot_tail;
pub mod inspect;
mod log_state;
mod machine;
mod marks;
mod options;
mod ownership;
mod queue_index;
mod reader;
mod recovery;
mod segments;
mod signal;
mod store;
mod sweeper;

pub use commit_log::{AppendError, Appended};
pub use files::{COMMIT_LOG_NAME, Error as FileError, TIMERS_NAME};
pub use log_state::STATE_TOPIC;
pub use machine::{FileContent, Machine, MachineFile, RestoreError};
pub use marks::{Failed, Marks};
pub use options::{
    CHECKPOINT_BYTES_DEFAULT, Flush, HOT_BYTES_DEFAULT, Options, SEGMENT_BYTES_LOCAL, SEGMENT_BYTES_MAX,
    SEGMENT_BYTES_MIN,
};
pub use ownership::{claim, disown, erase, put_file};
pub use queue_index::keys::KeySearch;
pub use queue_index::{EntriesError, QueueEntry, QueueRange};
pub use reader::{ReadError, Reader};
pub use store::{OpenError, Scanner, Store, StoredError};
pub use sweeper::{OldSegment, Survey};
