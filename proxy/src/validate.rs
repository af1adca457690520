//! What clients may ask for. Every error names the field, its value and the limit.
//!
//! Source of the limits: facts/grpc.md §4, Apache `ProxyConfig`, `GrpcValidator` and `SendMessageActivity`.

use std::time::Duration;

use grpc::v2;
use types::filter::ExpressionType;
use types::topic::NameError;
use types::{Filter, GroupName, Timestamp, TopicName};

use crate::convert::{Sent, System};

mod reserved;
#[cfg(test)]
mod tests;

pub(crate) use reserved::is_reserved;

/// Longest client id, in bytes.
pub const CLIENT_ID_BYTES_MAX: usize = 256;
/// Longest shown part of a client's text in an error.
const SHOWN_CHARS_MAX: usize = 64;

/// Limits that an operator may set.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest body, in bytes. Source: `maxMessageSize`.
    pub body_bytes_max: usize,
    /// Most messages of one send.
    pub messages_max: usize,
    /// Most entries of one acknowledgement.
    pub ack_entries_max: usize,
    /// Most user properties of a message. Source: `userPropertyMaxNum`.
    pub user_properties_max: usize,
    /// Most bytes of user properties, tag and keys together. Source: `maxUserPropertySize`.
    pub user_property_bytes_max: usize,
    /// Longest message group, in bytes. Source: `maxMessageGroupSize`, which Apache's proxy itself excludes.
    pub message_group_bytes_max: usize,
    /// Farthest delivery time. Source: `maxDelayTimeMills`.
    pub delay_max: Duration,
    /// Longest time that a producer may ask to be left alone with a transaction. Source: `maxTransactionRecoverySecond`.
    pub transaction_recovery_max: Duration,
    /// Shortest invisible time of a receive that does not renew by itself. Source: `minInvisibleTimeMillsForRecv`.
    pub invisible_min: Duration,
    /// Longest invisible time. Source: `maxInvisibleTimeMills`.
    pub invisible_max: Duration,
    /// Longest wait of one receive; longer wishes are cut. Source: `grpcClientConsumerMaxLongPollingTimeoutMillis`.
    pub long_polling_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: types::message::BODY_BYTES_MAX,
            messages_max: 1024,
            ack_entries_max: 1024,
            user_properties_max: 128,
            user_property_bytes_max: 16 * 1024,
            message_group_bytes_max: 63,
            delay_max: Duration::from_secs(24 * 60 * 60),
            transaction_recovery_max: Duration::from_secs(60 * 60),
            invisible_min: Duration::from_secs(10),
            invisible_max: Duration::from_secs(12 * 60 * 60),
            long_polling_max: Duration::from_secs(20),
        }
    }
}

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// No header `x-mq-client-id`, or a blank one.
    #[error("header x-mq-client-id is missing or blank")]
    ClientIdMissing,
    /// A client id that is too long.
    #[error("header x-mq-client-id has {bytes} bytes, limit is {CLIENT_ID_BYTES_MAX}")]
    ClientIdTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A text that is too long.
    #[error("{field} is {bytes} bytes, limit is {bytes_max}")]
    FieldTooLong {
        /// Its name in the `.proto` file.
        field: &'static str,
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        bytes_max: usize,
    },
    /// A field without which the request means nothing.
    #[error("{field} is missing")]
    MissingField {
        /// Its name in the `.proto` file.
        field: &'static str,
    },
    /// An address that clients could not use.
    #[error("endpoints {shown} cannot be used: {reason}")]
    AccessPoint {
        /// What was given.
        shown: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A topic's name.
    #[error(transparent)]
    Topic(NameError),
    /// A consumer group's name.
    #[error(transparent)]
    Group(NameError),
    /// A send of nothing.
    #[error("messages is empty")]
    NoMessages,
    /// A send of too much.
    #[error("messages has {messages} entries, limit is {messages_max}")]
    TooManyMessages {
        /// How many.
        messages: usize,
        /// The most allowed.
        messages_max: usize,
    },
    /// An acknowledgement of nothing or of too much.
    #[error("entries has {entries} entries, allowed are 1 to {entries_max}")]
    TooManyEntries {
        /// How many.
        entries: usize,
        /// The most allowed.
        entries_max: usize,
    },
    /// Messages of several topics in one send.
    #[error("message {index} is for topic {topic:?}, the first one for {first:?}: one send has one topic")]
    MixedTopics {
        /// Which message, from 0.
        index: usize,
        /// Its topic.
        topic: String,
        /// The first one's.
        first: String,
    },
    /// No body.
    #[error("body is empty")]
    BodyEmpty,
    /// A body over the limit.
    #[error("body is {bytes} bytes, limit is {bytes_max}")]
    BodyTooLarge {
        /// Its size.
        bytes: usize,
        /// The largest allowed.
        bytes_max: usize,
    },
    /// No message id.
    #[error("message_id is blank")]
    MessageIdBlank,
    /// Too many user properties.
    #[error("user_properties has {count} entries, limit is {count_max}")]
    PropertyCount {
        /// How many.
        count: usize,
        /// The most allowed.
        count_max: usize,
    },
    /// A property that the system keeps for itself.
    #[error("user property {name:?} is reserved by the system")]
    PropertyReserved {
        /// Its name.
        name: String,
    },
    /// A control character, which the stored form cannot hold.
    #[error("user property {name:?} holds a control character")]
    PropertyControl {
        /// Its name.
        name: String,
    },
    /// A property without a name.
    #[error("a user property has an empty name")]
    PropertyNameEmpty,
    /// Properties over the limit.
    #[error("user properties, tag and keys are {bytes} bytes, limit is {bytes_max}")]
    PropertiesTooLarge {
        /// Their size.
        bytes: usize,
        /// The largest allowed.
        bytes_max: usize,
    },
    /// A bad tag.
    #[error("tag {tag:?} {reason}")]
    Tag {
        /// The tag.
        tag: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A bad key.
    #[error("key {key:?} {reason}")]
    Key {
        /// The key.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A bad message group.
    #[error("message_group {group:?} {reason}")]
    MessageGroup {
        /// The group.
        group: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A message group over the limit.
    #[error("message_group is {bytes} bytes, limit is {bytes_max}")]
    MessageGroupTooLong {
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        bytes_max: usize,
    },
    /// A priority below zero.
    #[error("priority is {priority}, the lowest is 0")]
    Priority {
        /// The number.
        priority: i32,
    },
    /// A delivery time too far ahead.
    #[error("delivery_timestamp is {ahead_ms} ms ahead, limit is {ahead_ms_max}")]
    DeliveryTime {
        /// How far.
        ahead_ms: u128,
        /// The farthest allowed.
        ahead_ms_max: u128,
    },
    /// A transaction that wants to be left alone for too long.
    #[error("orphaned_transaction_recovery_duration is {seconds} s, limit is {seconds_max} s")]
    RecoveryTime {
        /// How long.
        seconds: i64,
        /// The longest allowed.
        seconds_max: u64,
    },
    /// An invisible time below the limit.
    #[error("invisible_duration is {ms} ms, the shortest allowed is {ms_min} ms")]
    InvisibleTooShort {
        /// How long.
        ms: i128,
        /// The shortest allowed.
        ms_min: u128,
    },
    /// An invisible time over the limit.
    #[error("invisible_duration is {ms} ms, limit is {ms_max} ms")]
    InvisibleTooLong {
        /// How long.
        ms: i128,
        /// The longest allowed.
        ms_max: u128,
    },
    /// A subscription expression that cannot be read.
    #[error(transparent)]
    Filter(#[from] types::filter::Error),
    /// A queue id that none has.
    #[error("message_queue.id is {id}, the lowest is 0")]
    QueueId {
        /// The id.
        id: i32,
    },
    /// A negative offset.
    #[error("offset is {offset}, the lowest is 0")]
    Offset {
        /// The offset.
        offset: i64,
    },
    /// Settings or a heartbeat without a known kind of client.
    #[error("client type {client_type} is not known")]
    ClientType {
        /// Its number.
        client_type: i32,
    },
    /// Client properties over a limit, or with a bad name.
    #[error("client_properties: {reason}")]
    ClientProperties {
        /// What is wrong with them.
        reason: String,
    },
    /// No transaction id.
    #[error("transaction_id is blank")]
    TransactionIdBlank,
    /// A light topic or light consumer.
    #[error("lite topics are not supported by this server")]
    LiteNotBuilt,
}

/// The client id of a request's headers.
///
/// # Errors
/// [`Invalid::ClientIdMissing`], [`Invalid::ClientIdTooLong`].
pub(crate) fn client_id(headers: &tonic::metadata::MetadataMap) -> Result<&str, Invalid> {
    let id = headers.get("x-mq-client-id").and_then(|value| value.to_str().ok()).unwrap_or_default();
    match id.len() {
        bytes if bytes > CLIENT_ID_BYTES_MAX => Err(Invalid::ClientIdTooLong { bytes }),
        _ if id.trim().is_empty() => Err(Invalid::ClientIdMissing),
        _ => Ok(id),
    }
}

/// An optional text with no other rule than a limit.
///
/// # Errors
/// [`Invalid::FieldTooLong`].
pub(crate) fn length(field: &'static str, text: Option<&str>, bytes_max: usize) -> Result<(), Invalid> {
    match text.map_or(0, str::len) {
        bytes if bytes > bytes_max => Err(Invalid::FieldTooLong { field, bytes, bytes_max }),
        _ => Ok(()),
    }
}

/// A topic that a client named.
///
/// # Errors
/// [`Invalid::Topic`].
pub(crate) fn topic(resource: Option<&v2::Resource>) -> Result<TopicName, Invalid> {
    TopicName::for_client(resource.map_or("", |resource| &resource.name)).map_err(Invalid::Topic)
}

/// A group that a client named.
///
/// # Errors
/// [`Invalid::Group`].
pub(crate) fn group(resource: Option<&v2::Resource>) -> Result<GroupName, Invalid> {
    GroupName::for_client(resource.map_or("", |resource| &resource.name)).map_err(Invalid::Group)
}

impl Limits {
    /// Checks that a send has at most `messages_max` messages.
    ///
    /// # Errors
    /// [`Invalid::TooManyMessages`].
    pub(crate) fn message_count(&self, messages: usize) -> Result<(), Invalid> {
        let messages_max = self.messages_max;
        if messages > messages_max { Err(Invalid::TooManyMessages { messages, messages_max }) } else { Ok(()) }
    }

    /// Checks that a send is one of 1 to `messages_max` messages of one topic, and returns the topic.
    ///
    /// # Errors
    /// In the order in which Apache's proxy checks: count, topic, same topic.
    pub(crate) fn messages(&self, messages: &[Sent<'_>]) -> Result<TopicName, Invalid> {
        let first = messages.first().ok_or(Invalid::NoMessages)?;
        self.message_count(messages.len())?;
        let topic = TopicName::for_client(first.topic.name).map_err(Invalid::Topic)?;
        match messages.iter().enumerate().find(|(_, message)| message.topic != first.topic) {
            Some((index, other)) => {
                Err(Invalid::MixedTopics { index, topic: cut(other.topic.name), first: cut(first.topic.name) })
            }
            None => Ok(topic),
        }
    }

    /// Checks one message.
    ///
    /// # Errors
    /// In the order in which Apache's proxy checks.
    pub(crate) fn message(&self, message: &Sent<'_>, now: Timestamp) -> Result<(), Invalid> {
        let system = message.system.as_ref().ok_or(Invalid::MissingField { field: "system_properties" })?;
        match message.body.len() {
            0 => return Err(Invalid::BodyEmpty),
            bytes if bytes > self.body_bytes_max => {
                return Err(Invalid::BodyTooLarge { bytes, bytes_max: self.body_bytes_max });
            }
            _ => {}
        }
        if message.user_properties.len() > self.user_properties_max {
            let count = message.user_properties.len();
            return Err(Invalid::PropertyCount { count, count_max: self.user_properties_max });
        }
        for (name, value) in &message.user_properties {
            user_property(name, value)?;
        }
        self.system_properties(system, now)?;
        let texts = message.user_properties.iter().flat_map(|(name, value)| [name, value]);
        let bytes = texts.chain(&system.keys).chain(&system.tag).map(|text| text.len()).sum();
        if bytes > self.user_property_bytes_max {
            return Err(Invalid::PropertiesTooLarge { bytes, bytes_max: self.user_property_bytes_max });
        }
        Ok(())
    }

    fn system_properties(&self, system: &System<'_>, now: Timestamp) -> Result<(), Invalid> {
        if let Some(tag) = system.tag.filter(|tag| !tag.is_empty()) {
            subscription_tag(tag)?;
        }
        for key in &system.keys {
            text(key).map_err(|reason| Invalid::Key { key: cut(key), reason })?;
        }
        if system.message_id.trim().is_empty() {
            return Err(Invalid::MessageIdBlank);
        }
        text(system.message_id).map_err(|_| Invalid::MessageIdBlank)?;
        if let Some(duration) = &system.orphaned_transaction_recovery_duration {
            let seconds_max = self.transaction_recovery_max.as_secs();
            if duration.seconds.is_negative() || duration.seconds.unsigned_abs() > seconds_max {
                return Err(Invalid::RecoveryTime { seconds: duration.seconds, seconds_max });
            }
        }
        if let Some(at) = &system.delivery_timestamp {
            let ahead = crate::convert::timestamp(at).since(now);
            if ahead > self.delay_max {
                let ahead_ms_max = self.delay_max.as_millis();
                return Err(Invalid::DeliveryTime { ahead_ms: ahead.as_millis(), ahead_ms_max });
            }
        }
        if let Some(group) = system.message_group.filter(|group| !group.is_empty()) {
            text(group).map_err(|reason| Invalid::MessageGroup { group: cut(group), reason })?;
            if group.len() > self.message_group_bytes_max {
                let bytes_max = self.message_group_bytes_max;
                return Err(Invalid::MessageGroupTooLong { bytes: group.len(), bytes_max });
            }
        }
        if let Some(priority) = system.priority.filter(|priority| *priority < 0) {
            return Err(Invalid::Priority { priority });
        }
        let is_lite =
            system.message_type() == v2::MessageType::Lite || system.lite_topic.is_some_and(|topic| !topic.is_empty());
        if is_lite { Err(Invalid::LiteNotBuilt) } else { Ok(()) }
    }

    /// The invisible time of a receive that does not renew by itself.
    ///
    /// # Errors
    /// [`Invalid::InvisibleTooShort`], [`Invalid::InvisibleTooLong`].
    pub(crate) fn receive_invisible(&self, asked: Option<&prost_types::Duration>) -> Result<Duration, Invalid> {
        self.invisible(asked, self.invisible_min)
    }

    /// The invisible time that a client wants a message to have from now; zero is one.
    ///
    /// # Errors
    /// [`Invalid::InvisibleTooShort`] for less than nothing, [`Invalid::InvisibleTooLong`].
    pub(crate) fn change_invisible(&self, asked: Option<&prost_types::Duration>) -> Result<Duration, Invalid> {
        self.invisible(asked, Duration::ZERO)
    }

    /// The invisible time of a receive, as front doors other than gRPC have it.
    ///
    /// # Errors
    /// [`Invalid::InvisibleTooShort`], [`Invalid::InvisibleTooLong`].
    pub fn received_invisible(&self, asked: Duration) -> Result<Duration, Invalid> {
        self.receive_invisible(Some(&crate::convert::protocol_duration(asked)))
    }

    /// The invisible time that a message is to have from now, as front doors other than gRPC have it; zero is one.
    ///
    /// # Errors
    /// [`Invalid::InvisibleTooLong`].
    pub fn changed_invisible(&self, asked: Duration) -> Result<Duration, Invalid> {
        self.change_invisible(Some(&crate::convert::protocol_duration(asked)))
    }

    fn invisible(&self, asked: Option<&prost_types::Duration>, min: Duration) -> Result<Duration, Invalid> {
        let ms = asked.map_or(0, |asked| i128::from(asked.seconds) * 1000 + i128::from(asked.nanos) / 1_000_000);
        let duration = u64::try_from(ms).ok().map(Duration::from_millis);
        match duration {
            Some(duration) if duration > self.invisible_max => {
                Err(Invalid::InvisibleTooLong { ms, ms_max: self.invisible_max.as_millis() })
            }
            Some(duration) if duration >= min => Ok(duration),
            _ if ms > 0 && duration.is_none() => {
                Err(Invalid::InvisibleTooLong { ms, ms_max: self.invisible_max.as_millis() })
            }
            _ => Err(Invalid::InvisibleTooShort { ms, ms_min: min.as_millis() }),
        }
    }
}

/// A tag, of a message or of a subscription.
fn subscription_tag(tag: &str) -> Result<(), Invalid> {
    text(tag).map_err(|reason| Invalid::Tag { tag: cut(tag), reason })?;
    if tag.contains('|') {
        return Err(Invalid::Tag { tag: cut(tag), reason: "holds '|', which separates tags in a subscription" });
    }
    Ok(())
}

fn user_property(name: &str, value: &str) -> Result<(), Invalid> {
    if name.is_empty() {
        return Err(Invalid::PropertyNameEmpty);
    }
    if is_reserved(name) {
        return Err(Invalid::PropertyReserved { name: cut(name) });
    }
    if has_control(name) || has_control(value) {
        return Err(Invalid::PropertyControl { name: cut(name) });
    }
    Ok(())
}

/// What tags, keys and message groups have in common.
fn text(text: &str) -> Result<(), &'static str> {
    if text.trim().is_empty() {
        return Err("is blank");
    }
    if has_control(text) {
        return Err("holds a control character");
    }
    Ok(())
}

/// Whether a text holds an ISO control character (U+0000 to U+001F, U+007F to U+009F).
fn has_control(text: &str) -> bool {
    // Looked at to the end, which the compiler does for many bytes at a time.
    let is_ascii_control = text.bytes().fold(false, |found, byte| found | (byte < 0x20) | (byte == 0x7f));
    is_ascii_control || (!text.is_ascii() && text.chars().any(char::is_control))
}

/// Most client properties. Source of all four: `definition.proto`, `Settings.client_properties`.
const CLIENT_PROPERTIES_MAX: usize = 32;
const CLIENT_PROPERTY_NAME_CHARS_MAX: usize = 64;
const CLIENT_PROPERTY_VALUE_CHARS_MAX: usize = 256;
const CLIENT_PROPERTY_BYTES_MAX: usize = 4096;

/// A subscription expression; none wants everything.
///
/// # Errors
/// [`Invalid::Filter`].
pub(crate) fn filter(expression: Option<&v2::FilterExpression>) -> Result<Filter, Invalid> {
    let Some(expression) = expression else { return Ok(Filter::All) };
    let language = match expression.r#type() {
        v2::FilterType::Sql => ExpressionType::Sql92,
        v2::FilterType::Tag | v2::FilterType::Unspecified => ExpressionType::Tag,
    };
    Ok(Filter::parse(language, &expression.expression)?)
}

/// What a client says of itself for operators' eyes.
///
/// # Errors
/// [`Invalid::ClientProperties`].
pub(crate) fn client_properties<'a>(
    properties: impl ExactSizeIterator<Item = (&'a String, &'a String)>,
) -> Result<(), Invalid> {
    let fail = |reason| Err(Invalid::ClientProperties { reason });
    if properties.len() > CLIENT_PROPERTIES_MAX {
        return fail(format!("{} entries, limit is {CLIENT_PROPERTIES_MAX}", properties.len()));
    }
    let mut bytes = 0;
    for (name, value) in properties {
        bytes += name.len() + value.len();
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        if !is_name || name.len() > CLIENT_PROPERTY_NAME_CHARS_MAX {
            return fail(format!(
                "name {:?} is not 1 to {CLIENT_PROPERTY_NAME_CHARS_MAX} characters of [a-zA-Z][a-zA-Z0-9_.-]*",
                cut(name)
            ));
        }
        if name.starts_with("rocketmq.") {
            return fail(format!("name {name:?} is reserved by the system"));
        }
        let chars = value.chars().count();
        if chars > CLIENT_PROPERTY_VALUE_CHARS_MAX {
            return fail(format!(
                "value of {name:?} has {chars} characters, limit is {CLIENT_PROPERTY_VALUE_CHARS_MAX}"
            ));
        }
    }
    if bytes > CLIENT_PROPERTY_BYTES_MAX {
        return fail(format!("{bytes} bytes, limit is {CLIENT_PROPERTY_BYTES_MAX}"));
    }
    Ok(())
}

/// A client's text as errors show it.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}
