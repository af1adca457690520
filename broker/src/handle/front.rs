//! What the Remoting port asks beyond `trait Broker` and `trait Admin`: the topics with their changes, and when a message was stored.

use std::sync::Arc;

use store::QueueEntry;
use tokio::sync::watch;
use types::broker::{LeaseOwner, LookupError, Pop, PopError, Popped, Unavailable};
use types::{GroupName, QueueId, QueueOffset, Timestamp, TopicConfig, TopicName};

use super::{LocalBroker, PopWay};
use crate::command::{Command, LockCommand, Locked};
use crate::{prepare, resets};

/// Newest part of the log whose queues a new group reads from their beginning, in bytes. Apache says "still in memory", which is
/// 40 % of the machine's.
const YOUNG_BYTES: u64 = 1 << 30;

impl LocalBroker {
    /// A topic that is there; none is made.
    pub(crate) fn known_topic(&self, name: &TopicName) -> Option<Arc<TopicConfig>> {
        self.inner.shared.directory.topic(name)
    }

    /// Whether a group is there; none is made.
    pub(crate) fn is_group_known(&self, name: &GroupName) -> bool {
        self.inner.shared.directory.has_group(name)
    }

    /// All topics by name, retry topics included.
    pub(crate) fn known_topics(&self) -> Vec<Arc<TopicConfig>> {
        self.inner.shared.directory.topics()
    }

    /// Counts the changes of topics since the start, and tells of further ones.
    pub(crate) fn topic_changes(&self) -> watch::Receiver<u64> {
        self.inner.shared.directory.changes()
    }

    /// Says whether topics are made on their first use, which an operator may change.
    pub(crate) fn makes_topics(&self, makes: bool) {
        self.inner.shared.makes_topics.store(makes, std::sync::atomic::Ordering::Relaxed);
    }

    /// A name for a message that has none.
    pub(crate) fn new_unique_key(&self) -> String {
        prepare::unique_key(&*self.inner.shared.random)
    }

    /// A queue that the caller leaves to the broker.
    pub(crate) fn any_queue(&self, queues: u32) -> QueueId {
        let chosen = self.inner.shared.random.next() % u64::from(queues.max(1));
        // Smaller than the number of queues.
        QueueId(chosen as u32)
    }

    /// As [`Broker::pop`], in a way that only the Remoting port asks for.
    pub(crate) async fn pop_in(&self, request: Pop, way: PopWay) -> Result<Popped, PopError> {
        self.pop_messages(request, way).await
    }

    /// Whether [`LocalBroker::pop_in`] would get something, now or as soon as something comes within its wait; nothing is leased. Tags
    /// are told apart by their hash, properties not at all.
    pub(crate) async fn has_message(&self, request: Pop, way: PopWay) -> Result<bool, PopError> {
        self.look_for_message(request, way).await
    }

    /// Locks queues for one client of a group; says what became of each, in their order.
    pub(crate) async fn lock_queues(
        &self,
        group: GroupName,
        queues: Vec<(TopicName, QueueId)>,
        client: String,
    ) -> Result<Vec<Locked>, Unavailable> {
        self.ask(|reply| Command::LockQueues(LockCommand { group, queues, client, reply })).await
    }

    /// The queues that are locked, by group and topic, and the clients that have them.
    pub(crate) async fn locked_queues(&self) -> Result<Vec<(resets::Queue, String)>, Unavailable> {
        self.ask(|reply| Command::LockedQueues { reply }).await
    }

    /// Gives locks back. An engine that is too busy to hear of it lets them end by time.
    pub(crate) fn unlock_queues(
        &self,
        group: GroupName,
        queues: Vec<(TopicName, QueueId)>,
        client: String,
    ) -> Result<(), Unavailable> {
        self.submit(Command::UnlockQueues { group, queues, client })
    }

    /// Lets the log's segments go whose time is over, whatever the hour; soon after the return.
    pub(crate) fn expire_now(&self) -> Result<(), Unavailable> {
        self.submit(Command::ExpireNow)
    }

    /// How many pops of a group wait for messages of a topic, of any queue or of one.
    pub(crate) async fn waiting_pops(&self, lease: LeaseOwner, queue: Option<QueueId>) -> Result<usize, LookupError> {
        Ok(self.ask(|reply| Command::Waiting { lease, queue, reply }).await?)
    }

    /// When the message at an offset was stored; `None` when none is there, or it cannot be read.
    pub(crate) async fn stored_at(
        &self,
        topic: &TopicName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<Option<Timestamp>, LookupError> {
        let Some(entry) = self.entry(topic, queue, offset).await? else { return Ok(None) };
        let record = self.inner.shared.reader.read(entry.physical_offset, entry.record_bytes).await;
        Ok(record.ok().and_then(|record| Some(record::header(&record).ok()?.stored_at)))
    }

    /// Where a queue begins, if it still has the first message that its topic ever had there, and that was stored so short ago that a
    /// new group reads it.
    pub(crate) async fn young_beginning(
        &self,
        topic: &TopicName,
        queue: QueueId,
    ) -> Result<Option<QueueOffset>, LookupError> {
        let name = topic.clone();
        let Some(first) = self.ask(|reply| Command::Beginning { topic: name, queue, reply }).await? else {
            return Ok(None);
        };
        let written = self.inner.shared.marks.appended_to();
        let entry = self.entry(topic, queue, first).await?;
        Ok(entry.is_none_or(|entry| entry.physical_offset.plus(YOUNG_BYTES) > written).then_some(first))
    }

    async fn entry(
        &self,
        topic: &TopicName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<Option<QueueEntry>, LookupError> {
        let topic = topic.clone();
        Ok(self.ask(|reply| Command::Entry { topic, queue, offset, reply }).await?)
    }
}
