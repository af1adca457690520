//! What operators' tools are told of topics, groups and their clients.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ConsumeOffset, MessageQueue, QueueTable, SubscriptionData};

/// What was counted within a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BrokerStatsItem {
    /// All of it.
    pub sum: u64,
    /// The same a second.
    pub tps: f64,
    /// The same each time that it was counted.
    pub avgpt: f64,
}

/// What was counted of a topic or group: the body of [`ViewBrokerStatsData`](crate::RequestCode::ViewBrokerStatsData)'s answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerStatsData {
    /// In the last minute.
    pub stats_minute: BrokerStatsItem,
    /// In the last hour.
    pub stats_hour: BrokerStatsItem,
    /// In the last day.
    pub stats_day: BrokerStatsItem,
}

/// When what a group has consumed was stored: the body of [`QueryConsumeTimeSpan`](crate::RequestCode::QueryConsumeTimeSpan)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeTimeSpans {
    /// By queue.
    pub consume_time_span_set: Vec<QueueTimeSpan>,
}

/// The same of one queue; times are ms since 1970, -1 is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueTimeSpan {
    /// The queue.
    pub message_queue: MessageQueue,
    /// When its first message was stored.
    pub min_time_stamp: i64,
    /// When its last was.
    pub max_time_stamp: i64,
    /// When the last that the group has consumed was; the first's, if none is.
    pub consume_time_stamp: i64,
    /// For how long the next waits, in ms; 0 if there is none.
    pub delay_time: i64,
}

/// All producers: the body of [`GetAllProducerInfo`](crate::RequestCode::GetAllProducerInfo)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProducerTable {
    /// By group.
    pub data: BTreeMap<String, Vec<ProducerInfo>>,
}

/// A producer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerInfo {
    /// Its name.
    pub client_id: String,
    /// `IP:PORT`.
    #[serde(rename = "remoteIP")]
    pub remote_ip: String,
    /// By [`Language::name`](crate::Language::name).
    pub language: String,
    /// An ordinal of `MQVersion`.
    pub version: i32,
    /// When it was heard of last, ms since 1970.
    pub last_update_timestamp: i64,
}

/// What a group subscribes to of a topic: the body of
/// [`QuerySubscriptionByConsumer`](crate::RequestCode::QuerySubscriptionByConsumer)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupSubscription {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// None, if nobody of the group subscribes.
    pub subscription_data: Option<SubscriptionData>,
}

/// Whether a group may read a topic: the body of
/// [`UpdateAndGetGroupForbidden`](crate::RequestCode::UpdateAndGetGroupForbidden)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupReadable {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// Whether it may.
    pub readable: bool,
}

/// The lowest offsets of a topic's groups: the body of [`QueryCorrectionOffset`](crate::RequestCode::QueryCorrectionOffset)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CorrectionOffsets {
    /// By queue; the largest number where the compared group is behind them.
    pub correction_offsets: BTreeMap<i32, i64>,
}

/// How far a broker's slaves are: the body of [`GetBrokerHaStatus`](crate::RequestCode::GetBrokerHaStatus)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HaStatus {
    /// Whether it is a master.
    pub master: bool,
    /// The end of its log.
    pub master_commit_log_max_offset: u64,
    /// How many slaves keep up.
    pub in_sync_slave_nums: i32,
    /// A master's slaves.
    pub ha_connection_info: Vec<HaConnection>,
    /// A slave's connection.
    pub ha_client_runtime_info: Option<HaClient>,
}

/// A slave as its master sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HaConnection {
    /// `IP:PORT`.
    pub addr: String,
    /// How far its log goes by what it has said.
    pub slave_ack_offset: u64,
    /// How many bytes it lacks.
    pub diff: u64,
    /// Whether it keeps up.
    pub in_sync: bool,
    /// Bytes of the log that it gets each second; 0 where that is not measured.
    pub transferred_byte_in_second: u64,
    /// What it is sent next.
    pub transfer_from_where: u64,
}

/// A slave as it sees itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HaClient {
    /// `HOST:PORT` where its master has its log; empty without a connection.
    pub master_addr: String,
    /// Bytes of the log that it gets each second; 0 where that is not measured.
    pub transferred_byte_in_second: u64,
    /// The end of its log.
    pub max_offset: u64,
    /// How far the master's disk has the log; 0 where that is not known.
    pub master_flush_offset: u64,
}

/// Entries of a queue: the body of [`QueryConsumeQueue`](crate::RequestCode::QueryConsumeQueue)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueEntries {
    /// What the group that was named subscribes to.
    pub subscription_data: Option<SubscriptionData>,
    /// Why there is no subscription, though a group was named.
    pub filter_data: Option<String>,
    /// The entries.
    pub queue_data: Vec<QueueEntry>,
    /// The queue's end.
    pub max_queue_index: i64,
    /// The queue's first offset.
    pub min_queue_index: i64,
}

/// One entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueEntry {
    /// The record's place.
    pub physic_offset: i64,
    /// Its bytes.
    pub physic_size: i64,
    /// The hash of its tag.
    pub tags_code: i64,
}

/// How far all groups are: the body of [`GetBrokerConsumeStats`](crate::RequestCode::GetBrokerConsumeStats)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerConsumeStats {
    /// The broker, `IP:PORT`.
    pub broker_addr: String,
    /// By group, a table for each topic.
    pub groups: Vec<(String, Vec<QueueTable<ConsumeOffset>>)>,
}

impl BrokerConsumeStats {
    /// The body. Queues stand in the place of keys, see [`QueueTable`].
    #[must_use]
    pub fn to_body(&self) -> Vec<u8> {
        let offsets = || self.groups.iter().flat_map(|(_, tables)| tables).flat_map(|table| &table.0);
        let diff: i64 = offsets().map(|(_, at)| at.broker_offset - at.consumer_offset).sum();
        let in_flight: i64 = offsets().map(|(_, at)| at.pull_offset - at.consumer_offset).sum();
        let text = |text: &str| crate::to_vec(&text, crate::Dialect::Standard);
        let mut out = b"{\"brokerAddr\":".to_vec();
        out.extend(text(&self.broker_addr));
        out.extend(b",\"consumeStatsList\":[");
        for (index, (group, tables)) in self.groups.iter().enumerate() {
            out.extend(if index > 0 { &b",{"[..] } else { b"{" });
            out.extend(text(group));
            out.extend(b":[");
            for (index, table) in tables.iter().enumerate() {
                out.extend(if index > 0 { &b","[..] } else { b"" });
                out.extend(table.to_body("consumeTps"));
            }
            out.extend(b"]}");
        }
        out.extend(format!("],\"totalDiff\":{diff},\"totalInflightDiff\":{in_flight}}}").bytes());
        out
    }
}

/// Whether a group pulls or pops a topic: the body of [`SetMessageRequestMode`](crate::RequestCode::SetMessageRequestMode).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageRequestMode {
    /// The topic.
    pub topic: String,
    /// The group.
    pub consumer_group: String,
    /// `PULL` or `POP`.
    pub mode: String,
    /// Queues of its neighbours that a client pops too; 0 or less: all pop all.
    pub pop_share_queue_num: i64,
}

/// All of them, by topic and group: the body of [`GetAllMessageRequestMode`](crate::RequestCode::GetAllMessageRequestMode)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageRequestModes {
    /// The settings.
    pub message_request_mode_map: BTreeMap<String, BTreeMap<String, MessageRequestMode>>,
}

/// Asks which queues a client of a group is to consume: the body of [`QueryAssignment`](crate::RequestCode::QueryAssignment).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryAssignment {
    /// The topic.
    pub topic: String,
    /// The group.
    pub consumer_group: String,
    /// The client.
    pub client_id: String,
    /// `AVG` or `AVG_BY_CIRCLE`.
    pub strategy_name: String,
    /// `CLUSTERING` or `BROADCASTING`.
    pub message_model: String,
}

/// The queues. Without a list the client keeps what it has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Assignments {
    /// The list.
    pub message_queue_assignments: Option<Vec<Assignment>>,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Assignment {
    /// The queue; number -1 is all of the broker.
    pub message_queue: MessageQueue,
    /// `PULL` or `POP`.
    pub mode: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stand_in_a_list_with_their_tables() {
        let queue = MessageQueue { broker_name: "b".to_owned(), queue_id: 0, topic: "T".to_owned() };
        let at = ConsumeOffset { broker_offset: 9, consumer_offset: 4, last_timestamp: 7, pull_offset: 6 };
        let groups = vec![
            ("g".to_owned(), vec![QueueTable(vec![(queue, at)]), QueueTable::default()]),
            ("h".to_owned(), vec![]),
        ];
        let body = BrokerConsumeStats { broker_addr: "1.1.1.1:1".to_owned(), groups }.to_body();
        let expected = r#"{"brokerAddr":"1.1.1.1:1","consumeStatsList":[{"g":[{"consumeTps":0.0,"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:{"brokerOffset":9,"consumerOffset":4,"lastTimestamp":7,"pullOffset":6}}},{"consumeTps":0.0,"offsetTable":{}}]},{"h":[]}],"totalDiff":5,"totalInflightDiff":2}"#;
        assert_eq!(String::from_utf8(body).expect("text"), expected);
    }
}
