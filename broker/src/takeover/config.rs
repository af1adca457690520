//! Apache's configuration files as our topics, groups and offsets.
//!
//! Source of the shapes: Apache `TopicConfigManager`, `SubscriptionGroupManager`, `ConsumerOffsetManager`,
//! `ScheduleMessageService`, `TimerCheckpoint`, and files that 5.5.0 wrote.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use env::Disk;
use serde::Deserialize;
use serde::de::IgnoredAny;
use store::FileError;
use types::topic::QUEUES_MAX;
use types::{
    GroupConfig, GroupName, MessageType, QueueId, QueueOffset, RetryPolicy, Timestamp, TopicConfig, TopicName,
    TopicType,
};

use super::form::Refusal;
use super::read;
use crate::offset::Committed;

/// What the configuration says, without the system's own topics and groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Topics, by name.
    pub topics: Vec<TopicConfig>,
    /// Consumer groups, by name.
    pub groups: Vec<GroupConfig>,
    /// Committed offsets.
    pub offsets: Vec<Committed>,
    /// How far the broker itself had come.
    pub progress: Progress,
}

/// How far the broker's own work had come when it was last written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// By delay level, the first offset in `SCHEDULE_TOPIC_XXXX` that is not delivered.
    pub levels: BTreeMap<u32, u64>,
    /// Offsets of the system's groups: group, topic, queue.
    pub system: BTreeMap<(String, String, u32), u64>,
    /// The wheel has delivered all slots before this time …
    pub wheel_read_to: Timestamp,
    /// … of messages before this offset of the wheel topic.
    pub wheel_offset: u64,
}

/// Apache's permission bits. Source: Apache `PermName`.
pub(super) const READ: u32 = 4;
pub(super) const WRITE: u32 = 2;
/// Set on topics that the broker makes for itself, so that others are made after them.
const INHERIT: u32 = 1;
/// Topics of the broker itself, `RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC` among them, which it makes in file mode too. Source: `config/topics.json` that 5.5.0 wrote.
const SYSTEM_TOPIC_PREFIX: &str = "RMQ_SYS_";
/// Behind a cluster's name, the topic of its replies to requests. Source: Apache `MixAll.REPLY_TOPIC_POSTFIX`.
const REPLY_TOPIC_SUFFIX: &str = "_REPLY_TOPIC";
/// Groups of the broker itself. Source: Apache `MixAll.CID_RMQ_SYS_PREFIX`.
const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";
/// Groups that each broker makes. Source: Apache `SubscriptionGroupManager.init`, `config/subscriptionGroup.json` that 5.5.0 wrote.
const BUILT_IN_GROUPS: [&str; 7] = [
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
];
/// Entries of a customized policy that Apache's brokers never use. Source: Apache `CustomizedRetryPolicy.nextDelayDuration`.
pub(super) const RETRY_SKIPPED: usize = 2;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TopicsFile {
    topic_config_table: BTreeMap<String, ApacheTopic>,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ApacheTopic {
    attributes: BTreeMap<String, String>,
    perm: u32,
    read_queue_nums: u32,
    write_queue_nums: u32,
}

impl Default for ApacheTopic {
    /// Source: Apache `TopicConfig`.
    fn default() -> Self {
        Self { attributes: BTreeMap::new(), perm: READ | WRITE, read_queue_nums: 16, write_queue_nums: 16 }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GroupsFile {
    subscription_group_table: BTreeMap<String, ApacheGroup>,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ApacheGroup {
    consume_enable: bool,
    consume_message_orderly: bool,
    consume_timeout_minute: u32,
    retry_max_times: i64,
    group_retry_policy: ApachePolicy,
}

impl Default for ApacheGroup {
    /// Source: Apache `SubscriptionGroupConfig`.
    fn default() -> Self {
        Self {
            consume_enable: true,
            consume_message_orderly: false,
            consume_timeout_minute: 15,
            retry_max_times: 16,
            group_retry_policy: ApachePolicy::default(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ApachePolicy {
    r#type: String,
    customized_retry_policy: Option<Customized>,
    exponential_retry_policy: Option<Exponential>,
}

#[derive(Deserialize)]
struct Customized {
    next: Vec<u64>,
}

/// Times in milliseconds. Source of the defaults: Apache `ExponentialRetryPolicy`.
#[derive(Deserialize)]
#[serde(default)]
struct Exponential {
    initial: u64,
    max: u64,
    multiplier: u32,
}

impl Default for Exponential {
    fn default() -> Self {
        Self { initial: 5_000, max: 7_200_000, multiplier: 2 }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OffsetsFile {
    offset_table: BTreeMap<String, BTreeMap<u32, i64>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LevelsFile {
    offset_table: BTreeMap<u32, i64>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MappingFile {
    topic_queue_mapping_info_map: BTreeMap<String, IgnoredAny>,
}

impl Config {
    /// Reads all files of `config/`; what cannot be held or read is added to `refusals`.
    ///
    /// # Errors
    /// [`FileError`] when the system refuses to show a file.
    pub(super) fn read(disk: &dyn Disk, dir: &Path, refusals: &mut Vec<Refusal>) -> Result<Self, FileError> {
        let mut config = Self::default();
        let topics: TopicsFile = read::config(disk, dir, "topics.json", refusals)?.unwrap_or_default();
        let table = &topics.topic_config_table;
        for (name, topic) in table {
            if !is_reply_topic(name, |cluster| table.get(cluster).map(|topic| topic.perm)) {
                config.topics.extend(topic.convert(name, refusals));
            }
        }
        let groups: GroupsFile = read::config(disk, dir, "subscriptionGroup.json", refusals)?.unwrap_or_default();
        for (name, group) in groups.subscription_group_table {
            if !name.starts_with(SYSTEM_GROUP_PREFIX) && !BUILT_IN_GROUPS.contains(&name.as_str()) {
                config.groups.extend(group.convert(&name, refusals));
            }
        }
        let offsets: OffsetsFile = read::config(disk, dir, "consumerOffset.json", refusals)?.unwrap_or_default();
        for (key, queues) in &offsets.offset_table {
            config.take_offsets(key, queues, refusals);
        }
        let levels: LevelsFile = read::config(disk, dir, "delayOffset.json", refusals)?.unwrap_or_default();
        config.progress.levels =
            levels.offset_table.into_iter().map(|(level, offset)| (level, unsigned(offset))).collect();
        let mapping: MappingFile = read::config(disk, dir, "topicQueueMapping.json", refusals)?.unwrap_or_default();
        let statics = mapping.topic_queue_mapping_info_map.into_keys();
        refusals.extend(statics.map(|topic| Refusal::StaticTopic { topic }));
        if let Some(bytes) = read::file(disk, &dir.join("config/timercheck"))? {
            config.progress.take_timercheck(&bytes);
        }
        Ok(config)
    }

    /// Takes the offsets of one `topic@group`.
    fn take_offsets(&mut self, key: &str, queues: &BTreeMap<u32, i64>, refusals: &mut Vec<Refusal>) {
        let refuse = |problem: String| Refusal::Setting { what: "offset of", name: key.to_owned(), problem };
        let Some((topic, group)) = key.split_once('@') else {
            return refusals.push(refuse("it is no topic@group".to_owned()));
        };
        if group.starts_with(SYSTEM_GROUP_PREFIX) {
            for (queue, offset) in queues {
                self.progress.system.insert((group.to_owned(), topic.to_owned(), *queue), unsigned(*offset));
            }
            return;
        }
        match (TopicName::new(topic), GroupName::new(group)) {
            (Ok(topic), Ok(group)) => self.offsets.extend(queues.iter().map(|(queue, offset)| Committed {
                group: group.clone(),
                topic: topic.clone(),
                queue: QueueId(*queue),
                offset: QueueOffset(unsigned(*offset)),
            })),
            (Err(error), _) | (_, Err(error)) => refusals.push(refuse(error.to_string())),
        }
    }
}

impl Progress {
    /// Reads the first numbers of `config/timercheck`; one that is too short says nothing.
    ///
    /// | bytes | content                                                      |
    /// |-------|--------------------------------------------------------------|
    /// | 0–7   | time up to which slots are delivered, ms                     |
    /// | 8–15  | position in the timerlog                                     |
    /// | 16–23 | offset in the wheel topic up to which messages are in slots  |
    fn take_timercheck(&mut self, bytes: &[u8]) {
        let number = |at: usize| bytes.get(at..)?.first_chunk::<8>().map(|bytes| i64::from_be_bytes(*bytes));
        if let (Some(read_to), Some(offset)) = (number(0), number(16)) {
            (self.wheel_read_to, self.wheel_offset) = (Timestamp(read_to), unsigned(offset));
        }
    }
}

/// Apache writes -1 for none.
fn unsigned(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}

/// Whether a topic is that of a cluster's replies: the broker makes it beside the one with the cluster's name, whose permissions are
/// looked up.
pub(super) fn is_reply_topic(name: &str, perm_of: impl FnOnce(&str) -> Option<u32>) -> bool {
    name.strip_suffix(REPLY_TOPIC_SUFFIX).and_then(perm_of).is_some_and(|perm| perm & INHERIT != 0)
}

impl ApacheTopic {
    /// The topic as we know it; `None` for the broker's own ones.
    pub(super) fn convert(&self, name: &str, refusals: &mut Vec<Refusal>) -> Option<TopicConfig> {
        let topic = match TopicName::new(name) {
            Ok(topic) if topic.is_system() || name.starts_with(SYSTEM_TOPIC_PREFIX) => return None,
            Ok(_) if self.perm & INHERIT != 0 => return None,
            Ok(topic) => topic,
            Err(error) => {
                let problem = error.to_string();
                refusals.push(Refusal::Setting { what: "topic", name: name.to_owned(), problem });
                return None;
            }
        };
        let attribute = |key: &str| self.attributes.get(key).map(String::as_str);
        if attribute("queue.type") == Some("BatchCQ") {
            refusals.push(Refusal::BatchQueues { topic: name.to_owned() });
        }
        if attribute("cleanup.policy") == Some("COMPACTION") {
            refusals.push(Refusal::Compaction { topic: name.to_owned() });
        }
        let refuse = |problem| Refusal::Setting { what: "topic", name: name.to_owned(), problem };
        for queues in [self.read_queue_nums, self.write_queue_nums] {
            if queues > QUEUES_MAX {
                refusals.push(refuse(format!("it has {queues} queues, limit is {QUEUES_MAX}")));
            }
        }
        let kind = attribute("message.type").unwrap_or("UNSPECIFIED");
        let topic_type = topic_type(kind);
        if topic_type.is_none() {
            refusals.push(refuse(format!("its message.type is {kind:?}")));
        }
        Some(TopicConfig {
            name: topic,
            read_queues: self.read_queue_nums,
            write_queues: self.write_queue_nums,
            is_readable: self.perm & READ != 0,
            is_writable: self.perm & WRITE != 0,
            topic_type: topic_type?,
            is_auto_created: false,
        })
    }
}

/// Source: Apache `TopicMessageType`. A topic without the attribute takes every kind, as its broker did.
fn topic_type(name: &str) -> Option<TopicType> {
    Some(match name {
        "UNSPECIFIED" | "MIXED" => TopicType::Mixed,
        "NORMAL" => TopicType::Only(MessageType::Normal),
        "FIFO" => TopicType::Only(MessageType::Fifo),
        "DELAY" => TopicType::Only(MessageType::Delay),
        "TRANSACTION" => TopicType::Only(MessageType::Transaction),
        "PRIORITY" => TopicType::Only(MessageType::Priority),
        "LITE" => TopicType::Only(MessageType::Lite),
        _ => return None,
    })
}

impl ApacheGroup {
    pub(super) fn convert(self, name: &str, refusals: &mut Vec<Refusal>) -> Option<GroupConfig> {
        let group = match GroupName::new(name) {
            Ok(group) => group,
            Err(error) => {
                let problem = error.to_string();
                refusals.push(Refusal::Setting { what: "group", name: name.to_owned(), problem });
                return None;
            }
        };
        // The first delivery counts too.
        let attempts_max = u32::try_from(self.retry_max_times.max(0)).unwrap_or(u32::MAX).saturating_add(1);
        Some(GroupConfig {
            name: group,
            is_fifo: self.consume_message_orderly,
            is_enabled: self.consume_enable,
            attempts_max,
            retry: self.group_retry_policy.convert(),
            consume_timeout: Duration::from_secs(60) * self.consume_timeout_minute,
            is_auto_created: false,
        })
    }
}

impl ApachePolicy {
    /// One without times is Apache's default, which is ours.
    fn convert(self) -> RetryPolicy {
        if self.r#type == "EXPONENTIAL" {
            let Exponential { initial, max, multiplier } = self.exponential_retry_policy.unwrap_or_default();
            let (initial, max) = (Duration::from_millis(initial), Duration::from_millis(max));
            return RetryPolicy::Exponential { initial, max, multiplier: multiplier.max(1) };
        }
        let times = self.customized_retry_policy.map(|policy| policy.next).unwrap_or_default();
        let skipped = RETRY_SKIPPED.min(times.len().saturating_sub(1));
        match times.get(skipped..) {
            Some(used @ [_, ..]) => {
                RetryPolicy::Customized { next: used.iter().map(|ms| Duration::from_millis(*ms)).collect() }
            }
            _ => RetryPolicy::default(),
        }
    }
}
