//! Asking producers about half messages.

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use types::broker::{TransactionCheck, TransactionPlace};

use super::Engine;
use super::fetch::Unread;
use crate::command::Outcome;
use crate::journal::Event;
use crate::options::OUTCOMES_PER_ROUND;
use crate::transaction::{Checked, HalfMessage, Overdue};

impl Engine {
    /// Asks about what is overdue, or puts it aside. While nobody listens nobody is asked; those that were due are when somebody does.
    pub(super) fn check_transactions(&mut self) {
        let schedule = self.machines.schedule;
        for _ in 0..OUTCOMES_PER_ROUND {
            if self.fetches.is_full() || self.journal.is_full() {
                return;
            }
            match self.machines.transactions.poll_overdue(&schedule, self.now, self.shared.has_checker()) {
                None => return,
                Some(Overdue::Check(half)) => {
                    let (offset, record_bytes) = (half.place.physical_offset, half.record_bytes);
                    let next_at = self.now.plus(schedule.check_interval);
                    let first = half.position.physical_offset;
                    self.commit_event(&Event::Checked(Checked { offset: first, next_at }));
                    self.fetch(Outcome::Check(half), offset, record_bytes);
                }
                Some(Overdue::Park(half)) => {
                    let (offset, record_bytes) = (half.place.physical_offset, half.record_bytes);
                    self.fetch(Outcome::Park(half), offset, record_bytes);
                }
            }
        }
    }

    /// Hands a check to the next receiver that has room. One that reaches nobody is made again after the interval.
    pub(super) fn check(&mut self, half: HalfMessage, record: Result<Bytes, Unread>) {
        let record = match record {
            Ok(record) => record,
            Err(unread) => {
                let why = unread.unavailable();
                return tracing::warn!(%why, offset = %half.position.physical_offset, "a half message cannot be read");
            }
        };
        let HalfMessage { position, topic, times, .. } = half;
        let place = TransactionPlace { broker: self.shared.name.clone(), position };
        let mut check = TransactionCheck { topic, place, record, times: times + 1 };
        let mut receivers = self.shared.checkers.lock();
        receivers.retain(|receiver| !receiver.is_closed());
        for turn in 0..receivers.len() {
            let index = self.next_checker.wrapping_add(turn) % receivers.len();
            match receivers[index].try_send(check) {
                Ok(()) => {
                    self.next_checker = index + 1;
                    return;
                }
                Err(TrySendError::Full(unsent) | TrySendError::Closed(unsent)) => check = unsent,
            }
        }
    }
}
