//! Appending: the journal's records, and copies that are outcomes.

use bytes::Bytes;
use store::{AppendError, Appended};
use types::broker::{SendError, Unavailable};
use types::{PhysicalOffset, QueueId};

use super::Engine;
use crate::copy::{self, Copy};
use crate::journal::{Event, JOURNAL_TOPIC};
use crate::options::ROUND_COMMANDS_MAX;
use crate::prepare::send_error;

impl Engine {
    /// Takes a decision of our own machines: journals and applies it.
    pub(super) fn commit_event(&mut self, event: &Event) {
        self.journal.push(event);
        self.machines.apply_event(event);
    }

    /// Journals what the pop machine has decided and applied.
    pub(super) fn commit_pop_events(&mut self) {
        self.journal.push_pop(&mut self.events);
    }

    /// Brings all events into the log. What could not be appended stays pending, in order.
    pub(super) fn flush_journal(&mut self) -> Result<(), Unavailable> {
        if self.journal.is_empty() {
            return Ok(());
        }
        let mut bodies = self.journal.take().into_iter();
        while let Some(body) = bodies.next() {
            let body = Bytes::from(body);
            if let Err(error) = self.append_known(JOURNAL_TOPIC, body.clone()) {
                let rest = std::iter::once(body.to_vec()).chain(bodies).collect();
                self.journal.put_back(rest);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Appends what the machines know already, so it is not applied.
    pub(super) fn append_known(&mut self, topic: &'static str, body: Bytes) -> Result<(), Unavailable> {
        let message = copy::system_message(topic, body, self.now);
        let record = record::encode(&message, QueueId(0), self.options.store_host)
            .map_err(|error| Unavailable::StoreFailed { detail: error.to_string() })?;
        self.store.append_reserved(record, self.now).map(drop).map_err(unavailable)
    }

    /// Appends an outcome and applies it. The events before it are brought into the log first, so that replay
    /// sees everything in the order in which it happened.
    pub(super) fn append_outcome(&mut self, copy: &Copy) -> Result<Appended, SendError> {
        self.make_again(copy);
        self.flush_journal()?;
        let record = record::encode(&copy.message, copy.queue, self.options.store_host).map_err(send_error)?;
        let appended = self.store.append_reserved(record, self.now).map_err(append_error)?;
        self.apply_from(appended.physical_offset());
        if copy.due.is_none() && !copy.message.topic.is_system() {
            self.arrivals.push(&copy.message.topic, copy.queue, &appended);
        }
        Ok(appended)
    }

    /// Makes the topic that a copy comes to: while the message waited it may have expired.
    fn make_again(&mut self, copy: &Copy) {
        let topic = &copy.message.topic;
        if copy.due.is_none()
            && self.machines.catalog.topic(topic).is_none()
            && let Some(event) = self.machines.catalog.decide_again(topic, self.auto(), copy.queue)
        {
            self.change_catalog(event);
        }
    }

    /// Appends an op record. `source` is set when it is itself the outcome of a half message.
    pub(super) fn append_op(&mut self, body: String, source: PhysicalOffset) -> Result<(), Unavailable> {
        let mut message = copy::op(body, self.now);
        message.source_offset = source.0;
        match self.append_outcome(&Copy { message, queue: QueueId(0), due: None }) {
            Ok(_) => Ok(()),
            Err(SendError::Unavailable(why)) => Err(why),
            Err(other) => Err(Unavailable::StoreFailed { detail: other.to_string() }),
        }
    }
}

/// Why a message was not appended.
pub(super) fn append_error(error: AppendError) -> SendError {
    match error {
        AppendError::TooLarge { .. } => SendError::Unsupported { what: "a message longer than a log segment" },
        other => unavailable(other).into(),
    }
}

/// Why the log takes nothing just now.
pub(super) fn unavailable(error: AppendError) -> Unavailable {
    match error {
        AppendError::DiskFull { detail } => Unavailable::DiskFull { detail },
        // The round has filled two segments; the next round finds another one.
        AppendError::NotReady => Unavailable::Busy { waiting_max: ROUND_COMMANDS_MAX },
        AppendError::TooLarge { .. } => Unavailable::StoreFailed { detail: error.to_string() },
        AppendError::Failed(failed) => Unavailable::StoreFailed { detail: failed.detail.to_string() },
    }
}
