//! JSON shapes: what the routes answer and take, and `gantry admin` reads and writes.
//!
//! Names are camelCase, durations of the admin API whole milliseconds with the unit in the name. A member that is missing in an
//! update stays as it is; a member that is unknown is an error, so that a misspelling never goes unnoticed.

pub mod again;
pub mod messages;
pub mod messaging;
pub mod socket;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use types::admin::{GroupDescription, TopicDescription};
use types::{GroupConfig, MessageType, RetryPolicy, TopicConfig, TopicType};
use utoipa::ToSchema;

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// `MIXED`, `NORMAL`, `FIFO`, `DELAY`, `TRANSACTION` or `PRIORITY`.
    pub message_type: String,
    /// Queues that may be read.
    pub read_queues: u32,
    /// Queues that may be written.
    pub write_queues: u32,
    /// Whether consumers may read.
    pub readable: bool,
    /// Whether producers may write.
    pub writable: bool,
    /// Whether it was made by its first use.
    pub auto_created: bool,
}

/// All topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Topics {
    /// By name.
    pub topics: Vec<Topic>,
}

/// A topic, its queues and what was sent to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicDetails {
    /// Its settings.
    #[serde(flatten)]
    pub topic: Topic,
    /// Its queues, in order.
    pub queues: Vec<Queue>,
    /// The message types that were sent to it.
    pub used_types: Vec<String>,
}

/// A queue's extent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Its number.
    pub queue: u32,
    /// Offset of its first message.
    pub first_offset: u64,
    /// Offset that its next message will have.
    pub end_offset: u64,
}

/// Settings of a topic that are given or changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TopicSettings {
    /// See [`Topic::message_type`]; of a new topic `NORMAL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_type: Option<String>,
    /// Queues that may be read; of a new topic 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_queues: Option<u32>,
    /// Queues that may be written; of a new topic 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_queues: Option<u32>,
    /// Whether consumers may read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readable: Option<bool>,
    /// Whether producers may write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writable: Option<bool>,
}

/// Which type a topic is fixed to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FreezeTopic {
    /// The type; when missing, the one that was used so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_type: Option<String>,
}

/// A consumer group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Whether it consumes each queue in order.
    pub fifo: bool,
    /// Whether its members may consume.
    pub enabled: bool,
    /// Deliveries of one message before the dead-letter topic.
    pub max_attempts: u32,
    /// The waits between them.
    pub retry: Retry,
    /// How long one delivery to a client that renews by itself may last.
    pub consume_timeout_ms: u64,
    /// Whether it was made by its first use.
    pub auto_created: bool,
}

/// How long failed messages wait.
///
/// Each name stands for itself: utoipa does not see `rename_all_fields`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "UPPERCASE", deny_unknown_fields)]
pub enum Retry {
    /// A list; later retries wait the last entry.
    Customized {
        /// The waits.
        #[serde(rename = "nextMs")]
        next_ms: Vec<u64>,
    },
    /// Growing waits.
    Exponential {
        /// The first wait.
        #[serde(rename = "initialMs")]
        initial_ms: u64,
        /// The longest wait.
        #[serde(rename = "maxMs")]
        max_ms: u64,
        /// The factor.
        multiplier: u32,
    },
}

/// All groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Groups {
    /// By name.
    pub groups: Vec<Group>,
}

/// A group and its progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupDetails {
    /// Its settings.
    #[serde(flatten)]
    pub group: Group,
    /// By topic and queue.
    pub progress: Vec<Progress>,
}

/// How far a group is on a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The topic.
    pub topic: String,
    /// The queue, of the topic or of the group's retry topic for it.
    pub queue: u32,
    /// Whether it is the retry topic's: failed messages that wait for their next delivery.
    pub retry: bool,
    /// The first message that is not finished.
    pub committed_offset: u64,
    /// The queue's end.
    pub end_offset: u64,
    /// Messages between the two.
    pub lag: u64,
    /// Messages that are leased now.
    pub in_flight: u64,
}

/// Where a group is to go on with a topic: `to`, or at an `offset`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResetOffsets {
    /// The topic.
    #[schema(pattern = "^[%|a-zA-Z0-9_-]{1,255}$")]
    pub topic: String,
    /// Only on this queue; on all when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    /// `first`, `last` (after all that is stored), or the first message stored at or after a time: RFC 3339, or milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// At this offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// Where a group goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Offsets {
    /// By queue, those that were set.
    pub queues: Vec<QueueAt>,
}

/// A place in a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueAt {
    /// Its number.
    pub queue: u32,
    /// The first message that comes.
    pub offset: u64,
}

/// Settings of a group that are given or changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GroupSettings {
    /// See [`Group::fifo`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fifo: Option<bool>,
    /// See [`Group::enabled`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// See [`Group::max_attempts`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// See [`Group::retry`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// See [`Group::consume_timeout_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consume_timeout_ms: Option<u64>,
}

impl From<&TopicConfig> for Topic {
    fn from(config: &TopicConfig) -> Self {
        Self {
            name: config.name.to_string(),
            message_type: config.topic_type.to_string(),
            read_queues: config.read_queues,
            write_queues: config.write_queues,
            readable: config.is_readable,
            writable: config.is_writable,
            auto_created: config.is_auto_created,
        }
    }
}

impl From<&TopicDescription> for TopicDetails {
    fn from(description: &TopicDescription) -> Self {
        let queues = (0..).zip(&description.queues);
        Self {
            topic: (&description.config).into(),
            queues: queues
                .map(|(queue, (first, end))| Queue { queue, first_offset: first.0, end_offset: end.0 })
                .collect(),
            used_types: description.used.iter().map(MessageType::to_string).collect(),
        }
    }
}

impl From<&GroupConfig> for Group {
    fn from(config: &GroupConfig) -> Self {
        Self {
            name: config.name.to_string(),
            fifo: config.is_fifo,
            enabled: config.is_enabled,
            max_attempts: config.attempts_max,
            retry: (&config.retry).into(),
            consume_timeout_ms: whole_ms(config.consume_timeout),
            auto_created: config.is_auto_created,
        }
    }
}

impl From<&GroupDescription> for GroupDetails {
    fn from(description: &GroupDescription) -> Self {
        let progress = |progress: &types::admin::GroupProgress| Progress {
            topic: progress.topic.to_string(),
            queue: progress.queue.0,
            retry: progress.is_retry,
            committed_offset: progress.committed.0,
            end_offset: progress.end.0,
            lag: progress.end.0.saturating_sub(progress.committed.0),
            in_flight: progress.in_flight,
        };
        Self { group: (&description.config).into(), progress: description.progress.iter().map(progress).collect() }
    }
}

impl From<&RetryPolicy> for Retry {
    fn from(policy: &RetryPolicy) -> Self {
        match policy {
            RetryPolicy::Customized { next } => {
                Self::Customized { next_ms: next.iter().copied().map(whole_ms).collect() }
            }
            RetryPolicy::Exponential { initial, max, multiplier } => {
                Self::Exponential { initial_ms: whole_ms(*initial), max_ms: whole_ms(*max), multiplier: *multiplier }
            }
        }
    }
}

/// The topic type that a text names.
///
/// # Errors
/// The allowed names.
pub fn topic_type(text: &str) -> Result<TopicType, String> {
    match text.to_ascii_uppercase().as_str() {
        "MIXED" => Ok(TopicType::Mixed),
        "LITE" => Err("messageType LITE is not supported".to_owned()),
        name => name.parse().map(TopicType::Only).map_err(|_| {
            format!("messageType is {text:?}, expected MIXED, NORMAL, FIFO, DELAY, TRANSACTION or PRIORITY")
        }),
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
