//! Which brokers are in sync with their masters. Source: Apache 5.5 `SyncStateSet`, `ElectMasterResponseBody`, `BrokerReplicasInfo`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::BrokerMemberGroup;

/// The brokers that are in sync with their master, itself among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncStateSet {
    /// Their ids.
    pub sync_state_set: BTreeSet<i64>,
    /// Which one it is of the sets that there were.
    pub sync_state_set_epoch: i32,
}

/// The body of [`ControllerElectMaster`](crate::RequestCode::ControllerElectMaster)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ElectMasterBody {
    /// All brokers of the name.
    pub broker_member_group: BrokerMemberGroup,
    /// Those in sync.
    pub sync_state_set: BTreeSet<i64>,
}

/// The body of [`ControllerGetSyncStateData`](crate::RequestCode::ControllerGetSyncStateData)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BrokerReplicas {
    /// By broker name.
    pub replicas_info_table: BTreeMap<String, Replicas>,
}

/// The brokers of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Replicas {
    /// The master's id, if there is a master.
    pub master_broker_id: Option<i64>,
    /// `HOST:PORT`.
    pub master_address: Option<String>,
    /// The epoch, also when there is none.
    pub master_epoch: i32,
    /// The epoch of the set of those in sync.
    pub sync_state_set_epoch: i32,
    /// Those in sync.
    pub in_sync_replicas: Vec<Replica>,
    /// The others.
    pub not_in_sync_replicas: Vec<Replica>,
}

/// A broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Replica {
    /// Its name.
    pub broker_name: String,
    /// Its id.
    pub broker_id: i64,
    /// `HOST:PORT`.
    pub broker_address: String,
    /// Whether it lives.
    pub alive: bool,
}

/// The body of [`GetBrokerEpochCache`](crate::RequestCode::GetBrokerEpochCache)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EpochCache {
    /// The cluster.
    pub cluster_name: String,
    /// The broker's name.
    pub broker_name: String,
    /// Its id.
    pub broker_id: i64,
    /// The epochs of its log, in order.
    pub epoch_list: Vec<EpochEntry>,
    /// Where its log ends.
    pub max_offset: u64,
}

/// An epoch of a log. Source: `EpochEntry`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EpochEntry {
    /// The epoch.
    pub epoch: i32,
    /// Where it begins.
    pub start_offset: u64,
    /// Where it ends; that of the newest is the largest number there is.
    pub end_offset: u64,
}
