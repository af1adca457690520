//! Groups of consumers and their settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::DataVersion;

/// A group's settings: the body of [`UpdateAndCreateSubscriptionGroup`](crate::RequestCode::UpdateAndCreateSubscriptionGroup).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupConfig {
    /// By name.
    pub attributes: BTreeMap<String, String>,
    /// The broker it reads from; 0 is the master.
    pub broker_id: i64,
    /// Whether its members may each consume everything.
    pub consume_broadcast_enable: bool,
    /// Whether its members may consume.
    pub consume_enable: bool,
    /// Whether it may begin at a queue's first message.
    pub consume_from_min_enable: bool,
    /// Whether it consumes each queue in order.
    pub consume_message_orderly: bool,
    /// How long one delivery may last, in minutes.
    pub consume_timeout_minute: i64,
    /// Its name.
    pub group_name: String,
    /// How long failed messages wait.
    pub group_retry_policy: GroupRetryPolicy,
    /// Bits of units.
    pub group_sys_flag: i32,
    /// Whether its members are told of each other's coming and going.
    pub notify_consumer_ids_changed_enable: bool,
    /// Deliveries after the first, before a message is given up.
    pub retry_max_times: i32,
    /// Queues of its retry topic.
    pub retry_queue_nums: i32,
    /// The broker it reads from when it lags far behind.
    pub which_broker_when_consume_slowly: i64,
}

/// Source: Apache 5.5 `SubscriptionGroupConfig`.
impl Default for SubscriptionGroupConfig {
    fn default() -> Self {
        Self {
            attributes: BTreeMap::new(),
            broker_id: 0,
            consume_broadcast_enable: true,
            consume_enable: true,
            consume_from_min_enable: true,
            consume_message_orderly: false,
            consume_timeout_minute: 15,
            group_name: String::new(),
            group_retry_policy: GroupRetryPolicy::default(),
            group_sys_flag: 0,
            notify_consumer_ids_changed_enable: true,
            retry_max_times: 16,
            retry_queue_nums: 1,
            which_broker_when_consume_slowly: 1,
        }
    }
}

/// How long failed messages wait for their next delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupRetryPolicy {
    /// `CUSTOMIZED` or `EXPONENTIAL`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of the first kind; none is Apache's list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customized_retry_policy: Option<CustomizedRetryPolicy>,
    /// Of the second kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exponential_retry_policy: Option<ExponentialRetryPolicy>,
}

impl Default for GroupRetryPolicy {
    fn default() -> Self {
        Self { kind: "CUSTOMIZED".to_owned(), customized_retry_policy: None, exponential_retry_policy: None }
    }
}

/// A wait for each delivery, in ms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CustomizedRetryPolicy {
    /// The first two are those of the delay levels that no retry uses.
    pub next: Vec<i64>,
}

/// Waits that grow, in ms. Defaults are Apache's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExponentialRetryPolicy {
    /// The first.
    pub initial: i64,
    /// The longest.
    pub max: i64,
    /// The factor.
    pub multiplier: i64,
}

impl Default for ExponentialRetryPolicy {
    fn default() -> Self {
        Self { initial: 5_000, max: 7_200_000, multiplier: 2 }
    }
}

/// All groups of a broker: the body of
/// [`GetAllSubscriptionGroupConfig`](crate::RequestCode::GetAllSubscriptionGroupConfig)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroups {
    /// Their version.
    pub data_version: DataVersion,
    /// By name, each with that name inside.
    pub subscription_group_table: BTreeMap<String, SubscriptionGroupConfig>,
}

/// Several groups: the body of
/// [`UpdateAndCreateSubscriptionGroupList`](crate::RequestCode::UpdateAndCreateSubscriptionGroupList).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupList {
    /// The groups.
    pub group_config_list: Vec<SubscriptionGroupConfig>,
}
