//! `trait Admin`: what an operator asks of a broker.

use async_trait::async_trait;

use crate::broker::{LookupError, Unavailable};
use crate::topic::QUEUES_MAX;
use crate::{GroupConfig, GroupName, MessageType, QueueId, QueueOffset, TopicConfig, TopicName};

/// Topics and groups. Every change survives the process on return.
#[async_trait]
pub trait Admin: Send + Sync + 'static {
    /// Makes a topic, or changes it when `is_update`.
    ///
    /// # Errors
    /// [`AdminError`].
    async fn put_topic(&self, config: TopicConfig, is_update: bool) -> Result<(), AdminError>;

    /// Deletes a topic; its records stay in the log until they expire.
    ///
    /// # Errors
    /// [`AdminError`].
    async fn delete_topic(&self, name: &TopicName) -> Result<(), AdminError>;

    /// All topics that are not the system's, by name.
    ///
    /// # Errors
    /// [`AdminError`].
    async fn topics(&self) -> Result<Vec<TopicConfig>, AdminError>;

    /// A topic's queues and what was sent to it.
    ///
    /// # Errors
    /// [`AdminError`].
    async fn describe_topic(&self, name: &TopicName) -> Result<TopicDescription, AdminError>;

    /// Makes a group, or changes it when `is_update`.
    ///
    /// # Errors
    /// [`AdminError`].
    async fn put_group(&self, config: GroupConfig, is_update: bool) -> Result<(), AdminError>;

    /// Deletes a group with its leases and offsets.
    ///
    /// # Errors
    /// [`AdminError`].
    async fn delete_group(&self, name: &GroupName) -> Result<(), AdminError>;

    /// All groups, by name.
    ///
    /// # Errors
    /// [`AdminError`].
    async fn groups(&self) -> Result<Vec<GroupConfig>, AdminError>;

    /// A group's progress on each queue that it has consumed from.
    ///
    /// # Errors
    /// [`AdminError`].
    async fn describe_group(&self, name: &GroupName) -> Result<GroupDescription, AdminError>;
}

/// A topic and its queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its settings.
    pub config: TopicConfig,
    /// First and end offset of each queue, in order.
    pub queues: Vec<(QueueOffset, QueueOffset)>,
    /// The kinds of messages that were sent to it since it was made.
    pub used: Vec<MessageType>,
}

/// A group and its progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its settings.
    pub config: GroupConfig,
    /// Its progress by topic and queue.
    pub progress: Vec<GroupProgress>,
}

/// How far a group is on a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupProgress {
    /// The topic.
    pub topic: TopicName,
    /// The queue.
    pub queue: QueueId,
    /// The first message that is not finished.
    pub committed: QueueOffset,
    /// The queue's end.
    pub end: QueueOffset,
    /// Messages that are leased now.
    pub in_flight: u64,
}

/// Why a change was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// It exists and may only be updated.
    #[error("{what} {name} exists already; change it: gantry admin {what} update {name}")]
    Exists {
        /// `topic` or `group`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// It does not exist, or cannot be asked for now.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// More or fewer queues than allowed.
    #[error("{queues} queues asked for, allowed are 1 to {QUEUES_MAX}")]
    QueueCount {
        /// The number asked for.
        queues: u32,
    },
    /// Queues that hold messages cannot be taken away.
    #[error("topic {topic} has {queues} queues and can only grow, {asked} were asked for")]
    QueuesShrink {
        /// The topic.
        topic: TopicName,
        /// How many it has.
        queues: u32,
        /// How many were asked for.
        asked: u32,
    },
    /// The system's own topics and groups stay as they are.
    #[error("{name} belongs to the system")]
    System {
        /// Its name.
        name: String,
    },
    /// The broker cannot do it now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}
