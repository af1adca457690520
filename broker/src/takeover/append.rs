//! Adding to the log of a directory that no server runs on.

use std::net::SocketAddr;

use env::Env;
use record::EncodeError;
use store::{AppendError, Appended, Failed, Machine as _, Marks, ReadError, STATE_TOPIC, Store};
use types::{Message, PhysicalOffset, QueueId, Timestamp};

use crate::copy;
use crate::journal::{self, JOURNAL_TOPIC};
use crate::machines::Machines;
use crate::options::Options;
use crate::timer::{Waits, due};

/// Appended bytes after which they are written, so that memory stays bounded.
const ROUND_BYTES: u64 = 4 * 1024 * 1024;

/// Why the log was not added to.
#[derive(Debug, thiserror::Error)]
pub enum NotAppended {
    /// The log does not take it.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// It cannot be written or brought to the disk.
    #[error(transparent)]
    Failed(#[from] Failed),
    /// A record that a copy is made of cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record that a copy is made of is not what its topic says.
    #[error("a waiting message cannot be copied: {0}")]
    Copy(String),
    /// It does not fit in a record.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Appends records one by one and writes them in rounds.
pub(super) struct Appender {
    pub(super) store: Store,
    marks: Marks,
    store_host: SocketAddr,
    /// When the work began.
    pub(super) now: Timestamp,
    unwritten_bytes: u64,
    end: PhysicalOffset,
}

impl Appender {
    pub(super) fn new(env: &Env, options: &Options, store: Store) -> Self {
        let marks = store.marks().clone();
        let end = marks.appended_to();
        Self { store, marks, store_host: options.store_host, now: env.clock.now(), unwritten_bytes: 0, end }
    }

    /// Appends all events that wait; the machines have applied them.
    pub(super) async fn journal(&mut self, pending: &mut journal::Pending) -> Result<(), NotAppended> {
        for body in pending.take() {
            let message = copy::system_message(JOURNAL_TOPIC, body.into(), self.now);
            self.append(&message, QueueId(0)).await?;
        }
        Ok(())
    }

    /// Appends the state of machines and queues where the log begins late: what led to it is not in the log.
    pub(super) async fn state(&mut self, machines: &Machines) -> Result<(), NotAppended> {
        if self.store.log_first() == PhysicalOffset(0) {
            return Ok(());
        }
        self.write()?;
        for body in self.store.state(machines) {
            self.append(&copy::system_message(STATE_TOPIC, body, self.now), QueueId(0)).await?;
        }
        Ok(())
    }

    /// Appends an op record that names ended half messages.
    pub(super) async fn op(&mut self, body: String) -> Result<(), NotAppended> {
        self.append(&copy::op(body, self.now), QueueId(0)).await.map(drop)
    }

    /// Appends a waiting message again, in no slot of Apache's wheel before that of [`Appender::now`]. The copy, once it is
    /// applied, ends the waiting of the one before.
    pub(super) async fn wait_on(&mut self, waits: Waits) -> Result<Appended, NotAppended> {
        self.write()?;
        let source = self.store.reader().read(waits.offset, waits.record_bytes).await?;
        let copy = copy::waiting_on(&source, waits.due, due::slot_of(self.now))
            .map_err(|error| NotAppended::Copy(error.to_string()))?;
        self.append(&copy.message, copy.queue).await
    }

    /// Applies what was appended last.
    pub(super) fn apply(&self, appended: &Appended, machines: &mut Machines) {
        for record in self.store.staged_from(appended.physical_offset()) {
            machines.apply(&record);
        }
    }

    /// Everything that was appended is durable on return; gives the store back, with the log's end.
    pub(super) async fn durable(mut self) -> Result<(Store, PhysicalOffset), NotAppended> {
        self.write()?;
        self.marks.durable(self.end).await?;
        Ok((self.store, self.end))
    }

    async fn append(&mut self, message: &Message, queue: QueueId) -> Result<Appended, NotAppended> {
        let record = record::encode(message, queue, self.store_host)?;
        let bytes = record.total_bytes();
        if self.unwritten_bytes + bytes > ROUND_BYTES {
            self.write()?;
        }
        self.store.ready(bytes).await;
        let appended = self.store.append(record, self.now)?;
        self.unwritten_bytes += bytes;
        self.end = appended.end;
        Ok(appended)
    }

    fn write(&mut self) -> Result<(), NotAppended> {
        self.store.write()?;
        self.unwritten_bytes = 0;
        Ok(())
    }
}
