//! `trait Admin`: what an operator asks of a broker.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::broker::{ClientId, LookupError, OffsetAt, Unavailable};
use crate::topic::QUEUES_MAX;
use crate::{
    GroupConfig, GroupName, MessageType, PhysicalOffset, QueueId, QueueOffset, Timestamp, TopicConfig, TopicName,
};

/// Topics, groups, and looking at stored messages. Every change survives the process on return.
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

    /// Lets a group go on elsewhere on a queue of a topic, or on all of them, and answers where. At once: its leases there end, also those
    /// of messages that it has passed or that wait there after a failure. Those that stand in its retry queue, as they wait longer, still come.
    ///
    /// # Errors
    /// [`ResetError`]; none is changed then, unless the broker stops in between.
    async fn reset_offsets(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: Option<QueueId>,
        to: ResetTo,
    ) -> Result<Vec<(QueueId, QueueOffset)>, ResetError>;

    /// Messages of a topic by their key or store time, those that the log still has; nothing is leased or counted.
    ///
    /// # Errors
    /// [`AdminError`].
    async fn find_messages(&self, query: MessageQuery) -> Result<FoundMessages, AdminError>;

    /// The record at this place of the log; `None` when none begins there, or none that may be shown yet.
    ///
    /// # Errors
    /// [`AdminError`].
    async fn message_at(&self, offset: PhysicalOffset) -> Result<Option<Bytes>, AdminError>;

    /// Delivers a dead letter again, to its group alone: a copy of it, with no delivery counted, is stored where the group's failed messages
    /// wait. The dead letter stays until it expires. Of each one copy is made, whoever asks how often: a repeat, also after a crash, stores
    /// nothing and says so.
    ///
    /// # Errors
    /// [`StoreAgainError`].
    async fn redrive(
        &self,
        group: &GroupName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<StoredAgain, StoreAgainError>;

    /// Half messages that nobody decided and that producers are not asked about any more, from this offset on, at most so many.
    ///
    /// # Errors
    /// [`AdminError`].
    async fn parked(&self, from: QueueOffset, messages_max: usize) -> Result<FoundMessages, AdminError>;

    /// Has producers asked again about a half message that was parked: a copy of it is stored as if it had just been sent. Of each one copy
    /// is made, as by [`Admin::redrive`].
    ///
    /// # Errors
    /// [`StoreAgainError`].
    async fn resume(&self, offset: QueueOffset) -> Result<StoredAgain, StoreAgainError>;

    /// The delivered messages behind which others of a group wait, because they come in order: at most [`BLOCKED_MAX`], by topic, queue
    /// and offset.
    ///
    /// # Errors
    /// [`AdminError`].
    async fn blocked(&self, group: &GroupName) -> Result<Vec<Blocked>, AdminError>;
}

/// Most entries of an answer about what holds messages back.
pub const BLOCKED_MAX: usize = 256;

/// A copy that was stored for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAgain {
    /// Where it waits.
    pub topic: TopicName,
    /// Its offset in the one queue of that.
    pub offset: QueueOffset,
    /// Whether it was stored by an earlier call.
    pub is_repeat: bool,
}

/// Why no copy was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreAgainError {
    /// There is nothing to copy.
    #[error("there is no message {offset} in queue {queue} of topic {topic}: it has expired or never was")]
    NotFound {
        /// Where it was looked for.
        topic: TopicName,
        /// The queue.
        queue: QueueId,
        /// The offset.
        offset: QueueOffset,
    },
    /// It was sent there by hand, or is damaged.
    #[error("message {offset} in queue {queue} of topic {topic} does not say where it came from")]
    NoOrigin {
        /// Where it is.
        topic: TopicName,
        /// The queue.
        queue: QueueId,
        /// The offset.
        offset: QueueOffset,
    },
    /// It cannot be looked for or stored.
    #[error(transparent)]
    Admin(#[from] AdminError),
}

impl From<Unavailable> for StoreAgainError {
    fn from(why: Unavailable) -> Self {
        Self::Admin(why.into())
    }
}

/// A delivered message that others wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Its topic.
    pub topic: TopicName,
    /// Its queue.
    pub queue: QueueId,
    /// Its offset there.
    pub offset: QueueOffset,
    /// The client's id of it; `None` when it has none or cannot be read.
    pub message_id: Option<String>,
    /// Its message group; `None` when the group consumes whole queues in order, or it cannot be read.
    pub message_group: Option<String>,
    /// Deliveries so far.
    pub attempts: u32,
    /// Who has it; nobody when it waits for its next delivery, or to become a dead letter.
    pub holder: Option<ClientId>,
    /// Until when it is held or waits, if nothing happens before; `None` while its dead letter is stored.
    pub until: Option<Timestamp>,
    /// Messages that wait behind it and were looked at already: there may be more.
    pub waiting: usize,
}

/// Where a group is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetTo {
    /// At a place that each queue has.
    At(OffsetAt),
    /// At this offset.
    Offset(QueueOffset),
}

/// Which messages are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageQuery {
    /// In which topic; dead-letter topics may be named too.
    pub topic: TopicName,
    /// By what.
    pub by: FindBy,
    /// Stored within this time.
    pub stored: Range<Timestamp>,
    /// At most so many, up to [`MessageQuery::MESSAGES_MAX`].
    pub messages_max: usize,
}

impl MessageQuery {
    /// Most messages of one query.
    pub const MESSAGES_MAX: usize = 256;
    /// Most bytes of records of one query; the one that passes it is the last.
    pub const BYTES_MAX: usize = 16 * 1024 * 1024;
}

/// How messages are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindBy {
    /// They have this key: as unique key, or as one of those that their producer gave. Newest first.
    Key(String),
    /// All of this queue, or of all queues, each from its oldest on; in the order of their store times.
    Time(Option<QueueId>),
    /// All of this queue from this offset on, in their order.
    From(QueueId, QueueOffset),
}

/// Messages that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundMessages {
    /// Their CommitLog records as they were stored (`record` decodes them).
    pub records: Vec<Bytes>,
    /// Whether there are no others.
    pub is_complete: bool,
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
    /// Its progress by topic and queue; after a topic's queues the retry queue.
    pub progress: Vec<GroupProgress>,
}

/// How far a group is on a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupProgress {
    /// The topic.
    pub topic: TopicName,
    /// The queue, of the topic or of the group's retry topic for it.
    pub queue: QueueId,
    /// Whether it is the retry topic's: failed messages that wait for their next delivery.
    pub is_retry: bool,
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
    /// Queues of several brokers cannot be split evenly among them.
    #[error("{queues} queues asked for, take a multiple of {brokers}: each of the {brokers} brokers has as many")]
    Uneven {
        /// The number asked for.
        queues: u32,
        /// How many brokers the topic is on, or will be.
        brokers: u32,
    },
    /// What stands behind this server cannot do it at all.
    #[error("{what} is not to be had here: no command of the brokers behind this proxy does it; ask a gantry local")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
    },
    /// The broker cannot do it now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why a group does not go on elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResetError {
    /// The queue has nothing there.
    #[error("offset {offset} is outside queue {queue}, which reaches from {first} to {end}")]
    Outside {
        /// The queue.
        queue: QueueId,
        /// The offset asked for.
        offset: QueueOffset,
        /// The queue's first.
        first: QueueOffset,
        /// The queue's end.
        end: QueueOffset,
    },
    /// Topic, group or queue are not there, or cannot be asked for now.
    #[error(transparent)]
    Admin(#[from] AdminError),
}

impl From<LookupError> for ResetError {
    fn from(error: LookupError) -> Self {
        Self::Admin(error.into())
    }
}
