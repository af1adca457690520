//! Topics as brokers tell them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What may be done with a topic's queues, as bits; those that nobody knows are kept. Source: Apache 5.5 `PermName`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Permission(pub i32);

impl Permission {
    const WRITE: i32 = 2;
    const READ: i32 = 4;
    /// Reading and writing.
    pub const READ_WRITE: Self = Self(Self::READ | Self::WRITE);

    /// Nothing.
    pub const NONE: Self = Self(0);

    /// The same with reading, if `may`.
    #[must_use]
    pub const fn with_reading(self, may: bool) -> Self {
        if may { Self(self.0 | Self::READ) } else { self }
    }

    /// The same with writing, if `may`.
    #[must_use]
    pub const fn with_writing(self, may: bool) -> Self {
        if may { Self(self.0 | Self::WRITE) } else { self }
    }

    /// Whether messages may be read.
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.0 & Self::READ != 0
    }

    /// Whether messages may be sent.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.0 & Self::WRITE != 0
    }

    /// The same without writing.
    #[must_use]
    pub const fn without_writing(self) -> Self {
        Self(self.0 & !Self::WRITE)
    }
}

/// Tells one state of a broker's topics from another; only equality means something, except for `state_version`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataVersion {
    /// Raised by each change.
    pub counter: i64,
    /// Raised by each change of the master.
    pub state_version: i64,
    /// Of the last change, ms since 1970.
    pub timestamp: i64,
}

/// One topic of a broker, as far as routes need it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfig {
    /// Its name.
    pub topic_name: String,
    /// Queues that can be read.
    pub read_queue_nums: i32,
    /// Queues that can be written.
    pub write_queue_nums: i32,
    /// What may be done with them.
    pub perm: Permission,
    /// Bits: 1 topic of a unit, 2 has subscriptions of units.
    pub topic_sys_flag: i32,
}

/// Source: Apache 5.5 `TopicConfig`.
impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            topic_name: String::new(),
            read_queue_nums: 16,
            write_queue_nums: 16,
            perm: Permission::READ_WRITE,
            topic_sys_flag: 0,
        }
    }
}

/// One topic with all its settings: the body of [`GetTopicConfig`](crate::RequestCode::GetTopicConfig)'s answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicSettings {
    /// What routes need.
    #[serde(flatten)]
    pub config: TopicConfig,
    /// `message.type` and others, by name.
    pub attributes: BTreeMap<String, String>,
    /// Whether its queues are in order.
    pub order: bool,
    /// `SINGLE_TAG` or `MULTI_TAG`.
    pub topic_filter_type: String,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            config: TopicConfig::default(),
            attributes: BTreeMap::new(),
            order: false,
            topic_filter_type: "SINGLE_TAG".to_owned(),
        }
    }
}

/// Several topics: the body of [`UpdateAndCreateTopicList`](crate::RequestCode::UpdateAndCreateTopicList). Names of attributes have a
/// sign before them that says whether they are set or removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigList {
    /// The topics.
    pub topic_config_list: Vec<TopicSettings>,
}

/// All topics of a broker: the body of [`GetAllTopicConfig`](crate::RequestCode::GetAllTopicConfig)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Topics {
    /// Their version.
    pub data_version: DataVersion,
    /// By name, each with that name inside.
    pub topic_config_table: BTreeMap<String, TopicSettings>,
}

impl std::fmt::Display for TopicConfig {
    /// The form that [`TopicConfig::parse`] reads, without attributes. Source: `TopicConfig#encode`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { topic_name, read_queue_nums, write_queue_nums, perm: Permission(perm), .. } = self;
        write!(f, "{topic_name} {read_queue_nums} {write_queue_nums} {perm} SINGLE_TAG {{}}")
    }
}

impl TopicConfig {
    /// Reads the form that compressed registrations have: name, queues to read, queues to write, permission, separated by
    /// spaces; kind of filter and attributes behind them are left alone. `None` if a number is none. Source: `TopicConfig#decode`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let topic_name = words.next()?.to_owned();
        let mut number = || words.next()?.parse().ok();
        let (read_queue_nums, write_queue_nums, perm) = (number()?, number()?, Permission(number()?));
        Some(Self { topic_name, read_queue_nums, write_queue_nums, perm, topic_sys_flag: 0 })
    }
}
