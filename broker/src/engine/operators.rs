//! What operators ask about messages: copies to be stored, and who holds others back.

use types::GroupName;
use types::admin::{AdminError, BLOCKED_MAX, Blocked};
use types::broker::{LeaseOwner, Unavailable};

use super::Engine;
use super::answer::{Answer, tell};
use crate::command::{BlockedBy, CopyCommand};
use crate::copy::Copy;
use crate::pop::RETRIES_MAX;
use crate::takeover::Told;
use crate::transaction::{HALF_TOPIC, Transactions};

impl Engine {
    /// How far this broker is, as Apache's slaves ask for it. What the machines know is in the log behind it.
    pub(super) fn told(&mut self) -> Result<Told, Unavailable> {
        self.flush_journal()?;
        Ok(Told::of(&self.machines, &self.store, self.store.end(), self.now))
    }

    /// The heads that hold a group's other messages back, with their entries.
    pub(super) fn blocked(&mut self, group: &GroupName) -> Result<Vec<BlockedBy>, AdminError> {
        self.machines.catalog.find_group(group)?;
        let blocking = self.machines.pop.blocking(group, BLOCKED_MAX);
        let with_entry = |at: Blocked| {
            let entry = self.entry(&at.topic, at.queue, at.offset);
            (at, entry)
        };
        Ok(blocking.into_iter().map(with_entry).collect())
    }

    /// Stores a copy that an operator asked for.
    pub(super) fn store_copy(&mut self, command: CopyCommand) {
        let CopyCommand { copy, retry, reply } = command;
        if let Err(why) = self.check_copy(&copy, retry.as_ref()) {
            return tell(reply, Err(why.into()));
        }
        if copy.message.topic.is_retry() {
            self.make_derived_topic(&copy.message.topic);
        }
        match self.append_outcome(&copy) {
            Ok(appended) => self.answers.push(Answer::Copied { reply, offset: appended.queue_offset }),
            Err(why) => tell(reply, Err(why)),
        }
    }

    fn check_copy(&self, copy: &Copy, retry: Option<&LeaseOwner>) -> Result<(), Unavailable> {
        if let Some(why) = self.refusal_of_messages() {
            return Err(why);
        }
        if self.store.is_short() {
            let detail = "a message can be stored again once there is room".to_owned();
            return Err(Unavailable::DiskFull { detail });
        }
        if retry.is_some_and(|retry| !self.machines.pop.has_room_in(retry)) {
            return Err(Unavailable::Busy { waiting_max: RETRIES_MAX });
        }
        if copy.message.topic.as_str() == HALF_TOPIC && self.machines.transactions.is_full() {
            return Err(Unavailable::Busy { waiting_max: Transactions::HALVES_MAX });
        }
        Ok(())
    }
}
