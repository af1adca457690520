//! Copies that operators ask for: of a dead letter for its group, of a parked half message for its producers.
//!
//! Of each one copy is made. The copy is what says so, by the property that names what it was made of: it is younger than that, so it is in
//! the log as long as that is, and the key index finds it by its unique key. Only one copy is looked for and stored at a time.

use bytes::Bytes;
use types::admin::{AdminError, Blocked, StoreAgainError, StoredAgain};
use types::broker::{LeaseOwner, LookupError, SendError, Unavailable};
use types::properties::names;
use types::{GroupName, PhysicalOffset, QueueId, QueueOffset, TopicName};

use super::LocalBroker;
use super::read::unavailable;
use crate::command::{AdminCommand, Command, CopyCommand};
use crate::copy::{self, Copy, CopyError, system_topic};
use crate::effect::ENTRY_SOURCE;
use crate::transaction::PARK_TOPIC;

/// Positions of a key that are asked for at once.
const AT_ONCE: usize = 64;

impl LocalBroker {
    /// As [`types::Admin::redrive`].
    pub(super) async fn redrive_dead_letter(
        &self,
        group: &GroupName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<StoredAgain, StoreAgainError> {
        let dead_letters = TopicName::dead_letter(group);
        let (record, at) = self.source(&dead_letters, queue, offset).await?;
        let no_origin = |_: CopyError| StoreAgainError::NoOrigin { topic: dead_letters.clone(), queue, offset };
        let from = copy::dead_letter_origin(&record, group).map_err(no_origin)?;
        let owner = LeaseOwner { group: group.clone(), topic: from.topic.clone() };
        let pops = self.ask(|reply| Command::Admin(AdminCommand::Pops { owner, reply })).await?;
        // A popping group's retry topic is for one topic, that of 4.x's consumers for all: each reads only its own.
        let retry = if pops.map_err(AdminError::from)? || from.is_popped {
            // A group's and a topic's names always fit; those of the system's do not.
            let too_long = StoreAgainError::NoOrigin { topic: dead_letters.clone(), queue, offset };
            TopicName::retry(group, &from.topic).ok_or(too_long)?
        } else {
            TopicName::group_retry(group)
        };
        let copy = copy::redriven(&record, group, &from.topic, retry).map_err(no_origin)?;
        self.store_again(copy, at, Some(group)).await
    }

    /// As [`types::Admin::resume`].
    pub(super) async fn resume_half(&self, offset: QueueOffset) -> Result<StoredAgain, StoreAgainError> {
        let (topic, queue) = (system_topic(PARK_TOPIC), QueueId(0));
        let (record, at) = self.source(&topic, queue, offset).await?;
        let copy = copy::resumed(&record).map_err(|_| StoreAgainError::NoOrigin { topic, queue, offset })?;
        self.store_again(copy, at, None).await
    }

    /// The message to be copied, and where it is.
    async fn source(
        &self,
        topic: &TopicName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<(Bytes, PhysicalOffset), StoreAgainError> {
        let asked = topic.clone();
        let entry = self.ask(|reply| Command::Entry { topic: asked, queue, offset, reply }).await?;
        let record = match entry {
            Some(entry) => self.record_at(entry.physical_offset).await?.map(|record| (record, entry.physical_offset)),
            None => None,
        };
        record.ok_or_else(|| StoreAgainError::NotFound { topic: topic.clone(), queue, offset })
    }

    /// Stores the copy of a message that is `at` this place, unless that was done before.
    async fn store_again(
        &self,
        copy: Copy,
        at: PhysicalOffset,
        group: Option<&GroupName>,
    ) -> Result<StoredAgain, StoreAgainError> {
        let retry = group.map(|group| LeaseOwner { group: group.clone(), topic: copy.message.topic.clone() });
        // Two that look for a copy at the same time would both find none. A caller that goes away after it has asked for the copy to be stored
        // leaves it to the engine, which answers the next one's search later.
        let _one_at_a_time = self.inner.copying.lock().await;
        let topic = copy.message.topic.clone();
        if let Some(offset) = self.find_copy(&copy, at).await? {
            return Ok(StoredAgain { topic, offset, is_repeat: true });
        }
        let command = |reply| Command::StoreCopy(CopyCommand { copy: Box::new(copy), retry, reply });
        match self.ask(command).await? {
            Ok(offset) => Ok(StoredAgain { topic, offset, is_repeat: false }),
            Err(SendError::Unavailable(why)) => Err(why.into()),
            Err(why) => Err(Unavailable::StoreFailed { detail: why.to_string() }.into()),
        }
    }

    /// Where the same copy of a message that is `at` this place is already.
    async fn find_copy(&self, copy: &Copy, at: PhysicalOffset) -> Result<Option<QueueOffset>, StoreAgainError> {
        let (topic, properties) = (copy.message.topic.as_str(), &copy.message.properties);
        let hash = record::key_hash(topic, properties.get(names::UNIQUE_KEY).unwrap_or_default());
        let made_of = properties.get(ENTRY_SOURCE);
        let reader = &self.inner.shared.reader;
        let search = self.ask(|reply| Command::SearchKeys { hash, reply }).await?;
        let mut before = PhysicalOffset(u64::MAX);
        loop {
            let found = reader.find_keys(search.clone(), before, AT_ONCE).await;
            let positions = found.map_err(|error| unavailable(&error))?;
            let Some(last) = positions.last() else { return Ok(None) };
            before = *last;
            for position in positions.into_iter().take_while(|position| *position > at) {
                if position >= reader.marks().visible_to() {
                    // It may be the copy, and whether it stays is not known yet.
                    return Err(Unavailable::Busy { waiting_max: 1 }.into());
                }
                let Some(bytes) = self.record_at(position).await? else { continue };
                if let Ok(record) = record::decode(&bytes)
                    && record.topic == topic
                    && record.property(ENTRY_SOURCE) == made_of
                {
                    let (topic, queue) = (copy.message.topic.clone(), copy.queue);
                    let (first, _) = self.ask(|reply| Command::Range { topic, queue, reply }).await?;
                    // A copy in an earlier topic of this name went with that.
                    return Ok(Some(record.header.queue_offset).filter(|offset| *offset >= first));
                }
            }
            if before <= at {
                return Ok(None);
            }
        }
    }

    /// As [`types::Admin::blocked`].
    pub(super) async fn find_blocked(&self, group: &GroupName) -> Result<Vec<Blocked>, AdminError> {
        let name = group.clone();
        let asked = self.ask(|reply| Command::Admin(AdminCommand::Blocked { name, reply })).await;
        let mut blocked = Vec::new();
        for (mut at, entry) in asked.map_err(LookupError::Unavailable)?? {
            let bytes = match entry {
                Some(entry) => self.record_at(entry.physical_offset).await?,
                None => None,
            };
            // The record is not kept: all of them together may be a gigabyte.
            let record = bytes.as_ref().and_then(|bytes| record::decode(bytes).ok());
            let property = |name| record.as_ref().and_then(|record| record.property(name)).map(str::to_owned);
            at.message_id = property(names::UNIQUE_KEY);
            at.message_group = property(names::MESSAGE_GROUP);
            blocked.push(at);
        }
        Ok(blocked)
    }
}
