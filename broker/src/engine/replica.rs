//! A slave's engine: the master's records are appended where the master has them, and applied as a replay does. Nothing else changes its
//! state: it polls no machine and takes no request but those that read.

use store::{AppendError, Appended, Machine as _, StoredError};
use types::broker::Unavailable;
use types::{PhysicalOffset, TopicName};

use super::Engine;
use super::answer::{Answer, tell};
use super::append::unavailable;
use crate::command::Reply;
use crate::journal::{self, Event, JOURNAL_TOPIC};
use crate::options::Role;

/// Why the master's records were not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplicateError {
    /// They do not continue the log. Trying again does not help.
    #[error("the record at {at} does not continue this log: {problem}")]
    Unfit {
        /// The record's position.
        at: PhysicalOffset,
        /// What is wrong with it.
        problem: String,
    },
    /// The log takes nothing now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Where a slave's log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogEnd {
    /// Where its last record begins; `None` in a log without any.
    pub(crate) last: Option<PhysicalOffset>,
    /// Where that ends.
    pub(crate) at: PhysicalOffset,
}

impl Engine {
    /// Appends records of the master's log. Where the round has no segment for all of them, the caller sends the rest again.
    pub(super) fn replicate(&mut self, records: &[u8], reply: Reply<Result<LogEnd, ReplicateError>>) {
        assert_eq!(self.options.role, Role::Slave, "a master's log is its own");
        if let Some(why) = &self.failure {
            return tell(reply, Err(why.clone().into()));
        }
        let from = self.store.end();
        let appended = self.store.append_stored(records);
        self.follow_from(from);
        if let Some(at) = self.machines.newer_event_at {
            // As a start: what that event has led to is not known here, so nothing goes on from this state.
            let why = format!("the record at {at} has an event that this version does not know: use the newer version");
            let why = Unavailable::StoreFailed { detail: why };
            self.fail(why.clone());
            return tell(reply, Err(why.into()));
        }
        match appended {
            Ok(()) | Err(StoredError::Append(AppendError::NotReady)) => {
                self.answers
                    .push(Answer::Replicated { reply, end: LogEnd { last: self.store.last(), at: self.store.end() } });
            }
            Err(StoredError::Append(error)) => tell(reply, Err(unavailable(error).into())),
            Err(StoredError::Unfit { at, problem }) => tell(reply, Err(ReplicateError::Unfit { at, problem })),
        }
    }

    /// For how many bytes there must be room: where the master went on in its next segment, more than is left in this one.
    pub(super) fn replicated_bytes(&self, records: &[u8]) -> u64 {
        match record::header(records) {
            Ok(first) if first.physical_offset != self.store.end() => self.store.segment_bytes(),
            _ => records.len() as u64,
        }
    }

    /// The log's front goes where the master's states say that it may, whatever the master has done since: what is alive of it was carried
    /// forward.
    pub(super) fn let_front_go(&mut self) {
        let Some(before) = self.store.front_to_go() else { return };
        let first = self.store.first();
        if let Err(error) = self.store.begin_expiry(before) {
            return tracing::error!(%error, %before, "the log's front cannot go");
        }
        if self.store.expire().is_none() {
            return self.store.cancel_expiry();
        }
        let lost = self.machines.timer.expire(before);
        if lost > 0 {
            tracing::error!(lost, %before, "delayed messages that the master could not read expire");
        }
        self.shared.counters.expired_segments.add((before.0 - first.0) / self.store.segment_bytes());
        tracing::info!(first = %before, "the log's front is gone, as the master's");
        self.begin_checkpoint();
    }

    /// Applies what was appended from `from` on, and shows it to those who read.
    fn follow_from(&mut self, from: PhysicalOffset) {
        for record in self.store.staged_from(from) {
            let catalog_changes = self.machines.catalog_changes;
            self.machines.apply(&record);
            if record.topic == JOURNAL_TOPIC && self.machines.catalog_changes != catalog_changes {
                let events = journal::events(record.body).map_while(Result::ok);
                let changes =
                    events.filter_map(|event| if let Event::Catalog(change) = event { Some(change) } else { None });
                changes.for_each(|change| self.shared.directory.publish(&self.machines.catalog, &change));
            }
            if record.is_queued()
                && let Ok(topic) = TopicName::new(record.topic)
                && !topic.is_system()
            {
                let appended = arrived(&record);
                self.arrivals.push(&topic, record.header.queue, &appended);
            }
        }
    }
}

/// Where a record is, as those who wait for it are told.
fn arrived(record: &record::Record<'_>) -> Appended {
    let header = &record.header;
    Appended {
        queue_offset: header.queue_offset,
        physical_offsets: [header.physical_offset].into(),
        stored_at: header.stored_at,
        end: header.physical_offset.plus(header.record_bytes.into()),
    }
}
