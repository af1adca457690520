//! Delayed messages: delivered when due, taken back when asked.

use bytes::Bytes;
use types::broker::{RecallError, SendError, Unavailable};
use types::{PhysicalOffset, Timestamp};

use super::Engine;
use super::answer::{Answer, tell};
use super::fetch::Unread;
use crate::command::{Outcome, Reply};
use crate::copy;
use crate::journal::Event;
use crate::options::OUTCOMES_PER_ROUND;
use crate::timer::Due;

impl Engine {
    /// Begins to deliver what is due; what is left is due at once again.
    pub(super) fn deliver_due(&mut self) {
        for _ in 0..OUTCOMES_PER_ROUND {
            if self.fetches.is_full() || self.outcomes_paused_until > self.now || self.journal.is_full() {
                return;
            }
            let Some(due) = self.machines.timer.reserve_due(self.now) else { return };
            self.fetch(Outcome::Deliver(due), due.offset, due.record_bytes);
        }
    }

    /// Appends the copy of a message that is due. One whose record can never be read stays reserved, so that it
    /// does not stand in the way of others; the next start tries it again.
    pub(super) fn deliver(&mut self, due: Due, record: Result<Bytes, Unread>) {
        let copied = match record {
            Ok(record) => copy::delivered(&record).map(|copy| copy.was_due(due.due)).map_err(|error| error.to_string()),
            Err(Unread::Now(why)) => return self.release_timer(due, &why),
            Err(Unread::Ever(problem)) => Err(problem),
        };
        match copied.map(|copy| self.append_outcome(&copy)) {
            Ok(Ok(_)) => self.shared.counters.timers_delivered.add(1),
            Ok(Err(SendError::Unavailable(why))) => self.release_timer(due, &why),
            Ok(Err(error)) => tracing::error!(%error, offset = %due.offset, "a delayed message cannot be delivered"),
            Err(problem) => tracing::error!(problem, offset = %due.offset, "a delayed message cannot be delivered"),
        }
    }

    fn release_timer(&mut self, due: Due, why: &Unavailable) {
        self.machines.timer.release(due.due, due.offset);
        self.pause_outcomes(why);
    }

    pub(super) fn recall(&mut self, due: Timestamp, identity: u64, reply: Reply<Result<(), RecallError>>) {
        if let Some(why) = self.refusal() {
            return tell(reply, Err(why.into()));
        }
        match self.machines.timer.find(due, identity) {
            Some(offset) => self.recall_at(due, offset, reply),
            None => self.recall_spilled(due, identity, reply),
        }
    }

    pub(super) fn recall_at(&mut self, due: Timestamp, offset: PhysicalOffset, reply: Reply<Result<(), RecallError>>) {
        self.commit_event(&Event::Recalled { due, offset });
        self.answers.push(Answer::Recalled { reply });
    }
}
