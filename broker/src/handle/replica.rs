//! What the replication asks: the log to send, and that what came is appended.

use std::collections::BTreeSet;

use bytes::Bytes;
use store::{Marks, Reader};
use tokio::sync::mpsc;
use types::broker::{LookupError, Unavailable};
use types::{PhysicalOffset, QueueId, QueueOffset, Timestamp};

use super::LocalBroker;
use crate::command::{Command, Escape, TimerKey};
use crate::copy::system_topic;
use crate::engine::{LogEnd, ReplicateError};
use crate::options::{Copies, Role};
use crate::takeover::{SCHEDULE_TOPIC, Told};
use crate::timer::due::level_delay;
use crate::transaction::{HALF_TOPIC, OP_TOPIC};

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

    /// Whether this broker's log is a master's, and nothing else was ever added to it: it may be given up.
    pub(crate) fn is_only_a_replica(&self) -> bool {
        self.inner.is_only_a_replica
    }

    /// How many brokers have what is acknowledged.
    pub(crate) fn copies(&self) -> Copies {
        self.inner.shared.copies
    }

    /// Says how far all slaves that are waited for have the log, and how many brokers are in sync; `None`: none is waited for.
    pub(crate) fn replicated(&self, to: Option<PhysicalOffset>, in_sync: usize) {
        let shared = &self.inner.shared;
        let stored_to = shared.marks.stored_to();
        let to = to.map_or(stored_to, |to| to.min(stored_to));
        if shared.copies.are_met_by(in_sync) {
            // Before the mark moves: who sees that sees this.
            shared.confirm(to);
        }
        shared.set_in_sync(in_sync);
        shared.marks.set_replicated(to);
    }

    /// How far this broker is, as Apache's slaves ask for it; true for who has the log up to its end.
    ///
    /// # Errors
    /// [`LookupError::Unavailable`].
    pub(crate) async fn told(&self) -> Result<Told, LookupError> {
        let mut told = self.ask(|reply| Command::Told { reply }).await??;
        let schedule = system_topic(SCHEDULE_TOPIC);
        let read_to = told.wheel_read_to;
        for (level, end) in &mut told.levels {
            // What was stored earlier is delivered: each level has one delay.
            let delay_ms = level_delay((*level).into()).unwrap_or_default().as_millis() as i64;
            let all = (QueueOffset(0), *end);
            *end = self.first_stored_at(&schedule, QueueId(level - 1), all, Timestamp(read_to.0 - delay_ms)).await?;
        }
        let ops_from = match told.first_half {
            None => told.ops_end,
            // Outcomes of those that came later stand behind it.
            Some(first) => match self.stored_at(&system_topic(HALF_TOPIC), QueueId(0), first).await? {
                Some(stored_at) => {
                    let (ops, all) = (system_topic(OP_TOPIC), (QueueOffset(0), told.ops_end));
                    self.first_stored_at(&ops, QueueId(0), all, stored_at).await?
                }
                None => QueueOffset(0),
            },
        };
        told.ops_from(ops_from);
        Ok(told)
    }

    /// From now on delayed messages that are due at this slave go there; `None`: nowhere, as to a slave its master's log says it.
    pub(crate) async fn escape_to(&self, to: Option<mpsc::Sender<Escape>>) {
        // An engine that is gone delivers nothing.
        drop(self.inner.commands.send(Command::EscapeTo(to)).await);
    }

    /// Gives delayed messages back that did not get anywhere.
    pub(crate) async fn release_timers(&self, timers: Vec<TimerKey>) {
        drop(self.inner.commands.send(Command::ReleaseTimers(timers)).await);
    }

    /// Ends the wait of delayed messages that were delivered elsewhere; answers how many of them had not ended here. Stored on return.
    ///
    /// # Errors
    /// The log takes nothing now.
    pub(crate) async fn finish_timers(&self, timers: Vec<TimerKey>) -> Result<usize, Unavailable> {
        self.ask(|reply| Command::FinishTimers { timers, reply }).await?
    }

    /// Those of these delayed messages that have ended, by what the log says.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub(crate) async fn ended_timers(&self, timers: Vec<TimerKey>) -> Result<BTreeSet<TimerKey>, Unavailable> {
        self.ask(|reply| Command::EndedTimers { timers, reply }).await
    }

    /// Delayed messages that were sent to other brokers, or those that are delivered twice by it.
    pub(crate) fn count_escapes(&self, escaped: u64, delivered_twice: u64) {
        let counters = &self.inner.shared.counters;
        counters.escaped.add(escaped);
        counters.delivered_twice.add(delivered_twice);
    }

    /// This master may deliver what is due.
    pub(crate) async fn resume_outcomes(&self) {
        drop(self.inner.commands.send(Command::ResumeOutcomes).await);
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
