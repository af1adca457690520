//! Topics: their names and what may be sent to them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::QueueId;
use crate::message::MessageType;

/// Longest name of a topic that is not a retry or dead-letter topic, in characters. Source: Apache `TopicValidator`.
pub const NAME_CHARS_MAX: usize = 127;
/// Longest name of a retry or dead-letter topic, in bytes.
pub const DERIVED_NAME_BYTES_MAX: usize = 255;
/// Most queues a topic may have on one broker.
pub const QUEUES_MAX: u32 = 1024;

/// The queue of a retry topic.
pub const RETRY_QUEUE: QueueId = QueueId(0);

/// Topics of the system, which clients may not use. Source: Apache `TopicValidator`.
const SYSTEM_TOPICS: [&str; 10] = [
    "TBW102",
    "SCHEDULE_TOPIC_XXXX",
    "BenchmarkTest",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    TRACE_TOPIC,
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
    "CHECKPOINT_TOPIC",
];
/// Source: Apache `TopicValidator.RMQ_SYS_TRACE_TOPIC`.
const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";
const SYSTEM_PREFIX: &str = "rmq_sys_";
/// Begins the names of topics and groups that gateways keep for themselves, see [`crate::Broker::shared_topic`]. Brokers, Apache's too, serve
/// them as any other; front doors refuse them to clients.
pub(crate) const SHARED_PREFIX: &str = "gantry_sys_";
pub(crate) const SHARED_RULE: &str = "names that begin with gantry_sys_ are Gantry's own";
const RETRY_PREFIX: &str = "%RETRY%";
const DEAD_LETTER_PREFIX: &str = "%DLQ%";

/// A topic's name: valid by construction, cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicName(Arc<str>);

/// Why a text is not a topic's or group's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing but white space.
    #[error("{what} is blank")]
    Blank {
        /// `topic` or `consumer group`.
        what: &'static str,
    },
    /// Longer than its limit.
    #[error("{what} {name:?} has {length} characters, limit is {length_max}")]
    TooLong {
        /// `topic` or `consumer group`.
        what: &'static str,
        /// The name, cut.
        name: String,
        /// Its length.
        length: usize,
        /// The longest allowed.
        length_max: usize,
    },
    /// A character that names may not have.
    #[error("{what} {name:?} holds {character:?}, allowed are letters, digits, '%', '|', '_' and '-'")]
    Character {
        /// `topic` or `consumer group`.
        what: &'static str,
        /// The name.
        name: String,
        /// The first bad character.
        character: char,
    },
    /// A name that the system keeps for itself.
    #[error("cannot access system {what} {name:?}: {rule}")]
    System {
        /// `topic` or `consumer group`.
        what: &'static str,
        /// The name.
        name: String,
        /// Which names are the system's.
        rule: &'static str,
    },
}

/// Checks what topics and groups have in common: not blank, short enough, `[%|a-zA-Z0-9_-]+`.
pub(crate) fn check_name(what: &'static str, name: &str, length_max: usize) -> Result<(), NameError> {
    if name.trim().is_empty() {
        return Err(NameError::Blank { what });
    }
    let length = name.chars().count();
    if length > length_max {
        let name = name.chars().take(length_max).collect();
        return Err(NameError::TooLong { what, name, length, length_max });
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "%|_-".contains(c);
    match name.chars().find(|c| !is_allowed(*c)) {
        Some(character) => Err(NameError::Character { what, name: name.to_owned(), character }),
        None => Ok(()),
    }
}

impl TopicName {
    /// A name that a client of a front door gave: valid and not the system's.
    ///
    /// # Errors
    /// [`NameError`], which names the rule that the text breaks.
    pub fn for_client(name: &str) -> Result<Self, NameError> {
        let topic = Self::for_peer(name)?;
        if topic.is_shared() {
            return Err(NameError::System { what: "topic", name: name.to_owned(), rule: SHARED_RULE });
        }
        Ok(topic)
    }

    /// A name that came over Remoting, by which gateways too use brokers: valid and not RocketMQ's own.
    ///
    /// # Errors
    /// [`NameError`], which names the rule that the text breaks.
    pub fn for_peer(name: &str) -> Result<Self, NameError> {
        let topic = Self::new(name)?;
        if topic.is_system() {
            let rule = "names that begin with rmq_sys_, and some others, are RocketMQ's own";
            return Err(NameError::System { what: "topic", name: name.to_owned(), rule });
        }
        Ok(topic)
    }

    /// A valid name, the system's own included.
    ///
    /// # Errors
    /// [`NameError`], which names the rule that the text breaks.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let is_derived = name.starts_with(RETRY_PREFIX) || name.starts_with(DEAD_LETTER_PREFIX);
        let length_max = if is_derived { DERIVED_NAME_BYTES_MAX } else { NAME_CHARS_MAX };
        check_name("topic", name, length_max)?;
        Ok(Self(name.into()))
    }

    /// The dead-letter topic of `group`.
    #[must_use]
    pub fn dead_letter(group: &crate::GroupName) -> Self {
        Self(format!("{DEAD_LETTER_PREFIX}{group}").into())
    }

    /// Where a group's messages wait that its 4.x consumers failed to consume, those of all topics.
    /// Source: Apache `MixAll.getRetryTopic`.
    #[must_use]
    pub fn group_retry(group: &crate::GroupName) -> Self {
        Self(format!("{RETRY_PREFIX}{group}").into())
    }

    /// The group whose [`TopicName::group_retry`] this is, if it is one. A retry topic of a group for one topic looks the same.
    #[must_use]
    pub fn retrying_group(&self) -> Option<&str> {
        self.0.strip_prefix(RETRY_PREFIX)
    }

    /// Where a group's failed messages of `topic` wait, as Apache names it (`KeyBuilder.buildPopRetryTopicV1`); `None` when
    /// that is too long for a name. Different pairs may share one: `a` with `b_c`, and `a_b` with `c`.
    #[must_use]
    pub fn retry(group: &crate::GroupName, topic: &Self) -> Option<Self> {
        Self::new(&format!("{RETRY_PREFIX}{group}_{topic}")).ok()
    }

    /// The topic whose failed messages wait here, if this is a retry topic of `group` for a topic.
    #[must_use]
    pub fn retried(&self, group: &crate::GroupName) -> Option<&str> {
        let topic = self.0.strip_prefix(RETRY_PREFIX)?.strip_prefix(group.as_str())?.strip_prefix('_')?;
        (!topic.is_empty()).then_some(topic)
    }

    /// The groups whose retry topic this may be; see [`TopicName::retry`].
    pub fn retry_groups(&self) -> impl Iterator<Item = &str> {
        let pair = self.0.strip_prefix(RETRY_PREFIX).unwrap_or_default();
        pair.match_indices('_').map(|(end, _)| &pair[..end])
    }

    /// Whether brokers keep it for themselves, as RocketMQ's own.
    #[must_use]
    pub fn is_system(&self) -> bool {
        SYSTEM_TOPICS.contains(&self.as_str()) || self.0.starts_with(SYSTEM_PREFIX)
    }

    /// Whether gateways keep it for themselves.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.0.starts_with(SHARED_PREFIX)
    }

    /// Whether it is the system's topic for what clients tell of their messages, which they write themselves.
    #[must_use]
    pub fn is_trace(&self) -> bool {
        self.as_str() == TRACE_TOPIC
    }

    /// Whether it is a group's retry topic.
    #[must_use]
    pub fn is_retry(&self) -> bool {
        self.0.starts_with(RETRY_PREFIX)
    }

    /// Whether it is a group's dead-letter topic.
    #[must_use]
    pub fn is_dead_letter(&self) -> bool {
        self.0.starts_with(DEAD_LETTER_PREFIX)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for TopicName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(&name)
    }
}

impl From<TopicName> for String {
    fn from(name: TopicName) -> Self {
        name.as_str().to_owned()
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Which kinds of messages a topic takes. Source: Apache `TopicMessageType`, topic attribute `message.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TopicType {
    /// Normal, FIFO, delayed and transactional messages alike: what a topic made on first use is.
    Mixed,
    /// One kind only.
    #[serde(untagged)]
    Only(MessageType),
}

impl TopicType {
    /// Whether a message of this type may be sent to the topic.
    #[must_use]
    pub fn accepts(self, message: MessageType) -> bool {
        match self {
            Self::Mixed => true,
            Self::Only(only) => only == message,
        }
    }
}

impl fmt::Display for TopicType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mixed => f.write_str("MIXED"),
            Self::Only(only) => only.fmt(f),
        }
    }
}

/// A topic as its broker knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicConfig {
    /// The name.
    pub name: TopicName,
    /// Queues that may be read, 1 to [`QUEUES_MAX`].
    pub read_queues: u32,
    /// Queues that may be written, 1 to [`QUEUES_MAX`].
    pub write_queues: u32,
    /// Whether consumers may read.
    pub is_readable: bool,
    /// Whether producers may write.
    pub is_writable: bool,
    /// The kinds of messages it takes.
    #[serde(rename = "messageType")]
    pub topic_type: TopicType,
    /// Whether it was made by its first use and not by a command.
    pub is_auto_created: bool,
}

impl TopicConfig {
    /// A topic that a command makes: with so many queues, all of them for consumers and producers.
    #[must_use]
    pub fn new(name: TopicName, queues: u32, topic_type: TopicType) -> Self {
        Self {
            name,
            read_queues: queues,
            write_queues: queues,
            is_readable: true,
            is_writable: true,
            topic_type,
            is_auto_created: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GroupName;

    #[test]
    fn client_names_are_checked() {
        assert!(TopicName::for_client("orders-1").is_ok());
        assert!(TopicName::for_client("%DLQ%group").is_ok());
        assert_eq!(TopicName::for_client(" "), Err(NameError::Blank { what: "topic" }));
        assert!(matches!(TopicName::for_client("a.b"), Err(NameError::Character { character: '.', .. })));
        assert!(matches!(TopicName::for_client(&"a".repeat(128)), Err(NameError::TooLong { length: 128, .. })));
        assert!(matches!(TopicName::for_client("rmq_sys_x"), Err(NameError::System { .. })));
        assert!(matches!(TopicName::for_client("TBW102"), Err(NameError::System { .. })));
    }

    #[test]
    fn names_of_gateways_are_refused_to_clients_by_their_rule() {
        let refused = TopicName::for_client("gantry_sys_x").expect_err("the system's").to_string();
        assert_eq!(
            refused,
            "cannot access system topic \"gantry_sys_x\": names that begin with gantry_sys_ are Gantry's own"
        );
        let refused = GroupName::for_client("gantry_sys_").expect_err("the system's").to_string();
        assert!(refused.contains("consumer group") && refused.ends_with(SHARED_RULE), "{refused}");
        assert!(TopicName::for_peer("gantry_sys_x").is_ok_and(|topic| topic.is_shared()));
        assert!(GroupName::for_peer("gantry_sys_x").is_ok());
        assert!(TopicName::for_client("gantry_system").is_ok(), "another word");
    }

    #[test]
    fn a_retry_topic_is_read_by_who_knows_the_group() {
        let (topic, group) = (TopicName::new("b_c").expect("valid"), GroupName::new("a").expect("valid"));
        let retry = TopicName::retry(&group, &topic).expect("short enough");
        assert_eq!(retry.as_str(), "%RETRY%a_b_c");
        assert_eq!(retry.retried(&group), Some("b_c"));
        assert_eq!(retry.retried(&GroupName::new("a_b").expect("valid")), Some("c"));
        assert_eq!(retry.retried(&GroupName::new("b").expect("valid")), None);
        assert_eq!(topic.retried(&group), None);
        assert_eq!(TopicName::new("%RETRY%a").expect("valid").retried(&group), None, "4.x's, for all topics");
        assert!(retry.retry_groups().eq(["a", "a_b"]));
        assert_eq!(TopicName::group_retry(&group).retrying_group(), Some("a"));
        assert_eq!(topic.retrying_group(), None);
        assert_eq!(topic.retry_groups().count(), 0);
    }

    #[test]
    fn the_longest_names_have_a_retry_topic_and_derived_ones_may_not() {
        let group = GroupName::new(&"g".repeat(120)).expect("valid");
        let retry = TopicName::retry(&group, &TopicName::new(&"t".repeat(127)).expect("valid")).expect("255 bytes");
        assert_eq!(retry.as_str().len(), DERIVED_NAME_BYTES_MAX);
        assert_eq!(TopicName::retry(&group, &retry), None);
    }
}
