//! Transactions: outcomes as producers decide them, and parking of those that nobody decides.

use std::collections::BTreeMap;

use bytes::Bytes;
use types::PhysicalOffset;
use types::broker::{SendError, TransactionError, Unavailable};

use super::Engine;
use super::answer::{Answer, tell};
use super::fetch::Unread;
use crate::command::{EndCommand, Outcome};
use crate::copy::{self, Copy};
use crate::options::END_WAITING_MAX;
use crate::transaction::{End, HalfMessage, op_body};

/// Requests for transactions whose outcome is just being stored, at most [`END_WAITING_MAX`] each.
#[derive(Debug, Default)]
pub(super) struct EndWaiting(BTreeMap<PhysicalOffset, Vec<EndCommand>>);

impl EndWaiting {
    fn push(&mut self, command: EndCommand) {
        let waiting = self.0.entry(command.position.physical_offset).or_default();
        if waiting.len() < END_WAITING_MAX {
            waiting.push(command);
        } else {
            tell(command.reply, Err(Unavailable::Busy { waiting_max: END_WAITING_MAX }.into()));
        }
    }

    fn take(&mut self, offset: PhysicalOffset) -> Vec<EndCommand> {
        self.0.remove(&offset).unwrap_or_default()
    }

    pub(super) fn fail_all(&mut self, why: &Unavailable) {
        for command in std::mem::take(&mut self.0).into_values().flatten() {
            tell(command.reply, Err(why.clone().into()));
        }
    }
}

impl Engine {
    pub(super) fn end_transaction(&mut self, command: EndCommand) {
        if let Some(why) = self.refusal() {
            return tell(command.reply, Err(why.into()));
        }
        match self.machines.transactions.end(&command.topic, command.position, command.resolution) {
            Err(error) => tell(command.reply, Err(error)),
            Ok(End::Nothing) => self.answers.push(Answer::Ended { reply: command.reply }),
            Ok(End::Later) => self.end_waiting.push(command),
            Ok(End::RollBack(half)) => self.roll_back(&half, command),
            Ok(End::Commit(half)) => {
                let (offset, record_bytes) = (half.place.physical_offset, half.record_bytes);
                self.fetch(Outcome::Commit { half, command }, offset, record_bytes);
            }
        }
    }

    /// The op record is the outcome.
    fn roll_back(&mut self, half: &HalfMessage, command: EndCommand) {
        match self.append_op(op_body(half.place.queue_offset), half.position.physical_offset) {
            Ok(()) => {
                self.shared.counters.rolled_back.add(1);
                self.answers.push(Answer::Ended { reply: command.reply });
            }
            Err(why) => tell(command.reply, Err(why.into())),
        }
    }

    /// Appends the committed copy; then those that asked meanwhile are answered by what has become of it.
    pub(super) fn commit(&mut self, half: &HalfMessage, command: EndCommand, record: Result<Bytes, Unread>) {
        let offset = half.position.physical_offset;
        match self.append_committed(record) {
            Ok(()) => {
                self.shared.counters.committed.add(1);
                self.answers.push(Answer::Ended { reply: command.reply });
            }
            Err(error) => {
                self.machines.transactions.release(offset);
                tell(command.reply, Err(error));
            }
        }
        for command in self.end_waiting.take(offset) {
            self.end_transaction(command);
        }
    }

    fn append_committed(&mut self, record: Result<Bytes, Unread>) -> Result<(), TransactionError> {
        let record = record.map_err(Unread::unavailable)?;
        if self.store.is_short() {
            let detail = "a message can be committed once there is room again".to_owned();
            return Err(Unavailable::DiskFull { detail }.into());
        }
        if let Some(why) = self.shared.too_few_in_sync() {
            return Err(why.into());
        }
        let copy = copy::committed(&record, self.now)
            .map_err(|error| Unavailable::StoreFailed { detail: error.to_string() })?;
        if copy.due.is_some()
            && let Some(waiting_max) = self.machines.timer.is_full()
        {
            return Err(Unavailable::Busy { waiting_max }.into());
        }
        self.append_or_say_why(&copy)
    }

    fn append_or_say_why(&mut self, copy: &Copy) -> Result<(), TransactionError> {
        match self.append_outcome(copy) {
            Ok(_) => Ok(()),
            Err(SendError::Unavailable(why)) => Err(why.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts a half message aside. One that cannot be read now or stored is tried again at its next check; one whose record is damaged
    /// ends without a copy, counted and named.
    pub(super) fn park(&mut self, half: &HalfMessage, record: Result<Bytes, Unread>) {
        let offset = half.position.physical_offset;
        let copy = record.and_then(|record| copy::parked(&record).map_err(|error| Unread::Ever(error.to_string())));
        let parked = match copy {
            Ok(copy) => self.append_or_say_why(&copy).map(|()| self.shared.counters.parked.add(1)),
            Err(Unread::Now(why)) => Err(why.into()),
            Err(Unread::Ever(problem)) => {
                let ended = self.append_op(op_body(half.place.queue_offset), offset);
                ended.map_err(TransactionError::from).map(|()| {
                    self.shared.counters.halves_lost.add(1);
                    tracing::error!(problem, %offset, topic = %half.topic, "a half message is given up: it cannot be put aside");
                })
            }
        };
        match parked {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(%error, %offset, "a half message cannot be put aside and is tried again");
                self.machines.transactions.release(offset);
            }
        }
        for command in self.end_waiting.take(offset) {
            self.end_transaction(command);
        }
    }
}
