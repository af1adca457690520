//! What the replication asks: the log to send, and that what came is appended.

use bytes::Bytes;
use store::{Marks, Reader};
use types::PhysicalOffset;

use super::LocalBroker;
use crate::command::Command;
use crate::engine::{LogEnd, ReplicateError};
use crate::options::{Copies, Role};

impl LocalBroker {
    /// The log's bytes.
    pub(crate) fn log(&self) -> &Reader {
        &self.inner.shared.reader
    }

    /// The log's marks.
    pub(crate) fn marks(&self) -> &Marks {
        &self.inner.shared.marks
    }

    /// Whether this broker is a slave.
    pub(crate) fn is_slave(&self) -> bool {
        self.inner.role == Role::Slave
    }

    /// How many brokers have what is acknowledged.
    pub(crate) fn copies(&self) -> Copies {
        self.inner.shared.copies
    }

    /// Says how far as many slaves have the log as are waited for; `None`: fewer than that keep up, and none is waited for.
    pub(crate) fn replicated(&self, to: Option<PhysicalOffset>) {
        let shared = &self.inner.shared;
        let stored_to = shared.marks.stored_to();
        let to = to.map(|to| to.min(stored_to));
        if let Some(to) = to {
            // Before the mark moves: who sees that sees this.
            shared.confirm(to);
        }
        shared.marks.set_replicated(to.unwrap_or(stored_to));
    }

    /// Appends whole records of the master's log to a slave's; answers where that ends, once it is there by the rule of its flush. That may
    /// be before the last of them: the rest is to be sent again.
    ///
    /// # Errors
    /// [`ReplicateError`]; what was appended before stays.
    pub(crate) async fn replicate(&self, records: Bytes) -> Result<LogEnd, ReplicateError> {
        self.ask(|reply| Command::Replicate { records, reply }).await?
    }
}
