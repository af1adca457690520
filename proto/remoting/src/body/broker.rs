//! Brokers: the addresses of one name, the members of a group, all of them by cluster.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// A master and its slaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerData {
    /// `HOST:PORT` by broker id; 0 is the master.
    pub broker_addrs: BTreeMap<i64, String>,
    /// Their common name.
    pub broker_name: String,
    /// Their cluster.
    pub cluster: String,
    /// Whether the slave with the lowest id stands in for a missing master.
    pub enable_acting_master: bool,
    /// Where they stand, if they say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_name: Option<String>,
}

/// All brokers; the body of [`GetBrokerClusterInfo`](crate::RequestCode::GetBrokerClusterInfo)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterInfo {
    /// By their name.
    pub broker_addr_table: BTreeMap<String, BrokerData>,
    /// The names by cluster.
    pub cluster_addr_table: BTreeMap<String, BTreeSet<String>>,
}

/// The addresses of one broker name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerMemberGroup {
    /// `HOST:PORT` by broker id.
    pub broker_addrs: BTreeMap<i64, String>,
    /// The name that was asked for.
    pub broker_name: String,
    /// The cluster that was asked for.
    pub cluster: String,
}

/// The body of [`GetBrokerMemberGroup`](crate::RequestCode::GetBrokerMemberGroup)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemberGroup {
    /// The group.
    pub broker_member_group: BrokerMemberGroup,
}
