//! Pulls: entries of one queue, leased to nobody, and the offsets that go with them.

use store::QueueEntry;
use types::QueueOffset;
use types::broker::{LeaseOwner, LookupError, PopError, PullError};

use super::Engine;
use super::answer::{Answer, tell};
use crate::command::{PullCommand, PulledEntries, Reply};
use crate::journal::Event;
use crate::offset::{Committed, Offsets};
use crate::options::{Role, WAITING_MAX};

impl Engine {
    /// Answers a pull, or lets it wait when its queue has nothing new.
    pub(super) fn pull(&mut self, pull: PullCommand) {
        if let Some(why) = &self.failure {
            return tell(pull.reply, Err(PullError::Pop(PopError::Unavailable(why.clone()))));
        }
        if pull.reply.is_closed() {
            return;
        }
        let (min, end) = self.range(&pull.topic, pull.queue);
        // Who has read from the master may be ahead of a slave's log: what it waits for comes. Source: Apache 5.5
        // `DefaultPullMessageResultHandler`, unless `offsetCheckInSlave`.
        let is_beyond = pull.offset > end && self.options.role == Role::Master;
        if pull.offset < min || is_beyond {
            let error = PullError::OffsetOutOfRange { offset: pull.offset, min, max: end };
            return tell(pull.reply, Err(error));
        }
        let mut entries = Vec::new();
        // Not behind `end`, though the disk may have more by now: where this pull ends the next one must be allowed to begin.
        let max = end.0.saturating_sub(pull.offset.0).min(pull.messages_max.into());
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let read = self.store.entries(pull.topic.as_str(), pull.queue, pull.offset, max, &mut entries);
        if let Err(error) = read {
            tracing::error!(%error, topic = %pull.topic, queue = %pull.queue, "a queue cannot be read");
        }
        if entries.is_empty() && pull.until > self.moment {
            return self.let_pull_wait(pull);
        }
        self.count_out(&entries);
        tell(pull.reply, Ok(PulledEntries { entries, min, end }));
    }

    fn let_pull_wait(&mut self, pull: PullCommand) {
        if self.waiting.is_full() {
            self.shared.counters.busy.add(1);
            return tell(pull.reply, Err(PullError::Pop(PopError::TooManyWaiting { waiting_max: WAITING_MAX })));
        }
        self.waiting.push_pull(pull);
    }

    fn count_out(&self, entries: &[QueueEntry]) {
        self.shared.counters.messages_out.add(entries.len() as u64);
        self.shared.counters.bytes_out.add(entries.iter().map(|entry| u64::from(entry.record_bytes)).sum());
    }

    pub(super) fn commit_offset(&mut self, commit: Committed, reply: Reply<Result<(), LookupError>>) {
        if let Some(why) = self.refusal() {
            return tell(reply, Err(why.into()));
        }
        if !self.machines.offsets.has_room(&commit.group, &commit.topic, commit.queue) {
            let waiting_max = Offsets::ENTRIES_MAX;
            return tell(reply, Err(types::broker::Unavailable::Busy { waiting_max }.into()));
        }
        self.commit_event(&Event::Offset(commit));
        self.answers.push(Answer::OffsetCommitted { reply });
    }
}

impl Engine {
    /// Sets where a group goes on: its pops, whose leases end, and its pulls.
    pub(super) fn reset_offset(&mut self, to: Committed, reply: Reply<Result<(), LookupError>>) {
        let owner = LeaseOwner { group: to.group.clone(), topic: to.topic.clone() };
        if self.machines.pop.committed(&owner, to.queue).is_none() {
            return self.commit_offset(to, reply);
        }
        if let Some(why) = self.refusal() {
            return tell(reply, Err(why.into()));
        }
        self.machines.pop.reset_to(&owner, to.queue, to.offset, &mut self.events);
        self.commit_pop_events();
        if self.machines.offsets.get(&to.group, &to.topic, to.queue).is_some() {
            self.commit_event(&Event::Offset(to));
        }
        self.answers.push(Answer::OffsetCommitted { reply });
    }
}

/// The answer to a pull that found nothing.
pub(super) fn nothing((min, end): (QueueOffset, QueueOffset)) -> PulledEntries {
    PulledEntries { entries: Vec::new(), min, end }
}
