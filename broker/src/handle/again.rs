//! Copies that operators ask for: of a dead letter for its group, of a parked half message for its producers.
//!
//! Of each one copy is made. The copy is what says so, by the property that names what it was made of: it is younger than that, so it is in
//! the log as long as that is, and the key index finds it by its unique key. Only one copy is looked for and stored at a time.

use bytes::Bytes;
use types::admin::{AdminError, Blocked, StoreAgainError, StoredAgain};
use types::broker::{Durability, LeaseOwner, LookupError, SendError, Unavailable};
use types::properties::names;
use types::{Admin, GroupName, PhysicalOffset, QueueId, QueueOffset, TopicName};

use super::LocalBroker;
use super::read::unavailable;
use crate::command::{AdminCommand, Command, CopyCommand, Placed};
use crate::copy::{self, Copy, CopyError, system_topic};
use crate::effect::ENTRY_SOURCE;
use crate::options::FLUSH_TIMEOUT;
use crate::transaction::PARK_TOPIC;

/// Positions of a key that are asked for at once.
const AT_ONCE: usize = 64;

impl LocalBroker {
    /// As [`Admin::redrive`].
    pub(super) async fn redrive_dead_letter(
        &self,
        group: &GroupName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<StoredAgain, StoreAgainError> {
        self.describe_group(group).await?;
        let dead_letters = TopicName::dead_letter(group);
        let make = |record: &Bytes| copy::redriven(record, group);
        self.store_again(dead_letters, queue, offset, Some(group), make).await
    }

    /// As [`Admin::resume`].
    pub(super) async fn resume_half(&self, offset: QueueOffset) -> Result<StoredAgain, StoreAgainError> {
        self.store_again(system_topic(PARK_TOPIC), QueueId(0), offset, None, copy::resumed).await
    }

    /// Stores the copy that `make` makes of a message, unless that was done before.
    async fn store_again(
        &self,
        topic: TopicName,
        queue: QueueId,
        offset: QueueOffset,
        group: Option<&GroupName>,
        make: impl Fn(&Bytes) -> Result<Copy, CopyError>,
    ) -> Result<StoredAgain, StoreAgainError> {
        let asked = topic.clone();
        let entry = self.ask(|reply| Command::Entry { topic: asked, queue, offset, reply }).await?;
        let record = match entry {
            Some(entry) => self.record_at(entry.physical_offset).await?.map(|record| (record, entry.physical_offset)),
            None => None,
        };
        let Some((record, at)) = record else { return Err(StoreAgainError::NotFound { topic, queue, offset }) };
        let copy = make(&record).map_err(|_| StoreAgainError::NoOrigin { topic, queue, offset })?;
        let retry = group.map(|group| LeaseOwner { group: group.clone(), topic: copy.message.topic.clone() });
        // Two that look for a copy at the same time would both find none. A caller that goes away after it has asked for the copy to be stored
        // leaves it to the engine, which answers the next one's search later.
        let _one_at_a_time = self.inner.copying.lock().await;
        let topic = copy.message.topic.clone();
        if let Some(offset) = self.find_copy(&copy, at).await? {
            return Ok(StoredAgain { topic, offset, is_repeat: true });
        }
        let command = |reply| Command::StoreCopy(CopyCommand { copy: Box::new(copy), retry, reply });
        let (placed, durability) = self.ask(command).await?;
        let offset = match placed.into_iter().next() {
            Some(Placed::Stored(appended)) => appended.queue_offset,
            Some(Placed::Refused { why: SendError::Unavailable(why), .. }) => return Err(why.into()),
            Some(Placed::Refused { why, .. }) => {
                return Err(Unavailable::StoreFailed { detail: why.to_string() }.into());
            }
            Some(Placed::Repeat(_)) | None => return Err(Unavailable::Stopping.into()),
        };
        if durability == Durability::FlushTimedOut {
            let waited_ms = u64::try_from(FLUSH_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
            return Err(Unavailable::TimedOut { waited_ms }.into());
        }
        Ok(StoredAgain { topic, offset, is_repeat: false })
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
                    return Ok(Some(record.header.queue_offset));
                }
            }
            if before <= at {
                return Ok(None);
            }
        }
    }

    /// As [`Admin::blocked`].
    pub(super) async fn find_blocked(&self, group: &GroupName) -> Result<Vec<Blocked>, AdminError> {
        let name = group.clone();
        let asked = self.ask(|reply| Command::Admin(AdminCommand::Blocked { name, reply })).await;
        let mut blocked = Vec::new();
        for (at, entry) in asked.map_err(LookupError::Unavailable)?? {
            let record = match entry {
                Some(entry) => self.record_at(entry.physical_offset).await?,
                None => None,
            };
            blocked.push(Blocked {
                topic: at.topic,
                queue: at.queue,
                offset: at.offset,
                record,
                attempts: at.attempts,
                holder: at.holder,
                until: at.until,
                waiting: at.waiting,
            });
        }
        Ok(blocked)
    }
}
