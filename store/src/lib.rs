//! The log and everything derived from it: CommitLog, queue index, machines' replay and checkpoints, recovery.
//!
//! Knows files and records, not sockets, groups or leases. A [`Store`] is owned by one thread, the engine; other
//! threads get a [`Reader`] for records' bytes and [`Marks`] to wait for durability.

mod machine;
mod marks;
mod options;
mod reader;
mod store;

pub use machine::{Machine, RestoreError};
pub use marks::{Failed, Marks};
pub use options::{Flush, Options};
pub use reader::{ReadError, Reader};
pub use store::{AppendError, Appended, EntriesError, OpenError, QueueEntry, QueueRange, Store};
