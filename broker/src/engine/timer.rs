//! Delayed messages: delivered when due, taken back when asked.

use std::time::Duration;

use bytes::Bytes;
use types::broker::{RecallError, SendError, Unavailable};
use types::{PhysicalOffset, Timestamp};

use super::Engine;
use super::answer::{Answer, tell};
use super::fetch::Unread;
use crate::command::{Escape, Outcome, Reply, TimerKey};
use crate::copy::{self, Copy};
use crate::journal::Event;
use crate::options::{OUTCOMES_PER_ROUND, Role};
use crate::timer::Due;

/// How long nothing is handed on after what takes it had no room.
const ESCAPES_PAUSE: Duration = Duration::from_millis(20);

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
        let record = match record {
            Ok(record) => record,
            Err(Unread::Now(why)) => return self.release_timer(due, &why),
            Err(Unread::Ever(problem)) => return undeliverable(due, &problem),
        };
        let copy = match copy::delivered(&record) {
            Ok(copy) => copy.was_due(due.due),
            Err(error) => return undeliverable(due, &error),
        };
        if self.options.role == Role::Slave {
            return self.escape(due, copy, &record);
        }
        match self.append_outcome(&copy) {
            Ok(_) => self.shared.counters.timers_delivered.add(1),
            Err(SendError::Unavailable(why)) => self.release_timer(due, &why),
            Err(error) => undeliverable(due, &error),
        }
    }

    /// When a slave that stands in for its master has something to do by itself.
    pub(super) fn next_escape(&self) -> Option<Timestamp> {
        let next = self.escapes.as_ref().and_then(|_| self.machines.timer.next_deadline());
        next.map(|at| at.max(self.outcomes_paused_until)).filter(|_| !self.fetches.is_full())
    }

    /// Hands on a message that is due at a slave. It stays reserved until the log says what has become of it, or it is given back.
    fn escape(&mut self, due: Due, copy: Copy, record: &Bytes) {
        // What was decoded has a head.
        let stored_at = record::header(record).map(|header| header.stored_at).unwrap_or_default();
        let escape = Escape { key: (due.due, due.offset), copy, stored_at };
        let is_taken = self.escapes.as_ref().is_some_and(|to| to.try_send(escape).is_ok());
        if !is_taken {
            // The next round, or the master, tries it again.
            self.machines.timer.release(due.due, due.offset);
            self.outcomes_paused_until = self.now.plus(ESCAPES_PAUSE);
        }
    }

    /// Gives messages back that did not get to another broker.
    pub(super) fn release_timers(&mut self, timers: Vec<TimerKey>) {
        for (due, offset) in timers {
            self.machines.timer.release(due, offset);
        }
    }

    /// Ends the wait of messages that a slave has delivered elsewhere; answers how many of them had not ended here.
    pub(super) fn finish_timers(&mut self, timers: Vec<TimerKey>, reply: Reply<Result<usize, Unavailable>>) {
        if let Some(why) = self.refusal() {
            return tell(reply, Err(why));
        }
        let mut count = 0;
        for (due, offset) in timers {
            if self.machines.timer.is_waiting(due, offset) {
                self.commit_event(&Event::Recalled { due, offset });
                count += 1;
            }
        }
        self.answers.push(Answer::TimersFinished { reply, count });
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

/// It stays reserved until the next start.
fn undeliverable(due: Due, why: &dyn std::fmt::Display) {
    tracing::error!(%why, offset = %due.offset, "a delayed message cannot be delivered");
}
