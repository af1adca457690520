//! Our topics, groups and offsets as Apache's configuration files.
//!
//! What an existing file says of a topic or group stays as it is where it means the same: Apache keeps more settings than we
//! know. Source of the shapes: `config`, the other way round; files that 5.5.0 wrote.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use env::Disk;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use store::FileError;
use types::{GroupConfig, GroupName, QueueId, QueueOffset, RetryPolicy, Timestamp, TopicConfig, TopicName};

use super::config::{ApacheGroup, ApacheTopic, READ, RETRY_SKIPPED, WRITE, is_reply_topic};
use super::{OffsetTable, json, read};
use crate::machines::Machines;

/// Waits that Apache's brokers never use; the first two of a policy, as its own default has them.
const WAITS_UNUSED: [Duration; RETRY_SKIPPED] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Files of `config/` to write, by name.
pub(super) type Files = BTreeMap<&'static str, Vec<u8>>;

/// Makes the files; offsets are those of all groups, and by delay level.
///
/// # Errors
/// [`FileError`] when the system refuses to show a file that is there.
pub(super) fn files(
    disk: &dyn Disk,
    dir: &Path,
    machines: &Machines,
    offsets: &OffsetTable,
    levels: &BTreeMap<u32, QueueOffset>,
    now: Timestamp,
) -> Result<Files, FileError> {
    let version = json!({"counter": 1, "stateVersion": 0, "timestamp": now.0});
    let was = existing(disk, dir, "topics.json", "topicConfigTable")?;
    let mut topics = was.clone();
    let perm_of = |name: &str| u32::try_from(was.get(name)?.get("perm")?.as_u64()?).ok();
    topics.retain(|name, topic| is_apaches_own(name, topic) || is_reply_topic(name, perm_of));
    for topic in machines.catalog.topics().map(|topic| &topic.config) {
        let name = topic.name.as_str();
        let same = was.get(name).filter(|was| same_topic(was, topic)).cloned();
        topics.insert(name.to_owned(), same.unwrap_or_else(|| apache_topic(topic)));
    }
    let was = existing(disk, dir, "subscriptionGroup.json", "subscriptionGroupTable")?;
    let mut groups = Map::new();
    for group in machines.catalog.groups() {
        let name = group.name.as_str();
        let same = was.get(name).filter(|was| same_group(was, group)).cloned();
        groups.insert(name.to_owned(), same.unwrap_or_else(|| apache_group(group)));
    }
    let levels: BTreeMap<u32, u64> = levels.iter().map(|(level, offset)| (*level, offset.0)).collect();
    Ok(Files::from([
        ("topics.json", text(&json!({"dataVersion": version, "topicConfigTable": topics}))),
        ("subscriptionGroup.json", text(&json!({"dataVersion": version, "subscriptionGroupTable": groups}))),
        ("consumerOffset.json", text(&json!({"dataVersion": version, "offsetTable": offsets}))),
        ("delayOffset.json", text(&json!({"dataVersion": version, "offsetTable": levels}))),
    ]))
}

/// Where groups go on.
pub(super) fn offset_table(machines: &Machines) -> OffsetTable {
    let mut offsets = OffsetTable::new();
    for ((group, topic, queue), offset) in committed(machines) {
        offsets.entry(format!("{topic}@{group}")).or_default().insert(queue.0, offset.0);
    }
    offsets
}

/// A group's offset on a queue: the first that it has not finished. Apache has one for pops and pulls alike: the smaller of ours,
/// which costs messages delivered twice and loses none, unless the group never popped there.
fn committed(machines: &Machines) -> BTreeMap<(GroupName, TopicName, QueueId), QueueOffset> {
    let pulled = machines.offsets.iter().map(|commit| ((commit.group, commit.topic, commit.queue), commit.offset));
    let mut offsets: BTreeMap<_, _> = pulled.collect();
    for (owner, queue, popped, is_consumed) in machines.pop.all_committed() {
        let offset = offsets.entry((owner.group.clone(), owner.topic.clone(), queue)).or_insert(popped);
        if is_consumed {
            *offset = popped.min(*offset);
        }
    }
    offsets
}

/// The table of a configuration file; empty without a usable file.
fn existing(disk: &dyn Disk, dir: &Path, file: &str, table: &str) -> Result<Map<String, Value>, FileError> {
    let bytes = read::file(disk, &dir.join("config").join(file))?.unwrap_or_default();
    let mut value: Value = json::parse(&bytes).unwrap_or_default();
    match value.get_mut(table).map(Value::take) {
        Some(Value::Object(entries)) => Ok(entries),
        _ => Ok(Map::new()),
    }
}

/// One of the topics that Apache's broker made for itself, which our catalog never has.
fn is_apaches_own(name: &str, topic: &Value) -> bool {
    parsed::<ApacheTopic>(topic).is_some_and(|topic| topic.convert(name, &mut Vec::new()).is_none())
}

fn parsed<T: DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}

fn same_topic(was: &Value, topic: &TopicConfig) -> bool {
    let was = parsed::<ApacheTopic>(was).and_then(|was| was.convert(topic.name.as_str(), &mut Vec::new()));
    was.is_some_and(|was| was == TopicConfig { is_auto_created: false, ..topic.clone() })
}

fn same_group(was: &Value, group: &GroupConfig) -> bool {
    let was = parsed::<ApacheGroup>(was).and_then(|was| was.convert(group.name.as_str(), &mut Vec::new()));
    was.is_some_and(|was| was == GroupConfig { is_auto_created: false, ..group.clone() })
}

fn apache_topic(topic: &TopicConfig) -> Value {
    let perm = if topic.is_readable { READ } else { 0 } | if topic.is_writable { WRITE } else { 0 };
    json!({
        "attributes": {"message.type": topic.topic_type.to_string()},
        "order": false,
        "perm": perm,
        "readQueueNums": topic.read_queues,
        "topicFilterType": "SINGLE_TAG",
        "topicName": topic.name.as_str(),
        "topicSysFlag": 0,
        "writeQueueNums": topic.write_queues,
    })
}

fn apache_group(group: &GroupConfig) -> Value {
    let ms = |duration: &Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let policy = match &group.retry {
        RetryPolicy::Customized { next } => {
            let next: Vec<u64> = WAITS_UNUSED.iter().chain(next).map(ms).collect();
            json!({"type": "CUSTOMIZED", "customizedRetryPolicy": {"next": next}})
        }
        RetryPolicy::Exponential { initial, max, multiplier } => json!({
            "type": "EXPONENTIAL",
            "exponentialRetryPolicy": {"initial": ms(initial), "max": ms(max), "multiplier": multiplier},
        }),
    };
    json!({
        "attributes": {},
        "brokerId": 0,
        "consumeBroadcastEnable": true,
        "consumeEnable": group.is_enabled,
        "consumeFromMinEnable": true,
        "consumeMessageOrderly": group.is_fifo,
        "consumeTimeoutMinute": group.consume_timeout.as_secs().div_ceil(60),
        "groupName": group.name.as_str(),
        "groupRetryPolicy": policy,
        "groupSysFlag": 0,
        "notifyConsumerIdsChangedEnable": true,
        // The first delivery is no retry.
        "retryMaxTimes": group.attempts_max.saturating_sub(1),
        "retryQueueNums": 1,
        "whichBrokerWhenConsumeSlowly": 1,
    })
}

fn text(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("maps with text keys")
}
