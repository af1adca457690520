//! Where a topic's queues are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BrokerData, Permission};

/// The queues of a topic on one broker name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueData {
    /// The name.
    pub broker_name: String,
    /// What may be done with the queues.
    pub perm: Permission,
    /// Queues that can be read.
    pub read_queue_nums: i32,
    /// Bits: 1 topic of a unit, 2 has subscriptions of units.
    pub topic_sys_flag: i32,
    /// Queues that can be written.
    pub write_queue_nums: i32,
}

/// A topic's route: the body of [`GetRouteInfoByTopic`](crate::RequestCode::GetRouteInfoByTopic)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicRouteData {
    /// The brokers that have queues of it.
    pub broker_datas: Vec<BrokerData>,
    /// Servers that filtered for consumers, until 4.x: always empty, and some clients need it to be there.
    pub filter_server_table: BTreeMap<String, Vec<String>>,
    /// Which brokers hold its queues in order: `broker-a:8;broker-b:8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_topic_conf: Option<String>,
    /// Its queues by broker.
    pub queue_datas: Vec<QueueData>,
    /// How queues of a static topic are spread, by broker name; handed on as brokers tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_queue_mapping_by_broker: Option<BTreeMap<String, Value>>,
}
