//! Queues, locks on them, and tables by queue.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

/// A queue of a topic on a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageQueue {
    /// The broker.
    pub broker_name: String,
    /// The queue.
    pub queue_id: i32,
    /// The topic.
    pub topic: String,
}

/// Locks queues or gives them back: the body of [`LockBatchMq`](crate::RequestCode::LockBatchMq) and
/// [`UnlockBatchMq`](crate::RequestCode::UnlockBatchMq).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LockBatch {
    /// The client that locks.
    pub client_id: String,
    /// The group within which the lock counts.
    pub consumer_group: String,
    /// The queues.
    pub mq_set: Vec<MessageQueue>,
    /// Whether other brokers of the same group of replicas are not asked.
    pub only_this_broker: bool,
}

/// The queues that are locked for the client now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LockBatchAnswer {
    /// The queues.
    #[serde(rename = "lockOKMQSet")]
    pub lock_ok_mq_set: Vec<MessageQueue>,
}

/// A queue's offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicOffset {
    /// When a message was stored last, ms since 1970; 0 if none is there.
    pub last_update_timestamp: i64,
    /// The queue's end.
    pub max_offset: i64,
    /// The queue's first offset.
    pub min_offset: i64,
}

/// How far a group is on a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeOffset {
    /// The queue's end.
    pub broker_offset: i64,
    /// What is committed.
    pub consumer_offset: i64,
    /// When the first message that is not finished was stored, ms since 1970.
    pub last_timestamp: i64,
    /// What was pulled last, at least what is committed.
    pub pull_offset: i64,
}

/// A table by queue. Apache's tools read it only if the queues are written as objects in the place of keys, which no JSON
/// library does: `{{"brokerName":"b","queueId":0,"topic":"T"}:{…}}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueTable<T>(pub Vec<(MessageQueue, T)>);

impl<T: Serialize> QueueTable<T> {
    /// The body that has this table as the member `offsetTable`, and a number, always 0, that tells messages a second.
    #[must_use]
    pub fn to_body(&self, tps: &str) -> Vec<u8> {
        self.to_members(&format!("\"{tps}\":0.0,"))
    }

    /// The body that has this table as the member `offsetTable`, behind other members, each with a comma behind it.
    #[must_use]
    pub fn to_members(&self, others: &str) -> Vec<u8> {
        let mut out = format!("{{{others}\"offsetTable\":{{").into_bytes();
        for (index, (queue, value)) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend(crate::to_vec(queue, crate::Dialect::Standard));
            out.push(b':');
            out.extend(crate::to_vec(value, crate::Dialect::Standard));
        }
        out.extend(b"}}");
        out
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for QueueTable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TableVisitor(PhantomData))
    }
}

struct TableVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TableVisitor<T> {
    type Value = QueueTable<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table by queue")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<QueueTable<T>, A::Error> {
        let mut table = Vec::new();
        // [`crate::from_slice`] makes texts of keys that are objects.
        while let Some((queue, value)) = map.next_entry::<String, T>()? {
            let queue = serde_json::from_str(&queue)
                .map_err(|error| A::Error::custom(format_args!("the key {queue:?} is no queue: {error}")))?;
            table.push((queue, value));
        }
        Ok(QueueTable(table))
    }
}

/// Where a topic's queues begin and end: the body of [`GetTopicStatsInfo`](crate::RequestCode::GetTopicStatsInfo)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicStats {
    /// By queue.
    pub offset_table: QueueTable<TopicOffset>,
    /// Messages sent a second.
    pub topic_put_tps: f64,
}

/// How far a group is: the body of [`GetConsumeStats`](crate::RequestCode::GetConsumeStats)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStats {
    /// By queue.
    pub offset_table: QueueTable<ConsumeOffset>,
    /// Messages consumed a second.
    pub consume_tps: f64,
}

/// Where a group goes on: the body of [`InvokeBrokerToResetOffset`](crate::RequestCode::InvokeBrokerToResetOffset)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetOffsets {
    /// By queue.
    pub offset_table: QueueTable<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_as_they_are_written() {
        let queue = |queue_id| MessageQueue { broker_name: "b".to_owned(), queue_id, topic: "T\"}".to_owned() };
        let offset = TopicOffset { last_update_timestamp: 7, max_offset: 2, min_offset: 1 };
        let table = QueueTable(vec![(queue(0), offset), (queue(1), TopicOffset::default())]);
        let stats: TopicStats = crate::from_slice(&table.to_members("\"topicPutTps\":1.5,")).expect("readable");
        assert_eq!(stats, TopicStats { offset_table: table, topic_put_tps: 1.5 });
        let none: ConsumeStats = crate::from_slice(b"{}").expect("readable");
        assert_eq!(none, ConsumeStats::default());
        assert!(crate::from_slice::<ResetOffsets>(br#"{"offsetTable":{"x":1}}"#).is_err());
    }

    #[test]
    fn queues_stand_as_objects_in_the_place_of_keys() {
        let queue = |queue_id| MessageQueue { broker_name: "b".to_owned(), queue_id, topic: "T".to_owned() };
        let offset = TopicOffset { last_update_timestamp: 7, max_offset: 2, min_offset: 1 };
        let table = QueueTable(vec![(queue(0), offset), (queue(1), TopicOffset::default())]);
        let expected = r#"{"topicPutTps":0.0,"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:{"lastUpdateTimestamp":7,"maxOffset":2,"minOffset":1},{"brokerName":"b","queueId":1,"topic":"T"}:{"lastUpdateTimestamp":0,"maxOffset":0,"minOffset":0}}}"#;
        assert_eq!(String::from_utf8(table.to_body("topicPutTps")).expect("text"), expected);
    }
}
