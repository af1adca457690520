//! `trait Admin` over Remoting, with the commands that Apache's brokers and ours have alike: so what only ours could do is refused.
//!
//! A topic's numbers of queues are those of all its brokers together, and its queues are numbered through, as everywhere here. A change goes to
//! all masters; one that fails says so, and repeating the request makes the rest of the change.

mod groups;
mod messages;
mod topics;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use types::admin::{
    AdminError, Blocked, FoundMessages, GroupDescription, MessageQuery, ResetError, ResetTo, StoreAgainError,
    StoredAgain, TopicDescription,
};
use types::{Admin, GroupConfig, GroupName, PhysicalOffset, QueueId, QueueOffset, TopicConfig, TopicName};

use super::Cluster;

impl Cluster {
    /// The brokers that a change goes to, or a question about all.
    async fn all_brokers(&self) -> Result<Vec<Arc<str>>, AdminError> {
        let masters = self.0.brokers.masters().await?;
        Ok(masters.iter().filter(|(_, master)| master.vanished_at.is_none()).map(|(name, _)| name.clone()).collect())
    }
}

/// A broker's offset of a queue.
fn offset(number: i64) -> QueueOffset {
    QueueOffset(u64::try_from(number).unwrap_or_default())
}

/// What no command of Remoting does.
fn unsupported(what: &'static str) -> AdminError {
    AdminError::Unsupported { what }
}

#[async_trait]
impl Admin for Cluster {
    async fn put_topic(&self, config: TopicConfig, is_update: bool) -> Result<(), AdminError> {
        self.change_topic(&config, is_update).await
    }

    async fn delete_topic(&self, name: &TopicName) -> Result<(), AdminError> {
        self.remove_topic(name).await
    }

    async fn topics(&self) -> Result<Vec<TopicConfig>, AdminError> {
        self.all_topics().await
    }

    async fn describe_topic(&self, name: &TopicName) -> Result<TopicDescription, AdminError> {
        self.topic_description(name).await
    }

    async fn put_group(&self, config: GroupConfig, is_update: bool) -> Result<(), AdminError> {
        self.change_group(&config, is_update).await
    }

    async fn delete_group(&self, name: &GroupName) -> Result<(), AdminError> {
        self.remove_group(name).await
    }

    async fn groups(&self) -> Result<Vec<GroupConfig>, AdminError> {
        self.all_groups().await
    }

    async fn describe_group(&self, name: &GroupName) -> Result<GroupDescription, AdminError> {
        self.group_description(name).await
    }

    async fn reset_offsets(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: Option<QueueId>,
        to: ResetTo,
    ) -> Result<Vec<(QueueId, QueueOffset)>, ResetError> {
        self.reset(group, topic, queue, to).await
    }

    async fn find_messages(&self, query: MessageQuery) -> Result<FoundMessages, AdminError> {
        self.messages(&query).await
    }

    async fn message_at(&self, _: PhysicalOffset) -> Result<Option<Bytes>, AdminError> {
        Err(unsupported("a message by its place in a log: several brokers have one"))
    }

    async fn redrive(&self, _: &GroupName, _: QueueId, _: QueueOffset) -> Result<StoredAgain, StoreAgainError> {
        Err(unsupported("delivering a dead letter again").into())
    }

    async fn parked(&self, _: QueueOffset, _: usize) -> Result<FoundMessages, AdminError> {
        Err(unsupported("a list of parked transactions"))
    }

    async fn resume(&self, _: QueueOffset) -> Result<StoredAgain, StoreAgainError> {
        Err(unsupported("resuming a parked transaction").into())
    }

    async fn blocked(&self, _: &GroupName) -> Result<Vec<Blocked>, AdminError> {
        Err(unsupported("who holds back messages in order"))
    }
}
