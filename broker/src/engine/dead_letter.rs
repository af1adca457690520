//! Messages that are given up: moved to their group's dead-letter topic.

use std::collections::BTreeSet;

use bytes::Bytes;
use types::broker::{LeaseError, LeaseOwner, SendError, Unavailable};
use types::{GroupName, QueueId, QueueOffset, ReceiptHandle, TopicName};

use super::Engine;
use super::answer::{Answer, tell};
use super::fetch::Unread;
use crate::catalog::Auto;
use crate::command::{GiveUpCommand, Outcome, Reply};
use crate::copy;
use crate::pop::{Standing, Unfinished};

/// Why there is no copy.
enum Unburied {
    /// Not now: trying again may help.
    Now(Unavailable),
    /// It can never be made.
    Ever(String),
}

/// Messages whose copies are being made, so that none is made twice. Bounded by the fetches under way.
pub(super) type Burials = BTreeSet<(GroupName, TopicName, QueueId, QueueOffset)>;

impl Engine {
    /// Moves what was delivered too often.
    pub(super) fn give_up_messages(&mut self) {
        while let Some(message) = self.machines.pop.poll_dead_letter() {
            self.dead_letters.push(message);
        }
        if self.outcomes_paused_until > self.now {
            return;
        }
        for message in std::mem::take(&mut self.dead_letters) {
            self.give_up(message, None);
        }
    }

    /// A client gives a message up. One that is finished or gone is fine.
    pub(super) fn dead_letter(
        &mut self,
        lease: &LeaseOwner,
        handle: &ReceiptHandle,
        reply: Reply<Result<(), LeaseError>>,
    ) {
        if let Some(why) = self.refusal() {
            return tell(reply, Err(why.into()));
        }
        match self.machines.pop.find(lease, handle) {
            Ok(Some(message)) => self.give_up(message, Some(reply)),
            Ok(None) => self.answers.push(Answer::DeadLettered { reply }),
            Err(error) => tell(reply, Err(error)),
        }
    }

    /// The same for a message that is named by its place. Whether one is done with that the group has only pulled, nobody but the
    /// group knows.
    pub(super) fn give_up_by_place(&mut self, command: GiveUpCommand) {
        let GiveUpCommand { owner, queue, offset, is_popped, moved } = command;
        if let Some(why) = self.refusal() {
            tell(is_popped, true);
            return tell(moved, Err(why.into()));
        }
        match self.machines.pop.standing(&owner, queue, offset) {
            Standing::Unfinished(message) => {
                tell(is_popped, true);
                self.give_up(message, Some(moved));
            }
            Standing::Finished if self.machines.offsets.get(&owner.group, &owner.topic, queue).is_none() => {
                tell(is_popped, true);
                self.answers.push(Answer::DeadLettered { reply: moved });
            }
            Standing::Finished | Standing::Unread => tell(is_popped, false),
        }
    }

    fn give_up(&mut self, message: Unfinished, reply: Option<Reply<Result<(), LeaseError>>>) {
        if self.fetches.is_full() {
            return self.bury(message, reply, Err(Unread::Now(busy())));
        }
        let Some(entry) = self.entry(&message.owner.topic, message.queue, message.offset) else {
            // The log no longer has it: there is nothing to keep.
            self.machines.pop.pass_over(&message, &mut self.events);
            self.commit_pop_events();
            return self.answer_dead_letter(reply);
        };
        if !self.burials.insert(key(&message)) {
            return tell_unless_retried(reply, &busy());
        }
        self.make_derived_topic(&TopicName::dead_letter(&message.owner.group));
        self.fetch(Outcome::DeadLetter { message, reply }, entry.physical_offset, entry.record_bytes);
    }

    /// Makes a group's dead-letter or retry topic, if it is not there yet.
    pub(super) fn make_derived_topic(&mut self, topic: &TopicName) {
        if self.machines.catalog.topic(topic).is_some() {
            return;
        }
        let always = Auto { topics: true, groups: false, queues: 1 };
        if let Some(event) = self.machines.catalog.decide_first_use(topic, always) {
            self.publish_catalog(event);
        }
    }

    /// Appends the copy; applying it finishes the message. One whose record is damaged is finished without a copy, counted
    /// and named.
    pub(super) fn bury(
        &mut self,
        message: Unfinished,
        reply: Option<Reply<Result<(), LeaseError>>>,
        record: Result<Bytes, Unread>,
    ) {
        self.burials.remove(&key(&message));
        match self.append_dead_letter(&message, record) {
            Ok(()) => {
                self.shared.counters.dead_lettered.add(1);
                self.answer_dead_letter(reply);
            }
            Err(Unburied::Ever(problem)) => {
                let (group, topic, queue, offset) =
                    (&message.owner.group, &message.owner.topic, message.queue, message.offset);
                tracing::error!(problem, %group, %topic, %queue, %offset, "a message is given up without a dead letter");
                self.shared.counters.lost.add(1);
                self.machines.pop.pass_over(&message, &mut self.events);
                self.commit_pop_events();
                self.answer_dead_letter(reply);
            }
            Err(Unburied::Now(why)) => {
                if reply.is_none() {
                    self.dead_letters.push(message);
                    self.pause_outcomes(&why);
                }
                tell_unless_retried(reply, &why);
            }
        }
    }

    fn append_dead_letter(&mut self, message: &Unfinished, record: Result<Bytes, Unread>) -> Result<(), Unburied> {
        let record = record.map_err(|unread| match unread {
            Unread::Now(why) => Unburied::Now(why),
            Unread::Ever(problem) => Unburied::Ever(problem),
        })?;
        let copy = copy::dead_letter(&record, &message.owner, message.queue, message.offset)
            .map_err(|error| Unburied::Ever(error.to_string()))?;
        match self.append_outcome(&copy) {
            Ok(_) => Ok(()),
            Err(SendError::Unavailable(why)) => Err(Unburied::Now(why)),
            Err(error) => Err(Unburied::Ever(error.to_string())),
        }
    }

    fn answer_dead_letter(&mut self, reply: Option<Reply<Result<(), LeaseError>>>) {
        if let Some(reply) = reply {
            self.answers.push(Answer::DeadLettered { reply });
        }
    }
}

pub(super) fn key(message: &Unfinished) -> (GroupName, TopicName, QueueId, QueueOffset) {
    let owner = &message.owner;
    (owner.group.clone(), owner.topic.clone(), message.queue, message.offset)
}

fn busy() -> Unavailable {
    Unavailable::Busy { waiting_max: crate::options::FETCHES_MAX }
}

/// A client tries again; what the broker gives up itself it tries again itself.
fn tell_unless_retried(reply: Option<Reply<Result<(), LeaseError>>>, why: &Unavailable) {
    if let Some(reply) = reply {
        tell(reply, Err(why.clone().into()));
    }
}
