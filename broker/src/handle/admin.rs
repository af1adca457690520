//! What operators ask of the catalog: every request goes to the engine, which owns it. Messages are found in `query`.

use async_trait::async_trait;
use bytes::Bytes;
use types::admin::{
    AdminError, Blocked, FindBy, FoundMessages, GroupDescription, MessageQuery, ResetError, ResetTo, StoreAgainError,
    StoredAgain, TopicDescription,
};
use types::broker::{LookupError, OffsetAt, Unavailable};
use types::{
    Admin, Broker as _, GroupConfig, GroupName, PhysicalOffset, QueueId, QueueOffset, Timestamp, TopicConfig, TopicName,
};

use super::LocalBroker;
use crate::command::{AdminCommand, Command, Reply};
use crate::copy::system_topic;
use crate::transaction::PARK_TOPIC;

impl LocalBroker {
    async fn administer<T>(&self, command: impl FnOnce(Reply<T>) -> AdminCommand) -> Result<T, AdminError> {
        let answered = self.ask(|reply| Command::Admin(command(reply))).await;
        answered.map_err(|why: Unavailable| LookupError::Unavailable(why).into())
    }

    /// Where a group is to go on, by queue.
    async fn reset_table(
        &self,
        topic: &TopicName,
        queue: Option<QueueId>,
        to: ResetTo,
    ) -> Result<Vec<(QueueId, QueueOffset)>, ResetError> {
        let queues = self.describe_topic(topic).await?.queues;
        let count = u32::try_from(queues.len()).unwrap_or(u32::MAX);
        if let Some(queue) = queue.filter(|queue| queue.0 >= count) {
            return Err(LookupError::QueueNotFound { topic: topic.clone(), queue, queues: count }.into());
        }
        let all = (0..count).map(QueueId).zip(queues);
        let mut table = Vec::new();
        for (queue, (first, end)) in all.filter(|(number, _)| queue.is_none_or(|queue| queue == *number)) {
            let offset = match to {
                ResetTo::At(OffsetAt::Beginning) => first,
                ResetTo::At(OffsetAt::End) => end,
                ResetTo::At(time) => self.queue_offset(topic, queue, time).await?,
                ResetTo::Offset(offset) if (first..=end).contains(&offset) => offset,
                ResetTo::Offset(offset) => return Err(ResetError::Outside { queue, offset, first, end }),
            };
            table.push((queue, offset));
        }
        Ok(table)
    }
}

#[async_trait]
impl Admin for LocalBroker {
    async fn put_topic(&self, config: TopicConfig, is_update: bool) -> Result<(), AdminError> {
        self.administer(|reply| AdminCommand::PutTopic { config, is_update, reply }).await?
    }

    async fn delete_topic(&self, name: &TopicName) -> Result<(), AdminError> {
        let name = name.clone();
        self.administer(|reply| AdminCommand::DeleteTopic { name, reply }).await?
    }

    async fn topics(&self) -> Result<Vec<TopicConfig>, AdminError> {
        self.administer(|reply| AdminCommand::Topics { reply }).await
    }

    async fn describe_topic(&self, name: &TopicName) -> Result<TopicDescription, AdminError> {
        let name = name.clone();
        self.administer(|reply| AdminCommand::DescribeTopic { name, reply }).await?
    }

    async fn put_group(&self, config: GroupConfig, is_update: bool) -> Result<(), AdminError> {
        self.administer(|reply| AdminCommand::PutGroup { config, is_update, reply }).await?
    }

    async fn delete_group(&self, name: &GroupName) -> Result<(), AdminError> {
        let name = name.clone();
        self.administer(|reply| AdminCommand::DeleteGroup { name, reply }).await?
    }

    async fn groups(&self) -> Result<Vec<GroupConfig>, AdminError> {
        self.administer(|reply| AdminCommand::Groups { reply }).await
    }

    async fn describe_group(&self, name: &GroupName) -> Result<GroupDescription, AdminError> {
        let name = name.clone();
        self.administer(|reply| AdminCommand::DescribeGroup { name, reply }).await?
    }

    async fn reset_offsets(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: Option<QueueId>,
        to: ResetTo,
    ) -> Result<Vec<(QueueId, QueueOffset)>, ResetError> {
        // One that is not there is not made for this.
        self.describe_group(group).await?;
        let table = self.reset_table(topic, queue, to).await?;
        for (queue, offset) in &table {
            self.reset_offset(group, topic, *queue, *offset).await?;
        }
        tracing::info!(%group, %topic, queues = table.len(), "a group goes on elsewhere");
        Ok(table)
    }

    async fn find_messages(&self, query: MessageQuery) -> Result<FoundMessages, AdminError> {
        self.query(&query).await
    }

    async fn message_at(&self, offset: PhysicalOffset) -> Result<Option<Bytes>, AdminError> {
        self.record_at(offset).await
    }

    async fn redrive(
        &self,
        group: &GroupName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<StoredAgain, StoreAgainError> {
        self.redrive_dead_letter(group, queue, offset).await
    }

    async fn parked(&self, from: QueueOffset, messages_max: usize) -> Result<FoundMessages, AdminError> {
        let (topic, queue) = (system_topic(PARK_TOPIC), QueueId(0));
        let range = self.ask(|reply| Command::Range { topic: topic.clone(), queue, reply }).await?;
        let stored = Timestamp(i64::MIN)..Timestamp(i64::MAX);
        let query = MessageQuery { topic, by: FindBy::From(queue, from), stored, messages_max };
        self.query_in(&query, vec![range]).await
    }

    async fn resume(&self, offset: QueueOffset) -> Result<StoredAgain, StoreAgainError> {
        self.resume_half(offset).await
    }

    async fn blocked(&self, group: &GroupName) -> Result<Vec<Blocked>, AdminError> {
        self.find_blocked(group).await
    }
}
