//! What is delivered again, and what holds other messages back, as JSON.

use serde::{Deserialize, Serialize};
use types::admin::{Blocked, StoredAgain};
use types::properties::names;
use utoipa::{IntoParams, ToSchema};

use super::messages::Message;
use crate::problem::Document;

/// Which dead letters are wanted, in the request's query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListDeadLetters {
    /// The queue, of which a broker has one; 0 when missing.
    pub queue: Option<u32>,
    /// The offset of the first one; the oldest when missing.
    pub from: Option<u64>,
    /// At most so many, 1 to 256; 32 when missing.
    pub max: Option<usize>,
    /// Whether bodies are wanted; yes when missing.
    pub body: Option<bool>,
}

/// Which parked transactions are wanted, in the request's query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParked {
    /// The offset of the first one; the oldest when missing.
    pub from: Option<u64>,
    /// At most so many, 1 to 256; 32 when missing.
    pub max: Option<usize>,
    /// Whether bodies are wanted; yes when missing.
    pub body: Option<bool>,
}

/// A group's dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetters {
    /// By offset.
    pub dead_letters: Vec<DeadLetter>,
    /// The `from` of those that follow; missing when these were the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A message that its group gave up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// The topic that it was sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin_topic: Option<String>,
    /// As it is stored among the dead letters.
    #[serde(flatten)]
    pub message: Message,
}

/// Which dead letters are delivered again: those named, or all from one offset up to another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redrive {
    /// Of this queue of dead letters, of which a broker has one; 0 when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    /// Those at these offsets, at most 1,024; not together with `from` and `to`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offsets: Option<Vec<u64>>,
    /// All at and after this offset; the oldest when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Not this one and those after it; all that are there now when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// At most so many a second, 0.1 to 1000; 10 when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
}

/// What came of one of several messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Again {
    /// Its offset.
    pub offset: u64,
    /// 201, or 200 when it was done before, or that of the problem.
    pub status: u16,
    /// Where its copy is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<StoredAt>,
    /// Why it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Document>,
}

/// The place of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredAt {
    /// The topic, in its queue 0.
    pub topic: String,
    /// The offset there.
    pub offset: u64,
}

/// The last line of a redrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RedriveEnd {
    /// `done`, `failed` (the line before says why) or `stopping` (the server).
    pub end: String,
    /// The first that was not delivered again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Half messages that nobody decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ParkedTransactions {
    /// By offset.
    pub transactions: Vec<ParkedTransaction>,
    /// The `from` of those that follow; missing when these were the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A half message about which its producers were asked in vain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParkedTransaction {
    /// The topic that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_topic: Option<String>,
    /// As it is stored among the parked ones.
    #[serde(flatten)]
    pub message: Message,
}

/// About which parked transactions producers are asked again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// Their offsets, 1 to 256.
    pub offsets: Vec<u64>,
}

/// What came of each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Resumed {
    /// In the order of the request.
    pub results: Vec<Again>,
}

/// What holds back messages that come in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Blockers {
    /// By topic, queue and offset; at most 256.
    pub blocked: Vec<Blocker>,
}

/// A delivered message behind which others wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Blocker {
    /// Its topic.
    pub topic: String,
    /// Its queue.
    pub queue: u32,
    /// Its offset there.
    pub offset: u64,
    /// The client's id of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Its message group; missing when the group consumes whole queues in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_group: Option<String>,
    /// How often it was delivered.
    pub attempts: u32,
    /// The client that has it; missing when it waits for its next delivery or is just becoming a dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// Until when, in milliseconds since 1970, if nothing happens before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
    /// Messages behind it that were looked at; there may be more.
    pub waiting: usize,
}

impl DeadLetter {
    pub(crate) fn of(bytes: &[u8], has_body: bool) -> Option<Self> {
        let message = Message::of(bytes, has_body)?;
        let origin =
            [names::DLQ_ORIGIN_TOPIC, names::RETRY_TOPIC].iter().find_map(|name| message.properties.get(*name));
        Some(Self { origin_topic: origin.cloned(), message })
    }
}

impl ParkedTransaction {
    pub(crate) fn of(bytes: &[u8], has_body: bool) -> Option<Self> {
        let message = Message::of(bytes, has_body)?;
        Some(Self { for_topic: message.properties.get(names::REAL_TOPIC).cloned(), message })
    }
}

impl From<StoredAgain> for StoredAt {
    fn from(stored: StoredAgain) -> Self {
        Self { topic: stored.topic.to_string(), offset: stored.offset.0 }
    }
}

impl From<Blocked> for Blocker {
    fn from(blocked: Blocked) -> Self {
        let Blocked { topic, queue, offset, message_id, message_group, attempts, holder, until, waiting } = blocked;
        Self {
            topic: topic.to_string(),
            queue: queue.0,
            offset: offset.0,
            message_id,
            message_group,
            attempts,
            holder: holder.map(|client| client.to_string()),
            until_ms: until.map(|until| until.0),
            waiting,
        }
    }
}
